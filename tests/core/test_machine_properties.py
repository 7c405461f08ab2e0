"""The real transitions in a simulated service in which anything happens in any order."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from orcha._core import transitions
from orcha._core.admission import ALL, group_name, petition_name
from orcha._core.state import OnInterrupt, State
from orcha.interfaces import Retry
from support.invariants import (
    ALWAYS,
    Seen,
    everybody_got_an_answer,
    everything_is_known_after_recovery,
    nobody_runnable_is_left,
)
from support.simulated import MANAGERS, Crash, World
from support.simulated_hooks import Plan

IDS = [1, "1", "a", "b", "c", "d", "e"]
SHARED = b"c" * 16
RETRIES = [
    Retry(times=1, delay=0),
    Retry(times=2, delay=50),
    Retry(times=3, delay=150, codes=(7,)),
    Retry(times=2, delay=150, timeout=True),
]
CONDITIONS = ["load(1) < 4", "load(5) >= 4 or running == 0", 'running_in("pair") < 1', "queued > 0 and load(1) < 9"]
PLANS = st.builds(
    Plan,
    priority=st.sampled_from([0, 0, 0, 1, -1.5, math.inf, -math.inf]),
    flag=st.sampled_from([None, None, "x", "y"]),
    on_interrupt=st.sampled_from(OnInterrupt),
    converts=st.sampled_from([True, True, True, True, False]),
    converts_again=st.sampled_from([True, True, True, True, False]),
    condition_breaks=st.sampled_from([False, False, False, False, False, True]),
    on_start=st.sampled_from([True, True, True, False]),
    command=st.booleans(),
    retry=st.sampled_from([None, None, *RETRIES]),
    group=st.sampled_from([None, None, "rig", "pair", "any"]),
    needs=st.sampled_from([{}, {}, {}, {"gpu": 1}, {"gpu": 2}, {"gpu": 1, "ram": 2}, {"ram": 3}]),
    once=st.sampled_from([None, None, None, "nightly"]),
    if_exists=st.sampled_from(["replace", "replace", "reject", "attach"]),
    when=st.sampled_from([None, None, None, *CONDITIONS]),
)
ANY = st.integers(0, 1000)


class AnythingHappens(RuleBasedStateMachine):
    """Every rule is one thing that may happen to a service at any moment."""

    @initialize(
        most_ready=st.integers(1, 4),
        look_ahead=st.sampled_from([None, None, None, 1, 3]),
        plans=st.lists(PLANS, max_size=5),
    )
    def begin(self, most_ready, look_ahead, plans):
        self.world = World(most_ready, look_ahead)
        self.seen = Seen()
        self.tokens = []
        for plan, identity in zip(plans, IDS[1:], strict=False):
            self.submit_one(plan, identity, None, MANAGERS[0])
        self.goes_on()

    def pick(self, things, which):
        things = list(things)
        return things[which % len(things)]

    # --- clients

    @rule(
        plan=PLANS,
        identity=st.sampled_from(IDS),
        shared=st.sampled_from([None, None, SHARED]),
        manager=st.sampled_from(MANAGERS),
    )
    def submit(self, plan, identity, shared, manager):
        self.submit_one(plan, identity, shared, manager)

    def submit_one(self, plan, identity, shared, manager):
        token = b"%016d" % len(self.tokens)
        self.tokens.append((token, identity, plan, shared))
        self.world.submit(plan, identity, token, shared, manager)

    @rule(which=ANY)
    @precondition(lambda self: self.tokens)
    def submit_again(self, which):
        token, identity, plan, shared = self.pick(self.tokens, which)
        self.world.submit(plan, identity, token, shared)

    @rule(which=ANY)
    @precondition(lambda self: self.world.petitions.live)
    def cancel(self, which):
        assert self.world.cancel(self.pick(self.world.petitions.live, which))

    @rule(which=ANY)
    @precondition(lambda self: self.world.petitions.live)
    def resume(self, which):
        self.world.resume_one(self.world.find(self.pick(self.world.petitions.live, which)))

    @rule(which=ANY)
    @precondition(lambda self: self.world.petitions.live)
    def pause(self, which):
        record = self.world.find(self.pick(self.world.petitions.live, which))
        if record.state in {State.QUEUED, State.HELD}:
            self.world.pause(petition_name(record.seq))

    @rule(name=st.sampled_from([ALL, group_name("rig"), group_name("pair")]), paused=st.booleans())
    def pause_several(self, name, paused):
        (self.world.pause if paused else self.world.resume)(name)

    @rule(which=ANY)
    @precondition(lambda self: self.tokens)
    def cancel_by_token(self, which):
        self.world.cancel_token(self.pick(self.tokens, which)[0])

    @rule(plan=PLANS, identity=st.sampled_from(IDS))
    def cancel_before_submit(self, plan, identity):
        token = b"%016d" % len(self.tokens)
        self.tokens.append((token, identity, plan, None))
        self.world.cancel_token(token)

    # --- hooks

    @rule()
    def goes_on(self):
        """What happens most of the time: everything that is due, to its end."""
        for _ in range(2):
            self.world.commit()
            self.world.dispatch()
            while self.world.visit is not None:
                self.world.hook_step()

    @rule(steps=st.integers(0, 6))
    def visit_hooks(self, steps):
        self.world.dispatch()
        for _ in range(steps):
            if self.world.visit is not None:
                self.world.hook_step()

    @rule()
    @precondition(lambda self: self.world.visit is not None)
    def hook_hangs(self):
        self.world.hook_hangs()
        self.world.commit()

    @rule(which=ANY)
    @precondition(lambda self: self.world.stuck)
    def stuck_hook_returns(self, which):
        self.world.stuck_returns(which)

    @rule(flag=st.sampled_from(["x", "y"]))
    def flag_changes(self, flag):
        self.world.flags ^= {flag}
        self.world.petitions.note_change()

    @rule(load=st.sampled_from([0.0, 4.0, 9.0]))
    def looks(self, load):
        self.world.sample(load)

    # --- actions

    def alive(self):
        return [key for key, action in self.world.actions.items() if action.alive]

    @rule(which=ANY, value=ANY)
    @precondition(lambda self: self.alive())
    def put(self, which, value):
        self.world.put(self.pick(self.alive(), which), value)

    @rule(which=ANY, value=st.sampled_from([None, 0, 1, 7]))
    @precondition(lambda self: self.alive())
    def finish(self, which, value):
        self.world.finish(self.pick(self.alive(), which), value)

    @rule(which=ANY, tells=st.booleans())
    @precondition(lambda self: self.alive())
    def start_process(self, which, tells):
        key = self.pick(self.alive(), which)
        record = self.world.petitions.records[key[0]]
        watched = key in self.world.ladders or record.state is State.STARTING
        self.world.spawn(key, tells=tells or not watched)

    @rule(which=ANY, error=st.sampled_from([None, "ValueError: x"]))
    @precondition(lambda self: self.alive())
    def action_returns(self, which, error):
        self.world.returns(self.pick(self.alive(), which), error)

    @rule(which=ANY, survivors=st.sampled_from([[], [], [], [42, 43]]))
    @precondition(lambda self: self.world.ladders)
    def ladder_done(self, which, survivors):
        key = self.pick(sorted(self.world.ladders), which)
        action = self.world.actions.get(key)
        if action is not None and action.processes == 0:
            survivors = []
        self.world.ladder_done(key, survivors)

    # --- commands

    def commands(self, *, told=True):
        return [key for key, command in self.world.commands.items() if command.lives and command.told >= told]

    def ended_commands(self):
        """Those whose end the service has not heard of."""
        commands = self.world.commands.items()
        return [key for key, command in commands if command.end is not None and command.told and not command.reported]

    @rule(which=ANY)
    @precondition(lambda self: self.commands(told=False))
    def command_executes(self, which):
        self.world.executes(self.pick(self.commands(told=False), which))

    @rule(
        which=ANY,
        code=st.sampled_from([0, 3]),
        after=st.sampled_from([None, None, -1.0, 50.0]),
        survivors=st.sampled_from([(), (), (), (42,)]),
    )
    @precondition(lambda self: self.commands())
    def command_ends(self, which, code, after, survivors):
        key = self.pick(self.commands(), which)
        due = None if after is None or code == 0 else self.world.clock + after
        self.world.command_ends(key, code, due=due, survivors=survivors)

    @rule(which=ANY)
    @precondition(lambda self: self.ended_commands())
    def command_tells_its_end(self, which):
        self.world.tell_end(self.pick(self.ended_commands(), which))

    @rule()
    def survivors_go(self):
        self.world.survivors_go()

    @rule(which=ANY)
    @precondition(lambda self: self.commands(told=False))
    def command_lost(self, which):
        self.world.command_lost(self.pick(self.commands(told=False), which))

    @rule()
    def time_passes(self):
        self.world.time_passes()

    @rule(which=ANY)
    @precondition(lambda self: self.world.on_starts)
    def abandon(self, which):
        self.world.abandon(self.pick(self.world.on_starts, which))

    @rule(which=ANY)
    @precondition(lambda self: self.world.petitions.records)
    def limit(self, which):
        self.world.limit(self.pick(self.world.petitions.records.values(), which))

    @rule(which=ANY)
    @precondition(lambda self: self.world.delivered)
    def report_comes_twice(self, which):
        transition, args, named = self.pick(self.world.delivered, which)
        record = self.world.petitions.records.get(args[0])
        is_current = record is not None and record.attempt == args[1]
        if is_current and transition in {transitions.finish.processes_gone, transitions.finish.abandon}:
            return
        before = repr(self.world.petitions.changes), len(self.world.petitions.effects), len(self.world.petitions.finals)
        transition(self.world.petitions, *args, **named)
        after = repr(self.world.petitions.changes), len(self.world.petitions.effects), len(self.world.petitions.finals)
        assert before == after, "a report that came twice, or late, changed something"

    # --- the transaction, the end, and the start again

    @rule(full=st.sampled_from([False, False, False, True]))
    def commit(self, full):
        self.world.store.full = full
        self.world.commit()
        self.world.store.full = False

    @rule(dies=st.sampled_from([None, None, None, "before", "after"]), again=st.sampled_from([None, "before", "after"]))
    def crash(self, dies, again):
        try:
            self.world.commit(dies=dies)
        except Crash:
            self.world.restart(dies=again)
            everything_is_known_after_recovery(self.world)

    @rule(sure=st.sampled_from([False, False, True]))
    def stop(self, sure):
        if sure or self.world.draining:
            self.world.stop()

    @rule()
    @precondition(lambda self: self.world.draining and self.world.is_quiet())
    def leave(self):
        self.world.commit()
        if self.world.is_quiet():
            self.world.restart(crashed=bool(self.world.stuck))

    # --- what holds

    @invariant()
    def everything_holds(self):
        if not hasattr(self, "world"):
            return
        for holds in ALWAYS:
            holds(self.world, self.seen)
        self.seen.remember(self.world)

    def teardown(self):
        if not hasattr(self, "world"):
            return
        world = self.world
        for name in sorted(world.paused):
            world.resume(name)
        world.flags = {"x", "y"}
        world.petitions.note_change()
        if world.draining:
            self.come_to_rest()
            world.restart(crashed=not world.is_quiet() or bool(world.stuck))
        self.come_to_rest()
        nobody_runnable_is_left(world)
        everybody_got_an_answer(world)

    def come_to_rest(self):
        world = self.world
        for _ in range(200):
            world.commit()
            for key in self.alive():
                world.returns(key, None)
            for key in sorted(world.ladders):
                world.ladder_done(key, [])
            for key in self.commands():
                world.command_ends(key, 0)
            for key in self.ended_commands():
                world.tell_end(key)
            world.survivors_go()
            for key, command in list(world.commands.items()):
                if command.lost and command.told:
                    world.command_lost(key)
            world.time_passes()
            world.sample(0.0)
            while world.stuck:
                world.stuck_returns(0)
            world.dispatch()
            while world.visit is not None:
                world.hook_step()
            self.everything_holds()


AnythingHappens.TestCase.settings = settings(
    max_examples=250, stateful_step_count=50, deadline=None, print_blob=True, database=None
)
test_anything_happens = pytest.mark.timeout(300)(AnythingHappens.TestCase)
