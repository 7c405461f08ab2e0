"""Petitions that were asked for with a time: they wait for their turn from then on."""

from __future__ import annotations

import heapq
import time
from functools import partial
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._service.clock_looks import ClockLooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.timers import Timers


class Appointments:
    """Lets petitions wait for their turn when their time has come; the engine thread's."""

    def __init__(self, petitions: Petitions, timers: Timers, limit_wait: Callable[[Record], None]) -> None:
        """Prepare; `limit_wait` ends a petition that waits for its turn too long."""
        self._petitions = petitions
        self._timers = timers
        self.limit_wait = limit_wait
        self._named: list[tuple[float, int]] = []
        """Times of the clock on the wall, with the sequence numbers of their petitions; a heap."""
        self._looks = ClockLooks(timers, self._look)

    def wait(self, record: Record) -> None:
        """Have a petition that rests wait for its turn when its time has come."""
        if record.rests_until is not None:
            self._timers.at(record.rests_until, partial(self._rise, record.seq, record.rests_until, None))
        elif record.due is not None:
            heapq.heappush(self._named, (record.due, record.seq))
            self._looks.ask_for(self._named[0][0])

    def _look(self) -> None:
        now = time.time()
        while self._named and self._named[0][0] <= now:
            due, seq = heapq.heappop(self._named)
            self._rise(seq, None, due)
        if self._named:
            self._looks.ask_for(self._named[0][0])

    def _rise(self, seq: int, rests_until: float | None, due: float | None) -> None:
        petitions = self._petitions
        record = petitions.records.get(seq)
        if record is None or record.rests_until != rests_until or due not in {None, record.due}:
            return  # another time was named meanwhile
        now = petitions.now  # when the batch began: that may have been a moment before
        until = now.steady if record.rests_until is None else record.rests_until
        transitions.retry.time_came(petitions, seq, now._replace(steady=max(until, now.steady)))
        if petitions.waits(record) and record.queue_timeout is not None:
            self.limit_wait(record)
