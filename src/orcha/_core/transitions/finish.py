"""How attempts end by themselves: what the hooks, the action and its processes report.

A report that does not name the petition's current attempt changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.codes import BROKEN_CODE, FAILED_CODE
from orcha._core.effects import Do, Effect
from orcha._core.petitions import CANCELLING, HELD, QUEUED, STARTING
from orcha._core.record import Phase, Record
from orcha._core.state import Outcome, State
from orcha._core.transitions import retry

if TYPE_CHECKING:
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ACTION, _FINISHED, _ON_START, _RESTING, _WAITING = (
    Phase.ACTION,
    Phase.FINISHED,
    Phase.ON_START,
    Phase.RESTING,
    Phase.WAITING,
)
_CANCELLING, _ENDED, _QUEUED, _STARTING = State.CANCELLING, State.ENDED, State.QUEUED, State.STARTING
_ON_FINISH, _SWEEP = Do.ON_FINISH, Do.SWEEP
_BROKEN, _FAILED, _SUCCEEDED = Outcome.BROKEN, Outcome.FAILED, Outcome.SUCCEEDED


# --- on_start -----------------------------------------------------------------------------------------------------


def action_going(petitions: Petitions, seq: int, attempt: int) -> None:
    """Note that on_start said yes and the action has been handed to its thread."""
    record = petitions.current(seq, attempt)
    if record is None or record.phase is not _ON_START:
        return
    record.phase = _ACTION
    if record.state is _CANCELLING and not record.returned:
        petitions.end_processes(record)


def start_failed(
    petitions: Petitions, seq: int, attempt: int, reason: str, now: Moment, *, called: bool = True, hung: bool = False
) -> None:
    """End an attempt whose on_start said no, raised, hung or was not `called`: its action was not called."""
    record = petitions.current(seq, attempt)
    if record is None or record.phase is not _ON_START:
        return
    record.returned = True
    if record.state is _CANCELLING:
        if hung:
            retry.end_for_good(record)
        end_cancelled(petitions, record, now, hook=called)
    else:
        petitions.end(record, _BROKEN, BROKEN_CODE, reason, STARTING, now, hook_pending=called)
        petitions.release(record, hook=called)


# --- the action ---------------------------------------------------------------------------------------------------


def finish(petitions: Petitions, seq: int, attempt: int, value: int | None, now: Moment) -> bool:
    """Take the attempt's own final value; False where the outcome has been decided already."""
    record = petitions.writable(seq, attempt)
    if record is None or record.command:
        return False
    if value and retry.try_again(petitions, record, value, None, now):
        return True
    outcome = _FAILED if value else _SUCCEEDED
    petitions.end(record, outcome, value, None, STARTING, now, slot_held=True)
    record.phase = _FINISHED
    return True


def returned(petitions: Petitions, seq: int, attempt: int, error: str | None, now: Moment, *, processes: bool) -> None:
    """Note that the action came back (with the reason, where it raised), and whether it may have left processes."""
    record = petitions.current(seq, attempt)
    if record is None or record.returned:
        return
    record.returned = True
    if record.state is _CANCELLING:
        _returned_cancelled(petitions, record, now, processes=processes)
        return
    if record.state is _STARTING:
        _decide_return(petitions, record, error, now, processes=processes)
    record.phase = _FINISHED
    if processes:
        record.processes_gone = False
        petitions.effects.append(Effect(_SWEEP, record))
    elif record.processes_gone:
        _let_go(petitions, record)


def _decide_return(petitions: Petitions, record: Record, error: str | None, now: Moment, *, processes: bool) -> None:
    """Give an action that returned without `finish` its outcome, or another attempt."""
    if error is not None and retry.try_again(petitions, record, FAILED_CODE, error, now):
        return
    outcome, code = (_SUCCEEDED, None) if error is None else (_FAILED, FAILED_CODE)
    petitions.end(record, outcome, code, error, STARTING, now, slot_held=processes or not record.processes_gone)


def _let_go(petitions: Petitions, record: Record) -> None:
    """Be done with an attempt whose processes have all ended."""
    if record.state is _QUEUED:
        retry.rest(petitions, record)
    else:
        petitions.release(record)


def _returned_cancelled(petitions: Petitions, record: Record, now: Moment, *, processes: bool) -> None:
    if not record.processes_gone:
        return
    if processes:
        petitions.end_processes(record)
    else:
        end_cancelled(petitions, record, now)


# --- its processes ------------------------------------------------------------------------------------------------


def processes_left(petitions: Petitions, record: Record) -> None:
    """Note that the action named a process: where its outcome is decided already, that process is ended too."""
    if record.state is not _STARTING and record.processes_gone:
        record.processes_gone = False
        petitions.effects.append(Effect(_SWEEP, record))


def processes_gone(petitions: Petitions, seq: int, attempt: int, survivors: list[int], now: Moment) -> None:
    """Note that no process of the attempt is left, or which processes nothing could kill.

    Survivors keep slot and id, and are swept again and again until they are gone. A report nobody waits for changes
    nothing.
    """
    record = petitions.current(seq, attempt)
    if record is None or record.processes_gone:
        return
    record.survivors = tuple(survivors)
    if survivors:
        _cannot_be_killed(petitions, record, survivors, now)
        return
    record.processes_gone = True
    if record.state is _ENDED:
        petitions.answer(record)
        if record.returned:
            petitions.release(record)
    elif record.state is _CANCELLING:
        if record.returned:
            end_cancelled(petitions, record, now)
    elif record.returned and retry.is_decided(record):
        retry.rest(petitions, record)


