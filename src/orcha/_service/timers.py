"""Calls that are due later, on the monotonic clock."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


MAX_WAIT_SECONDS = 86_400.0
"""Seconds for which a thread is put to sleep at most: clocks of systems do not count to everything a float holds."""


class Timers:
    """Calls to make at a time. A call whose occasion is over by then has to notice that itself."""

    def __init__(self) -> None:
        """Start with nothing due."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = count()
        self.head: float | None = None
        """When the next one is due; None where nothing is."""

    def __len__(self) -> int:
        """Count the calls that are due later."""
        return len(self._due)

    def at(self, due: float, call: Callable[[], None]) -> None:
        """Have `call` made when the clock shows `due`."""
        heapq.heappush(self._due, (due, next(self._count), call))
        self.head = self._due[0][0]

    def wait(self, now: float) -> float | None:
        """Give the seconds until the next call is due; None where no call is due."""
        return None if self.head is None else min(max(0.0, self.head - now), MAX_WAIT_SECONDS)

    def take(self, now: float) -> list[Callable[[], None]]:
        """Take out the calls that are due, in order."""
        calls = []
        while self.head is not None and self.head <= now:
            calls.append(heapq.heappop(self._due)[2])
            self.head = self._due[0][0] if self._due else None
        return calls
