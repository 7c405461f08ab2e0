"""One story: what happens to a simulated service, as a seed has it."""

from __future__ import annotations

import os
import random as global_random
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import count
from random import Random
from unittest.mock import patch

from orcha._core.admission import petition_name
from orcha._core.record import Record
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Cancel, Item, Pause, Priority, Remove, Resume, Retry, Stop
from orcha._service.execution import starts_ahead
from orcha.exceptions import StaleCall
from support.asking import ExtrasChannel
from support.simulation.invariants import AT_EVERY_STEP, AT_REST, AT_THE_END
from support.simulation.planning import Planning
from support.simulation.plans import FLAGS, GROUPS, THEMES, Plan, Plans
from support.simulation.service import HOOK_DEADLINE, Service, without_log_thread
from support.simulation.sharing import Sharing
from support.simulation.store import Crash
from support.simulation.world import World

SEEDS = range(int(os.environ.get("TEST_STORIES", "2000")))
"""The stories that are played; CI plays as many as stand here."""
STEPS = 60
"""Things that happen in a story, beside what its end takes."""
OFTEN_ABOUT_GAPS = 0.1
"""How often most petitions of a story need some of a resource, and say how long they take."""
OFTEN_ABOUT_PLACES = 0.15
"""How often the commands of a story give their place to more urgent ones."""
SHARE_BESIDE_PLACES = 0.3
"""How often rules, quotas and leases come into a story about places, where they come into others."""
SHARE_WITHOUT_NOTES = 0.2
"""How often a killed service's notes of what it handed over are gone."""
SHARE_OUTLIVED = 0.3
"""How often a shim that dies leaves a process that nothing can kill."""
SHARE_WITHOUT_SUPERVISOR = 0.02
"""How often no supervisor forks a shim any more."""
MAX_STEPS_TO_REST = 2_000
MAX_ROUNDS_TO_THE_END = 100
MAX_DEPTH = 2
"""Hooks within whose calls others are called, after they were given up."""


class Broken(AssertionError):
    """Something that a service promises does not hold; the message has the seed and the story."""


