"""When petitions whose condition said no are asked again by time alone.

A condition may depend on what nobody tells the service: whether a rig is free, a file is there, the load is low. So,
beside what happens here, time has them asked too: the first petitions in line once a second, the others a few at a
time, all of them one after the other. Either half may take a share of one processor and no more; where conditions cost
more than that, fewer are asked in a turn, and where one condition alone costs more, turns come later.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.record import Record

MAX_FIRST_PETITIONS = 32
"""How many petitions count as the first in line."""
FIRSTS_INTERVAL_SECONDS = 1.0
"""Seconds between two questions to one of the first."""
MAX_OTHERS_PER_TURN = 256
"""How many of the others are asked in a turn, at most."""
OTHERS_INTERVAL_SECONDS = 0.4
"""Seconds between two turns of the others."""
PROCESSOR_SHARE = 0.004
"""Share of a processor's time for the first petitions; the others have as much."""
HOOK_THREAD_SHARE = 0.1
"""Share of the hook thread's time, also where conditions wait for something: other hooks wait that long."""
_SOON_RATIO = 0.9
"""Part of the interval after which a petition may be asked again, since a turn itself takes a moment."""


class AskingPace:
    """How often waiting petitions are asked, and how many of them at a time.

    >>> pace = AskingPace(every=1.0, most=32)
    >>> pace.took(now=10.0, asked=32, processor=0.064, elapsed=0.064)
    >>> pace.count, pace.due
    (2, 26.0)
    """

    def __init__(self, *, every: float, most: int) -> None:
        """Ask `most` petitions each time, `every` seconds apart, until it is known what that costs."""
        self._every = every
        self._most = most
        self._cost = 0.0
        self.due = 0.0
        """When the next turn may be."""

    @property
    def count(self) -> int:
        """How many may be asked in a turn."""
        if self._cost <= 0:
            return self._most
        return max(1, min(self._most, int(PROCESSOR_SHARE * self._every / self._cost)))

    def took(self, *, now: float, asked: int, processor: float, elapsed: float) -> None:
        """Learn what a turn cost: seconds of a processor, and seconds that passed."""
        if asked:
            cost = processor / asked
            self._cost = (self._cost + cost) / 2 if self._cost else cost
        self.due = now + max(self._every, processor / PROCESSOR_SHARE, elapsed / HOOK_THREAD_SHARE)


class Asking:
    """Decides which petitions are asked again, and when."""

    def __init__(self) -> None:
        """Know of no petition."""
        self.firsts = AskingPace(every=FIRSTS_INTERVAL_SECONDS, most=MAX_FIRST_PETITIONS)
        self.others = AskingPace(every=OTHERS_INTERVAL_SECONDS, most=MAX_OTHERS_PER_TURN)

    def whom(self, waiting: Iterable[Record], now: float) -> list[Record]:
        """Give the first petitions that are to be asked now; `waiting` are the petitions with a condition, in order."""
        if now < self.firsts.due:
            return []
        firsts = list(islice(waiting, self.firsts.count))
        due = [
            record
            for record in firsts
            if record.asked is None or record.asked <= now - _SOON_RATIO * FIRSTS_INTERVAL_SECONDS
        ]
        if not due:
            self.firsts.due = FIRSTS_INTERVAL_SECONDS + min(
                (record.asked for record in firsts if record.asked is not None), default=now
            )
        return due

    def due(self, *, are_many: bool) -> float:
        """Give when to look again; `are_many` says that there are others than the first ones."""
        return min(self.firsts.due, self.others.due) if are_many else self.firsts.due

    def rest(self, now: float) -> None:
        """Note that the petitions in line were just asked, since something had happened."""
        self.firsts.due = max(self.firsts.due, now + FIRSTS_INTERVAL_SECONDS)
        self.others.due = max(self.others.due, now + OTHERS_INTERVAL_SECONDS)

    def hurry(self, now: float) -> None:
        """Have the other petitions asked as soon as the budget allows, since something has happened elsewhere."""
        self.others.due = now


__all__ = ["Asking", "AskingPace"]
