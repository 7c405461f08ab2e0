"""When the last petitions of a group started, where its rate bounds how many may start within a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.moment import Moment


_NOBODY = 0
"""Stands for the petition of a start that was kept before."""


class StartRate(NamedTuple):
    """At most `starts` starts within `seconds`, in any span of that length."""

    starts: int
    seconds: float


class StartLog:
    """The last starts of a group, as many as may start within the time of its rate.

    With a rate of n starts within a time, each start takes the place of the n-th start before it, and has to come that
    time after it. So no span of that time has more starts. The hook thread notes the petition that said yes, and asks
    `due`; all else is the engine's.

    >>> from orcha._core.moment import Moment
    >>> log = StartLog(StartRate(2, 60.0))
    >>> [log.note_start(seq, Moment(0.0, at)) for seq, at in ((1, 5.0), (2, 30.0))]
    [0, 1]
    >>> log.due(40.0), log.due(65.0), log.free(65.0)
    (65.0, None, 1)
    """

    def __init__(self, rate: StartRate) -> None:
        """Know no start."""
        self.rate = rate
        self._known: deque[tuple[float, int, int]] = deque()
        """The last starts, the earliest first: when each was, on the steady clock, its place, and which petition's."""
        self._unused = list(range(rate.starts - 1, -1, -1))
        """Places of no start, the lowest last."""
        self._unstarted: set[int] = set()
        """Petitions that are let start, and whose start has not been noted."""

    def load(self, kept: Mapping[int, float], now: Moment) -> None:
        """Take over starts by their places, at times of the clock on the wall; none is later than now.

        A clock that was set back makes nobody wait longer than the time of the rate.
        """
        known = sorted((now.steady - max(0.0, now.wall - wall), place, _NOBODY) for place, wall in kept.items())
        self._known = deque(known)
        self._unused = [place for place in self._unused if place not in kept]

    def walls(self, now: Moment) -> list[float]:
        """Give the starts that count still, by the clock on the wall, the earliest first."""
        return [now.wall - (now.steady - time) for time, *_ in self._known if now.steady - time < self.rate.seconds]

    def said_yes(self, seq: int) -> None:
        """Count a petition that is let start."""
        self._unstarted.add(seq)

    def drop_yes(self, seq: int) -> None:
        """Count a petition no more that does not start."""
        self._unstarted.discard(seq)

    def note_start(self, seq: int, now: Moment) -> int:
        """Count a start; give its place, by which it is kept."""
        self._unstarted.discard(seq)
        place = self._unused.pop() if self._unused else self._known.popleft()[1]
        self._known.append((now.steady, place, seq))
        return place

    def drop_start(self, seq: int) -> int | None:
        """Count the last start of a petition no more, since that was not kept; give its place, which is free again.

        Where another start had the place before, that one was over: it counts as little as it did.

        >>> from orcha._core.moment import Moment
        >>> log = StartLog(StartRate(1, 60.0))
        >>> log.note_start(7, Moment(0.0, 5.0)), log.drop_start(7), log.due(5.0), log.drop_start(7)
        (0, 0, None, None)
        """
        found = next((start for start in reversed(self._known) if start[2] == seq), None)
        if found is None:
            return None
        self._known.remove(found)
        self._unused.append(found[1])
        return found[1]

    def due(self, now: float, ahead: int = 0) -> float | None:
        """Give when one more petition may start, after `ahead` others; None where that is now."""
        known = self._known
        which = len(known) + len(self._unstarted) + ahead - self.rate.starts
        if which < 0:
            return None
        due = (known[which][0] if which < len(known) else now) + self.rate.seconds
        return due if due > now else None

    def free(self, now: float) -> int:
        """Count the petitions that may start now."""
        most = self.rate.starts
        return next((count for count in range(most) if self.due(now, count) is not None), most)


__all__ = ["StartLog", "StartRate"]
