"""What one manager's live petitions are, and what has gathered about them since the last transaction."""

from __future__ import annotations

from orcha._core.changes import Changes, Transition
from orcha._core.effects import Do, Effect, Final
from orcha._core.granted import GrantedSlots
from orcha._core.record import Key, Record
from orcha._core.state import Outcome, State
from orcha._core.tuples import new_tuple
from orcha._core.waiting_queue import MOST_READY, WaitingQueue

# Looked up once: an attribute of an enumeration costs ten times a global name.
_CANCELLED = Outcome.CANCELLED
_ENDED, _QUEUED = State.ENDED, State.QUEUED
_ANSWER, _ON_FINISH = Do.ANSWER, Do.ON_FINISH

QUEUED = 1 << State.QUEUED
HELD = 1 << State.HELD
STARTING = 1 << State.STARTING
RUNNING = 1 << State.RUNNING
CANCELLING = 1 << State.CANCELLING


class Ledger:
    """The live petitions, and the steps every part of the machine is made of."""

    def __init__(self, *, next_seq: int = 1, most_ready: int = MOST_READY, granted: GrantedSlots | None = None) -> None:
        """Start empty; the first petition gets the sequence number `next_seq`."""
        self.now = 0.0
        """Seconds since 1970, as rows and people are told; a clock that is set now and then."""
        self.steady = 0.0
        """Seconds of a clock that nobody sets, by which is decided what is due."""
        self.next_seq = next_seq
        self.records: dict[int, Record] = {}
        """Petitions being converted, held ones, ready ones of the waiting, and all that run, by sequence."""
        self.live: dict[str, Record | Key] = {}
        """str(id) of every live petition; a spilled one is only its key."""
        self.waiting = WaitingQueue(most_ready)
        self.granted = GrantedSlots() if granted is None else granted
        """Those whose condition said yes and that have not ended."""
        self.version = 0
        """Rises whenever something ended or left the queue: then blocked conditions are worth asking again at once."""
        self.starts = 0
        """Rises whenever something started: then they are worth asking again soon, since few wait for a start."""
        self.changes = Changes()
        self.effects: list[Effect] = []
        self.finals: list[Final] = []
        self.dropped_events = 0
        self.leaving: dict[int, Record] = {}
        """Interrupted petitions that wait again as soon as their on_finish came back, by sequence."""
        self.owing: dict[int, Record | None] = {}
        """Waiting petitions whose on_finish is owed from an earlier start of the service; None once they went on."""
        self._unloading: list[Key] = []

    def _current(self, seq: int, attempt: int) -> Record | None:
        record = self.records.get(seq)
        if record is not None and record.attempt == attempt:
            return record
        self.dropped_events += 1
        return None

    def _is_live(self, record: Record) -> bool:
        known = self.live.get(record.key)
        return known is record or known == record.place

    # --- steps --------------------------------------------------------------------------------------------------

    def _step(  # noqa: PLR0913 - what a row takes
        self,
        record: Record,
        states: int,
        state: State,
        outcome: Outcome | None = None,
        code: int | None = None,
        reason: str | None = None,
        *,
        begins: bool = False,
        hook_pending: bool = False,
        slot_held: bool = False,
    ) -> None:
        """Gather a step from `states`; two steps of one transaction become one from where the first began.

        With `begins` it is to the next attempt.
        """
        earlier = self.changes.transitions.get(record.seq)
        from_attempt = record.attempt
        if earlier is not None:
            from_attempt, states = earlier.from_attempt, earlier.from_states
        self.changes.transitions[record.seq] = new_tuple(
            Transition,
            (
                record.seq,
                from_attempt,
                states,
                state,
                record.attempt + begins,
                self.now,
                outcome,
                code,
                reason,
                hook_pending,
                slot_held,
            ),
        )

    def _end(
        self,
        record: Record,
        outcome: Outcome,
        code: int | None,
        reason: str | None,
        states: int,
        *,
        hook_pending: bool = True,
        slot_held: bool = False,
    ) -> None:
        self._set_outcome(record, outcome, code, reason)
        self._step(record, states, _ENDED, outcome, code, reason, hook_pending=hook_pending, slot_held=slot_held)

    def _set_outcome(self, record: Record, outcome: Outcome, code: int | None, reason: str | None) -> None:
        record.state = _ENDED
        record.outcome = outcome
        record.code = code
        record.reason = reason
        silent = reason is None or outcome is _CANCELLED  # who cancelled, and why, is for those who ask
        self.finals.append(Final(record, None if silent else f"{reason}\n", code))
        if record.waiters:
            self._answer(record)

    def _answer(self, record: Record) -> None:
        waiters, record.waiters = record.waiters, []
        for waiter in waiters:
            self.effects.append(Effect(_ANSWER, record, waiter))

    def _steadily(self, due: float) -> float:
        """Give the time `due` on the clock that nobody sets."""
        return self.steady + max(0.0, due - self.now)

    # --- slots and ids ------------------------------------------------------------------------------------------

    def _hold(self, record: Record) -> None:
        """Give it its slot, and take its id."""
        self.records[record.seq] = record
        self.live[record.key] = record
        if not self.granted.holds(record.key, record.seq):
            self.granted.take(record)

    def _ungrant(self, record: Record) -> None:
        if self.granted.holds(record.key, record.seq):
            self.version += 1  # before a condition can see that there is room
            self.granted.give_back(record)

    def _release(self, record: Record, *, hook: bool = True) -> None:
        """Free slot and id: nothing of the attempt lives any more. With `hook`, its on_finish is owed."""
        self._ungrant(record)
        self.version += 1
        self._forget(record)
        step = self.changes.transitions.get(record.seq)
        if step is None:
            self.changes.flags[record.seq] = (hook, False)
        elif step.slot_held:
            self.changes.transitions[record.seq] = step.without_slot()
        if hook:
            self.effects.append(new_tuple(Effect, (_ON_FINISH, record, None)))

    def _forget(self, record: Record) -> None:
        if self._is_live(record):
            del self.live[record.key]
        self.records.pop(record.seq, None)

    # --- spilled petitions ----------------------------------------------------------------------------------------

    def _unload(self) -> None:
        """Drop the records of petitions that are not ready: their rows are kept by then, or taken back."""
        for key in self._unloading:
            record = self.records.get(key[1])
            near = self.waiting.is_ready(key) and not self.waiting.is_parked(key)
            if record is not None and record.state is _QUEUED and not near:
                del self.records[key[1]]
                self.live[key[2]] = key
        self._unloading = []

    def take(self) -> tuple[Changes, list[Effect], list[Final]]:
        """Hand out what has gathered, to be kept or taken back at once, and start afresh."""
        if self._unloading:
            self._unload()
        taken = self.changes, self.effects, self.finals
        self.changes = Changes()
        self.effects = []
        self.finals = []
        return taken
