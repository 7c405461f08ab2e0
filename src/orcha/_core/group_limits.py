"""Which limit of time a group gives to a petition: the limit that held when the petition was accepted.

What a group gives is kept with the sequence number of the first petition for which that holds. So a petition that is
converted again, at a retry or after a restart, has the limit that it was accepted with.
"""

from __future__ import annotations

import json
from typing import TypeAlias

LimitChanges: TypeAlias = "tuple[tuple[int, float | None], ...]"
"""The first sequence number, and the seconds from there on (None for no limit), in the order of the numbers."""
_MAX_CHANGES = 100
"""Changes that are kept of a group: petitions from before the first of them get no limit of the group."""


def limit_at(changes: LimitChanges, seq: int) -> float | None:
    """Give the seconds that a group gives to the petition with a sequence number; None for no limit.

    >>> [limit_at(((5, 60.0), (9, None)), seq) for seq in (4, 5, 8, 9)]
    [None, 60.0, 60.0, None]
    """
    return next((seconds for first, seconds in reversed(changes) if first <= seq), None)


def changed(changes: LimitChanges, seq: int, seconds: float | None) -> LimitChanges:
    """Give the changes with what holds from a petition on; the same object where that holds already.

    >>> changed(((5, 60.0),), 9, None), changed((), 9, None)
    (((5, 60.0), (9, None)), ())
    """
    if limit_at(changes, seq) == seconds:
        return changes
    return (*(each for each in changes if each[0] < seq), (seq, seconds))[-_MAX_CHANGES:]


def limits_text(changes: LimitChanges) -> str:
    """Give changes as they are kept."""
    return json.dumps(changes)


def limits_of(text: str) -> LimitChanges:
    """Give changes as `limits_text` wrote them.

    >>> limits_of(limits_text(((5, 60.0), (9, None))))
    ((5, 60.0), (9, None))
    """
    return tuple((first, seconds) for first, seconds in json.loads(text))


__all__ = ["LimitChanges", "changed", "limit_at", "limits_of", "limits_text"]
