"""What becomes of petitions that were live when the service ended.

Everything that ran has been swept before this: no process of an earlier start of the service lives any more.
"""

from __future__ import annotations

from typing import NamedTuple

from orcha._core.codes import CANCELLED_CODE, INTERRUPTED_CODE
from orcha._core.state import OnInterrupt, Outcome, State

INTERRUPTED = "interrupted: the service ended while it ran"
_WAITS_AGAIN = {OnInterrupt.RERUN: State.QUEUED, OnInterrupt.ASK: State.HELD}


class Recovered(NamedTuple):
    """Where a petition goes at the start of the service: a waiting state, or its outcome."""

    state: State
    outcome: Outcome | None = None
    code: int | None = None
    reason: str | None = None


def on_interrupt_state(policy: OnInterrupt) -> State | None:
    """Give the state an interrupted petition goes to; None where it ends."""
    return _WAITS_AGAIN.get(policy)


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
    if state in (State.STARTING, State.RUNNING):
        return _interrupted(on_interrupt, INTERRUPTED)
    if state is not State.CANCELLING:
        return None
    if outcome is Outcome.INTERRUPTED:
        return _interrupted(on_interrupt, reason)
    return Recovered(State.ENDED, outcome or Outcome.CANCELLED, CANCELLED_CODE if code is None else code, reason)


def _interrupted(on_interrupt: OnInterrupt, reason: str | None) -> Recovered:
    again = on_interrupt_state(on_interrupt)
    if again is not None:
        return Recovered(again)
    return Recovered(State.ENDED, Outcome.INTERRUPTED, INTERRUPTED_CODE, reason)
