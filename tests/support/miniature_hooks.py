"""The hook side of a simulated service: visits, calls that come back or hang, and what the machine is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from orcha._core import transitions
from orcha._core.admission import ALL, Admission, text_name
from orcha._core.asking_round import BROKEN, NO, YES, Answered, Round, Said
from orcha._core.converted import Candidate, Converted, declares_nothing
from orcha._core.petitions import Petitions
from orcha._core.reasons import SAYS_NO
from orcha._core.record import Key, Phase, Record
from orcha._core.selection import Cost, Selection
from orcha._core.state import OnInterrupt, State
from orcha._core.transitions.command import CommandEnd
from orcha._protocol.messages import Verdict
from orcha._service.hooks.exclusive_keys import Once
from orcha._service.lifecycle.stored_records import StoredPetitions, record_of
from orcha._store.memory import MemoryStore
from orcha.interfaces import Retry

CAPACITY = 2
"""How many petitions of a manager its conditions let run."""
GROUPS: dict[str, int | None] = {"rig": 1, "pair": 2, "any": None}
RESOURCES = {"gpu": 2, "ram": 3}
REFUSED = Verdict.REFUSED
LIVE = (State.STARTING, State.RUNNING, State.CANCELLING)
"""States in which an attempt may live."""
Attempt = tuple[int, int]
"""(sequence, attempt)"""


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
    command: bool = False
    retry: Retry | None = None
    group: str | None = None
    needs: Mapping[str, int] = MappingProxyType({})
    once: str | None = None
    if_exists: str = "replace"
    when: str | None = None
    """A condition in text."""

    @property
    def policy(self) -> Plan:
        """What becomes of it where another one has its key."""
        return self


@dataclass
class Command:
    """One attempt at a command in the world: it outlives the service."""

    record: Record
    executed: bool = False
    lost: bool = False
    """Nothing of it is left, and the service has not been told."""
    told: bool = True
    """Its events reach the service: an adopted one's do when its petition was made again."""
    cancelled: bool = False
    end: CommandEnd | None = None
    """How it ended: what watched over it keeps that until it is told to forget it."""
    reported: bool = False
    """Whether this start of the service has heard of its end."""

    @property
    def lives(self) -> bool:
        """Whether a process of it may live."""
        return not self.lost and self.end is None


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
    converted: Converted | None = None


@dataclass
class Visit:
    """A batch of calls, and the round of asking after them."""

    calls: list[Call]
    round: Round
    results: list[Result] = field(default_factory=list)
    asking: Generator[Candidate, Said, None] | None = None
    in_flight: Candidate | None = None
    """The petition whose condition is being asked."""


