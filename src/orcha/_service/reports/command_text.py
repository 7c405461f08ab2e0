"""The command of a petition as a listing shows it: one bounded text, without what looks like a secret."""

from __future__ import annotations

import shlex
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._protocol import values
from orcha._service.reports import lease_text
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER, LEASE_MANAGER
from orcha.utils import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.record import Record
    from orcha._store.contract import Row

MAX_QUOTED_CHARACTERS = 200
"""The most characters of a name that a message repeats: what a client asks for may be of any length."""
MAX_LISTED_CHARACTERS = 500
"""Characters of a command, and of a label, in a listing; `show` has all of them."""
_MAX_REDACTED_CHARACTERS = 1_000
"""Characters of a command in which secrets are looked for: the engine's thread does it, for every row of a page."""
_MAX_REMEMBERED_MESSAGE_BYTES = 2_048
"""Bytes of a message whose command is remembered: who watches asks for the same ones again and again."""
_MAX_REMEMBERED_COMMANDS = 2_048
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class Listed(NamedTuple):
    """The text of a command in a listing."""

    command: str | None
    label: str | None


def listed(row: Row, record: Record | None) -> Listed:
    """Give the command and the label of a petition; of a plugin's command only while it is live."""
    if row.manager in {ARRAY_MANAGER, COMMAND_MANAGER, LEASE_MANAGER}:
        return (_remembered if len(row.extras) <= _MAX_REMEMBERED_MESSAGE_BYTES else _sent)(row.extras)
    petition = record.petition if record is not None and record.command else None
    return _listed(getattr(petition, "argv", None), getattr(petition, "label", None))


def _sent(extras: bytes) -> Listed:
    """Give the message that was sent to the built-in manager."""
    fields = values.fields_of(extras)
    if "argv" not in fields and isinstance(fields.get("needs"), dict):
        words = ["lock", *(lease_text.taken(str(name), need) for name, need in fields["needs"].items())]
        return _listed(words, fields.get("why"))
    return _listed(fields.get("argv"), fields.get("label"))


_remembered = lru_cache(_MAX_REMEMBERED_COMMANDS)(_sent)


def _listed(words: object, label: object) -> Listed:
    return Listed(
        in_words(words) if isinstance(words, list | tuple) else None,
        shortened(_text(label), MAX_LISTED_CHARACTERS) if isinstance(label, str) else None,
    )


def in_words(words: Iterable[Any]) -> str:
    r"""Give a command as a shell takes it, shortened in the middle, with what looks like a secret hidden.

    A command of more than 1,000 characters is shown from its beginning up to the first word that may stand before a
    secret: whether a part of it is a secret could only be told from the whole.

    >>> in_words(["make", "all", "TOKEN=x"]), in_words([b"a\xff"])
    ("make all 'TOKEN=***'", "'a\\xff'")
    """
    shown: list[str] = []
    room = _MAX_REDACTED_CHARACTERS
    for word in words:
        shown.append(_text(word[: _MAX_REDACTED_CHARACTERS + 1]))
        room -= len(shown[-1]) + 1
        if room < 0:
            return _beginning(shlex.join(shown)[: _MAX_REDACTED_CHARACTERS + len(_ELLIPSIS)])
    return shortened(shlex.join(redact.words(shown)), MAX_LISTED_CHARACTERS)


def _beginning(text: str) -> str:
    """Give the harmless beginning of a text that is cut anywhere, with a sign that it is cut."""
    sign = redact.SIGN.search(text)
    return (
        text[: MAX_LISTED_CHARACTERS - 1 if sign is None else min(sign.start(), MAX_LISTED_CHARACTERS - 1)] + _ELLIPSIS
    )


def shortened(text: str, longest: int) -> str:
    """Give a text with a sign in place of its middle where it is longer.

    >>> shortened("make -j4 all", 12), shortened("make -j4 all", 7)
    ('make -j4 all', 'mak…all')
    """
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return text[: longest - 1 - tail] + _ELLIPSIS + text[len(text) - tail :]


def quoted(name: str | None) -> str:
    """Give a name that somebody has asked for, between quotes, and without its middle where it is long.

    >>> quoted("night")
    "'night'"
    """
    return repr(shortened(name or "", MAX_QUOTED_CHARACTERS))


def _text(word: object) -> str:
    """Give a word of a command as text that can be sent."""
    if isinstance(word, bytes):
        return word.decode("utf-8", "backslashreplace")
    return str(word).encode("utf-8", "backslashreplace").decode("utf-8")
