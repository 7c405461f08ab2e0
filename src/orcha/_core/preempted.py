"""That a petition gave its place to a more urgent one: to which one, how, and when."""

from __future__ import annotations

import json
from typing import NamedTuple

PAUSE, REQUEUE = "pause", "requeue"
"""How a petition gives its place: its processes stand still, or they are ended, and it waits for another attempt."""


class Preempted(NamedTuple):
    """What is kept of it.

    >>> Preempted.of(Preempted("urgent", PAUSE, 7.0).text())
    Preempted(by='urgent', how='pause', at=7.0)
    """

    by: str
    """The id of the more urgent petition."""
    how: str
    at: float
    """Wall-clock time."""

    def text(self) -> str:
        """Give it as it is kept."""
        return json.dumps(self)

    @classmethod
    def of(cls, text: str) -> Preempted:
        """Give what `text` wrote."""
        by, how, at = json.loads(text)
        return cls(by, how, at)


__all__ = ["PAUSE", "REQUEUE", "Preempted"]