class Story:
    """Plays what a seed says, and looks whether what is promised holds."""

    def __init__(self, seed: int, steps: int = STEPS) -> None:
        """Draw what this story is about."""
        self.seed = seed
        self.random = random = Random(seed)
        self.world = World(random)
        self.world.interleave = self._interleave
        self.world.look_ahead = random.choice([None] * 9 + [3])
        themes = frozenset(random.sample(THEMES, random.choice([1, 2, 2, 3, 4])))
        places = Random(f"places of {seed}")
        is_about_places = places.random() < OFTEN_ABOUT_PLACES
        if is_about_places:
            themes = frozenset({"array", "command", "group", places.choice(["group", "needs", "limits"])})
        gaps = Random(f"gaps of {seed}")
        is_about_gaps = not is_about_places and gaps.random() < OFTEN_ABOUT_GAPS
        if is_about_gaps:
            themes = frozenset({"needs", gaps.choice(["limits", "command", "times", "faults"])})
        self._sharing = Sharing(seed, self.world, self._token, SHARE_BESIDE_PLACES if is_about_places else 1.0)
        themes = self._sharing.themes(themes)
        self._plans = Plans(random, themes, places if is_about_places else None, gaps if is_about_gaps else None)
        self._people = Random(f"people of {seed}")
        self._machine = Random(f"machine of {seed}")
        self._survivors = Random(f"survivors of {seed}")
        self._owners = self._people.choice([("uid:0",), ("uid:0",), ("uid:0", "uid:1"), ("uid:0", "uid:1", "uid:2")])
        """The people who have petitions."""
        self._owners = tuple(self._sharing.owners(self._owners))
        self._ids: list[str | int] = [*"abcdefghijkl"[: random.choice([5, 8, 12])], 1]
        self._steps = steps
        self._depth = 0
        self._tokens = count(1)
        self._last_sent: tuple[str, list[Item], str] | None = None
        self._may_hang = random.random() < 0.15
        self._interleaves = random.choice([0.0, 0.1, 0.3])
        """How often something happens while a hook is under way."""
        chaos, people = random.choice([0.0, 0.5, 1.0, 3.0]), random.choice([0.3, 1.0, 2.0])
        self._planning = Planning(random, self.world, lambda: self._plans.draw([*"abc"], 0.0), self._token)
        self._happenings = self._weights(themes, chaos, people) | self._planning.happenings(themes, people)
        if is_about_places:
            self._happenings |= {self._submits: 3.0, self._command_acts: 25.0, self._dies: 1.5, self._dies_soon: 1.5}
            self._happenings |= self._planning.many_arrays()
        if is_about_gaps:
            self._happenings |= {self._submits: 14.0, self._action_acts: 8.0, self._command_acts: 8.0}
        self._happenings |= self._sharing.happenings()
        self.world.note("themes: {}", ", ".join([*sorted(themes), *self._sharing.told()]))

    def _weights(self, themes: frozenset[str], chaos: float, people: float) -> dict[Callable[[], None], float]:
        """Give what may happen, and how often it does."""
        return {
            self._works: 40.0,
            self.rests: 12.0,
            self._submits: 10.0,
            self._submits_again: 0.7 * people,
            self._cancels: 2.0 * people,
            self._cancels_by_token: 0.7 * people,
            self._pauses: 1.5 * people,
            self._resumes: 1.5 * people,
            self._prioritizes: 0.7 * people,
            self._removes: 0.5 * people,
            self._retries: 0.7 * people,
            self._flag_flips: 3.0 if "flag" in themes else 0.3,
            self._load_changes: 4.0 if "when" in themes else 0.2,
            self._action_acts: 18.0,
            self._ladder_ends: 5.0,
            self._command_acts: 18.0 if "command" in themes else 3.0,
            self._time_passes: 5.0,
            self._clock_is_set: 0.7 * chaos,
            self._disk_fills: 0.3 * chaos,
            self._dies: 0.7 * chaos,
            self._dies_soon: 1.0 * chaos,
            self._power_fails: 0.2 * chaos,
            self._stops: 0.2 * chaos,
        }

    @property
    def service(self) -> Service:
        """The service that runs now."""
        assert self.world.service is not None
        return self.world.service

    def text(self) -> str:
        """Tell the story."""
        begin = self.world.lines[0][0]
        return "\n".join(f"{at - begin:10.3f}  {text.format(*args)}" for at, text, args in self.world.lines)

    def play(self) -> None:
        """Play it to its end; raise `Broken` where something does not hold."""
        faults: list[BaseException] = []
        state = global_random.getstate()
        global_random.seed(self.seed)
        try:
            with self.world.time.is_shown(), without_log_thread(faults), self.world.is_one_build(), _often_ahead():
                self._play(faults)
        except Exception as error:
            replay = f"PYTHONPATH=tests python -m support.simulation {self.seed}"
            text = f"seed {self.seed}: {type(error).__name__}: {error}\n{self.text()}\nIt is played again by: {replay}"
            raise Broken(text) from error
        finally:
            global_random.setstate(state)

    def _play(self, faults: list[BaseException]) -> None:
        self._boots()
        for _ in range(self._steps):
            self.does(self._draw())
            if faults:
                raise faults[0]
        self._comes_to_its_end()
        if faults:
            raise faults[0]
        for holds in AT_THE_END:
            holds(self.world)

    # --- steps --------------------------------------------------------------------------------------------------

    def _draw(self) -> Callable[[], None]:
        return self.random.choices(list(self._happenings), list(self._happenings.values()))[0]

    def does(self, what: Callable[[], None]) -> None:
        """Have something happen; where the service dies of that, the next one starts."""
        try:
            what()
        except Crash:
            self.service.dead = True
        service = self.service
        if service.failure is not None:
            raise service.failure
        if service.engine.mailbox.is_over and not service.dead:
            self.world.note("the service has stopped")
            service.engine.commands.close(failed=False)
            service.dead = True
        if service.dead:
            self._boots()
        for holds in AT_EVERY_STEP:
            holds(self.service)

    def _boots(self) -> None:
        """Start a service; it may die while it recovers, and there may be more than before."""
        world, random = self.world, self.random
        if world.service is not None and random.random() < 0.2:
            world.groups.given["rig"] = random.choice([1, 2])
            world.stock.given["gpu"] = random.choice([2, 3])
        if world.service is not None:
            self._sharing.boots()
        if random.random() < 0.15:
            world.store.dies = random.choice(["before", "after"])
        world.store.is_full = False
        for _ in range(3):
            world.note("a service starts")
            world.starts_again()
            try:
                world.service = service = Service(world)
                service.make_batch()
            except Crash:
                world.note("it dies while it recovers")
                continue
            return
        raise AssertionError("no service starts")

    def _interleave(self, service: Service) -> None:
        """Have something happen while a hook is under way, which may hang for so long that it is given up."""
        random = self.random
        if self._depth >= MAX_DEPTH or service.dead:
            return
        hangs = self._may_hang and random.random() < 0.05
        if not hangs and random.random() >= self._interleaves:
            return
        self._depth += 1
        try:
            for _ in range(random.choice([1, 1, 2, 3])):
                self._happens_within(service)
            if hangs:
                self.world.note("the hook hangs")
                self.world.time.passes(HOOK_DEADLINE + 1)
                for _ in range(random.choice([2, 4, 8])):
                    self._happens_within(service)
                self.world.note("the hook comes back")
        finally:
            self._depth -= 1

    def _happens_within(self, service: Service) -> None:
        self._draw()()
        if service.dead:
            raise StaleCall

    def _works(self) -> None:
        ready = self.service.ready
        if ready:
            self.service.step(self.random.choice(ready))

    def rests(self) -> None:
        """Let the service do everything that it has to do by now, and hold what holds then."""
        service = self.service
        for _ in range(MAX_STEPS_TO_REST):
            ready = service.ready
            if not ready:
                break
            service.step(self.random.choice(ready))
            if service.dead:
                return
        else:
            raise AssertionError("the service does not come to rest")
        if not self._depth and not service.engine.mailbox.is_over:
            for holds in AT_REST:
                holds(service)

    # --- clients ------------------------------------------------------------------------------------------------

    def _token(self) -> bytes:
        return int(self.world.time.wall * 1_000).to_bytes(6, "big") + b"%010d" % next(self._tokens)

    def _submits(self) -> None:
        random, items = self.random, []
        for _ in range(random.choice([1, 1, 1, 2, 3])):
            identity = random.choice(self._ids)
            others = [str(each) for each in self._ids if each != identity]
            items.append((identity, self._plans.draw(others, self.world.time.wall)))
        self.submit(*items, manager=random.choice(["one", "one", "one", "two"]))

    def submit(self, *messages: tuple[str | int, Plan], manager: str = "one") -> None:
        """Send messages, each with an id and a plan."""
        items, owner = [], self._people.choice(self._owners)
        for identity, planned in messages:
            token, plan = self._token(), planned._replace(owner=owner)
            self.world.plans[token] = plan
            self.world.note("client sends {!r}, which asks for {}", identity, plan)
            extras = values.encode({"queue": ExtrasChannel(token), "token": token})
            items.append(Item(token, identity, extras, None))
        self._last_sent = manager, items, owner
        self.service.submit(manager, items, owner)

    def _submits_again(self) -> None:
        if self._last_sent is not None:
            self.world.note("client sends again {}", [item.id for item in self._last_sent[1]])
            self.service.submit(*self._last_sent)

    def _id(self) -> str:
        live = list(self.service.engine.petitions.live)
        return self.random.choice(live) if live and self.random.random() < 0.9 else str(self.random.choice(self._ids))

    def _cancels(self) -> None:
        identity = self._id()
        known = self.service.engine.petitions.live.get(identity)
        if isinstance(known, Record):
            self.world.cancelled.add(known.seq)  # also where its end comes before the cancel is kept
        self.service.ask(Cancel, None, identity)

    def _cancels_by_token(self) -> None:
        tokens = list(self.world.plans)
        if tokens:
            token = self.random.choice(tokens[-5:])
            records = self.service.engine.petitions.records.values()
            self.world.cancelled.update(record.seq for record in records if record.token == token)
            self.service.ask(Cancel, token, None)

    def _pauses(self) -> None:
        kind = self.random.choice(["one", "one", "one", "group", "all"])
        if kind == "one":
            self.service.ask(Pause, self._id())
        else:
            self.service.ask(Pause, None, None, self.random.choice([*GROUPS]) if kind == "group" else None)

    def _resumes(self) -> None:
        paused = sorted(self.service.engine.admission.paused)
        if paused:
            self.resume(self.random.choice(paused))
        else:
            self.service.ask(Resume, self._id())

    def resume(self, name: str) -> None:
        """Undo a pause, named as it is kept."""
        kind, _, which = name.partition(":")
        if kind == "petition":
            self.service.ask(Resume, None, int(which))
        else:
            self.service.ask(Resume, None, None, which or None)

    def _prioritizes(self) -> None:
        self.service.ask(Priority, self._id(), None, self.random.choice([-3, 0, 0.5, 4]))

    def _removes(self) -> None:
        self.service.ask(Remove, str(self.random.choice(self._ids)))

    def _retries(self) -> None:
        ended = [row for row in self.world.store.rows_by_seq.values() if row.state is State.ENDED]
        if ended:
            row, token = self.random.choice(ended), self._token()
            self.world.plans[token] = self.world.plans[row.token]
            self.service.ask(Retry, token, None, row.seq)

    def _flag_flips(self) -> None:
        self.world.flags ^= {self.random.choice(FLAGS)}
        self.world.note("these flags are up: {}", sorted(self.world.flags))
        self.wakes()

    def wakes(self) -> None:
        """Have the plugin say that its conditions may have changed; nothing happens in between."""
        self.service.engine.visits.wake()
        self.service.engine.mailbox.wake()

    def _load_changes(self) -> None:
        self.world.load = self.random.choice([0.0, 4.0, 9.0])
        self.world.note("the machine's load is {}", self.world.load)
        self.world.time.passes(1.0)

    # --- actions and commands -----------------------------------------------------------------------------------

    def _action_acts(self) -> None:
        service, random = self.service, self.random
        living = service.living_actions()
        if not living:
            return
        key = random.choice(living)
        what = random.choices(["returns", "finishes", "puts", "spawns"], [8, 3, 1, 1])[0]
        if what == "returns":
            if random.random() < 0.7:
                service.finishes(key, random.choice([None, 0, 0, 1, 7]))
            service.returns(key, random.choice([None, None, None, "ValueError: x"]))
        elif what == "finishes":
            service.finishes(key, random.choice([None, 0, 1, 7]))
        elif what == "puts":
            service.puts(key, random.randrange(100))
        else:
            service.spawns(key)

    def _ladder_ends(self) -> None:
        service = self.service
        if service.ladders.begun:
            ordinal = self.random.choice(service.ladders.begun)
            action = service.action_of(ordinal)
            survives = action is not None and action.processes and self.random.random() < 0.15
            service.ladder_ends(ordinal, (42,) if survives else ())

    def _command_acts(self) -> None:
        shims, service, random = self.world.shims, self.service, self.random
        if not shims.commands:
            return
        if self._machine.random() < SHARE_WITHOUT_SUPERVISOR:
            self.world.note("every supervisor ends")
            shims.supervisors_end()
        key = random.choice(list(shims.commands))
        command = shims.commands[key]
        if command.untold and command.is_told and random.random() < 0.7:
            self.world.note("shim of {} tells {}", key, command.untold)
            shims.tell(key, service.engine.shims.on_events)
            service.check()
        elif command.survivors:
            shims.survivors_go(key)
        elif command.lives and random.random() < 0.08:
            self.world.note("shim of {} dies", key)
            outlived = command.executed and self._survivors.random() < SHARE_OUTLIVED
            self.world.survived |= {key[0]} if outlived else set()
            shims.loses(key, (42,) if outlived else ())
        elif command.lives and not command.executed and command.why is None:
            self.world.note("command {} is executed", key)
            shims.executes(key)
        elif command.lives and (command.why is not None or not self.world.has_given_its_place(key[0])):
            self.world.note("command {} ends", key)
            survivors = [42] if random.random() < 0.05 and command.executed else []
            self.world.survived |= {key[0]} if survivors else set()
            shims.ends(key, random.choice([0, 0, 3, 7]), survivors)

    # --- the machine --------------------------------------------------------------------------------------------

    def _time_passes(self) -> None:
        head = self.service.engine.timers.head
        until = 0.0 if head is None else head - self.world.time.steady
        self.passes(self.random.choice([0.01, 0.3, 2.0, until, until, 200.0, 5_000.0]))

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.world.time.passes(seconds)
        self.world.note("time passes")

    def _clock_is_set(self) -> None:
        seconds = self.random.choice([-7_200.0, -30.0, 30.0, 7_200.0])
        self.world.time.is_set_by(seconds)
        self.world.note("the clock on the wall is set by {} s", seconds)

    def _disk_fills(self) -> None:
        self.world.store.is_full = not self.world.store.is_full
        self.world.note("the disk is full: {}", self.world.store.is_full)

    def _dies(self) -> None:
        self.world.note("the service is killed")
        if self._machine.random() < SHARE_WITHOUT_NOTES:
            self.world.note("its notes of what it handed over are removed")
            self.world.shims.loses_notes()
        raise Crash

    def _dies_soon(self) -> None:
        self.world.store.dies = self.random.choice(["before", "after"])
        self.world.note("the service is to die {} its next transaction", self.world.store.dies)

    def _power_fails(self) -> None:
        self.world.note("the machine loses power")
        self.world.store.lose_power()
        self.world.shims.power_fails()
        raise Crash

    def _stops(self) -> None:
        self.service.ask(Stop, now=self.random.random() < 0.3)

    # --- the end ------------------------------------------------------------------------------------------------

    def _comes_to_its_end(self) -> None:
        """Let everything come to its end: nobody holds anything back any more."""
        world = self.world
        world.note("from here on nothing is held back")
        world.store.dies, world.store.is_full = None, False
        self._interleaves, self._may_hang = 0.0, False
        self.does(self.rests)
        world.flags, world.load = set(FLAGS), 0.0
        self.does(self._planning.holds_nothing_back)
        self.does(self._sharing.holds_nothing_back)
        self.does(self.wakes)
        rounds = MAX_ROUNDS_TO_THE_END + sum(row.state is not State.ENDED for row in world.store.rows_by_seq.values())
        for nth in range(rounds):  # each firing of a schedule may wait for the one before it
            self.does(self.rests)
            if self._has_ended():
                break
            self.does(self._ends_all)
            if nth > MAX_ROUNDS_TO_THE_END // 2:
                self.passes(900.0)  # what is left waits for its time

    def _has_ended(self) -> bool:
        rows, service = self.world.store.rows_by_seq.values(), self.service
        are_over = all(row.state is State.ENDED and not row.hook_pending and not row.slot_held for row in rows)
        return are_over and not service.asked and not service.engine.petitions.records and not self.world.shims.commands

    def _ends_all(self) -> None:
        """Resume and end all that can be, then let time pass to what is due next."""
        service = self.service
        self._planning.holds_nothing_back()
        self._sharing.holds_nothing_back()
        rows = list(self.world.store.rows_by_seq.values())
        over = {petition_name(row.seq) for row in rows if row.state is State.ENDED}
        for name in sorted(service.engine.admission.paused - over):
            self.resume(name)
        for row in rows:
            if row.state is State.HELD:
                service.ask(Resume, None, row.seq)
        for key in service.living_actions():
            service.returns(key, None)
        for ordinal in service.ladders.begun[:]:
            service.ladder_ends(ordinal, ())
        self._ends_commands()
        if not service.ready and service.engine.timers.head is not None:
            self.passes(service.engine.timers.head - self.world.time.steady)

    def _ends_commands(self) -> None:
        service, shims = self.service, self.world.shims
        for key, command in list(shims.commands.items()):
            if command.survivors:
                shims.survivors_go(key)
            elif command.lives and not (self.world.has_given_its_place(key[0]) and command.why is None):
                shims.ends(key, 0, [])
            if command.untold and command.is_told:
                shims.tell(key, service.engine.shims.on_events)
        service.check()


def play(seed: int, steps: int = STEPS) -> Story:
    """Play the story of a seed; raise `Broken` where something does not hold."""
    story = Story(seed, steps)
    story.play()
    return story


def _often_ahead() -> AbstractContextManager[object]:
    """Have starts kept ahead also where somebody has just looked: in a story somebody always does."""
    return patch.object(starts_ahead, "MAX_LOOK_SECONDS", 0.0)


__all__ = ["SEEDS", "STEPS", "Broken", "Story", "play"]
