"""Looks at the wall clock, which people may set: at the time that is waited for, and now and then before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.timers import Timers

CLOCK_LOOK_SECONDS = 10.0
"""Seconds between two looks at the wall clock, at most, while something waits for a time."""


class ClockLooks:
    """Calls a function when the wall clock shows a time, or earlier; the engine thread's."""

    def __init__(self, timers: Timers, look: Callable[[], None]) -> None:
        """Have `look` called: it does what has come, and asks for the next look."""
        self._timers = timers
        self._call = look
        self._looks_at: float | None = None
        """When the next look is, on the steady clock."""

    def ask_for(self, due: float) -> None:
        """Have a look when the clock on the wall shows `due`, or soon, since that clock may be set."""
        looks_at = time.monotonic() + min(max(0.0, due - time.time()), CLOCK_LOOK_SECONDS)
        if self._looks_at is None or looks_at < self._looks_at:
            self._looks_at = looks_at
            self._timers.at(looks_at, self._look)

    def _look(self) -> None:
        if self._looks_at is None or self._looks_at > time.monotonic():
            return  # of two looks the later one
        self._looks_at = None
        self._call()
