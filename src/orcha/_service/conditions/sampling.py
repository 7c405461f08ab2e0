"""Has the names of conditions in text looked up while petitions wait for them; the engine thread's.

All names are looked up once a second, for all conditions together, and less often where that would take more than a
small share of a processor. The time of day is taken when it changes what a condition says.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orcha._core.conditions.times import LocalTime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.conditions.book import ConditionBook
    from orcha._core.conditions.kinds import Unknown, Value
    from orcha._core.conditions.terms import Reading
    from orcha._core.reasons import GroupTextIsFalse, TextIsFalse
    from orcha._service.conditions.looker import Looker
    from orcha._service.timers import Timers

SECONDS_BETWEEN_LOOKS = 1.0
MAX_SECONDS_WITHOUT_A_LOOK = 60.0
"""Seconds after which the time of day is taken again in any case: clocks are set, and machines sleep."""
MAX_PROCESSOR_SHARE = 0.02
"""Share of one processor for looks and for the conditions asked after them; a longer pause keeps to it."""
_REST_PER_LOOK_RATIO = 20
"""A new name causes no look for this many times the length of the last look: thousands of names may come one by one."""


class Sampling:
    """Looks when something new is named, then once a second, and at all only while something is named."""

    def __init__(
        self,
        book: ConditionBook,
        looker: Looker,
        timers: Timers,
        is_parked_for: Callable[[str], bool],
        note_change: Callable[[], None],
    ) -> None:
        """Look at nothing.

        Args:
            book: knows what is named.
            looker: looks at the machine.
            timers: wakes the engine.
            is_parked_for: tells whether petitions are parked for a text.
            note_change: has petitions that wait considered again.

        """
        self.book = book
        self._looker = looker
        self._timers = timers
        self._is_parked_for = is_parked_for
        self._note_change = note_change
        self._due: float | None = None
        self._rests_until = 0.0
        self._looked: float | None = None
        self._spent = 0.0
        """Processor seconds since the last look."""

    def look_soon(self) -> None:
        """Look, since a condition uses a name that no condition used before."""
        if self._due is None or self._due > self._rests_until:
            if time.monotonic() >= self._rests_until:
                self._look()
            else:
                self._wake_at(self._rests_until)

    def take(self, values: Mapping[Reading, Value | Unknown]) -> None:
        """Take the values that were found."""
        self._looked = time.monotonic()
        began = time.thread_time()
        self.book.take(values)
        self._note_true()
        self._spent += time.thread_time() - began

    def stop(self, timeout: float) -> None:
        """Look no more, and end the thread that looks, unless it is stuck."""
        self._looker.stop(timeout)

    def age_of(self, reason: TextIsFalse | GroupTextIsFalse) -> float | None:
        """Give the seconds since a reason's names were looked up; None where none of them has to be looked up."""
        is_looked_at = self._looked is not None and self.book.is_looked_at(reason.condition)
        return time.monotonic() - self._looked if is_looked_at and self._looked is not None else None

    def _look(self) -> None:
        now, began = time.monotonic(), time.thread_time()
        spent = self._spent + self._looker.take_spent()
        is_any = self.book.look(self._is_parked_for)
        self._due = None
        if is_any:
            self._ask(now, max(SECONDS_BETWEEN_LOOKS, spent / MAX_PROCESSOR_SHARE))
        self._spent = time.thread_time() - began
        self._rests_until = time.monotonic() + _REST_PER_LOOK_RATIO * self._spent

    def _ask(self, now: float, seconds_between_looks: float) -> None:
        readings = self.book.to_look_at()
        change = self.book.take_time(_local_time())
        self._note_true()
        wait = MAX_SECONDS_WITHOUT_A_LOOK if change is None else min(change, MAX_SECONDS_WITHOUT_A_LOOK)
        if readings:
            self._looker.ask(readings, now)
            wait = min(wait, seconds_between_looks)
        self._wake_at(now + wait)

    def _note_true(self) -> None:
        if self.book.are_true:
            self._note_change()

    def _wake_at(self, due: float) -> None:
        self._due = due
        self._timers.at(due, lambda: self._woken(due))

    def _woken(self, due: float) -> None:
        if due == self._due:
            self._look()


def _local_time() -> LocalTime:
    now = time.time()
    local = time.localtime(now)
    seconds = local.tm_hour * 3_600 + local.tm_min * 60 + min(local.tm_sec, 59) + now % 1
    return LocalTime(local.tm_mday, local.tm_wday, seconds)


__all__ = ["MAX_PROCESSOR_SHARE", "MAX_SECONDS_WITHOUT_A_LOOK", "SECONDS_BETWEEN_LOOKS", "Sampling"]
