"""One start of a simulated service: the real engine, whose threads are steps that the story makes one by one."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from queue import Empty
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from orcha._core.asking_round import YES, Round, Said
from orcha._core.devices import Device
from orcha._output.log import MemoryLog
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import MAX_FRAME_BYTES, FrameReader, decode_service_message
from orcha._protocol.messages import Item, Reply, Submit, Submitted, Verdict
from orcha._service.engine import Engine
from orcha._service.hooks.managers import Managers, Served
from orcha._service.lifecycle.recovery import recover_all
from orcha._service.lifecycle.settings import Settings
from orcha._service.lifecycle.stopping import Shutdown
from orcha._service.reports.log_thread import Reporter
from orcha._service.submissions import Submission
from orcha._service.user_directory import KnownUser
from orcha.exceptions import StaleCall
from orcha.interfaces.built_in import COMMAND_MANAGER, COMMANDS, LEASE_MANAGER, LEASES, WATCHDOG
from orcha.lib.leases import LeaseManager
from support.asking import Person
from support.simulation.allowances import configured
from support.simulation.plans import CAPACITY, Commands, Plan, Plugin
from support.simulation.scheduling import Scheduling
from support.simulation.store import Crash

if TYPE_CHECKING:
    from orcha._core.admission import Admission
    from orcha._core.converted import Candidate
    from orcha._core.granted import GrantedSlots
    from orcha._core.inventory import Stock
    from orcha._core.moment import Moment
    from orcha._core.record import Key, Record
    from orcha._service.execution.action_threads import ActionRun
    from orcha._service.hooks.visit import Visit
    from orcha.interfaces import Petition
    from support.simulation.allowances import Tables
    from support.simulation.shims import Attempt
    from support.simulation.stock import There
    from support.simulation.world import World

MANAGERS = {"one": "tests:One", "two": "tests:Two"}
VERDICTS = {number: name for name, number in vars(Verdict).items() if isinstance(number, int)}
HOOK_DEADLINE = 10.0
_LEASES = LeaseManager()
_SETTINGS = Settings(Endpoint("127.0.0.1", 1, "/nowhere"), hook_deadline=HOOK_DEADLINE, stop_grace=5.0)


@dataclass
class Action:
    """One action as it goes on in the world, whatever the service thinks of it."""

    run: ActionRun
    alive: bool = True
    processes: int = 0
    begun: float = 0.0
    """When it began, on the clock that nobody sets."""


class _Bell:
    """What wakes the engine's thread: nobody sleeps here."""

    def __init__(self, waits: Callable[[float], bool]) -> None:
        self._waits = waits

    def put(self, _: None) -> None:
        """Ring; that it rang is noted elsewhere."""

    def get(self, timeout: float) -> None:
        """Wait within a batch."""
        if not self._waits(timeout):
            raise Empty


