"""Whatever people ask for, and whenever the service dies: no bound is exceeded by anything that is kept.

The machine is the one of the stories, with the real engine, and its oracles look at each transaction and at each rest:
slots of groups and of owners, rates, resources and devices, quotas, leases, and the bounds of arrays. Here hypothesis
says what happens, so that it finds the shortest story of a fault.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Cancel, ChangeLease, Item, Pause
from orcha.interfaces.built_in import COMMANDS, LEASE_MANAGER, LEASES
from orcha.interfaces.needs import WHOLE
from support.asking import ExtrasChannel
from support.simulation.by_hand import HandMade, rests
from support.simulation.faults import ALL
from support.simulation.plans import Plan
from support.simulation.story import Broken

OWNERS = ("uid:0", "uid:1", "uid:2")
BOUND_STEPS = 8
"""Steps that a killed service makes, at most, between what is asked of it and its end."""


class Shared(HandMade):
    """A story of a machine whose resources people can lease."""

    def __init__(self, *happenings):
        """Have leases, also where the seed of stories made by hand has none."""
        super().__init__(*happenings)
        self.world.has_leases = True


def submits(identity, owner, priority, group, needs):
    return lambda story: story.asks_for(
        identity, Plan(owner=owner, priority=priority, group=group, needs=needs, on_interrupt="rerun")
    )


def _begins(story, owner, **fields):
    token = story._token()
    story.world.plans[token] = Plan(owner=owner, **fields)
    return token


def submits_array(identity, owner, group, needs, count, at_most, max_fails):
    def happens(story):
        token = _begins(story, owner, command=True, group=group, needs=needs)
        bounds = {"at_most": at_most, "max_fails": max_fails}
        array = {"range": [1, count, 1]} | {name: most for name, most in bounds.items() if most is not None}
        extras = {"argv": ["true"], "env": {"PLAN": token.hex()}, "array": array, "queue": ExtrasChannel(token)}
        extras |= {"group": group} if group else {}
        extras |= {"needs": needs} if needs else {}
        story.world.note("{} sends the array {!r}: {} of {}, {}", owner, identity, array, group, needs)
        story.service.submit(COMMANDS, [Item(token, identity, values.encode(extras), None)], owner)

    return happens


def takes(identity, owner, needs, seconds):
    def happens(story):
        token = _begins(story, owner, needs=needs, timeout=seconds, expect=seconds)
        story.world.note("{} takes {!r}: {} for {}", owner, identity, needs, seconds)
        extras = values.encode({"needs": needs, "for": seconds, "queue": ExtrasChannel(token)})
        story.service.submit(LEASES, [Item(token, identity, extras, None)], owner)

    return happens


def of_a_lease(number, seconds):
    """Have somebody extend a lease, or with None give it back."""

    def happens(story):
        rows = story.world.store.rows_by_seq.values()
        held = [row.id for row in rows if row.manager == LEASE_MANAGER and row.state is State.RUNNING]
        if held:
            story.service.ask(ChangeLease, held[number % len(held)], seconds)

    return happens


def sets_group(group, slots, rules):
    return lambda story: story._sharing.set_group(group, slots, rules)


def sets_quotas(tables):
    return lambda story: story.service.reload(tables)


def ends(number, code):
    """Have an action or a command end."""

    def happens(story):
        service, shims = story.service, story.world.shims
        commands = [key for key, command in shims.commands.items() if command.lives]
        running = [*service.living_actions(), *commands]
        if not running:
            return
        key = running[number % len(running)]
        if key in commands:
            if shims.commands[key].is_told and not shims.commands[key].executed:
                shims.executes(key)
            shims.ends(key, code, [])
        else:
            service.finishes(key, code)
            service.returns(key, None)

    return happens


def shims_tell(story):
    for key, command in list(story.world.shims.commands.items()):
        if command.untold and command.is_told:
            story.world.shims.tell(key, story.service.engine.shims.on_events)
    story.service.check()


def cancels(identity):
    return lambda story: story.service.ask(Cancel, None, identity)


def turns_pause(group):
    def happens(story):
        name = "all" if group is None else f"group:{group}"
        if name in story.service.engine.admission.paused:
            story.resume(name)
        else:
            story.service.ask(Pause, None, None, group)

    return happens


def passes(seconds):
    return lambda story: story.passes(seconds)


def makes_steps(count):
    """Have the service do a part of what it has to do."""

    def happens(story):
        for _ in range(count):
            if story.service.ready and not story.service.dead:
                story.service.step(story.service.ready[0])

    return happens


def dies(when):
    def happens(story):
        story.world.store.dies = when

    return happens


def is_killed(story):
    story._dies()


def loses_power(story):
    story._power_fails()


_IDS = st.sampled_from("abcdef")
_GROUPS = st.sampled_from(["rig", "rig", "pair", "any", None])
_NEEDS = st.sampled_from([{}, {}, {}, {"gpu": 1}, {"gpu": 2}, {"rack": 1}, {"rack": 2}, {"rack": "0.5"}, {"lab": 1}])
_WANTED = st.sampled_from([{"gpu": 1}, {"rack": 1}, {"rack": 2}, {"rack": "1@name=b"}, {WHOLE: 1}])
_RULES = st.sampled_from(
    [{"per_user": 1}, {"per_user": 2}, {"per_user": None}, {"rate": [1, 40.0]}, {"rate": [2, 400.0]}, {"rate": None}]
)
_QUOTAS = st.sampled_from([{}, {("default",): {"running": 1}}, {("user", "uid:1"): {"resources.rack": 1}}])
_OWNERS, _MOST = st.sampled_from(OWNERS), st.sampled_from([None, 1, 2])
HAPPENINGS = st.one_of(
    st.builds(submits, _IDS, _OWNERS, st.integers(-1, 1), _GROUPS, _NEEDS),
    st.builds(submits_array, _IDS, _OWNERS, _GROUPS, _NEEDS, st.integers(1, 5), _MOST, _MOST),
    st.builds(takes, st.sampled_from("xyz"), _OWNERS, _WANTED, st.sampled_from([None, 5, 400])),
    st.builds(of_a_lease, st.integers(0, 3), st.sampled_from([None, 100.0])),
    st.builds(sets_group, st.sampled_from(["rig", "pair"]), st.sampled_from([1, 2, None]), _RULES),
    st.builds(sets_quotas, _QUOTAS),
    st.builds(ends, st.integers(0, 5), st.sampled_from([0, 7])),
    st.builds(ends, st.integers(0, 5), st.sampled_from([0, 7])),
    st.builds(cancels, _IDS),
    st.builds(turns_pause, st.sampled_from(["rig", None])),
    st.builds(passes, st.sampled_from([1.0, 41.0, 401.0])),
    st.builds(makes_steps, st.integers(1, BOUND_STEPS)),
    st.just(shims_tell),
    st.just(rests),
    st.just(rests),
    st.builds(dies, st.sampled_from(["before", "after"])),
    st.just(is_killed),
    st.just(loses_power),
)


def goes_well(happenings):
    Shared(*happenings).play()


@settings(max_examples=60)
@given(st.lists(HAPPENINGS, min_size=10, max_size=40))
def test_nothing_is_kept_beyond_any_bound(happenings):
    goes_well(happenings)


def one(identity="a", *, group=None, needs=None):
    return submits(identity, "uid:0", 0, group, needs or {})


def array(count, at_most=None, max_fails=None):
    return submits_array("a", "uid:0", None, {}, count, at_most, max_fails)


RATED, OF_ONE_USER = sets_group("rig", None, {"rate": [1, 40.0]}), sets_group("pair", 2, {"per_user": 1})
FOUND_BY = {
    "more of an array at once than may": [array(3, at_most=1), rests],
    "an array that goes on though too many failed": [
        *(array(3, at_most=1, max_fails=1), rests, ends(0, 7), shims_tell, rests, passes(1.0), rests)
    ],
    "more of one owner in a group than may": [OF_ONE_USER, rests, one(group="pair"), one("b", group="pair"), rests],
    "more starts than a rate allows": [RATED, rests, one(group="rig"), one("b", group="rig"), rests],
    "a rate that a restart forgets": [RATED, rests, one(group="rig"), rests, is_killed, one("b", group="rig"), rests],
    "a quota that holds nobody back": [sets_quotas({("default",): {"running": 1}}), rests, one(), one("b"), rests],
    "a device that two petitions have": [one(needs={"rack": 1}), one("b", needs={"rack": 1}), rests],
    "a leaked slot": [one(group="rig"), rests, ends(0, 0), rests],
    "a lease that goes on": [takes("x", "uid:0", {"gpu": 1}, 5), rests, passes(41.0), rests, passes(41.0), rests],
    "an extension that a restart forgets": [
        *(takes("x", "uid:0", {"gpu": 1}, 5), rests, of_a_lease(0, 100.0), rests, is_killed, rests, passes(41.0), rests)
    ],
    "a machine that is not had alone": [one(), rests, takes("x", "uid:0", {WHOLE: 1}, 5), rests],
    "a start beside who has the machine": [takes("x", "uid:0", {WHOLE: 1}, 400), rests, one(), rests],
    "a queue that a restart forgets": [one(group="rig"), one("b", group="rig"), rests, is_killed, rests],
    "a command that goes on without its slot": [array(1), rests, is_killed, rests],
}
"""A story that finds each known fault of a bound, and of what a crash leaves; each happens by chance as well."""


@pytest.mark.parametrize("fault", FOUND_BY)
def test_the_fault_of_a_bound_is_found(fault, monkeypatch):
    goes_well(FOUND_BY[fault])
    ALL[fault](monkeypatch)
    with pytest.raises(Broken) as found:
        goes_well(FOUND_BY[fault])
    assert isinstance(found.value.__cause__, AssertionError)
