"""Waiting for facts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds: generous, since a loaded machine is no defect; only a failure takes this long."""
LONGEST_STEP = 1.0
"""Seconds that one look at a fact counts at most: while this process was stopped, so were those it waits for."""
PAUSE_PER_LOOK = 3
"""How many times as long as a look the pause after the look is, at least."""
FIRST_PAUSE_SHARE = 1 / 8
"""Of the interval: what an engine in this process does takes less than a millisecond, and many tests wait for that."""


def wait_for(fact: Callable[[], T], deadline: float = DEADLINE, *, what: str = "", interval: float = 0.01) -> T:
    """Give the first truthy result of `fact`; fail when there is none within `deadline` seconds.

    The pauses between two looks grow to `interval` seconds, and are at least three times as long as a look: a look that
    runs a command must not keep a processor from what is waited for.

    >>> wait_for(lambda: [1, 2])
    [1, 2]
    """
    left, began = deadline, time.monotonic()
    before = began
    never, pause = threading.Event(), interval * FIRST_PAUSE_SHARE
    while not (result := fact()):
        now = time.monotonic()
        left -= min(now - before, LONGEST_STEP)
        before = now
        if left < 0:
            message = f"not within {deadline:g} s: {what or getattr(fact, '__name__', fact)} (last: {result!r})"
            raise AssertionError(message)
        never.wait(max(pause, PAUSE_PER_LOOK * (now - began)))
        pause = min(2 * pause, interval)
        began = time.monotonic()
    return result
