"""The two clocks of a simulated machine: the steady clock, which nobody sets, and the clock on the wall."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from orcha._service.hooks import hook_thread

BEGIN = 1_700_000_000.0
ROUNDING = 1e-6
"""By so much two sums of seconds may differ that are the same."""


class VirtualTime:
    """Time that passes where the story says so."""

    def __init__(self) -> None:
        """Begin at some moment of the year 2023."""
        self.steady = 1_000.0
        self._set_by = 0.0
        self._sets = [(self.steady, 0.0)]
        """Since when the clock on the wall is ahead by how much."""
        self._highest = 0.0
        self.lowest = self.wall
        """What the clock on the wall showed after it was set back furthest."""

    @property
    def wall(self) -> float:
        """What the clock on the wall shows."""
        return BEGIN + self.steady + self._set_by

    @property
    def highest(self) -> float:
        """The latest time that the clock on the wall has shown."""
        return max(self._highest, self.wall)

    def steady_when(self, wall: float) -> float:
        """Give what the steady clock showed when the clock on the wall showed this last; now where it never did."""
        until = self.steady
        for since, set_by in reversed(self._sets):
            steady = wall - BEGIN - set_by
            if since - ROUNDING <= steady <= until + ROUNDING:
                return steady
            until = since
        return self.steady

    def lowest_within(self, seconds: float) -> float:
        """Give the least that the clock on the wall showed within the last seconds."""
        begin, found = self.steady - seconds, self.wall
        until = self.steady
        for since, set_by in reversed(self._sets):
            if until < begin:
                break
            found = min(found, BEGIN + max(since, begin) + set_by)
            until = since
        return found

    def is_set_by(self, seconds: float) -> None:
        """Set the clock on the wall."""
        self._highest = self.highest
        self._set_by += seconds
        self._sets.append((self.steady, self._set_by))
        self.lowest = min(self.lowest, self.wall) if seconds < 0 else self.lowest

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.steady += max(0.0, seconds)

    @contextmanager
    def is_shown(self) -> Iterator[None]:
        """Have all clocks of this process show this time."""
        clocks = {
            "time": lambda: self.wall,
            "time_ns": lambda: int(self.wall * 1e9),
            "monotonic": lambda: self.steady,
            "thread_time": lambda: 0.0,
        }
        with ExitStack() as stack:
            for name, clock in clocks.items():
                stack.enter_context(patch.object(time, name, clock))
            stack.enter_context(patch.object(hook_thread, "_monotonic", clocks["monotonic"]))
            yield