class HookSide:
    """What calls the manager, one call at a time, each when the test says so."""

    def __init__(self, petitions: Petitions, store: MemoryStore, look_ahead: int | None = None) -> None:
        self.store = store
        self.look_ahead = look_ahead
        self.plans: dict[bytes, Plan] = {}
        self.plan_of: dict[int, Plan] = {}
        """The same by sequence."""
        self.clock = 0.0
        self.flags: set[str] = set()
        self.load = 0.0
        """Of the machine, as conditions in text see it."""
        # What really happened, over all starts of the service.
        self.on_starts: Counter[Attempt] = Counter()
        self.on_finishes: dict[Attempt, list[int]] = {}
        self.recovered: set[Attempt] = set()
        """Attempts that a crash interrupted: nobody knows whether their on_start was called."""
        self.crashes = 0
        self.commands: dict[Attempt, Command] = {}
        self.executed: Counter[Attempt] = Counter()
        self.begin(petitions)

    def begin(self, petitions: Petitions) -> None:
        """Start afresh, with nothing in flight."""
        self.petitions = petitions
        self.draining = False
        self.actions: dict[Attempt, Action] = {}
        self.delivered: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
        """Every report, with the transition that took it."""
        self.never: set[int] = set()
        """Petitions that were cancelled before they started."""
        self.visit: Visit | None = None
        self.stuck: list[tuple[Call, list[Record]]] = []
        """Calls that were given up, with the petitions whose on_finish waits for them."""
        self.gathered: dict[str, list[Record]] = {"finish": [], "start": [], "convert": []}
        self.again: list[Call] = []
        self.paused = self.store.pauses()
        """What people paused, and it was kept, or the service has not died since."""
        self.admission = Admission(petitions, resources=RESOURCES)
        self.admission.load(self.paused, GROUPS)
        self.admission.keys.load(self.store.once())
        self.selection = Selection(petitions, self.admission, look_ahead=self.look_ahead)
        self.once = Once(petitions, self.admission, StoredPetitions(petitions, self.store), self.store)
        self.seconds = 0.0
        """Of the hook side's clock: a second passes with each visit."""

    def dispatch(self) -> None:
        """Hand over what has gathered, if the hook thread is free."""
        if self.visit is not None:
            return
        asked = self._next_round()
        finishes, starts, converts = (self.gathered[what] for what in ("finish", "start", "convert"))
        if not (self.again or finishes or starts or converts or asked.waiting or asked.sample):
            return
        calls = self.again
        calls += [Call("finish", record) for record in finishes]
        calls += [Call("start", record) for record in starts]
        calls += [Call("convert", record) for record in (*asked.waiting, *asked.sample) if record.petition is None]
        calls += [Call("convert", record, fresh=True) for record in converts]
        self.again = []
        self.gathered = {"finish": [], "start": [], "convert": []}
        self.visit = Visit(calls, asked)
        self.selection.handed_over()

    def sample(self, load: float) -> None:
        """Have what conditions in text name looked at."""
        self.load = load
        self._look()

    def _look(self) -> None:
        conditions, waiting = self.admission.conditions, self.petitions.waiting
        conditions.look(lambda text: bool(waiting.parked_in(text_name(text))))
        conditions.take(dict.fromkeys(conditions.to_look_at(), self.load))
        if conditions.are_true:
            self.petitions.note_change()

    def _next_round(self) -> Round:
        self.seconds += 1
        if self.admission.conditions.is_news:
            self._look()
        if self._is_stopped():
            self.selection.stand_still()
            asked = Round([], version=self.petitions.version)
            asked.may_start = False
            return asked
        self._load(self.selection.make_ready())
        return self.selection.next_round(self.seconds, converting=bool(self.gathered["convert"]))

    def _is_stopped(self) -> bool:
        return self.draining or ALL in self.paused

    def pause(self, name: str) -> None:
        """People hold back what this names."""
        self.paused |= {name}
        self.admission.pause(name)

    def resume(self, name: str) -> None:
        """People let it go on."""
        self.paused -= {name}
        self.admission.resume(name)
        self.petitions.note_change()
        more = True
        while more:
            unloaded, more = self.admission.unpark_resumed()
            self._load(unloaded)

    def _load(self, keys: list[Key]) -> None:
        for row in self.store.rows([key[1] for key in keys]):
            self.petitions.load(record_of(row))

    def hook_step(self) -> None:
        """Make the next call of the visit, or ask the next condition; after the last one the visit is over."""
        visit = self.visit
        assert visit is not None
        if len(visit.results) < len(visit.calls):
            call = visit.calls[len(visit.results)]
            result = self._call(call)
            visit.results.append(result)
            if result.converted is not None and call.fresh:
                visit.round.new.append(result.converted)
            elif result.converted is not None:
                visit.round.again[call.record.seq] = result.converted
            return
        answered = visit.in_flight
        said = None if answered is None else self._said(answered)
        if visit.asking is None:
            visit.asking = visit.round.ask(self.admission, self.petitions.granted, lambda: self.petitions.version)
        try:
            visit.in_flight = visit.asking.send(said)  # type: ignore[arg-type]  # None begins it
        except StopIteration:
            visit.in_flight = None
        if visit.in_flight is None:
            self.visit = None
            self._apply(visit)

    def hook_hangs(self) -> None:
        """Give the call in flight up: what is left of the visit goes to the next thread."""
        visit = self.visit
        assert visit is not None
        made = len(visit.results)
        if made == len(visit.calls):
            if visit.in_flight is None:
                self.hook_step()
            if visit.in_flight is not None:
                self._condition_hangs(visit, _record_behind(visit.in_flight))
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
        self._apply(visit)
        self.again = visit.calls[made + 1 :]
        self.petitions.note_change()
        if call.hook == "start":
            called = bool(owed)
            self.report(
                transitions.finish.start_failed,
                call.record.seq,
                call.record.attempt,
                "hangs",
                self.petitions.now,
                called=called,
                hung=called,
            )
        elif call.hook == "convert":
            self._not_converted(call.record)
        else:
            transitions.finish.hook_done(self.petitions, call.record.seq, self.petitions.now)
        if call.hook == "convert" and call.record.phase is Phase.ACTION:
            self.commands[call.record.seq, call.record.attempt].told = True

    def _condition_hangs(self, visit: Visit, record: Record) -> None:
        self.visit = None
        self._apply(visit)
        self.petitions.note_change()
        if record.phase is Phase.WAITING:
            transitions.finish.break_waiting(self.petitions, record, "condition hangs", self.petitions.now)

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
        if record.command:
            self.commands[record.seq, record.attempt] = Command(record)
        else:
            self.actions[record.seq, record.attempt] = Action(record)
        return Result(call)

    def _convert(self, call: Call, plan: Plan) -> Result:
        record = call.record
        if not (plan.converts if call.fresh else plan.converts_again):
            return Result(call, "no petition")
        when = None if plan.when is None else self.admission.conditions.read(plan.when)
        converted = Converted(
            record,
            is_new=call.fresh,
            seq=record.seq,
            key=record.key,
            manager=record.manager,
            owner=record.owner,
            petition=plan,  # type: ignore[arg-type]  # the machine never looks into it
            is_command=plan.command,
            priority=plan.priority if call.fresh else record.priority,
            retry=plan.retry,
            on_interrupt=plan.on_interrupt,
            timeout=None,
            queue_timeout=None,
            expect=None,
            group=plan.group,
            needs=plan.needs or None,
            once=plan.once,
            after=None,
            at=None,
            delay=None,
            when=when,
            has_policy=True,
            is_plain=declares_nothing(plan.group, plan.needs, plan.once, None, None, None, when),
        )
        return Result(call, converted=converted)

    def _note_on_start(self, record: Record) -> None:
        key = record.seq, record.attempt
        (row,) = self.store.rows([record.seq])
        assert row.attempt == record.attempt, "on_start without a kept intent"
        assert record.state is State.STARTING, "on_start of a petition that was cancelled"
        assert record.seq not in self.never, "on_start of a petition that was cancelled before"
        assert record.petition is not None, "on_start of a petition that was not made again"
        before = record.seq, record.attempt - 1
        if self.on_starts[before] and before not in self.recovered:
            assert before in self.on_finishes, "on_start before the on_finish of the last attempt came back"
        self.on_starts[key] += 1

    def _note_on_finish(self, record: Record) -> None:
        key = record.seq, record.attempt
        assert not any(record in owed for _, owed in self.stuck), "on_finish while its on_start is inside"
        assert self.on_starts[key] or key in self.recovered, "on_finish without on_start"
        self.on_finishes.setdefault(key, []).append(self.crashes)

    def candidates(self) -> list[Candidate]:
        """Give the petitions in memory, each as it is asked: with what the visit under way found out about it."""
        found: dict[int, Candidate] = {}
        if self.visit is not None:
            found = {**self.visit.round.again, **{converted.seq: converted for converted in self.visit.round.new}}
        return [found.get(seq, record) for seq, record in self.petitions.records.items()]

    def says_yes(self, candidate: Candidate) -> bool:
        """What its condition answers now."""
        plan = self.plans[_record_behind(candidate).token]
        room = len(self.petitions.granted.of_manager(candidate.manager)) < CAPACITY
        return room and (plan.flag is None or plan.flag in self.flags)

    def _said(self, candidate: Candidate) -> Said:
        if self.plans[_record_behind(candidate).token].condition_breaks:
            return Said(BROKEN, error="condition breaks")
        return Said(YES) if self.says_yes(candidate) else Said(NO, SAYS_NO, at=self.seconds)

    def _apply(self, visit: Visit) -> None:
        converted = [record for result in visit.results if (record := self._came_of(result)) is not None]
        answered = {answer.record.seq: answer for answer in visit.round.answers}
        for record in converted:
            self._accept(record, answered.pop(record.seq, None))
        self._load(self.selection.settle(answered.values(), visit.round.unchanged, self.petitions.now).unloaded)
        self.selection.note(visit.round, self.seconds, firsts=Cost(len(visit.round.waiting)), others=Cost())

    def _came_of(self, result: Result) -> Record | None:
        """Take what came of a call; give the petition that it made and that is to be accepted."""
        call, record = result.call, result.call.record
        if call.hook == "finish":
            transitions.finish.hook_done(self.petitions, record.seq, self.petitions.now)
        elif call.hook == "convert":
            if result.converted is not None:
                transitions.submit.enter_converted(record, result.converted)
                if record.phase is Phase.CONVERTING:
                    return record
            if record.phase is Phase.ACTION:
                self.commands[record.seq, record.attempt].told = True
                return None
            if result.error is not None:
                self._not_converted(record)
        elif result.error is None:
            self.report(transitions.finish.action_going, record.seq, record.attempt)
        else:
            self.report(
                transitions.finish.start_failed,
                record.seq,
                record.attempt,
                result.error,
                self.petitions.now,
                called=result.called,
            )
        return None

    def _not_converted(self, record: Record) -> None:
        if record.phase is Phase.CONVERTING:
            transitions.submit.refuse(self.petitions, record, REFUSED, "no petition")
        elif self.petitions.records.get(record.seq) is record:
            transitions.finish.break_waiting(self.petitions, record, "no petition any more", self.petitions.now)

    def _accept(self, record: Record, answered: Answered | None) -> None:
        if answered is not None and answered.answer is BROKEN:
            transitions.submit.refuse(self.petitions, record, REFUSED, "condition breaks")
            return
        if record.once is not None and not self.once.admits(record):
            return
        start = answered is not None and answered.answer is YES
        if start:
            start = self.selection.counts(record, are_stopped=self._is_stopped())
        elif answered is not None:
            transitions.wait.note_no(record, answered.why, answered.asked)
        made = {channel.id for channel in self.petitions.changes.channels}
        new = self.store.channel(record.channel) is None and record.channel not in made
        transitions.submit.accept(self.petitions, record, self.petitions.now, start=start, new_channel=new)
        if answered is not None and not start:
            self._load(self.admission.park(record))

    def report(self, transition: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Have a transition take a report of an attempt, and remember that."""
        self.delivered.append((transition, args, named))
        return transition(self.petitions, *args, **named)


def _record_behind(candidate: Candidate) -> Record:
    return candidate.record if isinstance(candidate, Converted) else candidate
