"""How commands run and end, as the shims that watch over their processes report.

A command's attempt ends with one report, when nothing of the attempt lives any more. Where an attempt is followed by
another attempt, that is decided in the same transaction, and the petition waits again when the on_finish of the attempt
is back. A report that does not name the petition's current attempt changes nothing.

What an action of an earlier start of the service left, and what nothing can kill, is treated in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.codes import BROKEN_CODE, INTERRUPTED_CODE
from orcha._core.petitions import CANCELLING, QUEUED, RUNNING, STARTING
from orcha._core.reasons import RestingUntil
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._core.transitions import preempt, retry
from orcha._core.transitions.finish import end_cancelled
from orcha._core.transitions.recover import Recovered, never_executed, on_interrupt_state

if TYPE_CHECKING:
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions

LOST = "interrupted: what watched over the command died"
OUTSIDE = "interrupted: SIGTERM was sent to it and to what watched over it, as when a machine shuts down"
_GOES = STARTING | RUNNING
_LIVES = (State.STARTING, State.RUNNING, State.CANCELLING)


class CommandEnd(NamedTuple):
    """How an attempt at a command ended."""

    outcome: Outcome
    code: int
    reason: str | None = None
    by_itself: bool = True
    """Whether no signal of ours came before: then this is its outcome also where a cancel has been decided."""
    due: float | None = None
    """When it is tried again; None where this is its end."""
    survivors: tuple[int, ...] = ()
    """Processes that nothing could kill."""


def unfinished(petitions: Petitions, seq: int, attempt: int) -> Record | None:
    """Give the petition whose current attempt this is, while the end of its command is not known."""
    record = petitions.records.get(seq)
    if record is not None and record.attempt == attempt and record.state in _LIVES and not record.returned:
        return record
    petitions.dropped_events += 1
    return None


def running(petitions: Petitions, seq: int, attempt: int, now: Moment) -> None:
    """Note that the command's first process runs."""
    record = unfinished(petitions, seq, attempt)
    if record is None or record.state is not State.STARTING:
        return
    record.phase = Phase.ACTION
    record.state = State.RUNNING
    petitions.step(record, STARTING, State.RUNNING, now)
    if record.preemptible is not None:
        preempt.note_running(petitions, record)


def ended(petitions: Petitions, seq: int, attempt: int, end: CommandEnd, now: Moment) -> bool:
    """Note that the command ended, and with `survivors` what lives on; tell whether it is tried again."""
    record = unfinished(petitions, seq, attempt)
    if record is None:
        return False
    _over(record)
    cancelled = record.state is State.CANCELLING
    if end.due is not None and not (cancelled or end.survivors):
        _go_again(petitions, record, State.QUEUED, end.due, now)
        record.why, record.since = RestingUntil(record.attempt, end.code, end.due), now.wall
        return True
    if end.survivors:
        _outlive(petitions, record, end, now)
    elif cancelled and not end.by_itself:
        end_cancelled(petitions, record, now)
    else:
        petitions.end(record, end.outcome, end.code, end.reason, _GOES | CANCELLING, now)
        petitions.release(record)
    return False


def _outlive(
    petitions: Petitions, record: Record, end: CommandEnd, now: Moment, states: int = _GOES | CANCELLING
) -> None:
    """Give a petition its outcome, and let it keep id, slot and needs: what nothing can kill lives on."""
    _over(record)
    record.hook_owed = True
    record.processes_gone = False
    record.survivors = end.survivors
    if record.state is State.CANCELLING:
        petitions.end(record, Outcome.BROKEN, BROKEN_CODE, _unkillable(end.survivors), states, now, slot_held=True)
    else:
        petitions.end(record, end.outcome, end.code, end.reason, states, now, slot_held=True)


def _unkillable(survivors: tuple[int, ...]) -> str:
    return f"cannot be killed: process {', '.join(map(str, survivors))}"


def outlived(
    petitions: Petitions, seq: int, attempt: int, survivors: tuple[int, ...], reason: str, now: Moment
) -> bool:
    """Note that an attempt was interrupted, and that something of it lives that nothing can kill.

    False where no outcome can be given now: the petition runs again, or is held, and that only when nothing of it
    lives. That is told by `lost` then.
    """
    record = unfinished(petitions, seq, attempt)
    if record is None:
        return True
    record.survivors = survivors
    cancellation = record.cancellation
    again = cancellation.requeue if cancellation is not None else on_interrupt_state(record.on_interrupt)
    if again is not None:
        return False
    _outlive(petitions, record, CommandEnd(Outcome.INTERRUPTED, INTERRUPTED_CODE, reason, survivors=survivors), now)
    return True


def told_of(petitions: Petitions, seq: int, attempt: int, survivors: tuple[int, ...]) -> bool:
    """Note what outlives an attempt that had ended before; tell whether its petition still keeps its place.

    At the start of the service a shim may not have answered: then the place is kept, though nobody knows for what.
    """
    record = petitions.records.get(seq)
    if record is None or record.attempt != attempt or record.state is not State.ENDED or not record.is_outlived:
        return False
    record.survivors, record.may_be_outlived = survivors, False
    return True


