"""In which order waiting petitions are asked whether they may run, and when to stop asking.

The decision and its explanation are the same code: what a condition answers is kept on the petition it was asked
about, and that is what people are shown.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record

PATIENCE = 32
"""How many of the first waiting petitions may say no before asking stops for this time."""


class Answer(IntEnum):
    """What a condition said."""

    YES = 1
    NO = 2
    BROKEN = 3
    NONE = 4
    """No, and whoever else waits would hear the same."""
    AGAIN = 5
    """Yes, but something ended since others said no: they may be first now, and are to be asked before it counts."""


# Looked up once: an attribute of an enumeration costs ten times a global name.
_AGAIN, _NO, _NONE = Answer.AGAIN, Answer.NO, Answer.NONE


def in_order(waiting: list[Record], new: list[Record]) -> list[Record]:
    """Merge what waits, in order, with what has just come, by (priority, sequence): lower first."""
    return sorted(waiting + new, key=_place) if new else waiting


def _place(record: Record) -> tuple[int | float, int]:
    return (record.priority, record.seq)


def choose(
    waiting: list[Record],
    new: list[Record],
    ask: Callable[[Record], Answer],
    *,
    look_ahead: int | None = None,
    patience: int = PATIENCE,
) -> None:
    """Ask in order; each yes counts before the next is asked.

    Of those that waited before, `patience` may say no; whoever has just come is asked once in any case, so that a
    queue of blocked petitions hides nobody. With `look_ahead` only the first so many of all are asked. A NONE ends it,
    where nobody is new. After an AGAIN those that have said no are asked once more, from the first one on.
    """
    candidates = in_order(waiting, new)
    if look_ahead is not None:
        candidates = candidates[:look_ahead]
    fresh = {record.seq for record in new}
    ends = not new and look_ahead is None
    while (left := _ask_all(candidates, fresh, ask, patience, ends=ends)) is not None:
        candidates = left


def _ask_all(
    candidates: list[Record], fresh: set[int], ask: Callable[[Record], Answer], patience: int, *, ends: bool
) -> list[Record] | None:
    """Ask each, until patience `ends` where that is so; give those to be asked once more, None for nobody."""
    refused: list[Record] = []
    for position, record in enumerate(candidates):
        is_new = record.seq in fresh
        if patience <= 0 and not is_new:
            if ends:
                return None
            continue
        answer = ask(record)
        if answer is _AGAIN:
            return refused + candidates[position:]
        if answer is _NO or answer is _NONE:
            refused.append(record)
            patience -= not is_new
            if answer is _NONE and ends:
                return None
    return None


def checked_priority(priority: object) -> int | float:
    """Give a priority as it is kept: any number, integers clamped to 64 bits.

    Raises:
        TypeError: it is not an int or a float.
        ValueError: it is not a number (NaN).

    >>> checked_priority(2**70) == 2**63 - 1, checked_priority(-3.5), checked_priority(float("-inf"))
    (True, -3.5, -inf)

    """
    if isinstance(priority, int):
        return max(-(2**63), min(2**63 - 1, int(priority)))
    if isinstance(priority, float):
        if math.isnan(priority):
            message = "its priority is not a number (NaN)"
            raise ValueError(message)
        return float(priority)
    message = f"its priority is a {type(priority).__name__}, not an int or a float"
    raise TypeError(message)
