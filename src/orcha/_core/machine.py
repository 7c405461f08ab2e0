"""The state machine of in-process petitions.

Events in, changes and effects out: every method is a function of the machine's state, its arguments and `now`. The
engine keeps `changes` in one transaction and performs `effects` only after that succeeded.

======================  ==================================================================================
state                   what ends it
======================  ==================================================================================
converting (no state)   `accept`, `refuse`
QUEUED                  `start` (its condition said yes), `cancel`, `break_`, its queue limit
HELD                    `cancel`, `release`
STARTING                `finish`, `returned`, `start_failed`, `cancel`, its time limit
CANCELLING              `returned` and no process of the attempt left; or the thread is abandoned
ENDED                   never
======================  ==================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core.changes import Changes, NewChannel, NewPetition, Transition
from orcha._core.effects import Do, Effect, Final
from orcha._core.queue import WaitingQueue
from orcha._core.record import Cancellation, Key, Phase, Record
from orcha._core.state import OnInterrupt, Outcome, State

if TYPE_CHECKING:
    from collections.abc import Iterable

CANCELLED_CODE = 130
TIMED_OUT_CODE = 124
INTERRUPTED_CODE = 75
BROKEN_CODE = 1

_QUEUED = 1 << State.QUEUED
_HELD = 1 << State.HELD
_STARTING = 1 << State.STARTING
_CANCELLING = 1 << State.CANCELLING


class Machine:
    """All live petitions of one manager, and what is to be kept and done about them."""

    def __init__(self, *, next_seq: int = 1, hot: int = 10_000) -> None:
        """Start empty; the first petition gets the sequence number `next_seq`."""
        self.now = 0.0
        self.next_seq = next_seq
        self.records: dict[int, Record] = {}
        """Petitions being converted, hot ones of the waiting, and all that run, by sequence."""
        self.live: dict[str, Record | Key] = {}
        """str(id) of every live petition; a far one is only its key."""
        self.waiting = WaitingQueue(hot)
        self.granted: dict[str, int] = {}
        """str(id) -> sequence of those whose condition said yes and that have not ended."""
        self.version = 0
        """Rises whenever something started or ended: then blocked conditions are worth asking again."""
        self.changes = Changes()
        self.effects: list[Effect] = []
        self.finals: list[Final] = []
        self.dropped_events = 0

    # --- acceptance ---------------------------------------------------------------------------------------------

    def receive(self, record: Record) -> Record | Key | None:
        """Take a message that is to be converted; give the live petition that has its id already, if any."""
        known = self.live.get(record.key)
        if known is not None:
            return known
        self.live[record.key] = record
        self.records[record.seq] = record
        return None

    def take_seq(self) -> int:
        """Give the next sequence number."""
        seq = self.next_seq
        self.next_seq += 1
        return seq

    def accept(self, record: Record, *, start: bool, new_channel: bool) -> None:
        """Keep a converted petition: started at once, waiting, or (cancelled meanwhile) ended."""
        if record.cancellation is not None:
            self._accept_ended(record, record.cancellation)
            return
        if start:
            record.attempt = 1
            self._enter_starting(record)
        else:
            record.phase = Phase.WAITING
            if not self.waiting.add(record.place):
                self.cool([record.place])
        if new_channel:
            self.changes.channels.append(NewChannel(record.channel, record.owner, own=record.token == record.channel))
        self.changes.petitions.append(self._row(record))
        self.effects.append(Effect(Do.ACCEPT, record))
        if start:
            self.effects.append(Effect(Do.ON_START, record))

    def _accept_ended(self, record: Record, cancellation: Cancellation) -> None:
        self.granted.pop(record.key, None)
        self.changes.channels.append(NewChannel(record.channel, record.owner, own=record.token == record.channel))
        self._set_outcome(record, cancellation.outcome, cancellation.code, cancellation.reason)
        self.changes.petitions.append(self._row(record))
        self.effects.append(Effect(Do.ACCEPT, record))
        self._forget(record)

    def _row(self, record: Record) -> NewPetition:
        return NewPetition(
            record.seq,
            record.token,
            record.key,
            not isinstance(record.id, str),
            record.manager,
            record.owner,
            record.channel,
            record.state,
            record.attempt,
            record.priority,
            record.extras or b"",
            record.on_interrupt,
            record.submitted,
            record.outcome,
            record.code,
            record.reason,
        )

    def refuse(self, record: Record, verdict: int, reason: str) -> None:
        """Do not keep it: its id is free again."""
        self.granted.pop(record.key, None)
        self.effects.append(Effect(Do.REFUSE, record, (verdict, reason)))
        record.outcome = Outcome.REJECTED
        self._answer(record)
        self._forget(record)

    def undo_accept(self, record: Record) -> None:
        """Take back an acceptance whose transaction was not kept."""
        if record.phase is Phase.WAITING:
            self.waiting.remove(record.place)
        self.granted.pop(record.key, None)
        self._forget(record)

    # --- start --------------------------------------------------------------------------------------------------

    def start(self, record: Record) -> bool:
        """Begin the next attempt of a waiting petition whose condition said yes; False if it does not wait any more."""
        if record.state is not State.QUEUED or record.phase is not Phase.WAITING:
            self.dropped_events += 1
            if self.granted.get(record.key) == record.seq:
                del self.granted[record.key]
            return False
        self.waiting.remove(record.place)
        self._start_removed(record)
        return True

    def start_all(self, records: list[Record]) -> None:
        """Begin several, in order."""
        ready = [r for r in records if r.state is State.QUEUED and r.phase is Phase.WAITING]
        if len(ready) != len(records):
            for record in records:
                self.start(record)
            return
        self.waiting.remove_all([r.place for r in ready])
        for record in ready:
            self._start_removed(record)

    def _start_removed(self, record: Record) -> None:
        before = record.attempt
        record.attempt = before + 1
        self._enter_starting(record)
        self.changes.transitions[record.seq] = Transition(
            record.seq, before, _QUEUED, State.STARTING, record.attempt, self.now
        )
        self.effects.append(Effect(Do.ON_START, record))

    def _enter_starting(self, record: Record) -> None:
        record.state = State.STARTING
        record.phase = Phase.ON_START
        record.started = self.now
        record.returned = False
        record.processes_gone = True
        record.may_start = True
        record.why = None
        self.granted[record.key] = record.seq
        self.records[record.seq] = record
        self.live[record.key] = record
        self.version += 1

    def action_going(self, seq: int, attempt: int) -> None:
        """Note that on_start said yes and the action has been handed to its thread."""
        record = self._current(seq, attempt)
        if record is None or record.phase is not Phase.ON_START:
            return
        record.phase = Phase.ACTION
        if record.state is State.CANCELLING:
            record.processes_gone = False
            self.effects.append(Effect(Do.END_PROCESSES, record))

    def start_failed(self, seq: int, attempt: int, reason: str, *, called: bool = True) -> None:
        """End an attempt whose on_start said no, raised, hung or was not `called`: its action was not called."""
        record = self._current(seq, attempt)
        if record is None or record.phase is not Phase.ON_START:
            return
        record.returned = True
        if record.state is State.CANCELLING:
            self._end_cancelled(record)
        else:
            self._end(record, Outcome.BROKEN, BROKEN_CODE, reason, _STARTING)
        self._release(record, hook=called)

    # --- end ----------------------------------------------------------------------------------------------------

    def is_writable(self, seq: int, attempt: int) -> Record | None:
        """Give the petition whose current attempt this is, while it may still write and finish."""
        record = self.records.get(seq)
        if record is not None and record.attempt == attempt and record.state is State.STARTING:
            return record
        self.dropped_events += 1
        return None

    def _current(self, seq: int, attempt: int) -> Record | None:
        record = self.records.get(seq)
        if record is not None and record.attempt == attempt:
            return record
        self.dropped_events += 1
        return None

    def finish(self, seq: int, attempt: int, value: int | None) -> bool:
        """Take the attempt's own final value; False where it has been decided already."""
        record = self.is_writable(seq, attempt)
        if record is None:
            return False
        outcome = Outcome.FAILED if value else Outcome.SUCCEEDED
        self._end(record, outcome, value, None, _STARTING, slot_held=True)
        record.phase = Phase.FINISHED
        return True

    def returned(self, seq: int, attempt: int, error: str | None, *, processes: bool) -> None:
        """Note that the action came back (with the reason, where it raised), and whether it may have left processes."""
        record = self._current(seq, attempt)
        if record is None:
            return
        record.returned = True
        if record.state is State.STARTING:
            self._end_returned(record, error)
        if record.state is State.CANCELLING:
            if record.processes_gone and not processes:
                self._end_cancelled(record)
                self._release(record)
            elif record.processes_gone:
                record.processes_gone = False
                self.effects.append(Effect(Do.END_PROCESSES, record))
            return
        record.phase = Phase.FINISHED
        if processes:
            record.processes_gone = False
            self._held(record)
            self.effects.append(Effect(Do.SWEEP, record))
        elif record.processes_gone:
            self._release(record)

    def _end_returned(self, record: Record, error: str | None) -> None:
        if error is None:
            self._end(record, Outcome.SUCCEEDED, None, None, _STARTING)
        else:
            self._end(record, Outcome.FAILED, 1, error, _STARTING)

    def processes_gone(self, seq: int, attempt: int, survivors: list[int]) -> None:
        """Note that no process of the attempt is left, or which ones nothing could kill."""
        record = self._current(seq, attempt)
        if record is None:
            return
        record.processes_gone = True
        if record.state is State.CANCELLING:
            if survivors:
                pids = ", ".join(map(str, survivors))
                self._end(record, Outcome.BROKEN, BROKEN_CODE, f"cannot be killed: process {pids}", _CANCELLING)
            elif not record.returned:
                return
            else:
                self._end_cancelled(record)
        if record.state is State.ENDED and record.returned:
            self._release(record)

    def abandon(self, seq: int, attempt: int) -> None:
        """End a cancelled attempt whose processes are gone and whose thread has not returned in its grace."""
        record = self._current(seq, attempt)
        if record is None or record.state is not State.CANCELLING or record.returned or not record.processes_gone:
            return
        self._end_cancelled(record, slot_held=True)
        record.phase = Phase.FINISHED

    def _end_cancelled(self, record: Record, *, slot_held: bool = False) -> None:
        cancellation = record.cancellation
        assert cancellation is not None
        if cancellation.requeue is not None:
            self._requeue(record, cancellation.requeue)
            return
        self._end(
            record, cancellation.outcome, cancellation.code, cancellation.reason, _CANCELLING, slot_held=slot_held
        )

    def _requeue(self, record: Record, state: State) -> None:
        self.changes.transitions[record.seq] = Transition(
            record.seq, record.attempt, _CANCELLING, state, record.attempt, self.now, hook_pending=True
        )
        record.state = state
        record.phase = Phase.WAITING

    def _end(
        self,
        record: Record,
        outcome: Outcome,
        code: int | None,
        reason: str | None,
        states: int,
        *,
        slot_held: bool = False,
    ) -> None:
        earlier = self.changes.transitions.get(record.seq)
        if earlier is not None:
            states = earlier.from_states
        started = record.attempt > 0 and record.phase is not Phase.WAITING
        self._set_outcome(record, outcome, code, reason)
        self.changes.transitions[record.seq] = Transition(
            record.seq,
            record.attempt if earlier is None else earlier.from_attempt,
            states,
            State.ENDED,
            record.attempt,
            self.now,
            outcome,
            code,
            reason,
            hook_pending=started,
            slot_held=slot_held,
        )

    def _set_outcome(self, record: Record, outcome: Outcome, code: int | None, reason: str | None) -> None:
        record.state = State.ENDED
        record.outcome = outcome
        record.code = code
        record.reason = reason
        self.finals.append(Final(record, None if reason is None else reason + "\n", code))
        self._answer(record)

    def _answer(self, record: Record) -> None:
        waiters, record.waiters = record.waiters, []
        for waiter in waiters:
            self.effects.append(Effect(Do.ANSWER, record, waiter))

    def _held(self, record: Record) -> None:
        step = self.changes.transitions.get(record.seq)
        if step is not None and not step.slot_held:
            self.changes.transitions[record.seq] = step._replace(slot_held=True)

    def _release(self, record: Record, *, hook: bool = True) -> None:
        """Free slot and id: nothing of the attempt lives any more. With `hook`, its on_finish is owed."""
        self.granted.pop(record.key, None)
        self.version += 1
        self._forget(record)
        step = self.changes.transitions.get(record.seq)
        if step is None:
            self.changes.flags[record.seq] = (hook, False)
        elif step.slot_held or not hook:
            self.changes.transitions[record.seq] = step._replace(slot_held=False, hook_pending=hook)
        if hook:
            self.effects.append(Effect(Do.ON_FINISH, record))

    def hook_done(self, seq: int) -> None:
        """Note that on_finish came back: it is not owed any more."""
        self.changes.flags[seq] = (False, False)

    def _forget(self, record: Record) -> None:
        known = self.live.get(record.key)
        if known is record or known == record.place:
            del self.live[record.key]
        self.records.pop(record.seq, None)

    # --- cancel, limits -----------------------------------------------------------------------------------------

    def cancel(self, record: Record, cancellation: Cancellation, waiter: Any = None) -> None:
        """End a live petition, whatever it is doing; the waiter is answered with the outcome."""
        if waiter is not None:
            record.waiters.append(waiter)
        if record.phase is Phase.CONVERTING:
            record.cancellation = record.cancellation or cancellation
        elif record.state in (State.QUEUED, State.HELD):
            self._end_waiting(record, cancellation.outcome, cancellation.code, cancellation.reason)
        elif record.state is State.STARTING:
            self._cancel_starting(record, cancellation)
        elif record.state is State.ENDED:
            self._answer_when_gone(record)

    def _end_waiting(self, record: Record, outcome: Outcome, code: int, reason: str | None) -> None:
        if record.state is State.QUEUED:
            self.waiting.remove(record.place)
        self._end(record, outcome, code, reason, _QUEUED | _HELD)
        self._forget(record)

    def _cancel_starting(self, record: Record, cancellation: Cancellation) -> None:
        record.state = State.CANCELLING
        record.cancellation = cancellation
        record.may_start = False
        self.changes.transitions[record.seq] = Transition(
            record.seq,
            record.attempt,
            _STARTING,
            State.CANCELLING,
            record.attempt,
            self.now,
            cancellation.outcome,
            cancellation.code,
            cancellation.reason,
        )
        if record.phase is Phase.ACTION:
            record.processes_gone = False
            self.effects.append(Effect(Do.END_PROCESSES, record))

    def _answer_when_gone(self, record: Record) -> None:
        if record.phase is Phase.FINISHED and record.processes_gone and not record.returned:
            record.processes_gone = False
            self.effects.append(Effect(Do.END_PROCESSES, record))
        self._answer(record)

    def break_(self, record: Record, reason: str) -> None:
        """End a waiting petition whose condition or conversion raised, hung or answered nonsense."""
        if record.phase is Phase.WAITING and record.state in (State.QUEUED, State.HELD):
            self.granted.pop(record.key, None)
            self._end_waiting(record, Outcome.BROKEN, BROKEN_CODE, reason)
        else:
            self.dropped_events += 1

    # --- far petitions ------------------------------------------------------------------------------------------

    def cool(self, keys: Iterable[Key]) -> None:
        """Keep only the keys of petitions that moved away from the head."""
        for key in keys:
            if self.records.pop(key[1], None) is not None:
                self.live[key[2]] = key

    def warm(self, record: Record) -> None:
        """Take the full record of a petition that was only a key."""
        record.phase = Phase.WAITING
        self.records[record.seq] = record
        self.live[record.key] = record

    def load_waiting(self, keys: list[Key]) -> None:
        """Take what waits, in order, from the store, as keys only."""
        self.waiting.load(keys)
        for key in keys:
            self.live[key[2]] = key

    def take(self) -> tuple[Changes, list[Effect], list[Final]]:
        """Hand out what has gathered, and start afresh."""
        taken = self.changes, self.effects, self.finals
        self.changes = Changes()
        self.effects = []
        self.finals = []
        return taken


def on_interrupt_state(policy: OnInterrupt) -> State | None:
    """Give the state an interrupted petition goes to; None where it ends."""
    return {OnInterrupt.RERUN: State.QUEUED, OnInterrupt.ASK: State.HELD}.get(policy)
