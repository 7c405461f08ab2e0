"""Whether answers come at once: then looking again and again until they do may be quicker than sleeping.

A thread that sleeps has to be woken, and its processor, where that sleeps too: 30 to 150 µs, most on virtual machines,
and some for who wakes it. On a busy machine it is the other way round: who looks uses up what would have the scheduler
run him at once when the answer comes. So both are tried, and what has been quicker is done.
"""

from __future__ import annotations

import os

AT_ONCE = 0.001
"""Seconds that an answer which comes at once takes on average, and for which it is looked for at most."""
LONGEST = 2 * AT_ONCE
"""What a longer wait counts as."""
FEWEST = 2
"""Answers that are slept for before one is looked for."""
CYCLE, TRIED = 64, 4
"""Of so many answers these are awaited in the other way, in a row: in which state each leaves the processors counts."""
_WEIGHT = 1 / 16


class Promptness:
    """How soon answers came of late, by how they were awaited.

    >>> answers = Promptness(processors=2)
    >>> answers.note(0.0005, looked=False), answers.note(0.0007, looked=False)
    (None, None)
    >>> answers.are_worth_a_look
    True
    >>> for _ in range(10):
    ...     answers.note(0.0020, looked=True)
    >>> answers.are_worth_a_look
    False
    """

    def __init__(self, processors: int | None = None) -> None:
        """Know none yet; where one processor does everything, an answer never comes while it is looked for."""
        self._processors = len(os.sched_getaffinity(0)) if processors is None else processors
        self._count = 0
        self._looked: float | None = None
        self._slept: float | None = None

    def note(self, seconds: float, *, looked: bool) -> None:
        """Note how long an answer was waited for, and whether it was looked for."""
        seconds = min(seconds, LONGEST)
        self._count += 1
        if looked:
            self._looked = _mean(self._looked, seconds)
        else:
            self._slept = _mean(self._slept, seconds)

    @property
    def are_worth_a_look(self) -> bool:
        """Whether the next one is to be looked for before it is slept for."""
        if self._processors < 2 or self._count < FEWEST or self._slept is None or self._slept > AT_ONCE:
            return False
        if self._looked is None:
            return True
        pays = self._looked <= self._slept
        return pays is (self._count % CYCLE >= TRIED)


def _mean(before: float | None, seconds: float) -> float:
    if before is None:
        return seconds
    return before + (seconds - before) * _WEIGHT
