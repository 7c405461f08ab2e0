"""How petitions are ended from outside: by a cancel, a limit, or the end of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core.codes import CANCELLED_CODE, INTERRUPTED_CODE
from orcha._core.petitions import CANCELLING, QUEUED, RUNNING, STARTING
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.state import Outcome, State
from orcha._core.transitions import retry
from orcha._core.transitions.finish import end_waiting
from orcha._core.transitions.recover import on_interrupt_state

if TYPE_CHECKING:
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions


def cancelled(reason: str | None = None) -> Cancellation:
    """Give what becomes of a petition that is cancelled; the reason is kept with it, and is no line of its output."""
    return Cancellation(Outcome.CANCELLED, CANCELLED_CODE, reason)


def interrupt(petitions: Petitions, record: Record, reason: str, now: Moment) -> None:
    """End what runs of a petition because the service ends; its policy decides what becomes of it."""
    requeue = on_interrupt_state(record.on_interrupt)
    cancel(petitions, record, Cancellation(Outcome.INTERRUPTED, INTERRUPTED_CODE, reason, requeue=requeue), now)


def cancel(petitions: Petitions, record: Record, cancellation: Cancellation, now: Moment, waiter: Any = None) -> None:
    """End a live petition, whatever it is doing; the waiter is answered with the outcome.

    This one operation is valid in every state.
    """
    if waiter is not None:
        record.waiters.append(waiter)
    if record.phase is Phase.CONVERTING:
        record.cancellation = record.cancellation or cancellation
    elif record.state in (State.QUEUED, State.HELD):
        if retry.is_decided(record):
            record.phase = Phase.ACTION
            _cancel_attempt(petitions, record, retry.overrule(record, cancellation), QUEUED, now)
        else:
            end_waiting(petitions, record, cancellation.outcome, cancellation.code, cancellation.reason, now)
    elif record.state in (State.STARTING, State.RUNNING):
        if cancellation.outcome is Outcome.TIMED_OUT:
            cancellation = retry.or_try_again(petitions, record, cancellation, now)
        _cancel_attempt(petitions, record, cancellation, STARTING | RUNNING, now)
    elif record.state is State.CANCELLING:
        _cancel_again(petitions, record, cancellation, now)
    else:
        _answer_when_gone(petitions, record)


def _cancel_attempt(petitions: Petitions, record: Record, cancellation: Cancellation, states: int, now: Moment) -> None:
    record.state = State.CANCELLING
    record.may_start = False
    _decide(petitions, record, cancellation, states, now)
    if record.phase is Phase.ACTION:
        petitions.end_processes(record)


def _decide(petitions: Petitions, record: Record, cancellation: Cancellation, states: int, now: Moment) -> None:
    record.cancellation = cancellation
    outcome, code, reason = cancellation.outcome, cancellation.code, cancellation.reason
    petitions.step(record, states, State.CANCELLING, now, outcome, code, reason)


def _cancel_again(petitions: Petitions, record: Record, cancellation: Cancellation, now: Moment) -> None:
    """Keep a petition that is to wait again from waiting; any other ends as was decided first."""
    decided = record.cancellation
    if decided is None or decided.requeue is None or cancellation.requeue is not None:
        return
    if petitions.leaving.pop(record.seq, None) is None:
        _decide(petitions, record, cancellation, CANCELLING, now)
        return
    petitions.end(record, cancellation.outcome, cancellation.code, cancellation.reason, CANCELLING, now)
    petitions.forget(record)


def _answer_when_gone(petitions: Petitions, record: Record) -> None:
    """End what an ended petition has left; the client that cancels is answered when that is gone."""
    if record.processes_gone:
        petitions.end_processes(record)
    elif record.survivors:
        petitions.answer(record)  # nothing could kill them: the outcome is all that there is to tell
