"""What becomes of petitions that were live when the service ended.

Everything that ran has been swept before this: no process of an earlier start of the service lives any more.
"""

from __future__ import annotations

from typing import NamedTuple

from orcha._core.state import OnInterrupt, Outcome, State

INTERRUPTED_CODE = 75
CANCELLED_CODE = 130
TIMED_OUT_CODE = 124
INTERRUPTED = "interrupted: the service ended while it ran"


class Recovered(NamedTuple):
    """Where a petition goes at the start of the service: a waiting state, or its outcome."""

    state: State
    outcome: Outcome | None = None
    code: int | None = None
    reason: str | None = None


def recover(
    state: State, on_interrupt: OnInterrupt, outcome: Outcome | None, code: int | None, reason: str | None
) -> Recovered | None:
    """Decide for one stored petition; None where it stays as it is.

    A petition that was being cancelled ends as was decided then (its row holds that outcome); one that was starting may
    have run, so its policy decides.

    >>> recover(State.QUEUED, OnInterrupt.FAIL, None, None, None)
    >>> recover(State.STARTING, OnInterrupt.RERUN, None, None, None).state
    <State.QUEUED: 1>
    """
    if state is State.CANCELLING:
        if outcome is Outcome.INTERRUPTED:
            return _interrupted(on_interrupt)
        return Recovered(State.ENDED, outcome or Outcome.CANCELLED, CANCELLED_CODE if code is None else code, reason)
    if state in (State.STARTING, State.RUNNING):
        return _interrupted(on_interrupt)
    return None


def _interrupted(on_interrupt: OnInterrupt) -> Recovered:
    if on_interrupt is OnInterrupt.RERUN:
        return Recovered(State.QUEUED)
    if on_interrupt is OnInterrupt.ASK:
        return Recovered(State.HELD)
    return Recovered(State.ENDED, Outcome.INTERRUPTED, INTERRUPTED_CODE, INTERRUPTED)
