"""A service in miniature around the real machine: a store, a hook side, actions and processes without threads or time.

Whatever a thread, a disk or a child could do at any moment is a method here, so that a test decides what happens when.
"""

from __future__ import annotations

import ast
import functools

from orcha._core import transitions
from orcha._core.admission import petition_name
from orcha._core.changes import Append, AttemptStep, Changes
from orcha._core.codes import CANCELLED_CODE, INTERRUPTED_CODE, TIMED_OUT_CODE
from orcha._core.effects import Do, Effect, Final
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.reasons import RestingUntil
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.retry import Tries
from orcha._core.state import Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha._core.transitions.recover import on_interrupt_state
from orcha._core.transitions.retry import is_decided
from orcha._protocol.messages import Verdict
from orcha._service.lifecycle.stored_records import record_of
from orcha._store.contract import Row
from orcha._store.memory import MemoryStore
from orcha.exceptions.store import StoreFull, TokenKnown
from support.miniature_hooks import LIVE, REFUSED, Attempt, Call, HookSide, Plan

MANAGERS, KNOWN, BUSY = ("tests:Manager", "tests:Other"), Verdict.KNOWN, Verdict.BUSY
CANCELLED = Cancellation(Outcome.CANCELLED, CANCELLED_CODE, None)


class Crash(Exception):
    """The service dies here."""


class MiniatureStore(MemoryStore):
    """The store of a service that may find its disk full."""

    full = False

    def commit(self, changes: Changes, *, durable: bool = True) -> list[bytes]:
        """Keep all or nothing."""
        if self.full and changes.petitions:
            raise StoreFull("no room")
        return super().commit(changes, durable=durable)

    def all_rows(self) -> list[Row]:
        """Give every row."""
        return list(self._rows.values())

    def log(self, channel: bytes) -> list[tuple[str, int, object]]:
        """Give the records of a channel: (kind, sequence of its petition, value)."""
        known = self._channels.get(channel)
        appends = sorted(known.records.items()) if known else []
        return [record for _, append in appends for record in _decoded(append.data)]

    def logs(self) -> dict[bytes, list[tuple[str, int, object]]]:
        """Give the records of all channels."""
        return {channel: self.log(channel) for channel in self._channels}


@functools.cache
def _decoded(data: bytes) -> list[tuple[str, int, object]]:
    """Give the records of an append, which are our own literals."""
    records: list[tuple[str, int, object]] = ast.literal_eval(data.decode())
    return records


