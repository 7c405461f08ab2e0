"""A service in miniature around the real machine: a store, a hook side, actions and processes without threads or time.

Whatever a thread, a disk or a child could do at any moment is a method here, so that a test decides what happens when.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from orcha._core.changes import Append, Changes
from orcha._core.choose import Answer, choose
from orcha._core.effects import Do, Effect, Final
from orcha._core.machine import CANCELLED_CODE, INTERRUPTED_CODE, TIMED_OUT_CODE, Machine, on_interrupt_state
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._service.loading import record_of
from orcha._store.contract import Row
from orcha._store.memory import MemoryStore
from orcha.exceptions.store import StoreFull, TokenKnown

MANAGER = "tests:Manager"
CAPACITY = 2
"""How many petitions every condition lets run."""
HEADS = 64
KNOWN, BUSY, REFUSED = 2, 3, 4
Attempt = tuple[int, int]
"""(sequence, attempt)"""


class Crash(Exception):
    """The service dies here."""


class Plan(NamedTuple):
    """What a petition's plugin does."""

    priority: float = 0
    flag: str | None = None
    """It may run only while this flag is up."""
    on_interrupt: OnInterrupt = OnInterrupt.FAIL
    converts: bool = True
    converts_again: bool = True
    condition_breaks: bool = False
    on_start: bool = True


@dataclass
class Action:
    """One action as it goes on in the world, whatever the machine thinks of it."""

    record: Record
    alive: bool = True
    processes: int = 0
    told: bool = False
    """It may have left processes."""


@dataclass
class Call:
    """One call of the manager's code."""

    hook: str
    record: Record
    fresh: bool = False


@dataclass
class Result:
    """What came of one."""

    call: Call
    error: str | None = None
    called: bool = True
    answer: Answer | None = None


@dataclass
class Visit:
    """A batch of calls, and the petitions to be asked after them."""

    calls: list[Call]
    waiting: list[Record]
    new: list[Record] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)


class SimulatedStore(MemoryStore):
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


