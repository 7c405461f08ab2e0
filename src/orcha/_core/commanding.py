"""How commands run and end: what those who watch over their processes report.

A command's attempt ends with one report, when nothing of it lives any more. Where an attempt is followed by another
one, that is decided in the same transaction, and the petition waits again when the on_finish of the attempt is back.
"""

from __future__ import annotations

from typing import NamedTuple

from orcha._core.changes import AttemptStep
from orcha._core.codes import BROKEN_CODE, INTERRUPTED_CODE
from orcha._core.ending import Ending
from orcha._core.ledger import CANCELLING, RUNNING, STARTING
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.recover import WATCHER_FAILED, Recovered, never_executed, on_interrupt_state
from orcha._core.state import Outcome, State

LOST = "interrupted: what watched over the command died"
_GOES = STARTING | RUNNING
_LIVES = (State.STARTING, State.RUNNING, State.CANCELLING)


class End(NamedTuple):
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


class Commanding(Ending):
    """Reports about commands; one that does not name the current attempt changes nothing."""

    def command(self, seq: int, attempt: int) -> Record | None:
        """Give the petition whose current attempt this is, while the end of its command is not known."""
        record = self.records.get(seq)
        if record is not None and record.attempt == attempt and record.state in _LIVES and not record.returned:
            return record
        self.dropped_events += 1
        return None

    def running(self, seq: int, attempt: int) -> None:
        """Note that the command's first process runs."""
        record = self.command(seq, attempt)
        if record is None or record.state is not State.STARTING:
            return
        record.phase = Phase.ACTION
        record.state = State.RUNNING
        self._step(record, STARTING, State.RUNNING)

    def keep_attempt(self, step: AttemptStep) -> None:
        """Keep what is known of a petition's attempts with the next transaction."""
        self.changes.attempts[step.seq] = step

    def command_ended(self, seq: int, attempt: int, end: End) -> None:
        """Note that the command ended, and with `survivors` what lives on all the same."""
        record = self.command(seq, attempt)
        if record is None:
            return
        self._over(record)
        cancelled = record.state is State.CANCELLING
        if end.survivors:
            self._outlived(record, end)
        elif cancelled and not end.by_itself:
            self._end_cancelled(record)
        elif end.due is not None and not cancelled:
            self._go_again(record, State.QUEUED, end.due)
        else:
            self._end(record, end.outcome, end.code, end.reason, _GOES | CANCELLING)
            self._release(record)

    def _outlived(self, record: Record, end: End) -> None:
        """Give it its outcome, and let it keep id, slot and needs: what nothing can kill lives on."""
        self._over(record)
        record.processes_gone = False
        record.survivors = end.survivors
        states = _GOES | CANCELLING
        if record.state is State.CANCELLING:
            reason = f"cannot be killed: process {', '.join(map(str, end.survivors))}"
            self._end(record, Outcome.BROKEN, BROKEN_CODE, reason, states, slot_held=True)
        else:
            self._end(record, end.outcome, end.code, end.reason, states, slot_held=True)

    def command_outlived(self, seq: int, attempt: int, survivors: tuple[int, ...], failure: str = "") -> bool:
        """Note that what watched over it died, and that something of it lives that nothing can kill.

        False where no outcome can be given now: it is run again, or held, and that only when nothing of it lives. That
        is told by `command_lost` then.
        """
        record = self.command(seq, attempt)
        if record is None:
            return True
        record.survivors = survivors
        cancellation = record.cancellation
        again = cancellation.requeue if cancellation is not None else on_interrupt_state(record.on_interrupt)
        if again is not None:
            return False
        reason = WATCHER_FAILED.format(failure) if failure else LOST
        self._outlived(record, End(Outcome.INTERRUPTED, INTERRUPTED_CODE, reason, survivors=survivors))
        return True

    def command_gone(self, seq: int, attempt: int) -> bool:
        """Note that what could not be killed has ended; False where the outcome is to be given now."""
        record = self.records.get(seq)
        if record is None or record.attempt != attempt:
            return True
        record.survivors = ()
        if record.state is not State.ENDED:
            return False
        if not record.processes_gone:
            record.processes_gone = True
            self._answer(record)
            self._release(record, hook=record.hook_owed or record.petition is not None)
        return True

    def outlived(self, record: Record, survivors: tuple[int, ...], *, hook_owed: bool) -> None:
        """Take a stored petition that has ended while processes of its command live on that nothing can kill.

        Where its on_finish is owed, that is called when these processes have ended.
        """
        self._over(record)
        record.command = True
        record.hook_owed = hook_owed
        record.processes_gone = False
        record.survivors = survivors
        self._hold(record)

    def command_lost(self, seq: int, attempt: int, *, executed: bool, losses: int = 0, failure: str = "") -> None:
        """Note that nothing of the attempt is left, and nobody knows how it ended, or it was never `executed`.

        `losses` is how many attempts in a row were lost so, with this one; `failure` is the error of ours that did it.
        """
        record = self.command(seq, attempt)
        if record is None:
            return
        self._over(record)
        if record.state is State.CANCELLING:
            self._end_cancelled(record)
            return
        step = self._after_loss(record, failure) if executed else never_executed(losses)
        if step.outcome is None:
            self._go_again(record, step.state, None)
        else:
            self._end(record, step.outcome, step.code, step.reason, _GOES)
            self._release(record)

    def _after_loss(self, record: Record, failure: str) -> Recovered:
        again = on_interrupt_state(record.on_interrupt)
        if again is not None:
            return Recovered(again)
        reason = WATCHER_FAILED.format(failure) if failure else LOST
        return Recovered(State.ENDED, Outcome.INTERRUPTED, INTERRUPTED_CODE, reason)

    def _over(self, record: Record) -> None:
        record.returned = True
        record.processes_gone = True
        record.phase = Phase.FINISHED

    def _go_again(self, record: Record, state: State, due: float | None) -> None:
        """Have it wait again, from `due` on, when the on_finish of this attempt is back."""
        self._step(record, _GOES, state, hook_pending=True)
        record.state = state
        record.due = due
        record.rests_until = None if due is None else self._steadily(due)
        self._rest(record)

    def rises(self, seq: int) -> None:
        """Have one that rested wait again, now that its time may have come."""
        record = self.records.get(seq)
        if record is not None:
            self._rise(record)

    # --- from the store -----------------------------------------------------------------------------------------

    def adopt(self, record: Record) -> None:
        """Take a stored petition whose command lives on, or whose end is about to be told."""
        record.command = True
        record.phase = Phase.ACTION
        self._hold(record)
        if record.state is not State.CANCELLING:
            return
        requeue = on_interrupt_state(record.on_interrupt) if record.outcome is Outcome.INTERRUPTED else None
        assert record.outcome is not None
        assert record.code is not None
        record.cancellation = Cancellation(record.outcome, record.code, record.reason, requeue=requeue)
        record.may_start = False
        self._end_processes(record)

    def rest(self, record: Record, due: float) -> None:
        """Take a stored petition that waits for its next attempt's time."""
        record.phase = Phase.RESTING
        record.due, record.rests_until = due, self._steadily(due)
        self.records[record.seq] = record
        self.live[record.key] = record