class Miniature(HookSide):
    """The service, those who use it, and what has really happened."""

    store: MiniatureStore

    def __init__(self, most_ready: int = 4, look_ahead: int | None = None) -> None:
        self.most_ready = most_ready
        self.time = 1000.0
        self.acked: dict[bytes, int] = {}
        self.verdicts: dict[int, str] = {}
        self.answers: dict[int, Outcome | None] = {}
        self.unanswered: set[int] = set()
        self.waiters = 0
        super().__init__(Petitions(most_ready=most_ready), MiniatureStore(), look_ahead)
        self._boot()

    def _boot(self) -> None:
        self.store.begin(nonce=1, boot_id="boot", uid=0, now=self.time)
        self.begin(Petitions(next_seq=self.store.next_seq(), most_ready=self.most_ready))
        self.petitions.now = Moment(self.clock, self.clock)
        self.store.full = False
        self.ladders: set[Attempt] = set()
        self.appended: dict[bytes, list[tuple[str, int, object]]] = {}
        self.tombstones: set[bytes] = set()
        self.over: list[Attempt] = []
        """Commands whose end is kept with the next transaction."""

    # --- clients ------------------------------------------------------------------------------------------------

    def submit(
        self, plan: Plan, identity: str | int, token: bytes, channel: bytes | None = None, manager: str = MANAGERS[0]
    ) -> None:
        """Send a message, or send it again."""
        petitions = self.petitions
        record = Record(petitions.take_seq(), token, identity, manager, "me", channel or token, b"extras", self.time)
        self.plan_of[record.seq] = self.plans.setdefault(token, plan)
        if self.draining:
            self.verdicts[record.seq] = "stopping"
            return
        if transitions.submit.receive(petitions, record, CANCELLED if token in self.tombstones else None) is None:
            self.gathered["convert"].append(record)
            return
        other = self.find(record.key)
        assert other is not None
        self.verdicts[record.seq] = "known" if other.token == token else "duplicate"

    def find(self, key: str) -> Record | None:
        """Give a live petition, brought back from the store where only its key was kept."""
        known = self.petitions.live.get(key)
        if known is None or isinstance(known, Record):
            return known
        record = record_of(self.store.rows([known[1]])[0])
        self.petitions.load(record)
        return record

    def cancel(self, key: str) -> bool:
        """Cancel a live petition and wait for the answer; False where there is none."""
        record = self.find(key)
        if record is not None:
            self.waiters += 1
            self.unanswered.add(self.waiters)
            if record.phase in (Phase.CONVERTING, Phase.WAITING):
                self.never.add(record.seq)
            transitions.cancel.cancel(self.petitions, record, CANCELLED, self.petitions.now, self.waiters)
        return record is not None

    def cancel_token(self, token: bytes) -> None:
        """Cancel a submit that may not have come."""
        known = [record for record in self.petitions.records.values() if record.token == token]
        row = self.store.tokens([token]).get(token)
        if known:
            self.cancel(known[0].key)
        elif row is None:
            self.tombstones.add(token)
            self.petitions.changes.tombstones.append((token, self.time + 600))
        elif row.state is not State.ENDED and row.seq not in self.petitions.changes.transitions:
            assert self.cancel(row.id), "a live row has no live petition"

    def resume_one(self, record: Record) -> None:
        """People let one go on that is paused, or held after an interruption."""
        self.resume(petition_name(record.seq))
        transitions.hold.release(self.petitions, record, self.petitions.now)

    # --- limits and stop ----------------------------------------------------------------------------------------

    def limit(self, record: Record) -> None:
        """An attempt has run too long, or a petition has waited too long."""
        runs = record.state is State.STARTING and not record.command
        if runs or record.phase is Phase.WAITING or is_decided(record):
            transitions.cancel.cancel(
                self.petitions, record, Cancellation(Outcome.TIMED_OUT, TIMED_OUT_CODE, "too long"), self.petitions.now
            )

    def stop(self) -> None:
        """Start nothing any more, and interrupt what runs."""
        self.draining = True
        for record in list(self.petitions.records.values()):
            if record.state in (State.STARTING, State.RUNNING):
                requeue = on_interrupt_state(record.on_interrupt)
                transitions.cancel.cancel(
                    self.petitions,
                    record,
                    Cancellation(Outcome.INTERRUPTED, INTERRUPTED_CODE, "stopped", requeue=requeue),
                    self.petitions.now,
                )

    def is_quiet(self) -> bool:
        """Tell whether nothing runs and no hook is owed."""
        return not (
            self.petitions.granted
            or self.visit
            or self.again
            or any(self.gathered.values())
            or any(action.alive for action in self.actions.values())
        )

    # --- actions and processes ----------------------------------------------------------------------------------

    def put(self, key: Attempt, value: int) -> bool:
        """An attempt writes; True where it was taken."""
        record = self.petitions.writable(*key)
        if record is not None:
            self.appended.setdefault(record.channel, []).append(("value", key[0], value))
        return record is not None

    def finish(self, key: Attempt, value: int | None) -> bool:
        """An attempt gives its final value; True where it counts."""
        return bool(self.report(transitions.finish.finish, *key, value, self.petitions.now))

    def spawn(self, key: Attempt, *, tells: bool) -> None:
        """An action starts a process, and tells the service so, or not."""
        action = self.actions[key]
        action.told = True
        action.processes += 1
        record = self.petitions.records.get(key[0])
        if not tells:
            return
        if record is None or record.attempt != key[1]:
            action.processes = 0
        else:
            transitions.finish.processes_left(self.petitions, record)

    def returns(self, key: Attempt, error: str | None) -> None:
        """An action comes back."""
        action = self.actions[key]
        action.alive = False
        self.report(transitions.finish.returned, *key, error, self.petitions.now, processes=action.told)

    def ladder_done(self, key: Attempt, survivors: list[int]) -> None:
        """Report the end of what was to be ended."""
        self.ladders.discard(key)
        action = self.actions.get(key)
        if action is not None and not survivors:
            action.processes = 0
        self.report(transitions.finish.processes_gone, *key, survivors, self.petitions.now)

    def abandon(self, key: Attempt) -> None:
        """The grace of a cancelled action's thread is over."""
        self.report(transitions.finish.abandon, *key, self.petitions.now)

    # --- commands -----------------------------------------------------------------------------------------------

    def executes(self, key: Attempt) -> None:
        """A command's first instruction runs."""
        command = self.commands[key]
        if not command.executed:
            command.executed = True
            self.executed[key] += 1
        if command.told:
            self.report(transitions.command.running, *key, self.petitions.now)

    def command_ends(
        self, key: Attempt, code: int, *, due: float | None = None, survivors: tuple[int, ...] = ()
    ) -> None:
        """A command ends, by itself or because it was cancelled; it may be tried again from `due` on."""
        command = self.commands[key]
        if command.cancelled:
            command.end = CommandEnd(Outcome.CANCELLED, CANCELLED_CODE, None, by_itself=False, survivors=survivors)
        else:
            outcome = Outcome.FAILED if code else Outcome.SUCCEEDED
            command.end = CommandEnd(outcome, code, None, due=due, survivors=survivors)
        self.tell_end(key)

    def tell_end(self, key: Attempt) -> None:
        """Have the service hear of a command's end; it is forgotten once that is kept."""
        command = self.commands[key]
        end = command.end
        assert end is not None
        if command.reported or not command.told:
            return
        command.reported = True
        record = transitions.command.unfinished(self.petitions, *key)
        again = end.due is not None and record is not None and record.state is not State.CANCELLING
        again = again and not end.survivors
        self.report(transitions.command.ended, *key, end, self.petitions.now)
        if record is not None:
            self.petitions.keep_attempt(AttemptStep(*key, due=end.due if again else None, losses=0))
        self.over.append(key)

    def survivors_go(self) -> None:
        """What nothing could kill has ended."""
        for record in [record for record in self.petitions.records.values() if record.command and record.survivors]:
            self.report(transitions.command.gone, record.seq, record.attempt)

    def command_lost(self, key: Attempt) -> None:
        """What watches over a command dies, and its processes with it."""
        command = self.commands[key]
        command.lost = True
        if not command.told:
            return
        del self.commands[key]
        record = transitions.command.unfinished(self.petitions, *key)
        losses = 0 if command.executed else self._losses(key[0]) + 1
        self.report(transitions.command.lost, *key, self.petitions.now, executed=command.executed, losses=losses)
        if record is not None:
            self.petitions.keep_attempt(AttemptStep(*key, losses=losses))

    def _losses(self, seq: int) -> int:
        kept = self.petitions.changes.attempts.get(seq)
        if kept is not None and kept.losses is not None:
            return kept.losses
        known = self.store.attempts([seq]).get(seq)
        return known.losses if known is not None else 0

    def time_passes(self) -> None:
        """What waits for its time has waited long enough."""
        self.clock += 100
        self.petitions.now = Moment(self.clock, self.clock)
        for record in list(self.petitions.records.values()):
            if record.due is not None:
                transitions.retry.time_came(self.petitions, record.seq, self.petitions.now)

    # --- the transaction ----------------------------------------------------------------------------------------

    def commit(self, *, dies: str | None = None) -> None:
        """Keep what has gathered, then do what is due; `dies` before or after keeping it."""
        changes, effects, finals = self.petitions.take()
        for final in finals:
            self._append_final(final)
        self._flush(changes)
        if dies == "before":
            raise Crash
        if changes:
            effects = self._keep(changes, effects)
        if dies == "after":
            raise Crash
        for effect in effects:
            self._perform(effect)
        for key in self.over:
            self.commands.pop(key, None)
        self.over = []

    def _append_final(self, final: Final) -> None:
        record = final.record
        log = self.appended.setdefault(record.channel, [])
        if final.line is not None:
            log.append(("notice", record.seq, final.line))
        log.append(("final", record.seq, final.value))

    def _flush(self, changes: Changes) -> None:
        for channel, records in self.appended.items():
            known = self.store.channel(channel)
            first = known.next if known is not None else 0
            changes.appends.append(Append(channel, first, len(records), repr(records).encode()))
        self.appended = {}

    def _keep(self, changes: Changes, effects: list[Effect]) -> list[Effect]:
        try:
            self.store.commit(changes)
        except TokenKnown as error:
            return self._without(changes, effects, set(error.tokens), KNOWN)
        except StoreFull:
            return self._without(changes, effects, {new.token for new in changes.petitions}, BUSY)
        return effects

    def _without(self, changes: Changes, effects: list[Effect], tokens: set[bytes], verdict: int) -> list[Effect]:
        gone = {new.seq for new in changes.petitions if new.token in tokens}
        effects = transitions.submit.take_back(self.petitions, changes, effects, tokens, verdict, "not kept")
        for append in list(changes.appends):
            records = [record for record in _decoded(append.data) if record[1] not in gone]
            changes.appends.remove(append)
            if records:
                changes.appends.append(append._replace(count=len(records), data=repr(records).encode()))
        return self._keep(changes, effects) if changes else effects

    def _perform(self, effect: Effect) -> None:
        do, record, detail = effect
        key = record.seq, record.attempt
        if do is Do.ACCEPT:
            self.acked[record.token] = record.seq
            self.verdicts[record.seq] = "accepted"
        elif do is Do.REFUSE:
            self.verdicts[record.seq] = {KNOWN: "known", BUSY: "busy", REFUSED: "refused"}[detail[0]]
        elif do is Do.ON_START:
            record.run = key
            if record.retry is not None:
                kept = self.store.attempts([record.seq]).get(record.seq)
                record.tries = Tries(record.retry, kept.retries if kept else 0, kept.history if kept else None)
            self.gathered["start"].append(record)
        elif do is Do.ON_FINISH:
            if not any(record in owed for _, owed in self.stuck):
                self.gathered["finish"].append(record)
        elif do is Do.ANSWER:
            assert detail in self.unanswered, "a cancel was answered twice"
            self.unanswered.discard(detail)
            self.answers[detail] = record.outcome
        elif record.command:
            if key in self.commands:
                self.commands[key].cancelled = True
        else:
            assert record.run == key, "processes of an attempt that does not run are to be ended"
            self.ladders.add(key)

    # --- crash and recovery -------------------------------------------------------------------------------------

    def restart(self, *, crashed: bool = True, dies: str | None = None) -> None:
        """Lose what was not kept, sweep, and come back; it may die again before or after it kept what it recovered."""
        self.crashes += crashed
        self.unanswered.clear()
        self._boot()
        owed = []
        for row in [row for manager in MANAGERS for row in self.store.unfinished(manager)]:
            if row.hook_pending or row.state in LIVE:
                assert crashed, f"an orderly stop leaves an on_finish owed: {row}"
                self.recovered.add((row.seq, row.attempt))
            groups, needs = self.store.groups([row.seq]), self.store.needs([row.seq])
            record = record_of(row, group=groups.get(row.seq), needs=needs.get(row.seq))
            losses = self._losses_of(row, record)
            if losses is None:
                continue
            kept = self.store.attempts([row.seq]).get(row.seq)
            due = kept.due if kept is not None and not kept.is_command else None
            if transitions.recover.recovered(
                self.petitions,
                record,
                self.petitions.now,
                hook_pending=row.hook_pending,
                slot_held=row.slot_held,
                losses=losses,
                due=due,
            ):
                owed.append(record)
            if losses:
                self.petitions.keep_attempt(AttemptStep(row.seq, row.attempt, losses=losses))
        resting = self._rest(owed)
        try:
            self.commit(dies=dies)
        except Crash:
            self.restart()
            return
        self._turn_away()
        self.again += [call for r in owed for call in (Call("convert", r), Call("finish", r))]
        waiting = sorted(w for manager in MANAGERS for w in self.store.waiting(manager) if w.seq not in resting)
        self.petitions.load_waiting([(w.priority, w.seq, w.id) for w in waiting])
        self.tombstones.update(self.store.all_tombstones(self.time))

    def _turn_away(self) -> None:
        """Have commands forgotten whose end is kept."""
        states = {row.seq: row for row in self.store.all_rows()}
        for key, command in list(self.commands.items()):
            row = states[key[0]]
            if command.end is not None and not (row.attempt == key[1] and row.state in LIVE):
                del self.commands[key]

    def _losses_of(self, row: Row, record: Record) -> int | None:
        """Adopt a command that lives; of any other tell how often in a row it was lost before it was executed."""
        key = row.seq, row.attempt
        known = self.store.attempts([row.seq]).get(row.seq)
        if known is None or not known.is_command or known.attempt != row.attempt or row.state not in LIVE:
            return 0
        command = self.commands.get(key)
        if command is not None and not command.lost:
            command.record, command.told, command.reported = record, False, False
            transitions.command.adopt(self.petitions, record)
            self.again.append(Call("convert", record))
            return None
        self.commands.pop(key, None)
        executed = command.executed if command is not None else row.state is not State.STARTING
        return 0 if executed else max(1, known.losses)

    def _rest(self, owed: list[Record]) -> set[int]:
        begun = self.petitions.changes.attempts
        due = {row.seq: row.due or 0.0 for row in self.store.resting() if row.seq not in begun}
        resting = set()
        for row in self.store.rows(list(due)):
            record = next((record for record in owed if record.seq == row.seq), None) or record_of(row)
            if record.state is State.QUEUED:
                why = RestingUntil(row.attempt, None, due[row.seq])
                transitions.recover.rest(self.petitions, record, why, self.petitions.now)
                resting.add(row.seq)
        return resting


def settle(world: Miniature) -> None:
    """Let the service do everything it has to do."""
    for _ in range(4):
        world.commit()
        world.dispatch()
        while world.visit is not None:
            world.hook_step()
    world.commit()
