"""Whether answers come at once: then looking again and again until they do is quicker than sleeping.

A thread that sleeps has to be woken, and its processor, where that sleeps too: 30 to 150 µs, most on virtual machines,
and some for who wakes it. So where an answer is likely to come in less time than a processor is worth, it stays awake.
"""

from __future__ import annotations

import os

AT_ONCE = 0.001
"""Seconds that an answer which comes at once takes at most, and for which it is looked for."""
FEWEST = 2
"""So many have to have come at once before the next is looked for."""
MOST = 4096
"""So many where looking has not paid: on a busy machine who looks uses up what would have him run at once later."""
_PENALTY = 4


class Promptness:
    """How soon the last answers came, and whether looking for them was worth it.

    >>> answers = Promptness(processors=2)
    >>> answers.note(0.0004), answers.note(0.0006)
    (None, None)
    >>> answers.are_prompt
    True
    >>> answers.note(2.0, looked=True)
    >>> answers.are_prompt
    False
    """

    def __init__(self, processors: int | None = None) -> None:
        """Expect nothing yet; where one processor does everything, an answer never comes while it is looked for."""
        self._processors = len(os.sched_getaffinity(0)) if processors is None else processors
        self._in_a_row = 0
        self._needed = FEWEST

    def note(self, seconds: float, *, looked: bool = False) -> None:
        """Note how long an answer was waited for, and whether it was looked for."""
        came = seconds <= AT_ONCE
        self._in_a_row = self._in_a_row + 1 if came else 0
        if looked:
            self._needed = max(self._needed // 2, FEWEST) if came else min(self._needed * _PENALTY, MOST)

    @property
    def are_prompt(self) -> bool:
        """Whether the next answer is worth looking for."""
        return self._in_a_row >= self._needed and self._processors > 1
