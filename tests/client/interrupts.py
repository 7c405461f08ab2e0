"""Ctrl+C at random moments: a timer's signal raises KeyboardInterrupt, thousands of times."""

from __future__ import annotations

import gc
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Raises KeyboardInterrupt in the main thread at random moments of a function, and of what it calls."""

    def __init__(self, inside: Callable[..., Any], outside: Callable[..., Any] | None) -> None:
        """Have raised none yet."""
        self.count = 0
        """How many were raised."""
        self.longest = 0.0008
        """Seconds between two signals, at most."""
        self.is_over = False
        self._inside = inside.__code__
        self._outside = {"__del__"}  # Python would report it, and go on
        if outside is not None:
            self._outside.add(outside.__name__)

    def handle(self, _: int, frame: FrameType | None) -> None:
        """Raise it, where that is due."""
        if self.is_over:
            return
        is_inside = self._is_inside(frame)
        # Last: where a processor is busy, the next signal would come before this one is handled, again and again.
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, self.longest))
        if is_inside:
            self.count += 1
            raise KeyboardInterrupt

    def _is_inside(self, frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code.co_name not in self._outside:
            if frame.f_code is self._inside:
                return True
            frame = frame.f_back
        return False


@contextmanager
def interrupts(inside: Callable[..., Any], outside: Callable[..., Any] | None = None) -> Iterator[Interrupts]:
    """Interrupt one function again and again, but nothing that is called by the other."""
    rain = Interrupts(inside, outside)
    gc.disable()  # what finalizers and callbacks of a collection raise is reported, and ends nothing
    before = signal.signal(signal.SIGALRM, rain.handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        yield rain
    finally:
        rain.is_over = True  # first: the handler of a signal that has come already would set the timer again
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
