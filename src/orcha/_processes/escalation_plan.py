"""Plans the signals that end an attempt's processes: pure decisions, without effects and without a clock."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import NamedTuple


class EscalationStep(NamedTuple):
    """One step of a plan: a signal, and its grace in seconds."""

    signal: int
    grace: float


POLITE_STEPS = (
    EscalationStep(signal.SIGINT, 2.0),
    EscalationStep(signal.SIGTERM, 3.0),
    EscalationStep(signal.SIGKILL, 30.0),
)
"""The default plan. After the last grace the processes that still live are reported as survivors."""
KILL_STEPS = (EscalationStep(signal.SIGKILL, 30.0),)
"""The plan without a grace: for an attempt that is over, or has to be over now."""


class Decision(NamedTuple):
    """What has to be done now."""

    signal: int | None
    """The signal that every living process must have got by now; None for none."""
    due: float
    """When :meth:`EscalationPlan.decide` has to be called again at the latest."""
    is_over: bool
    """Whether the plan is done: no process is left, or the last grace has passed with survivors."""


class EscalationPlan:
    """Decides step by step, by the caller's clock.

    Example::

        plan = EscalationPlan(POLITE_STEPS)
        decision = plan.decide(now, bool(processes.living(ordinal)))
    """

    def __init__(self, steps: Sequence[EscalationStep] = POLITE_STEPS) -> None:
        """Begin before the first of `steps`; ValueError where there is none."""
        if not steps:
            raise ValueError("a plan needs a step")
        self._steps = list(steps)
        self._due = float("-inf")
        self.signal: int | None = None
        """The last signal that was decided on; None before the first one."""

    def decide(self, now: float, anybody: bool) -> Decision:
        """Decide what to do now, given whether any process of the attempt lives."""
        if not anybody:
            return Decision(None, now, is_over=True)
        if now >= self._due:
            if not self._steps:
                return Decision(self.signal, now, is_over=True)
            step = self._steps.pop(0)
            self.signal, self._due = step.signal, now + step.grace
        return Decision(self.signal, self._due, is_over=False)

    def hurry(self, steps: Sequence[EscalationStep] = KILL_STEPS) -> None:
        """Go on with these steps at once, unless the last step has been reached already."""
        if self._steps:
            self._steps, self._due = list(steps), float("-inf")
