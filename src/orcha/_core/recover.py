"""What becomes of petitions that were live when the service ended.

Everything that ran has been swept before this: no process of an earlier start of the service lives any more, commands
aside that are adopted and come here only where nothing of them is left.
"""

from __future__ import annotations

from typing import NamedTuple

from orcha._core.codes import BROKEN_CODE, CANCELLED_CODE, INTERRUPTED_CODE
from orcha._core.state import OnInterrupt, Outcome, State

INTERRUPTED = "interrupted: the service ended while it ran"
WATCHER_FAILED = "interrupted: what watched over the command failed: {}"
NEVER_EXECUTED = "it could not be executed: what was to start it died, several times in a row"
MOST_LOSSES = 3
"""Attempts at a command in a row that may be lost before they are executed."""
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
    state: State,
    on_interrupt: OnInterrupt,
    outcome: Outcome | None,
    code: int | None,
    reason: str | None,
    *,
    losses: int = 0,
    due: float | None = None,
    failure: str = "",
) -> Recovered | None:
    """Decide for one stored petition; None where it stays as it is.

    A petition that was being cancelled ends as was decided then (its row holds that outcome); one that was starting may
    have run, so its policy decides. With `losses` it is a command that is known not to have been executed: the service
    died first, however often in a row, and it waits again. So does one that was being ended because it took too long,
    where the time `due` of its next attempt is kept. `failure` is the error of ours that ended what watched over it.

    >>> recover(State.QUEUED, OnInterrupt.FAIL, None, None, None)
    >>> recover(State.STARTING, OnInterrupt.RERUN, None, None, None).state
    <State.QUEUED: 1>
    """
    if state in (State.STARTING, State.RUNNING):
        if losses:
            return Recovered(State.QUEUED)
        return _interrupted(on_interrupt, WATCHER_FAILED.format(failure) if failure else INTERRUPTED)
    if state is not State.CANCELLING:
        return None
    if outcome is Outcome.INTERRUPTED:
        return _interrupted(on_interrupt, reason)
    if outcome is Outcome.TIMED_OUT and due is not None:
        return Recovered(State.QUEUED)
    return Recovered(State.ENDED, outcome or Outcome.CANCELLED, CANCELLED_CODE if code is None else code, reason)


def never_executed(losses: int) -> Recovered:
    """Decide for a command whose attempt was lost before it was executed, for the so manyth time in a row.

    >>> never_executed(1).state
    <State.QUEUED: 1>
    """
    if losses < MOST_LOSSES:
        return Recovered(State.QUEUED)
    return Recovered(State.ENDED, Outcome.BROKEN, BROKEN_CODE, NEVER_EXECUTED)


def _interrupted(on_interrupt: OnInterrupt, reason: str | None) -> Recovered:
    again = on_interrupt_state(on_interrupt)
    if again is not None:
        return Recovered(again)
    return Recovered(State.ENDED, Outcome.INTERRUPTED, INTERRUPTED_CODE, reason)
