"""Petitions that were asked for with a time: they wait for their turn from then on."""

from __future__ import annotations

import heapq
import time
from functools import partial
from typing import TYPE_CHECKING

from orcha._core import transitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.timers import Timers

CLOCK_LOOK_SECONDS = 10.0
"""How long the clock on the wall is not looked at, at most, while a petition waits for a time of it: it may be set."""


class Appointments:
    """Lets petitions wait for their turn when their time has come; the engine thread's."""

    def __init__(self, petitions: Petitions, timers: Timers, limit_wait: Callable[[Record], None]) -> None:
        """Prepare; `limit_wait` ends a petition that waits for its turn too long."""
        self._petitions = petitions
        self._timers = timers
        self._limit_wait = limit_wait
        self._named: list[tuple[float, int]] = []
        """Times of the clock on the wall, with the sequence numbers of their petitions; a heap."""
        self._looks_at: float | None = None
        """When the clock on the wall is looked at next, on the steady clock."""

    def wait(self, record: Record) -> None:
        """Have a petition that rests wait for its turn when its time has come."""
        if record.rests_until is not None:
            self._timers.at(record.rests_until, partial(self._rise, record.seq))
        elif record.due is not None:
            heapq.heappush(self._named, (record.due, record.seq))
            self._arm()

    def _arm(self) -> None:
        """Have the clock on the wall looked at when the first time comes, or soon, since that clock may be set."""
        if not self._named:
            return
        left = min(max(0.0, self._named[0][0] - time.time()), CLOCK_LOOK_SECONDS)
        due = time.monotonic() + left
        if self._looks_at is None or due < self._looks_at:
            self._looks_at = due
            self._timers.at(due, self._look)

    def _look(self) -> None:
        if self._looks_at is None or self._looks_at > time.monotonic():
            return  # of two looks the later one
        self._looks_at = None
        now = time.time()
        while self._named and self._named[0][0] <= now:
            self._rise(heapq.heappop(self._named)[1])
        self._arm()

    def _rise(self, seq: int) -> None:
        petitions = self._petitions
        record = petitions.records.get(seq)
        if record is None:
            return
        now = petitions.now  # when the batch began: that may have been a moment before
        until = now.steady if record.rests_until is None else record.rests_until
        transitions.retry.time_came(petitions, seq, now._replace(steady=max(until, now.steady)))
        if petitions.waits(record) and record.queue_timeout is not None:
            self._limit_wait(record)
