"""Whether answers come at once: then looking again and again until they do is quicker than sleeping.

A thread that sleeps has to be woken, and its processor, where that sleeps too: 30 to 150 µs, most on virtual machines,
and some for who wakes it. So where an answer is likely to come in less time than a processor is worth, it stays awake.
"""

from __future__ import annotations

import os

AT_ONCE = 0.001
"""Seconds that an answer which comes at once takes at most, and for which it is looked for."""
IN_A_ROW = 2
"""So many have to have come at once before the next is looked for."""


class Promptness:
    """How soon the last answers came.

    >>> answers = Promptness(processors=2)
    >>> answers.note(0.0004), answers.note(0.0006)
    (None, None)
    >>> answers.are_prompt
    True
    >>> answers.note(2.0)
    >>> answers.are_prompt
    False
    """

    def __init__(self, processors: int | None = None) -> None:
        """Expect nothing yet; where one processor does everything, an answer never comes while it is looked for."""
        self._processors = len(os.sched_getaffinity(0)) if processors is None else processors
        self._in_a_row = 0

    def note(self, seconds: float) -> None:
        """Note how long an answer was waited for."""
        self._in_a_row = self._in_a_row + 1 if seconds <= AT_ONCE else 0

    @property
    def are_prompt(self) -> bool:
        """Whether the next answer is worth looking for."""
        return self._in_a_row >= IN_A_ROW and self._processors > 1
