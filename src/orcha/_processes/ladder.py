"""How the processes of an attempt are asked to end, then told, then ended: a decision, without effects or a clock."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import NamedTuple


class Rung(NamedTuple):
    """One step of a ladder: a signal, and the seconds it has to work."""

    signal: int
    grace: float


POLITE_RUNGS = (Rung(signal.SIGINT, 2.0), Rung(signal.SIGTERM, 3.0), Rung(signal.SIGKILL, 30.0))
"""The default ladder. The last grace is how long a kill may take before the survivors are reported."""
KILL_RUNGS = (Rung(signal.SIGKILL, 30.0),)
"""No grace: what is over or must be over now."""


class Decision(NamedTuple):
    """What to do now."""

    signal: int | None
    """The signal that each living process should have been sent by now."""
    due: float
    """When to ask again at the latest."""
    is_over: bool
    """Nothing is left, or the last grace has passed and what lives is to be reported."""


class Ladder:
    """Decides step by step, on the caller's clock.

    Example::

        ladder = Ladder(POLITE_RUNGS)
        decision = ladder.decide(now, bool(population.living(ordinal)))
    """

    def __init__(self, rungs: Sequence[Rung] = POLITE_RUNGS) -> None:
        """Begin before the first of `rungs`; ValueError when there is none."""
        if not rungs:
            raise ValueError("a ladder needs a rung")
        self._rungs = list(rungs)
        self._due = float("-inf")
        self.signal: int | None = None
        """The last signal decided on; None before the first."""

    def decide(self, now: float, anybody: bool) -> Decision:
        """Say what to do, given whether any process of the attempt lives."""
        if not anybody:
            return Decision(None, now, is_over=True)
        if now >= self._due:
            if not self._rungs:
                return Decision(self.signal, now, is_over=True)
            rung = self._rungs.pop(0)
            self.signal, self._due = rung.signal, now + rung.grace
        return Decision(self.signal, self._due, is_over=False)

    def hurry(self, rungs: Sequence[Rung] = KILL_RUNGS) -> None:
        """Go on with these rungs at once, unless it is at its last one already."""
        if self._rungs:
            self._rungs, self._due = list(rungs), float("-inf")
