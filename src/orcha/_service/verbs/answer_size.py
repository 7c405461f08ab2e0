"""Answers that fit into a frame, whatever petitions hold: what is too long is cut, what is no value becomes text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orcha._protocol import values
from orcha._protocol.frames import MAX_FRAME_BYTES
from orcha._service.reports.explanations import cleaned, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    Row = dict[str, str | int | float | bool | None]

MAX_ANSWER_BYTES = MAX_FRAME_BYTES - 64 * 1024
"""Bytes of an encoded answer; the rest of a frame is for what stands around it."""
MAX_ROWS_BYTES = MAX_FRAME_BYTES // 2
"""Bytes of the rows of one answer."""
CUT_KEY = "cut"
"""The key that an answer has in which something was cut."""
_FIRST_TEXT_CHARACTERS = 1 << 16
_MIN_TEXT_CHARACTERS = 16
_NUMBER_BYTES = 16
"""Bytes that a number takes in a row, or a key's name, about."""
_MAX_NUMBER = 1 << 64


def answer(known: dict[str, Any]) -> bytes:
    """Encode a map: whole where it fits, else with its longest texts and collections cut, and the key `CUT_KEY`."""
    try:
        encoded = values.encode(known)
    except (TypeError, ValueError):  # a plugin's class says of its petition what it likes
        known = {name: _plain(value, MAX_FRAME_BYTES) for name, value in known.items()}
        encoded = values.encode(known)
    longest = _FIRST_TEXT_CHARACTERS
    while len(encoded) > MAX_ANSWER_BYTES and longest >= _MIN_TEXT_CHARACTERS:
        encoded = values.encode({name: _plain(value, longest) for name, value in known.items()} | {CUT_KEY: True})
        longest //= 4
    return encoded


def rows(described: Sequence[Row]) -> list[Row]:
    """Give the first rows, as many as one answer holds, each with its texts no longer than people read."""
    fitting: list[Row] = []
    size = 0
    for row in described:
        short: Row = {name: cleaned(value) if isinstance(value, str) else value for name, value in row.items()}
        size += sum(_NUMBER_BYTES + _size(value) for value in short.values())
        if size > MAX_ROWS_BYTES and fitting:
            break
        fitting.append(short)
    return fitting


def _size(value: object) -> int:
    if not isinstance(value, str):
        return 0
    return len(value) if value.isascii() else 4 * len(value)


def _plain(value: Any, longest: int) -> Any:
    """Give a value that can be sent, with no text and no collection in it that is longer."""
    if isinstance(value, str):
        given: Any = str.__str__(value).encode("utf-8", "backslashreplace")[:longest].decode("utf-8", "ignore")
    elif isinstance(value, bytes):
        given = bytes(value[:longest])
    elif isinstance(value, Mapping):
        items = zip(range(longest), value.items(), strict=False)
        given = {_plain(key, longest): _plain(item, longest) for _, (key, item) in items}
    elif isinstance(value, list | tuple | set | frozenset):
        given = [_plain(item, longest) for _, item in zip(range(longest), value, strict=False)]
    elif (
        value is None
        or isinstance(value, bool | float)
        or (isinstance(value, int) and -_MAX_NUMBER < value < _MAX_NUMBER)
    ):
        given = value
    else:
        given = said(value)
    return given
