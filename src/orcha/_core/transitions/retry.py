"""How petitions whose attempt failed are tried again.

Whether an action is tried again is decided where the attempt's outcome is, in the transaction that would have been the
petition's end: the petition is QUEUED from then on, with the time of its next attempt. But it rests, and keeps slot and
id, until nothing of the attempt lives; then its on_finish is called, and when that is back and its time has come the
petition waits again. A command rests in the same way, from the report of its end on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.changes import AttemptStep
from orcha._core.effects import Do, Effect
from orcha._core.petitions import CANCELLING, STARTING
from orcha._core.reasons import RestingUntil
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.retry import Ended, remembered, retry_due
from orcha._core.state import Outcome, State

if TYPE_CHECKING:
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.retry import Tries

# Looked up once: an attribute of an enumeration costs ten times a global name.
_FINISHED, _RESTING, _WAITING = Phase.FINISHED, Phase.RESTING, Phase.WAITING
_QUEUED = State.QUEUED


def is_decided(record: Record) -> bool:
    """Tell whether a petition is to be tried again while something of its last attempt may still live."""
    return record.phase is _FINISHED and record.state is _QUEUED


def take_tries(record: Record, tries: Tries | None) -> None:
    """Take what decides about an attempt that an earlier start of the service began."""
    record.tries = tries


def next_due(record: Record, ended: Ended, now: Moment) -> float | None:
    """Give the time of the next attempt after the current one ended so; None where there is none."""
    tries = record.tries
    if tries is None:
        return None
    return retry_due(tries.retry, ended, retries=tries.retries, now=now.wall, chance=tries.chance)


# --- an action that failed ----------------------------------------------------------------------------------------


def try_again(petitions: Petitions, record: Record, code: int | None, reason: str | None, now: Moment) -> bool:
    """Decide what follows on an action that failed; False where its petition ends."""
    due = next_due(record, Ended(Outcome.FAILED, code), now)
    if due is None:
        return False
    record.outcome, record.code, record.reason = Outcome.FAILED, code, reason
    _queue_again(petitions, record, STARTING, due, now.steadily(due), now)
    record.phase = _FINISHED
    return True


def _queue_again(
    petitions: Petitions, record: Record, states: int, due: float, rests_until: float, now: Moment
) -> None:
    """Have a petition queued, from `due` on, with what is known of its attempt."""
    tries, outcome = record.tries, record.outcome
    assert tries is not None
    assert outcome is not None
    history = remembered(
        tries.history,
        record.attempt,
        started=record.started,
        ended=now.wall,
        outcome=outcome.name.lower(),
        code=record.code,
        reason=record.reason,
    )
    petitions.step(record, states, _QUEUED, now, hook_pending=True)
    _keep(petitions, record, due, history)
    record.state = _QUEUED
    record.due, record.rests_until = due, rests_until
    record.why, record.since = RestingUntil(record.attempt, record.code, due), now.wall


def _keep(petitions: Petitions, record: Record, due: float, history: str | None = None) -> None:
    assert record.tries is not None
    retries = record.tries.retries + 1
    step = AttemptStep(record.seq, record.attempt, due=due, retries=retries, history=history, is_command=record.command)
    petitions.keep_attempt(step)


# --- an attempt that took too long --------------------------------------------------------------------------------


def or_try_again(petitions: Petitions, record: Record, cancellation: Cancellation, now: Moment) -> Cancellation:
    """Give what becomes of an attempt that has taken too long, where its petition may be tried again.

    The decision is kept at once, as the limit is: a service that dies while the attempt is ended knows it at its next
    start.
    """
    due = next_due(record, Ended(cancellation.outcome, cancellation.code), now)
    if due is None:
        return cancellation
    _keep(petitions, record, due)
    return _again(cancellation, due, now.steadily(due))


def overrule(record: Record, cancellation: Cancellation) -> Cancellation:
    """Give what becomes of a petition that was to be tried again, and whose action has not returned, when it is ended.

    An action that takes too long to return is tried again all the same, if it does return.
    """
    due, record.due = record.due, None
    until, record.rests_until = record.rests_until, None
    record.outcome = record.code = record.reason = record.why = None
    if cancellation.outcome is not Outcome.TIMED_OUT or due is None or until is None:
        return cancellation
    return _again(cancellation, due, until)


def _again(decided: Cancellation, due: float, until: float) -> Cancellation:
    return Cancellation(decided.outcome, decided.code, decided.reason, requeue=_QUEUED, due=due, rests_until=until)


def end_for_good(record: Record) -> None:
    """Have a petition whose on_start hangs not tried again: its on_finish, which comes before that, may never come."""
    decided = record.cancellation
    assert decided is not None
    if decided.due is not None:
        record.cancellation = Cancellation(decided.outcome, decided.code, decided.reason)


def follow_timeout(petitions: Petitions, record: Record, cancellation: Cancellation, due: float, now: Moment) -> None:
    """Have an attempt that took too long, and whose processes have all ended, followed by another attempt."""
    record.cancellation = None
    record.outcome, record.code, record.reason = cancellation.outcome, cancellation.code, cancellation.reason
    until = now.steadily(due) if cancellation.rests_until is None else cancellation.rests_until
    _queue_again(petitions, record, CANCELLING, due, until, now)
    rest(petitions, record)


# --- until the next attempt ---------------------------------------------------------------------------------------


def rest(petitions: Petitions, record: Record) -> None:
    """Let a petition that is queued again rest: nothing of its attempt lives, and its on_finish is called."""
    record.phase = _RESTING
    record.tries = None
    record.outcome = record.code = record.reason = None
    petitions.owing[record.seq] = record
    petitions.ungrant(record)
    petitions.note_change()
    petitions.effects.append(Effect(Do.ON_FINISH, record))


def take_message(record: Record, extras: bytes) -> None:
    """Take the message of a petition that rests: the petition is made of it again before its next attempt."""
    record.extras = extras


def time_came(petitions: Petitions, seq: int, now: Moment) -> None:
    """Have a petition that rested wait again, now that its time may have come.

    That is called once. An on_finish that is owed may come back in the same batch, whose time is that of its beginning:
    so the petition knows from now on that it rests for its on_finish alone.
    """
    record = petitions.records.get(seq)
    if record is None:
        return
    if record.phase is _RESTING and record.rests_until is not None and record.rests_until <= now.steady:
        record.rests_until = None
    rise(petitions, record, now)


def rise(petitions: Petitions, record: Record, now: Moment) -> None:
    """Let a petition that rests wait again, if its time has come and no on_finish is owed."""
    if record.phase is not _RESTING or record.seq in petitions.owing:
        return
    if record.rests_until is None or record.rests_until <= now.steady:
        record.due = record.rests_until = record.why = None
        record.phase = _WAITING
        if record.state is _QUEUED:
            petitions.enqueue(record)
        petitions.note_change()