def gone(petitions: Petitions, seq: int, attempt: int) -> bool:
    """Note that what could not be killed has ended; False where the outcome is to be given now."""
    record = petitions.records.get(seq)
    if record is None or record.attempt != attempt:
        return True
    record.survivors, record.may_be_outlived = (), False
    if record.state is not State.ENDED:
        return False
    if not record.processes_gone:
        record.processes_gone = True
        petitions.answer(record)
        petitions.release(record, hook=record.hook_owed)
    return True


def lost(
    petitions: Petitions, seq: int, attempt: int, now: Moment, *, executed: bool, losses: int = 0, reason: str = LOST
) -> None:
    """Note that nothing of the attempt is left, and that it was interrupted, or was never `executed`.

    `losses` is how many attempts in a row were lost so, with this one; `reason` is why it was interrupted.
    """
    record = unfinished(petitions, seq, attempt)
    if record is None:
        return
    _over(record)
    if record.state is State.CANCELLING:
        end_cancelled(petitions, record, now)
        return
    step = _after_loss(record, reason) if executed else never_executed(losses)
    if step.outcome is None:
        _go_again(petitions, record, step.state, None, now)
    else:
        petitions.end(record, step.outcome, step.code, step.reason, _GOES, now)
        petitions.release(record)


def _after_loss(record: Record, reason: str) -> Recovered:
    again = on_interrupt_state(record.on_interrupt)
    if again is not None:
        return Recovered(again)
    return Recovered(State.ENDED, Outcome.INTERRUPTED, INTERRUPTED_CODE, reason)


def never_again(record: Record) -> None:
    """Have a petition not run once more after an interruption, whatever its policy says."""
    record.on_interrupt = OnInterrupt.FAIL


def _over(record: Record) -> None:
    record.returned = True
    record.processes_gone = True
    record.survivors = ()
    record.phase = Phase.FINISHED


def _go_again(petitions: Petitions, record: Record, state: State, due: float | None, now: Moment) -> None:
    """Have a petition wait again, from `due` on, when the on_finish of this attempt is back."""
    petitions.step(record, _GOES, state, now, hook_pending=True)
    record.state = state
    record.due = due
    record.rests_until = None if due is None else now.steadily(due)
    retry.rest(petitions, record)


# --- from the store -----------------------------------------------------------------------------------------------


def adopt(petitions: Petitions, record: Record) -> None:
    """Take a stored petition whose command lives on, or whose end is about to be told."""
    record.command = True
    _take_live(petitions, record)
    if record.state is State.CANCELLING:
        petitions.end_processes(record)


def _take_live(petitions: Petitions, record: Record) -> None:
    record.phase = Phase.ACTION
    petitions.hold(record)
    if record.state is not State.CANCELLING:
        return
    requeue = on_interrupt_state(record.on_interrupt) if record.outcome is Outcome.INTERRUPTED else None
    assert record.outcome is not None
    assert record.code is not None
    record.cancellation = Cancellation(record.outcome, record.code, record.reason, requeue=requeue)
    record.may_start = False


def adopt_left(
    petitions: Petitions, record: Record, survivors: tuple[int, ...], reason: str, now: Moment, *, hook_owed: bool
) -> None:
    """Take a stored petition of whose action processes live on that nothing can kill.

    The petition keeps what it holds until these have ended, which `gone` notes. `reason` is why the action was
    interrupted.
    """
    if record.state is State.ENDED:
        _take_outlived(petitions, record, survivors, hook_owed=hook_owed)
    elif record.state is State.QUEUED:  # it was to be tried again: beside these processes no other attempt begins
        petitions.hold(record)
        end = CommandEnd(Outcome.BROKEN, BROKEN_CODE, _unkillable(survivors), survivors=survivors)
        _outlive(petitions, record, end, now, QUEUED)
    else:
        _take_live(petitions, record)
        record.processes_gone = record.state is not State.CANCELLING
        outlived(petitions, record.seq, record.attempt, survivors, reason, now)


def adopt_outlived(petitions: Petitions, record: Record, survivors: tuple[int, ...], *, hook_owed: bool) -> None:
    """Take a stored petition that has ended while processes of its command live on that nothing can kill.

    `survivors` is empty where nobody knows yet whether any live: then `told_of` follows. Where its on_finish is owed,
    that is called when these processes have ended.
    """
    record.command = True
    record.may_be_outlived = not survivors
    _take_outlived(petitions, record, survivors, hook_owed=hook_owed)


def _take_outlived(petitions: Petitions, record: Record, survivors: tuple[int, ...], *, hook_owed: bool) -> None:
    _over(record)
    record.hook_owed = hook_owed
    record.processes_gone = False
    record.survivors = survivors
    petitions.hold(record)