class _Ladders:
    """What ends processes of attempts, as `Ending` sees it."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        """The numbers of attempts whose processes are being ended."""

    def begin(self, ordinal: int, _: object) -> None:
        """Begin to end."""
        if ordinal not in self.begun:
            self.begun.append(ordinal)


class Service:
    """One start of the service, until it dies or stops."""

    def __init__(self, world: World) -> None:
        """Begin as a service does: recover, and start."""
        self.world = world
        self.dead = False
        """Whether it died, or the story is over."""
        self.failure: BaseException | None = None
        self.actions: dict[Attempt, Action] = {}
        self.asked: dict[int, str] = {}
        """What clients asked and were not answered yet, by request."""
        self._asking: int | None = None
        """The petition that nothing blocked, and whose condition is being asked, by sequence."""
        self.asked_at = 0.0
        """When that was asked, on the clock on the wall: by then it was decided whether anything blocks it."""
        self.asked_now: set[int] = set()
        """The petitions whose condition was asked in this visit, by sequence."""
        self.values_at_begin: object = None
        """What conditions in text named, and was known when this visit began."""
        self.places_at_begin: dict[int, Key] = {}
        """The places that the petitions of this visit's round had when the round was made."""
        self._requests = itertools.count(1)
        self._threads = itertools.count(1)
        self._visits: list[Visit] = []
        self._hook_thread = 0
        self._busy: set[int] = set()
        """Hook threads that are in a visit."""
        self._lingers = False
        """Whether the hook thread has the engine look in a moment."""
        self._looks: list[Any] = []
        self.people = {"uid:0": Person("admin", "uid:0")}
        store = world.store
        incarnation, earlier = store.begin(nonce=1, boot_id="boot", uid=0, now=world.time.wall)
        store.forget_incarnations([each.epoch for each in earlier])
        served = [Served(plugin, name, Plugin(self, name)) for plugin, name in MANAGERS.items()]
        commands = Served(COMMANDS, COMMAND_MANAGER, Commands(self))
        leases = [Served(LEASES, LEASE_MANAGER, _LEASES)] if world.has_leases else []
        beside = [commands, *leases, Served(WATCHDOG, "tests:Watch", Plugin(self, "tests:Watch"))]
        managers = Managers([*served, *beside])
        settings = replace(
            _SETTINGS,
            slots=dict(world.groups.given),
            resources=_stocks(world.stock.given),
            look_ahead=world.look_ahead,
            configured=configured(world.allowances.written),
        )
        self.engine = Engine(
            served[0].manager, MANAGERS["one"], store, MemoryLog(), incarnation, settings, self._send, managers
        )
        self.scheduling = Scheduling(self)
        self._watched_round = _watched_by(self._watched)
        self._replace_threads()
        Shutdown(self.engine, lambda: None)
        recover_all(self.engine)
        world.shims.rebooted = False
        self.engine.post(self.engine.arrays.begin)
        self.engine.post(self.engine.visits.wake)
        self.engine.mailbox.is_started = True

    # --- what threads are replaced by ---------------------------------------------------------------------------

    def _replace_threads(self) -> None:
        engine: Any = self.engine
        shims, hooks = self.world.shims, engine.hooks
        engine.mailbox._bell = _Bell(self._gathers)
        hooks.start = hooks.prepare_another = lambda: None
        hooks.perform = self._take_visit
        hooks.give_up = self._give_up
        engine.actions.go = self._begin_action
        set_to, drain = engine.stocktaking.set, engine.stocktaking.drain
        engine.stocktaking.set = lambda name, stock: self._set(set_to, name, stock)
        engine.stocktaking.drain = lambda *arguments: self._drain(drain, *arguments)
        set_group, extend = engine.admitting.set_group, engine.leases.extend
        engine.admitting.set_group = lambda *arguments: self._set_group(set_group, *arguments)
        engine.leases.extend = lambda record, seconds: self._extend(extend, record, seconds)
        keep_start = engine.petitions.keep_start
        engine.petitions.keep_start = lambda group, seq, now: self._keep_start(keep_start, group, seq, now)
        add = engine.submissions.add
        engine.submissions.add = lambda record, asked: self._add(add, record, asked)
        converted = engine.command_adoption.converted
        engine.command_adoption.converted = lambda record, reason=None: self._converted(converted, record, reason)
        self.ladders = engine.ending._processes = _Ladders()
        engine.users.look_up_now = lambda *_: None
        engine.users.is_due = lambda _: False
        engine.lookups.begin = lambda look, take, **_: take(look())
        engine.users._look_up = lambda _: ("", ())
        groups = self.world.allowances.groups.items()
        engine.users._known = {owner: KnownUser("", named, inf) for owner, named in groups}
        engine.sampling._looker.ask = lambda readings, _: self._looks.append(readings)
        engine.shims.connect(lambda _: shims)
        engine.shims.find = lambda _: shims.adopt()
        engine.shims.reach()
        engine.shims.rebooted = shims.rebooted

    def _set(self, set_to: Callable[..., None], name: str, stock: Any) -> None:
        set_to(name, stock)
        there = stock if isinstance(stock, int) else tuple(device.name for device in stock)
        self.world.stock.set(name, there, self._let_go())

    def _drain(self, drain: Callable[..., None], name: str, device: str | None, how: Any) -> None:
        drain(name, device, how)
        self.world.stock.drain(name, device, drained=how is not None, granted=self._let_go())

    def _set_group(self, set_group: Callable[..., None], name: str, slots: int | None, rules: Any, who: str) -> None:
        set_group(name, slots, rules, who)
        self.world.groups.set(name, slots, rules, self._let_go())

    def _extend(self, extend: Callable[..., None], record: Record, seconds: float) -> None:
        extend(record, seconds)
        self.world.extended[record.seq] = self.world.extended.get(record.seq, 0.0) + seconds

    def _keep_start(self, keep_start: Callable[..., None], group: str, seq: int, now: Moment) -> None:
        keep_start(group, seq, now)
        self.world.start_decided[seq] = now.wall

    def _add(self, add: Callable[..., None], record: Record, asked: Any) -> None:
        """Hold that no petition is taken beyond what its owner may have waiting; elements come with their array."""
        add(record, asked)
        self.world.note_arrival(record.token)
        if self.world.allowances.tables and isinstance(asked.asker, Submission):
            self.scheduling.may_be_taken(record.owner)

    def reload(self, tables: Tables) -> None:
        """Have other quotas stand in the configuration, and hold."""
        self.world.note("these quotas are to hold: {}", tables)
        self.world.allowances.written = tables
        self.engine.post(self._use_quotas, tables)

    def _use_quotas(self, tables: Tables) -> None:
        engine = self.engine
        settings = replace(engine.settings, configured=configured(tables))
        engine.use(settings)
        engine.user_quotas.configure(settings)
        engine.visits.wake()
        self.world.allowances.hold(tables, self._let_go())

    def _let_go(self) -> list[int]:
        """Give the petitions that have their slot, or get it where their condition, which is being asked, says yes."""
        return [*self.engine.granted.seqs(), *([] if self._asking is None else [self._asking])]

    def _converted(self, converted: Callable[..., None], record: Record, reason: str | None) -> None:
        (self.world.unread.discard if reason is None else self.world.unread.add)(record.seq)
        converted(record, reason)

    @property
    def ready(self) -> list[str]:
        """The threads that have something to do now."""
        mailbox, timers = self.engine.mailbox, self.engine.timers
        if self.dead or mailbox.is_over:
            return []
        found = []
        is_due = timers.head is not None and timers.head <= self.world.time.steady
        if (mailbox._rung or is_due) and not mailbox.turn.locked():
            found.append("engine")
        if self._hook_thread not in self._busy and (self._visits or self._lingers):
            found.append("hooks")
        if self._looks:
            found.append("looker")
        return found

    def step(self, thread: str) -> None:
        """Have a thread do what it has to do."""
        if thread == "engine":
            self.make_batch()
        elif thread == "hooks":
            self._hook_step()
        else:
            looker, looks = self.engine.sampling._looker, self._looks[:]
            self._looks.clear()
            for readings in looks:
                looker._deliver(dict.fromkeys(readings, self.world.load))
        self.check()

    def check(self) -> None:
        """Raise what ended the engine, where it failed."""
        failure = self.engine.mailbox.failure
        if failure is not None:
            raise failure

    def make_batch(self) -> None:
        """Have the engine's thread make a batch."""
        mailbox = self.engine.mailbox
        mailbox._rung = False
        assert mailbox._work is not None
        with mailbox.turn:
            mailbox._work.make()

    def _gathers(self, timeout: float) -> bool:
        """Let others act while the engine gathers; tell whether that brought an event."""
        mailbox = self.engine.mailbox
        if "hooks" in self.ready and self.world.random.random() < 0.5:
            self._hook_step()
        if self.dead:
            raise Crash
        if not mailbox._rung:
            self.world.time.passes(timeout)
        rang, mailbox._rung = mailbox._rung, False
        return rang

    def _hook_step(self) -> None:
        hooks = self.engine.hooks
        self._lingers = hooks.threads.looks_again = False
        if not self._visits:
            hooks.threads.look()
            return
        visit, thread = self._visits.pop(0), self._hook_thread
        self._busy.add(thread)
        self.asked_now = set()
        self.values_at_begin = self.engine.admission.conditions._values
        try:
            hooks._visit(visit)
            visit.over = True
            if visit.awaited:
                hooks.done()
            self._lingers = hooks.threads.looks_again = visit.started
        except StaleCall:
            if not self.dead:
                hooks.threads.given_up.discard(thread)
                hooks.came_back(thread)
        finally:
            self._busy.discard(thread)
            self._asking = None

    def _take_visit(self, visit: Visit) -> None:
        self.places_at_begin = {record.seq: record.place for record in visit.round.waiting}
        visit.round.__class__ = self._watched_round
        self._visits.append(visit)

    def _give_up(self) -> int:
        old, self._hook_thread = self._hook_thread, next(self._threads)
        self.engine.hooks.threads.given_up.add(old)
        return old

    def _watched(
        self, asked: Round, asking: Generator[Candidate, Said, None], granted: GrantedSlots
    ) -> Generator[Candidate, Said, None]:
        """Ask as a round does, and hold of each question and each start what the oracle says."""
        candidate = next(asking, None)
        while candidate is not None:
            self.scheduling.may_be_asked(candidate)
            self.asked_now.add(candidate.seq)
            self.world.asked[candidate.seq] = self.scheduling.plan(candidate)
            self._asking, self.asked_at = candidate.seq, self.world.time.wall
            said, answered = (yield candidate), candidate
            is_yes = said[0] is YES
            passed = self.scheduling.passed_by(asked, answered) if is_yes else []
            delayed = self.scheduling.delayed_by(asked, answered) if is_yes else []
            try:
                candidate = asking.send(said)
            except StopIteration:
                candidate = None
            self._asking = None
            if not granted.has(answered.seq):
                self.world.note_not_granted(answered.seq)
            if is_yes and granted.has(answered.seq):
                assert not passed, f"{answered.key} starts before {passed}"
                assert not delayed, f"{answered.key} starts, and delays {delayed}"

    # --- what a plugin does -------------------------------------------------------------------------------------

    def during(self, what: str) -> None:
        """Let anything happen while a hook is under way."""
        self.world.note("hook: {}", what)
        if self.engine.mailbox.turn.locked():
            return
        try:
            self.world.interleave(self)
        except Crash:
            self.dead = True
        except StaleCall:
            raise
        except BaseException as error:  # noqa: BLE001 - who calls a hook takes any error for the plugin's
            self.dead, self.failure = True, error
        if self.dead:
            raise StaleCall

    def says_yes(self, plan: Plan, manager: str) -> bool:
        """Tell what the condition of a petition says now."""
        if manager == LEASE_MANAGER:
            return True
        is_up = plan.flag is None or plan.flag in self.world.flags
        return is_up and len(self.engine.granted.of_manager(manager)) < CAPACITY

    def on_start(self, petition: Petition) -> bool:
        """Call on_start."""
        record = next(r for r in self.engine.petitions.records.values() if r.petition is petition)
        self.world.on_start((record.seq, record.attempt))
        self.during(f"on_start {petition.id}")
        return self.world.plans[record.token].on_start

    def _begin_action(self, run: ActionRun, _: Petition) -> None:
        self.world.note("action of {} begins, attempt {}", run.key, run.attempt)
        self.world.begins((run.seq, run.attempt))
        self.actions[run.seq, run.attempt] = Action(run, begun=self.world.time.steady)

    # --- clients ------------------------------------------------------------------------------------------------

    def ask(self, kind: type, *arguments: Any, **keywords: Any) -> None:
        """Send a request of the owner of the service."""
        message: Any = kind(next(self._requests), *arguments, **keywords)
        self.world.note("client asks: {}", message)
        self._receive(message)

    def submit(self, manager: str, items: list[Item], owner: str = "uid:0") -> None:
        """Send messages of a person for a manager."""
        number = next(self._requests)
        self.world.sent[number] = [item.token for item in items]
        self._receive(Submit(number, manager, 0, items), owner)

    def _receive(self, message: Any, owner: str = "uid:0") -> None:
        self.asked[message.request] = type(message).__name__
        person = self.people.setdefault(owner, Person("admin", owner))
        self.engine.receive(person, message)  # type: ignore[arg-type]
        self.check()

    def _send(self, batch: list[tuple[Any, bytes]]) -> None:
        for _, frame in batch:
            for body in FrameReader(MAX_FRAME_BYTES).feed(frame):
                said = decode_service_message(body)
                if isinstance(said, Reply):
                    assert said.verdict != Verdict.RAISED, said
                    self.world.note("answer to {}: {} {}", said.request, VERDICTS[said.verdict], said.reason or "")
                elif isinstance(said, Submitted):
                    self.world.answered(said)
                self.asked.pop(getattr(said, "request", 0), None)

    # --- actions and processes ----------------------------------------------------------------------------------

    def living_actions(self) -> list[Attempt]:
        """Give the attempts whose action has not returned."""
        return [key for key, action in self.actions.items() if action.alive]

    def returns(self, key: Attempt, error: str | None) -> None:
        """An action comes back."""
        action = self.actions[key]
        action.alive = False
        self.world.note("action of petition {} returns: {}", key, error)
        self.engine.port.returned(action.run, error)
        self.check()

    def finishes(self, key: Attempt, value: int | None) -> None:
        """An action gives its final value."""
        self.world.note("action of petition {} gives {}", key, value)
        self.engine.port.finish(*key, value)
        self.check()

    def puts(self, key: Attempt, value: int) -> None:
        """An action puts a value."""
        gate = threading.Lock()
        gate.acquire()
        self.engine.mailbox.post(self.engine.port._on_put, *key, [b"%d" % value], [], gate)

    def spawns(self, key: Attempt) -> None:
        """An action starts a process, and names it."""
        action = self.actions[key]
        action.processes += 1
        action.run.processes = True
        self.world.note("action of petition {} starts a process", key)
        self.engine.mailbox.post(self.engine.ending._adopted, action.run)

    def action_of(self, ordinal: int) -> Action | None:
        """Give the action whose processes have this number."""
        return next((action for action in self.actions.values() if action.run.ordinal == ordinal), None)

    def ladder_ends(self, ordinal: int, survivors: tuple[int, ...]) -> None:
        """What was to be ended has ended, or nothing can kill it."""
        self.ladders.begun.remove(ordinal)
        action = self.action_of(ordinal)
        if action is not None and not survivors:
            action.processes = 0
        if action is not None and survivors:
            self.world.survived.add(action.run.seq)
        self.world.note("processes of attempt {} are gone, but {}", ordinal, survivors)
        self.engine.ending._over_with(ordinal, survivors, None)


def _stocks(given: Mapping[str, There]) -> dict[str, Stock]:
    return {
        name: there if isinstance(there, int) else tuple(Device(device) for device in there)
        for name, there in given.items()
    }


def _watched_by(watch: Callable[..., Generator[Candidate, Said, None]]) -> type[Round]:
    """Give the class of rounds whose questions go through `watch`."""

    class Watched(Round):
        __slots__ = ()

        def ask(
            self, admission: Admission, granted: GrantedSlots, version: Callable[[], int]
        ) -> Generator[Candidate, Said, None]:
            return watch(self, super().ask(admission, granted, version), granted)

    return Watched


@contextmanager
def without_log_thread(faults: list[BaseException]) -> Iterator[None]:
    """Have nothing written to the log; gather the errors that would be."""

    def report(_: Reporter, level: int, text: str, *args: object, error: BaseException | None = None) -> None:
        del text, args
        if error is not None and level >= logging.ERROR and not isinstance(error, Crash):
            faults.append(error)

    with patch.object(Reporter, "report", report):
        yield
