"""The state machine of petitions.

Events in, changes and effects out: every method is a function of the machine's state, its arguments and `now`. The
engine keeps `changes` in one transaction and performs `effects` only after that succeeded.

======================  ==================================================================================
state                   what ends it
======================  ==================================================================================
converting (no state)   `accept`, `refuse`
QUEUED                  `start` (its condition said yes), `cancel`, `break_`, its queue limit
HELD                    `cancel`, `break_`; `release` (a person said that it may run again), as QUEUED
STARTING                `finish`, `returned`, `start_failed`, `cancel`, its time limit; a command: `running`, as RUNNING
                        (one that is tried again is QUEUED then, and rests until nothing of the attempt is left)
RUNNING                 `command_ended`, `command_lost`, `cancel`; commands only
CANCELLING              `returned` and no process of the attempt left, or the thread is abandoned; a command: as RUNNING
ENDED                   never
======================  ==================================================================================

The rows of an attempt's own reports are in `ending`, of what is tried again in `retrying`, those of commands in
`commanding`, of cancels and limits in `cancelling`, of decisions about waiting petitions in `holding`, and what they
share in `ledger`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.cancelling import Cancelling
from orcha._core.changes import AttemptStep, Changes, NewChannel, NewPetition
from orcha._core.codes import CANCELLED_CODE, INTERRUPTED_CODE, TIMED_OUT_CODE
from orcha._core.effects import Do, Effect
from orcha._core.holding import Holding
from orcha._core.ledger import QUEUED
from orcha._core.record import Cancellation, Key, Phase, Record
from orcha._core.recover import Recovered, on_interrupt_state, recover
from orcha._core.state import Outcome, State
from orcha._core.tuples import new_tuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

__all__ = ["CANCELLED_CODE", "INTERRUPTED_CODE", "TIMED_OUT_CODE", "Machine", "on_interrupt_state"]


# Looked up once: an attribute of an enumeration costs ten times a global name.
_PHASE_ON_START, _WAITING = Phase.ON_START, Phase.WAITING
_ACCEPT, _ANSWER, _DO_ON_START, _REFUSE = Do.ACCEPT, Do.ANSWER, Do.ON_START, Do.REFUSE
_REJECTED = Outcome.REJECTED
_ENDED, _HELD, _QUEUED, _STARTING = State.ENDED, State.HELD, State.QUEUED, State.STARTING


class Machine(Cancelling, Holding):
    """All live petitions of one manager, and what is to be kept and done about them."""

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
        if new_channel:
            self.changes.channels.append(NewChannel(record.channel, record.owner, own=record.token == record.channel))
        if record.cancellation is not None:
            self._accept_ended(record, record.cancellation)
            return
        if start:
            record.attempt = 1
            self._enter_starting(record)
        else:
            record.phase = _WAITING
            self._enqueue(record)
        self._keep(record)
        self.effects.append(new_tuple(Effect, (_ACCEPT, record, None)))
        if start:
            self.effects.append(new_tuple(Effect, (_DO_ON_START, record, None)))

    def _accept_ended(self, record: Record, cancellation: Cancellation) -> None:
        self._ungrant(record)
        self._set_outcome(record, cancellation.outcome, cancellation.code, cancellation.reason)
        self._keep(record)
        self.effects.append(Effect(_ACCEPT, record))
        self._forget(record)

    def _keep(self, record: Record) -> None:
        self.changes.petitions.append(self._row(record))
        if record.group is not None:
            self.changes.groups[record.seq] = record.group
        if record.needs:
            self.changes.needs[record.seq] = record.needs
        if record.once is not None:
            self.changes.once[record.seq] = record.once

    def _row(self, record: Record) -> NewPetition:
        return new_tuple(
            NewPetition,
            (
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
            ),
        )

    def refuse(self, record: Record, verdict: int, reason: str) -> None:
        """Do not keep it: its id is free again."""
        self._ungrant(record)
        self.effects.append(Effect(_REFUSE, record, (verdict, reason)))
        record.outcome = _REJECTED
        self._answer(record)
        self._forget(record)

    def undo_accept(self, record: Record) -> None:
        """Take back an acceptance whose transaction was not kept; a later event that names it changes nothing."""
        if record.state is _QUEUED:
            self.waiting.remove(record.place)
        self._ungrant(record)
        self._forget(record)
        record.state = _ENDED
        record.outcome = _REJECTED
        self.version += 1

    def take_back(
        self, changes: Changes, effects: list[Effect], tokens: Container[bytes], verdict: int, reason: str
    ) -> list[Effect]:
        """Undo the acceptance of the petitions with these tokens, whose transaction was not kept.

        What is left in `changes` can be kept then, without what the caller has appended for these petitions; given are
        the effects that are due after that. Whoever submitted one of them is refused, and whoever cancelled it is
        answered all the same.
        """
        gone = {new.seq for new in changes.petitions if new.token in tokens}
        changes.petitions = [new for new in changes.petitions if new.seq not in gone]
        named = {new.channel for new in changes.petitions}
        changes.channels = [channel for channel in changes.channels if channel.id in named]
        for seq in gone:
            changes.transitions.pop(seq, None)
            changes.attempts.pop(seq, None)
            changes.groups.pop(seq, None)
            changes.needs.pop(seq, None)
            changes.once.pop(seq, None)
            changes.priorities.pop(seq, None)
        due = []
        for effect in effects:
            record = effect.record
            if record.seq not in gone or effect.do is _ANSWER:
                due.append(effect)
            elif effect.do is _ACCEPT:
                self.undo_accept(record)
                due.append(Effect(_REFUSE, record, (verdict, reason)))
                due += [Effect(_ANSWER, record, waiter) for waiter in record.waiters]
                record.waiters = []
        return due

    # --- start --------------------------------------------------------------------------------------------------

    def start(self, record: Record) -> bool:
        """Begin the next attempt of a waiting petition whose condition said yes; False if it does not wait any more."""
        if not self._is_ready(record):
            self._drop_yes(record)
            return False
        self.waiting.remove(record.place)
        self._start_removed(record)
        return True

    def start_all(self, records: list[Record]) -> None:
        """Begin several, in order."""
        if not all(map(self._is_ready, records)):
            for record in records:
                self.start(record)
            return
        self.waiting.remove_all([record.place for record in records])
        for record in records:
            self._start_removed(record)

    def _is_ready(self, record: Record) -> bool:
        return record.state is _QUEUED and record.phase is _WAITING and self._is_live(record)

    def _drop_yes(self, record: Record) -> None:
        self.dropped_events += 1
        holder = self.records.get(record.seq)
        if holder is None or holder.phase is _WAITING:
            self._ungrant(record)

    def _start_removed(self, record: Record) -> None:
        self._step(record, QUEUED, _STARTING, begins=True)
        record.attempt += 1
        if record.seq in self.owing:
            self.owing[record.seq] = None
        self._enter_starting(record)
        self.effects.append(new_tuple(Effect, (_DO_ON_START, record, None)))

    def _enter_starting(self, record: Record) -> None:
        record.state = _STARTING
        record.phase = _PHASE_ON_START
        record.started = self.now
        record.returned = False
        record.processes_gone = True
        record.may_start = True
        record.why = record.asked = None
        self._hold(record)
        self.starts += 1
        if record.command:
            self.changes.attempts[record.seq] = AttemptStep(record.seq, record.attempt)
        elif record.retry is not None and record.attempt > 1:  # its time has come
            self.changes.attempts[record.seq] = AttemptStep(record.seq, record.attempt, is_command=False)

    # --- spilled petitions ----------------------------------------------------------------------------------------

    def unload(self, keys: Iterable[Key]) -> None:
        """Keep only the keys of petitions that moved away from the head, from the next `take` on."""
        self._unloading.extend(keys)

    def load(self, record: Record) -> None:
        """Take the full record of a petition that was only a key; where there is one already, that stays."""
        if record.seq not in self.records:
            record.phase = _WAITING
            self.records[record.seq] = record
            self.live[record.key] = record

    # --- from the store -----------------------------------------------------------------------------------------

    def recovered(
        self,
        record: Record,
        *,
        hook_pending: bool,
        slot_held: bool,
        losses: int = 0,
        due: float | None = None,
        failure: str = "",
    ) -> bool:
        """Bring a stored petition to a known place; tell whether its on_finish is owed.

        Every process of an earlier start of the service has been swept before. `losses`, `due` and
        `failure` are as `recover` says.
        """
        if record.state is _ENDED:
            if slot_held:
                self.changes.flags[record.seq] = (hook_pending, False)
            return hook_pending
        found = record.state, record.on_interrupt, record.outcome, record.code, record.reason
        step = recover(*found, losses=losses, due=due, failure=failure)
        if step is not None and self._recover_started(record, step):
            return True
        if record.state is _HELD:
            self.load(record)
        owed = hook_pending or step is not None
        if owed:
            self.owing[record.seq] = record
        return owed

    def _recover_started(self, record: Record, step: Recovered) -> bool:
        states = 1 << record.state
        if step.outcome is not None:
            self._end(record, step.outcome, step.code, step.reason, states)
            return True
        record.state = step.state
        record.outcome = record.code = record.reason = None
        self._step(record, states, step.state, hook_pending=True)
        return False

    def load_waiting(self, keys: list[Key]) -> None:
        """Take what waits, in order, from the store, as keys only."""
        self.waiting.load(keys)
        for key in keys:
            self.live[key[2]] = key