class World:
    """The service, those who use it, and what has really happened."""

    def __init__(self, hot: int = 4) -> None:
        self.hot = hot
        self.store = SimulatedStore()
        self.flags: set[str] = set()
        self.plans: dict[bytes, Plan] = {}
        self.time = 1000.0
        # What really happened, over all starts of the service.
        self.acked: dict[bytes, int] = {}
        self.verdicts: dict[int, str] = {}
        self.on_starts: Counter[Attempt] = Counter()
        self.on_finishes: dict[Attempt, list[int]] = {}
        self.recovered: set[Attempt] = set()
        """Attempts that a crash interrupted: nobody knows whether their on_start was called."""
        self.answers: dict[int, Outcome | None] = {}
        self.unanswered: set[int] = set()
        self.crashes = 0
        self.waiters = 0
        self._boot()

    def _boot(self) -> None:
        self.store.full = False
        self.epoch = self.store.begin(nonce=1, boot_id="boot", uid=0, now=self.time)[0].epoch
        self.machine = Machine(next_seq=self.store.next_seq(), hot=self.hot)
        self.draining = False
        self.actions: dict[Attempt, Action] = {}
        self.ladders: set[Attempt] = set()
        self.delivered: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.visit: Visit | None = None
        self.stuck: list[tuple[Call, list[Record]]] = []
        self.gathered: dict[str, list[Record]] = {"finish": [], "start": [], "convert": []}
        self.again: list[Call] = []
        self.asked = (-1, -1)
        self.appended: dict[bytes, list[tuple[str, int, object]]] = {}
        self.tombstones: set[bytes] = set()

    # --- clients ------------------------------------------------------------------------------------------------

    def submit(self, plan: Plan, identity: str | int, token: bytes, channel: bytes | None = None) -> None:
        """Send a message, or send it again."""
        machine = self.machine
        record = Record(machine.take_seq(), token, identity, MANAGER, "me", channel or token, b"extras", self.time)
        self.plans.setdefault(token, plan)
        if self.draining:
            self.verdicts[record.seq] = "stopping"
            return
        if token in self.tombstones:
            record.cancellation = cancelled()
        if machine.receive(record) is None:
            self.gathered["convert"].append(record)
            return
        other = self.find(record.key)
        assert other is not None
        self.verdicts[record.seq] = "known" if other.token == token else "duplicate"

    def find(self, key: str) -> Record | None:
        """Give a live petition, brought back from the store where only its key was kept."""
        known = self.machine.live.get(key)
        if known is None or isinstance(known, Record):
            return known
        record = record_of(self.store.rows([known[1]])[0])
        self.machine.warm(record)
        return record

    def cancel(self, key: str) -> bool:
        """Cancel a live petition and wait for the answer; False where there is none."""
        record = self.find(key)
        if record is not None:
            self.waiters += 1
            self.unanswered.add(self.waiters)
            self.machine.cancel(record, cancelled(), self.waiters)
        return record is not None

    def cancel_token(self, token: bytes) -> None:
        """Cancel a submit that may not have come."""
        known = [record for record in self.machine.records.values() if record.token == token]
        row = self.store.tokens([token]).get(token)
        if known:
            self.cancel(known[0].key)
        elif row is None:
            self.tombstones.add(token)
            self.machine.changes.tombstones.append((token, self.time + 600))
        elif row.state is not State.ENDED and row.seq not in self.machine.changes.transitions:
            assert self.cancel(row.id), "a live row has no live petition"

    # --- limits and stop ----------------------------------------------------------------------------------------

    def limit(self, record: Record) -> None:
        """An attempt has run too long, or a petition has waited too long."""
        if record.state is State.STARTING or record.phase is Phase.WAITING:
            self.machine.cancel(record, Cancellation(Outcome.TIMED_OUT, TIMED_OUT_CODE, "too long"))

    def stop(self) -> None:
        """Start nothing any more, and interrupt what runs."""
        self.draining = True
        for record in list(self.machine.records.values()):
            if record.state is State.STARTING:
                requeue = on_interrupt_state(record.on_interrupt)
                self.machine.cancel(
                    record, Cancellation(Outcome.INTERRUPTED, INTERRUPTED_CODE, "stopped", requeue=requeue)
                )

    def is_quiet(self) -> bool:
        """Tell whether nothing runs and no hook is owed."""
        return not (
            self.machine.granted
            or self.visit
            or self.again
            or any(self.gathered.values())
            or any(action.alive for action in self.actions.values())
        )

    # --- the hook side ------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Hand over what has gathered, if the hook thread is free."""
        if self.visit is not None:
            return
        waiting = self._candidates()
        finishes, starts, converts = (self.gathered[what] for what in ("finish", "start", "convert"))
        if not (self.again or finishes or starts or converts or waiting):
            return
        calls = self.again
        calls += [Call("finish", record) for record in finishes]
        calls += [Call("start", record) for record in starts]
        calls += [Call("convert", record) for record in waiting if record.petition is None]
        calls += [Call("convert", record, fresh=True) for record in converts]
        self.again = []
        self.gathered = {"finish": [], "start": [], "convert": []}
        self.visit = Visit(calls, waiting)
        self.asked = (self.machine.version, self.machine.starts)

    def _candidates(self) -> list[Record]:
        machine = self.machine
        if self.draining or not machine.waiting:
            return []
        machine.cool(machine.waiting.demote())
        if machine.waiting.wants_promotion():
            for row in self.store.rows([key[1] for key in machine.waiting.promote()]):
                machine.warm(record_of(row))
        if (machine.version, machine.starts) == self.asked:
            return []
        return [machine.records[key[1]] for key in machine.waiting.head(HEADS)]

    def hook_step(self) -> None:
        """Make the next call of the visit; after the last one ask those that wait, and be over."""
        visit = self.visit
        assert visit is not None
        if len(visit.results) < len(visit.calls):
            call = visit.calls[len(visit.results)]
            result = self._call(call)
            visit.results.append(result)
            if call.fresh and result.error is None:
                visit.new.append(call.record)
            return
        waiting = [record for record in visit.waiting if record.petition is not None]
        choose(waiting, visit.new, lambda record: self._ask(visit, record))
        self.visit = None
        self._apply(visit.results)

    def hook_hangs(self) -> None:
        """Give the call in flight up: what is left of the visit goes to the next thread."""
        visit = self.visit
        assert visit is not None
        made = len(visit.results)
        if made == len(visit.calls):
            self._condition_hangs(visit)
            return
        call = visit.calls[made]
        owed: list[Record] = []
        if call.hook == "start" and call.record.may_start:
            self._note_on_start(call.record)
            owed.append(call.record)
        elif call.hook == "finish":
            self._note_on_finish(call.record)
        self.stuck.append((call, owed))
        self.visit = None
        self._apply(visit.results)
        self.again = visit.calls[made + 1 :]
        self.machine.version += 1
        if call.hook == "start":
            called = bool(owed)
            self._report("start_failed", call.record.seq, call.record.attempt, "hangs", called=called)
        elif call.hook == "convert":
            self._not_converted(call.record)
        else:
            self.machine.hook_done(call.record.seq)

    def _condition_hangs(self, visit: Visit) -> None:
        self.visit = None
        self._apply(visit.results)
        self.machine.version += 1
        for record in (visit.waiting + visit.new)[:1]:
            if record.phase is Phase.WAITING:
                self.machine.break_(record, "condition hangs")

    def stuck_returns(self, which: int) -> None:
        """A call that was given up comes back: the on_finish that waited for it can be called."""
        _, owed = self.stuck.pop(which % len(self.stuck))
        self.gathered["finish"].extend(owed)

    def _call(self, call: Call) -> Result:
        record = call.record
        plan = self.plans[record.token]
        if call.hook == "convert":
            return self._convert(call, plan)
        if call.hook == "finish":
            self._note_on_finish(record)
            return Result(call)
        if not record.may_start:
            return Result(call, "cancelled before it started", called=False)
        self._note_on_start(record)
        if not plan.on_start:
            return Result(call, "on_start answered False")
        if record.may_start:
            self.actions[record.seq, record.attempt] = Action(record)
        return Result(call)

    def _convert(self, call: Call, plan: Plan) -> Result:
        record = call.record
        if not (plan.converts if call.fresh else plan.converts_again):
            return Result(call, "no petition")
        record.petition = plan  # type: ignore[assignment]  # the machine never looks into it
        record.on_interrupt = plan.on_interrupt
        if call.fresh:
            record.priority = plan.priority
        return Result(call)

    def _note_on_start(self, record: Record) -> None:
        key = record.seq, record.attempt
        (row,) = self.store.rows([record.seq])
        assert row.attempt == record.attempt, "on_start without a kept intent"
        assert row.state in (State.STARTING, State.CANCELLING), "on_start without a kept intent"
        self.on_starts[key] += 1

    def _note_on_finish(self, record: Record) -> None:
        key = record.seq, record.attempt
        assert not any(record in owed for _, owed in self.stuck), "on_finish while its on_start is inside"
        assert self.on_starts[key] or key in self.recovered, "on_finish without on_start"
        self.on_finishes.setdefault(key, []).append(self.crashes)

    def says_yes(self, record: Record) -> bool:
        """What its condition answers now."""
        plan = self.plans[record.token]
        return len(self.machine.granted) < CAPACITY and (plan.flag is None or plan.flag in self.flags)

    def _ask(self, visit: Visit, record: Record) -> Answer:
        answer = Answer.YES if self.says_yes(record) else Answer.NO
        if self.plans[record.token].condition_breaks:
            answer = Answer.BROKEN
        if answer is Answer.YES:
            self.machine.granted[record.key] = record.seq
        visit.results.append(Result(Call("condition", record), answer=answer))
        return answer

    def _apply(self, results: list[Result]) -> None:  # noqa: C901 - one branch a kind of call
        answered: dict[int, Result] = {}
        converted: list[Record] = []
        for result in results:
            call, record = result.call, result.call.record
            if call.hook == "condition":
                answered[record.seq] = result
            elif call.hook == "convert":
                if result.error is not None:
                    self._not_converted(record)
                elif record.phase is Phase.CONVERTING:
                    converted.append(record)
            elif call.hook == "finish":
                self.machine.hook_done(record.seq)
            elif result.error is None:
                self._report("action_going", record.seq, record.attempt)
            else:
                self._report("start_failed", record.seq, record.attempt, result.error, called=result.called)
        for record in converted:
            self._accept(record, answered.pop(record.seq, None))
        for result in answered.values():
            if result.answer is Answer.BROKEN:
                self.machine.break_(result.call.record, "condition breaks")
        yes = [result.call.record for result in answered.values() if result.answer is Answer.YES]
        if yes:
            self.machine.start_all(yes)

    def _not_converted(self, record: Record) -> None:
        if record.phase is Phase.CONVERTING:
            self.machine.refuse(record, REFUSED, "no petition")
        elif self.machine.records.get(record.seq) is record:
            self.machine.break_(record, "no petition any more")

    def _accept(self, record: Record, result: Result | None) -> None:
        answer = result.answer if result is not None else None
        if answer is Answer.BROKEN:
            self.machine.refuse(record, REFUSED, "condition breaks")
            return
        start = answer is Answer.YES
        if start and (self.draining or record.cancellation is not None):
            start = False
            self.machine.granted.pop(record.key, None)
            self.machine.version += 1
        made = {channel.id for channel in self.machine.changes.channels}
        new = self.store.channel(record.channel) is None and record.channel not in made
        self.machine.accept(record, start=start, new_channel=new)

    # --- actions and processes ----------------------------------------------------------------------------------

    def _report(self, what: str, *args: Any, **named: Any) -> Any:
        self.delivered.append((what, args, named))
        return getattr(self.machine, what)(*args, **named)

    def put(self, key: Attempt, value: int) -> bool:
        """An attempt writes; True where it was taken."""
        record = self.machine.is_writable(*key)
        if record is not None:
            self.appended.setdefault(record.channel, []).append(("value", key[0], value))
        return record is not None

    def finish(self, key: Attempt, value: int | None) -> bool:
        """An attempt gives its final value; True where it counts."""
        return bool(self._report("finish", *key, value))

    def spawn(self, key: Attempt, *, tells: bool) -> None:
        """An action starts a process, and tells the service so, or not."""
        action = self.actions[key]
        action.told = True
        action.processes += 1
        record = self.machine.records.get(key[0])
        if not tells:
            return
        if record is None or record.attempt != key[1]:
            action.processes = 0
        elif record.state is not State.STARTING and record.processes_gone:
            record.processes_gone = False
            self.ladders.add(key)

    def returns(self, key: Attempt, error: str | None) -> None:
        """An action comes back."""
        action = self.actions[key]
        action.alive = False
        self._report("returned", *key, error, processes=action.told)

    def ladder_done(self, key: Attempt, survivors: list[int]) -> None:
        """Report the end of what was to be ended."""
        self.ladders.discard(key)
        action = self.actions.get(key)
        if action is not None and not survivors:
            action.processes = 0
        self._report("processes_gone", *key, survivors)

    def abandon(self, key: Attempt) -> None:
        """The grace of a cancelled action's thread is over."""
        self._report("abandon", *key)

    # --- the transaction ----------------------------------------------------------------------------------------

    def commit(self, *, dies: str | None = None) -> None:
        """Keep what has gathered, then do what is due; `dies` before or after keeping it."""
        changes, effects, finals = self.machine.take()
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
        effects = self.machine.take_back(changes, effects, tokens, verdict, "not kept")
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
            self.gathered["start"].append(record)
        elif do is Do.ON_FINISH:
            if not any(record in owed for _, owed in self.stuck):
                self.gathered["finish"].append(record)
        elif do is Do.ANSWER:
            assert detail in self.unanswered, "a cancel was answered twice"
            self.unanswered.discard(detail)
            self.answers[detail] = record.outcome
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
        for row in self.store.unfinished(MANAGER):
            if row.hook_pending or row.state in (State.STARTING, State.CANCELLING):
                assert crashed, f"an orderly stop leaves an on_finish owed: {row}"
                self.recovered.add((row.seq, row.attempt))
            record = record_of(row)
            if self.machine.recovered(record, hook_pending=row.hook_pending, slot_held=row.slot_held):
                owed.append(record)
        try:
            self.commit(dies=dies)
        except Crash:
            self.restart()
            return
        self.again += [call for r in owed for call in (Call("convert", r), Call("finish", r))]
        self.machine.load_waiting([(w.priority, w.seq, w.id) for w in self.store.waiting(MANAGER)])
        self.tombstones.update(self.store.all_tombstones(self.time))


def cancelled() -> Cancellation:
    """Give what a client's cancel decides."""
    return Cancellation(Outcome.CANCELLED, CANCELLED_CODE, None)
