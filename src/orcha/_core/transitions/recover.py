"""What becomes of petitions that were live when the service ended.

Everything that ran has been swept before this: no process of an earlier start of the service lives any more, commands
aside that are adopted and come here only where nothing of them is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.codes import BROKEN_CODE, CANCELLED_CODE, INTERRUPTED_CODE
from orcha._core.reasons import StartsLater
from orcha._core.record import Phase, Record
from orcha._core.state import OnInterrupt, Outcome, State

if TYPE_CHECKING:
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.reasons import RestingUntil

INTERRUPTED = "interrupted: the service ended while it ran"
WATCHER_FAILED = "interrupted: what watched over the command failed: {}"
NEVER_EXECUTED = "it could not be executed: what was to start it died, several times in a row"
MAX_LOSSES = 3
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

    A petition that was being cancelled ends as was decided then (its row holds that outcome). A petition that was
    starting may have run, so its policy decides. With `losses` the petition is a command that is known not to have been
    executed: the service died first, that many times in a row, and the petition waits again. A petition that was being
    ended because it took too long waits again, too, where the time `due` of its next attempt is kept. `failure` is the
    error of Orcha that ended the command's shim.

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
    """Decide for a command whose attempt was lost before it was executed, as `losses` attempts in a row were.

    >>> never_executed(1).state
    <State.QUEUED: 1>
    """
    if losses < MAX_LOSSES:
        return Recovered(State.QUEUED)
    return Recovered(State.ENDED, Outcome.BROKEN, BROKEN_CODE, NEVER_EXECUTED)


def _interrupted(on_interrupt: OnInterrupt, reason: str | None) -> Recovered:
    again = on_interrupt_state(on_interrupt)
    if again is not None:
        return Recovered(again)
    return Recovered(State.ENDED, Outcome.INTERRUPTED, INTERRUPTED_CODE, reason)


# --- the records --------------------------------------------------------------------------------------------------


def recovered(
    petitions: Petitions,
    record: Record,
    now: Moment,
    *,
    hook_pending: bool,
    slot_held: bool,
    losses: int = 0,
    due: float | None = None,
    failure: str = "",
) -> bool:
    """Bring a stored petition to a known place; tell whether its on_finish is owed.

    Every process of an earlier start of the service has been swept before. `losses`, `due` and `failure` are as
    `recover` says.
    """
    if record.state is State.ENDED:
        if slot_held:
            petitions.changes.flags[record.seq] = (hook_pending, False)
        return hook_pending
    record.devices = None  # nothing of its attempt lives: its next attempt gets what is free then
    found = record.state, record.on_interrupt, record.outcome, record.code, record.reason
    step = recover(*found, losses=losses, due=due, failure=failure)
    if step is not None and _take_step(petitions, record, step, now):
        return True
    if record.state is State.HELD:
        petitions.load(record)
    owed = hook_pending or step is not None
    if owed:
        petitions.owing[record.seq] = record
    return owed


def _take_step(petitions: Petitions, record: Record, step: Recovered, now: Moment) -> bool:
    """Have a petition go where the step says; tell whether it ended."""
    states = 1 << record.state
    if step.outcome is not None:
        petitions.end(record, step.outcome, step.code, step.reason, states, now)
        return True
    record.state = step.state
    record.outcome = record.code = record.reason = None
    petitions.step(record, states, step.state, now, hook_pending=True)
    return False


def rest(petitions: Petitions, record: Record, why: RestingUntil | StartsLater, now: Moment) -> None:
    """Take a stored petition that waits for its first or next attempt's time, which people may have named."""
    record.phase = Phase.RESTING
    record.why, record.due = why, why.due
    record.rests_until = None if isinstance(why, StartsLater) else now.steadily(why.due)
    petitions.enter(record)
