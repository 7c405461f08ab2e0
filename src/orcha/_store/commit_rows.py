"""How a :class:`Changes` becomes rows of the view `change` (see `commit.sql`)."""

from __future__ import annotations

from functools import cache
from itertools import zip_longest
from typing import Any

from orcha._core.changes import Changes, NewChannel
from orcha._store.checksums import checksum

VIEW_COLUMNS = 19
"""Columns of the view `change`."""
STATEMENT_ROWS = 384
"""Most rows of one statement: beyond about 16 KiB of text SQLite's binding keeps no compiled statement."""
_PADDING = (None,) * VIEW_COLUMNS
_NO_STEP = (None,) * 12
_NO_RECORDS = (None,) * 4
_NO_FLAGS = (None,) * 2
_AFTER_ATTEMPT = (None,) * (VIEW_COLUMNS - 13)


def sizes() -> list[int]:
    """Give the row counts for which there is a statement: at most a quarter of the rows is padding."""
    steps = [base * quarter // 4 for base in (8, 16, 32, 64, 128, 256) for quarter in (4, 5, 6, 7)]
    return [*range(1, 8), *(size for size in steps if size <= STATEMENT_ROWS)]


_SIZES = sizes()
_FITTING = [next(size for size in _SIZES if size >= rows) for rows in range(STATEMENT_ROWS + 1)]


@cache
def statement(rows: int) -> str:
    """Give the statement that puts this many rows into the view."""
    row = "(" + ",".join("?" * VIEW_COLUMNS) + ")"
    return f"INSERT INTO change VALUES {','.join([row] * rows)}"  # noqa: S608 - nothing but question marks


def accepted(changes: Changes) -> tuple[list[Any], list[NewChannel]]:
    """Give the values of the rows of new petitions, and the new channels that none of them brings."""
    values: list[Any] = []
    if not (changes.petitions or changes.channels):
        return values, []
    channels = {channel.id: channel for channel in changes.channels}
    if len(channels) != len(changes.channels):
        raise ValueError("a channel stands twice among the new ones")
    for petition in changes.petitions:
        token, name, is_int, manager, owner, channel = petition[1:7]
        values.append(1)
        values.extend(petition)
        brought = channels.get(channel)
        if brought is not None and brought.owner == owner:
            del channels[channel]
            values.append(brought.own)
        else:
            values.append(None)
        values.append(checksum(token, name, is_int, manager, owner, channel, petition.extras))
    return values, list(channels.values())


def steps(changes: Changes) -> list[Any]:
    """Give the values of the rows of steps, records and flags."""
    values: list[Any] = []
    if not (changes.transitions or changes.appends or changes.flags):
        return values
    transitions: list[tuple[Any, ...]] = list(changes.transitions.values())
    flags: list[tuple[Any, ...]] = [
        (seq, hook_pending | slot_held << 1) for seq, (hook_pending, slot_held) in changes.flags.items()
    ]
    if not changes.flags.keys().isdisjoint(changes.transitions):
        flags = [_NO_FLAGS] * len(transitions) + flags
    records: list[tuple[Any, ...]] = list(changes.appends)
    for step, appended, flag in zip_longest(
        transitions or [_NO_STEP], records or [_NO_RECORDS], flags or [_NO_FLAGS], fillvalue=None
    ):
        values.append(0)
        values.extend(step or _NO_STEP)
        values.extend(appended or _NO_RECORDS)
        values.extend(flag or _NO_FLAGS)
    return values


def attempts(changes: Changes) -> list[Any]:
    """Give the values of the rows of attempts."""
    values: list[Any] = []
    for attempt in changes.attempts.values():
        values.append(2)
        values.extend(attempt)
        values.extend(_AFTER_ATTEMPT)
    return values


def statements(values: list[Any]) -> list[tuple[str, list[Any]]]:
    """Cut rows into as few statements as they need."""
    most = STATEMENT_ROWS * VIEW_COLUMNS
    cuts = [values] if len(values) <= most else [values[i : i + most] for i in range(0, len(values), most)]
    result = []
    for cut in cuts:
        rows = len(cut) // VIEW_COLUMNS
        fitting = _FITTING[rows]
        cut.extend(_PADDING * (fitting - rows))
        result.append((statement(fitting), cut))
    return result