def _cannot_be_killed(petitions: Petitions, record: Record, survivors: list[int], now: Moment) -> None:
    if record.state is _CANCELLING:
        reason = f"cannot be killed: process {', '.join(map(str, survivors))}"
        petitions.end(record, _BROKEN, BROKEN_CODE, reason, CANCELLING, now, slot_held=True)
        record.phase = _FINISHED
    elif retry.is_decided(record):  # with something of an attempt that lives no other one begins
        assert record.outcome is not None
        petitions.end(record, record.outcome, record.code, record.reason, QUEUED, now, slot_held=True)
    petitions.answer(record)
    petitions.effects.append(Effect(_SWEEP, record))


def abandon(petitions: Petitions, seq: int, attempt: int, now: Moment) -> None:
    """End a cancelled attempt whose processes are gone and whose thread has not returned in its grace.

    An interrupted petition that is to wait again stays as it is: it may not wait while its thread lives, and the next
    start of the service decides. An attempt that took too long is not tried again then.
    """
    record = petitions.current(seq, attempt)
    if record is None or record.state is not _CANCELLING or record.phase is not _ACTION:
        return
    cancellation = record.cancellation
    assert cancellation is not None
    interrupted = cancellation.requeue is not None and cancellation.due is None
    if record.returned or not record.processes_gone or interrupted:
        return
    petitions.end(record, cancellation.outcome, cancellation.code, cancellation.reason, CANCELLING, now, slot_held=True)
    record.phase = _FINISHED


def end_cancelled(petitions: Petitions, record: Record, now: Moment, *, hook: bool = True) -> None:
    """Give a cancelled petition its outcome: neither its thread nor a process of the attempt lives."""
    cancellation = record.cancellation
    assert cancellation is not None
    outcome, code, reason = cancellation.outcome, cancellation.code, cancellation.reason
    if cancellation.requeue is None:
        petitions.end(record, outcome, code, reason, CANCELLING, now, hook_pending=hook)
        petitions.release(record, hook=hook)
        return
    if cancellation.due is not None and hook:  # without its on_start nothing failed: it waits again at once
        retry.follow_timeout(petitions, record, cancellation, cancellation.due, now)
        return
    if hook and record.seq in petitions.preempted and cancellation.requeue is _QUEUED:
        record.cancellation = None
        petitions.step(record, CANCELLING, _QUEUED, now, hook_pending=True)
        record.state = _QUEUED
        retry.rest(petitions, record)
        return
    record.phase = _FINISHED
    petitions.ungrant(record)
    petitions.note_change()
    if hook:
        petitions.leaving[record.seq] = record
        petitions.effects.append(Effect(_ON_FINISH, record))
    else:
        _wait_again(petitions, record, cancellation.requeue, now)


# --- on_finish ----------------------------------------------------------------------------------------------------


def hook_done(petitions: Petitions, seq: int, now: Moment) -> None:
    """Note that on_finish came back: it is not owed any more."""
    if seq in petitions.leaving:
        record = petitions.leaving.pop(seq)
        assert record.cancellation is not None
        assert record.cancellation.requeue is not None
        _wait_again(petitions, record, record.cancellation.requeue, now)
    elif seq in petitions.owing:
        owing = petitions.owing.pop(seq)
        if owing is not None:
            if owing.phase is _RESTING and owing.retry is not None and not owing.command:
                owing.petition = None  # made again: what threads of the ended attempt have is not the next one's
            petitions.step(owing, 1 << owing.state, owing.state, now)
            retry.rise(petitions, owing, now)
    else:
        petitions.changes.flags[seq] = (False, False)


def _wait_again(petitions: Petitions, record: Record, state: State, now: Moment) -> None:
    petitions.step(record, CANCELLING, state, now)
    record.state = state
    record.phase = _WAITING
    record.cancellation = None
    if state is _QUEUED:
        petitions.enqueue(record)
    petitions.note_change()


# --- waiting petitions --------------------------------------------------------------------------------------------


def end_waiting(
    petitions: Petitions, record: Record, outcome: Outcome, code: int, reason: str | None, now: Moment
) -> None:
    """End a petition that waits, is held or rests: nothing of it lives."""
    if record.state is _QUEUED and record.phase is not _RESTING:
        petitions.dequeue(record)
        petitions.note_change()
    owed = petitions.owing.pop(record.seq, None) is not None
    petitions.end(record, outcome, code, reason, QUEUED | HELD, now, hook_pending=owed)
    petitions.forget(record)


def break_waiting(petitions: Petitions, record: Record, reason: str, now: Moment) -> None:
    """End a waiting petition whose condition or conversion raised, hung or answered nonsense."""
    if record.phase is _WAITING and record.state is not _ENDED and petitions.is_live(record):
        petitions.ungrant(record)
        end_waiting(petitions, record, _BROKEN, BROKEN_CODE, reason, now)
    else:
        petitions.dropped_events += 1
