"""How attempts end by themselves: what the hooks, the action and its processes report."""

from __future__ import annotations

from orcha._core.codes import BROKEN_CODE, FAILED_CODE
from orcha._core.effects import Do, Effect
from orcha._core.ledger import CANCELLING, HELD, QUEUED, STARTING
from orcha._core.record import Phase, Record
from orcha._core.retrying import Retrying, is_decided
from orcha._core.state import Outcome, State

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ACTION, _FINISHED, _ON_START, _RESTING, _WAITING = (
    Phase.ACTION,
    Phase.FINISHED,
    Phase.ON_START,
    Phase.RESTING,
    Phase.WAITING,
)
_CANCELLING, _ENDED, _QUEUED, _RUNNING, _STARTING = (
    State.CANCELLING,
    State.ENDED,
    State.QUEUED,
    State.RUNNING,
    State.STARTING,
)
_END_PROCESSES, _ON_FINISH, _SWEEP = Do.END_PROCESSES, Do.ON_FINISH, Do.SWEEP
_BROKEN, _FAILED, _SUCCEEDED = Outcome.BROKEN, Outcome.FAILED, Outcome.SUCCEEDED


class Ending(Retrying):
    """Reports of an attempt; one that does not name the current attempt changes nothing."""

    def action_going(self, seq: int, attempt: int) -> None:
        """Note that on_start said yes and the action has been handed to its thread."""
        record = self._current(seq, attempt)
        if record is None or record.phase is not _ON_START:
            return
        record.phase = _ACTION
        if record.state is _CANCELLING and not record.returned:
            self._end_processes(record)

    def _end_processes(self, record: Record) -> None:
        record.processes_gone = False
        self.effects.append(Effect(_END_PROCESSES, record))

    def start_failed(self, seq: int, attempt: int, reason: str, *, called: bool = True, hung: bool = False) -> None:
        """End an attempt whose on_start said no, raised, hung or was not `called`: its action was not called."""
        record = self._current(seq, attempt)
        if record is None or record.phase is not _ON_START:
            return
        record.returned = True
        if record.state is _CANCELLING:
            if hung:
                self._end_for_good(record)
            self._end_cancelled(record, hook=called)
        else:
            self._end(record, _BROKEN, BROKEN_CODE, reason, STARTING, hook_pending=called)
            self._release(record, hook=called)

    def is_writable(self, seq: int, attempt: int) -> Record | None:
        """Give the petition whose current attempt this is, while it may still write and finish."""
        record = self.records.get(seq)
        if record is not None and record.attempt == attempt and record.state in (_STARTING, _RUNNING):
            return record
        self.dropped_events += 1
        return None

    def finish(self, seq: int, attempt: int, value: int | None) -> bool:
        """Take the attempt's own final value; False where it has been decided already."""
        record = self.is_writable(seq, attempt)
        if record is None or record.command:
            return False
        if value and record.tries is not None and self._is_tried_again(record, value, None):
            return True
        outcome = _FAILED if value else _SUCCEEDED
        self._end(record, outcome, value, None, STARTING, slot_held=True)
        record.phase = _FINISHED
        return True

    def returned(self, seq: int, attempt: int, error: str | None, *, processes: bool) -> None:
        """Note that the action came back (with the reason, where it raised), and whether it may have left processes."""
        record = self._current(seq, attempt)
        if record is None or record.returned:
            return
        record.returned = True
        if record.state is _CANCELLING:
            self._returned_cancelled(record, processes=processes)
            return
        if record.state is _STARTING and not (error is not None and self._raised_is_tried_again(record, error)):
            outcome, code = (_SUCCEEDED, None) if error is None else (_FAILED, FAILED_CODE)
            self._end(record, outcome, code, error, STARTING, slot_held=processes or not record.processes_gone)
        record.phase = _FINISHED
        if processes:
            record.processes_gone = False
            self.effects.append(Effect(_SWEEP, record))
        elif record.processes_gone:
            self._let_go(record)

    def _raised_is_tried_again(self, record: Record, error: str) -> bool:
        return record.tries is not None and self._is_tried_again(record, FAILED_CODE, error)

    def _let_go(self, record: Record) -> None:
        """Be done with an attempt of which nothing lives any more."""
        if record.state is _QUEUED:
            self._rest(record)
        else:
            self._release(record)

    def _returned_cancelled(self, record: Record, *, processes: bool) -> None:
        if not record.processes_gone:
            return
        if processes:
            self._end_processes(record)
        else:
            self._end_cancelled(record)

    def processes_gone(self, seq: int, attempt: int, survivors: list[int]) -> None:
        """Note that no process of the attempt is left, or which ones nothing could kill.

        Survivors keep slot and id, and are swept again and again until they are gone. A report nobody waits for changes
        nothing.
        """
        record = self._current(seq, attempt)
        if record is None or record.processes_gone:
            return
        record.survivors = tuple(survivors)
        if survivors:
            self._cannot_be_killed(record, survivors)
            return
        record.processes_gone = True
        if record.state is _ENDED:
            self._answer(record)
            if record.returned:
                self._release(record)
        elif record.state is _CANCELLING:
            if record.returned:
                self._end_cancelled(record)
        elif record.returned and is_decided(record):
            self._rest(record)

    def _cannot_be_killed(self, record: Record, survivors: list[int]) -> None:
        if record.state is _CANCELLING:
            reason = f"cannot be killed: process {', '.join(map(str, survivors))}"
            self._end(record, _BROKEN, BROKEN_CODE, reason, CANCELLING, slot_held=True)
            record.phase = _FINISHED
        elif is_decided(record):  # with something of an attempt that lives no other one begins
            assert record.outcome is not None
            self._end(record, record.outcome, record.code, record.reason, QUEUED, slot_held=True)
        self._answer(record)
        self.effects.append(Effect(_SWEEP, record))

    def abandon(self, seq: int, attempt: int) -> None:
        """End a cancelled attempt whose processes are gone and whose thread has not returned in its grace.

        One that was interrupted and is to wait again stays as it is: it may not while its thread lives, and the next
        start of the service decides. One that took too long is not tried again then.
        """
        record = self._current(seq, attempt)
        if record is None or record.state is not _CANCELLING or record.phase is not _ACTION:
            return
        cancellation = record.cancellation
        assert cancellation is not None
        interrupted = cancellation.requeue is not None and cancellation.due is None
        if record.returned or not record.processes_gone or interrupted:
            return
        self._end(record, cancellation.outcome, cancellation.code, cancellation.reason, CANCELLING, slot_held=True)
        record.phase = _FINISHED

    def _end_cancelled(self, record: Record, *, hook: bool = True) -> None:
        """Give a cancelled petition its outcome: neither its thread nor a process of the attempt lives."""
        cancellation = record.cancellation
        assert cancellation is not None
        if cancellation.requeue is None:
            self._end(
                record, cancellation.outcome, cancellation.code, cancellation.reason, CANCELLING, hook_pending=hook
            )
            self._release(record, hook=hook)
            return
        if cancellation.due is not None and hook:  # without its on_start nothing failed: it waits again at once
            self._end_timed_out(record, cancellation, cancellation.due)
            return
        record.phase = _FINISHED
        self._ungrant(record)
        self.version += 1
        if hook:
            self.leaving[record.seq] = record
            self.effects.append(Effect(_ON_FINISH, record))
        else:
            self._wait_again(record, cancellation.requeue)

    def hook_done(self, seq: int) -> None:
        """Note that on_finish came back: it is not owed any more."""
        if seq in self.leaving:
            record = self.leaving.pop(seq)
            assert record.cancellation is not None
            assert record.cancellation.requeue is not None
            self._wait_again(record, record.cancellation.requeue)
        elif seq in self.owing:
            owing = self.owing.pop(seq)
            if owing is not None:
                if owing.phase is _RESTING and owing.retry is not None and not owing.command:
                    owing.petition = None  # made again: what threads of the ended attempt have is not the next one's
                self._step(owing, 1 << owing.state, owing.state)
                self._rise(owing)
        else:
            self.changes.flags[seq] = (False, False)

    def _wait_again(self, record: Record, state: State) -> None:
        self._step(record, CANCELLING, state)
        record.state = state
        record.phase = _WAITING
        record.cancellation = None
        if state is _QUEUED:
            self._enqueue(record)
        self.version += 1

    def _rise(self, record: Record) -> None:
        """Let one that rests wait again, if its time has come and no on_finish is owed."""
        if record.phase is not _RESTING or record.seq in self.owing:
            return
        if record.rests_until is None or record.rests_until <= self.steady:
            record.due = record.rests_until = None
            record.phase = _WAITING
            if record.state is _QUEUED:
                self._enqueue(record)
            self.version += 1

    def _enqueue(self, record: Record) -> None:
        if not self.waiting.add(record.place):
            self._unloading.append(record.place)

    # --- waiting petitions --------------------------------------------------------------------------------------

    def _end_waiting(self, record: Record, outcome: Outcome, code: int, reason: str | None) -> None:
        if record.state is _QUEUED and record.phase is not _RESTING:
            self.waiting.remove(record.place)
            self.version += 1
        owed = self.owing.pop(record.seq, None) is not None
        self._end(record, outcome, code, reason, QUEUED | HELD, hook_pending=owed)
        self._forget(record)

    def break_(self, record: Record, reason: str) -> None:
        """End a waiting petition whose condition or conversion raised, hung or answered nonsense."""
        if record.phase is _WAITING and record.state is not _ENDED and self._is_live(record):
            self._ungrant(record)
            self._end_waiting(record, _BROKEN, BROKEN_CODE, reason)
        else:
            self.dropped_events += 1
