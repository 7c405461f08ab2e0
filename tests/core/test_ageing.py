"""Petitions of groups that age gain priority by the time that they have waited, wherever they wait."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from core.looking_lock import LooksAfterwards
from orcha._core import ageing as core
from orcha._core.admission import Admission, group_name, petition_name
from orcha._core.ageing import Ageing
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.groups import GroupRules
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.reasons import BehindExclusive, MachineFull
from orcha._core.record import Phase, Record
from orcha._core.resources import resource_lot
from orcha._core.state import State
from orcha._core.transitions import age, cancel, hold, start, submit

GROUPS = (None, "slow", "fast", "still")
LOTS = (group_name("slow"), resource_lot("gpu"))
WHICH = st.integers(0, 1_000)
GROUP = st.sampled_from(GROUPS)
PRIORITY = st.integers(-3, 3)
OWNER = st.sampled_from(["ann", "ann", "bob"])


class AgeingGroups:
    """Petitions of groups that age."""

    def __init__(self, most_ready=10_000, **ages):
        self.petitions = Petitions(most_ready=most_ready)
        self.admission = Admission(self.petitions)
        self.admission.load([], {"slow": None, "fast": None}, {})
        self.now = Moment(1_000.0, 0.0)
        self.rows = {}
        for group, seconds in ages.items():
            self.ages(group, seconds)

    def ages(self, group, seconds):
        self.admission.set_group(group, None, GroupRules(age=seconds))

    def waits(self, group="slow", priority=0, owner="ann", at=None):
        record = Record(self.petitions.take_seq(), b"", "", "m", owner, b"", b"", self.now.wall)
        record.key = str(record.seq)
        record.petition, record.group, record.priority, record.at = object(), group, priority, at
        assert submit.receive(self.petitions, record) is None
        submit.accept(self.petitions, record, self.now, start=False, new_channel=False)
        self.rows[record.seq] = record
        return record

    def passes(self, seconds):
        self.now = Moment(self.now.wall + seconds, self.now.steady + seconds)
        self.step()

    def step(self):
        while self.petitions.ageing is not None and (self.petitions.ageing.due or 1e9) <= self.now.wall:
            self.load(age.step(self.petitions, self.admission.resources, self.now, 3))

    def load(self, keys):
        for key in keys:
            self.find(key[2])

    def find(self, key):
        """Give a live petition, its record read anew where only its key is in memory."""
        known = self.petitions.live[key]
        if isinstance(known, Record):
            return known
        kept = self.rows[known[1]]
        record = Record(kept.seq, b"", "", "m", kept.owner, b"", b"", kept.submitted)
        record.key, record.priority = kept.key, kept.given_priority
        self.petitions.load(record)
        return record

    def order(self):
        return [key[1] for key in self.petitions.waiting.head(99)]


def test_a_group_ages_on_as_before_when_another_group_is_changed():
    world = AgeingGroups(slow=60, fast=60)
    slow, fast = world.waits("slow"), world.waits("fast")
    world.ages("fast", 10)
    world.passes(20)
    assert (slow.priority, fast.priority) == (0, -2)
    world.passes(40)
    assert (slow.priority, fast.priority) == (-1, -6)


def test_a_petition_gains_one_priority_with_each_age_and_so_passes_those_that_come_later():
    world = AgeingGroups(slow=60.0)
    old = world.waits(priority=5)
    world.passes(59.0)
    new = world.waits(None, 4)
    assert (old.priority, world.order()) == (5, [new.seq, old.seq])
    version = world.petitions.version
    world.passes(1.0)
    assert (old.priority, old.given_priority, world.order()) == (4, 5, [old.seq, new.seq])
    assert world.petitions.version > version, "what waits is asked again"
    world.passes(600.0)
    assert (old.priority, old.given_priority, new.priority, new.unaged) == (-6, 5, 4, None)


def test_a_clock_that_is_set_back_takes_nothing_away():
    world = AgeingGroups(slow=60.0)
    record = world.waits()
    world.passes(180.0)
    world.passes(-120.0)
    assert record.priority == -3
    world.passes(120.0)
    assert record.priority == -3
    world.passes(60.0)
    assert record.priority == -4


def test_a_petition_that_is_asked_for_with_a_time_gains_from_then_on():
    world = AgeingGroups(slow=60.0)
    record = world.waits(at=1_600.0)
    assert record.phase is Phase.RESTING
    world.passes(600.0)
    from orcha._core.transitions import retry

    retry.time_came(world.petitions, record.seq, world.now)
    world.step()
    assert record.priority == 0
    world.passes(60.0)
    assert record.priority == -1


def test_another_age_counts_for_all_the_time_and_none_gives_back_what_was_gained():
    world = AgeingGroups(slow=60.0)
    record = world.waits(priority=2.5)
    world.passes(240.0)
    assert record.priority == -1.5
    world.ages("slow", 120.0)
    world.step()
    assert (record.priority, record.given_priority) == (0.5, 2.5)
    world.ages("slow", None)
    world.step()
    assert (record.priority, record.unaged) == (2.5, None)
    assert world.petitions.ageing.due is None


def test_another_age_of_a_group_leaves_the_petitions_of_others_as_they_are():
    world = AgeingGroups(slow=60.0, fast=60.0)
    slow, fast = world.waits(), world.waits("fast")
    world.passes(60.0)
    world.ages("slow", 20.0)
    world.step()
    assert (slow.priority, fast.priority) == (-3, -1)


def test_another_age_by_which_nothing_is_gained_yet_leaves_a_petition_where_it_is():
    world = AgeingGroups(slow=60.0)
    record = world.waits()
    world.passes(10.0)
    world.ages("slow", 50.0)
    assert age.step(world.petitions, world.admission.resources, world.now, 3) == []
    assert record.priority == 0
    world.passes(40.0)
    assert record.priority == -1


def test_a_petition_that_runs_while_its_group_ages_no_more_has_gained_nothing_when_it_waits_again():
    world = AgeingGroups(slow=60.0)
    record = world.waits(priority=3)
    world.passes(120.0)
    start.start(world.petitions, record, world.now)
    world.ages("slow", None)
    record.state, record.phase = State.QUEUED, Phase.WAITING
    world.petitions.enqueue(record)
    assert (record.priority, record.unaged) == (3, None)


def test_a_petition_that_starts_gains_no_more_and_has_it_all_when_it_waits_again():
    world = AgeingGroups(slow=60.0)
    record = world.waits()
    world.passes(60.0)
    start.start(world.petitions, record, world.now)
    world.passes(120.0)
    assert (record.priority, world.petitions.ageing.knows(record.seq)) == (-1, False)
    record.state, record.phase = State.QUEUED, Phase.WAITING
    world.petitions.enqueue(record)
    world.step()
    assert (record.priority, record.given_priority) == (-3, 0)


def test_a_petition_that_is_held_gains_without_a_place():
    world = AgeingGroups(slow=60.0)
    record = world.waits()
    world.petitions.dequeue(record)
    record.state = State.HELD
    world.passes(60.0)
    assert (record.priority, world.order()) == (-1, [])
    assert hold.release(world.petitions, record, world.now)
    assert world.order() == [record.seq]


@pytest.mark.parametrize("most_loaded", [False, True])
def test_what_is_parked_for_its_group_stays_there_in_order_and_for_a_resource_it_is_asked_again(most_loaded):
    world = AgeingGroups(slow=60.0)
    for_group, for_gpu, new = world.waits(), world.waits(), world.waits("still", -1)
    assert hold.park(world.petitions, new, LOTS[0])
    assert hold.park(world.petitions, for_group, LOTS[0])
    assert hold.park(world.petitions, for_gpu, LOTS[1])
    if most_loaded:
        world.petitions.unload([for_group.place, for_gpu.place])
        world.petitions.take()
        assert isinstance(world.petitions.live[for_group.key], tuple)
    world.passes(120.0)
    waiting = world.petitions.waiting
    assert waiting.first_parked_in(LOTS[0], 9) == [(-2, for_group.seq, for_group.key), new.place]
    assert waiting.head(9) == [(-2, for_gpu.seq, for_gpu.key)]
    assert (len(waiting), waiting.parked) == (1, 2)


def test_a_petition_that_goes_to_another_group_has_what_it_gains_there():
    world = AgeingGroups(slow=60.0)
    record = world.waits()
    world.passes(60.0)
    world.petitions.dequeue(record)
    record.group = "still"
    world.petitions.enqueue(record)
    world.passes(600.0)
    assert (record.priority, record.unaged) == (0, None)


def test_of_a_long_lot_only_the_keys_stay_in_memory(monkeypatch):
    monkeypatch.setattr(age, "MAX_LOADED_PETITIONS", 0)
    world = AgeingGroups(slow=60.0)
    record = world.waits()
    assert hold.park(world.petitions, record, LOTS[0])
    world.passes(60.0)
    world.petitions.take()
    assert world.petitions.live[record.key] == (-1, record.seq, record.key)


def test_a_gain_by_which_nothing_starts_earlier_has_nobody_asked():
    world = AgeingGroups(most_ready=3, slow=60.0)
    first, second, spilled = world.waits(), world.waits(), [world.waits() for _ in range(3)]
    world.petitions.take()
    first.why = second.why = MachineFull(1)
    version = world.petitions.version
    world.passes(60.0)
    assert [first.priority, second.priority, world.petitions.live[spilled[-1].key][0]] == [-1, -1, -1]
    assert (world.petitions.version, second.why) == (version, MachineFull(1)), "each is where it was among the others"
    second.why = BehindExclusive("bench")
    world.passes(60.0)
    assert (world.petitions.version > version, second.priority, second.why) == (True, -2, None)


@pytest.mark.parametrize("most_ready", [9, 2])
def test_a_gain_that_brings_a_petition_to_where_no_round_asks_has_nobody_asked(most_ready):
    world = AgeingGroups(most_ready=most_ready, slow=60.0)
    first, second, third = world.waits("still", -5), world.waits("still"), world.waits()
    world.petitions.take()
    assert isinstance(world.petitions.live[third.key], tuple) == (most_ready == 2)
    world.petitions.ageing.most_heads = 1
    version = world.petitions.version
    world.passes(60.0)
    assert world.order() == [first.seq, third.seq, second.seq]
    assert world.petitions.version == version
    world.passes(300.0)
    assert world.order() == [third.seq, first.seq, second.seq]
    assert world.petitions.version > version


def test_what_lacks_a_resource_gains_in_its_line_and_what_is_behind_another_one_is_asked():
    needs = {"gpu": 1}
    run, later = Job("run", 0, 100, needs=needs), Job("later", 2, 10, group="slow", priority=5, needs=needs)
    jobs = [run, Job("early", 1, 10, needs=needs), later]
    capacity = Capacity(resources={"gpu": 1}, rules={"slow": GroupRules(age=10)})
    begun = {each.job.id: each.started for each in VirtualSchedule(jobs, capacity).run()}
    assert begun == {"run": 0, "later": 100, "early": 110}
    jobs = [run, Job("early", 1, 10, needs={"gpu": 2}), later._replace(priority=1)]
    begun = {each.job.id: each.started for each in VirtualSchedule(jobs, capacity._replace(resources={"gpu": 2})).run()}
    assert begun == {"run": 0, "later": 22, "early": 100}


@pytest.mark.parametrize("is_key", [False, True])
def test_what_is_behind_a_more_urgent_one_gains_in_its_line_and_is_asked_where_it_is_paused(is_key):
    world = AgeingGroups(slow=60.0)
    resources = world.admission.resources
    resources.inventory.set("gpu", 2)
    runs, wide, first, second = (
        world.waits(*each) for each in (("still",), ("still", -9), ("slow", 5, "bob"), ("slow", 5, "bob"))
    )
    for record, amount in ((runs, 1), (wide, 2), (first, 1), (second, 1)):
        record.needs = {"gpu": amount}
    assert start.start(world.petitions, runs, world.now)
    for record in (wide, first, second):
        record.why = resources.blocked_by(record)
        assert hold.park(world.petitions, record, resource_lot("gpu"))
    if is_key:
        world.petitions.unload([first.place, second.place])
        world.petitions.take()
    version = world.petitions.version
    world.passes(60.0)
    assert world.petitions.version == version
    waiters = resources._lines.waiters
    assert [waiters[record.seq].place[0] for record in (first, second)] == [4, 4]
    world.admission.pause(petition_name(first.seq))
    version = world.petitions.version
    world.passes(60.0)
    assert world.petitions.version > version
    assert first.seq not in waiters, "nobody waits behind it"
    assert waiters[second.seq].place[0] == 3


def test_what_needs_two_resources_keeps_its_place_in_both_lines_when_it_gains_and_lacks_only_one():
    jobs = [
        Job("gpu", 0, 100, needs={"gpu": 1}),
        Job("ram", 0, 10, needs={"ram": 1}),
        Job("both", 1, 10, group="slow", needs={"gpu": 1, "ram": 2}),
        Job("small", 12, 50, needs={"ram": 1}),
    ]
    capacity = Capacity(resources={"gpu": 1, "ram": 2}, rules={"slow": GroupRules(age=5)})
    begun = {each.job.id: each.started for each in VirtualSchedule(jobs, capacity).run()}
    assert begun == {"gpu": 0, "ram": 0, "both": 100, "small": 110}


@pytest.mark.parametrize("came", [11, 13])
def test_what_needs_two_resources_keeps_its_place_in_both_lines_when_it_gains_though_both_are_free(came):
    jobs = [
        Job("gpu", 0, 100, needs={"gpu": 1}),
        Job("ram", 0, 10, needs={"ram": 1}),
        Job("wide", 1, 10, priority=-99, needs={"gpu": 2}),
        Job("both", 2, 10, group="slow", needs={"gpu": 1, "ram": 2}),
        Job("small", came, 50, needs={"ram": 1}),
    ]
    capacity = Capacity(resources={"gpu": 2, "ram": 2}, rules={"slow": GroupRules(age=5)})
    begun = {each.job.id: each.started for each in VirtualSchedule(jobs, capacity).run()}
    assert begun == {"gpu": 0, "ram": 0, "wide": 100, "both": 110, "small": 120}


NEEDS = st.dictionaries(st.sampled_from(["gpu", "ram"]), st.integers(1, 3), min_size=1)
JOBS = st.lists(
    st.tuples(
        st.integers(0, 7), st.integers(1, 30), st.integers(-3, 5), st.sampled_from(["slow", "fast", None]), NEEDS
    ),
    min_size=3,
    max_size=25,
)


@settings(max_examples=100)
@given(JOBS)
def test_nobody_takes_what_an_earlier_one_lacked_when_it_came_and_waits_for(drawn):
    ages, came, jobs = {"slow": 5, "fast": 3}, 0, []
    for number, (after, seconds, priority, group, needs) in enumerate(drawn):
        came += after
        jobs.append(Job(str(number), came, seconds, priority, group, needs))
    rules = {group: GroupRules(age=age) for group, age in ages.items()}
    capacity = Capacity(groups=dict.fromkeys(ages), resources={"gpu": 3, "ram": 3}, rules=rules)
    begun = {each.job.id: (each.started, each.ended) for each in VirtualSchedule(jobs, capacity).run()}

    def lacked(job):
        """Give what was surely not free when a petition came."""
        held = [other.needs for other in jobs if begun[other.id][0] < job.submitted < begun[other.id][1]]
        return {name for name, amount in job.needs.items() if amount + sum(needs.get(name, 0) for needs in held) > 3}

    def place(job, time):
        return job.priority - (time - job.submitted) // ages.get(job.group, 1e9), int(job.id)

    for first in jobs:
        waited_for = lacked(first)
        for job in jobs:
            time = begun[job.id][0]
            if first.submitted < time < begun[first.id][0] and not waited_for.isdisjoint(job.needs):
                is_earlier = all(place(first, at) < place(job, at) for at in (time - 0.001, time))
                assert not is_earlier, f"{job} starts at {time}, and {first} waits until {begun[first.id][0]}"


class TwoResources(AgeingGroups):
    """One petition needs both resources and stands in both lines, though nothing is short: a wide one is before it."""

    def __init__(self, most_ready=10_000):
        super().__init__(most_ready, slow=60.0)
        self.resources = self.admission.resources
        self.resources.inventory.set("gpu", 2)
        self.resources.inventory.set("ram", 2)
        gpu, ram, self.wide, self.both = (
            self.takes({"gpu": 1}, "still"),
            self.takes({"ram": 1}, "still"),
            self.takes({"gpu": 2}, "still", -9_999),
            self.takes({"gpu": 1, "ram": 2}, "slow", 5),
        )
        assert start.start(self.petitions, gpu, self.now)
        assert start.start(self.petitions, ram, self.now)
        self.parks(self.wide)
        self.parks(self.both)
        cancel.cancel(self.petitions, ram, cancel.cancelled(), self.now)
        self.petitions.ungrant(ram)

    def takes(self, needs, *what):
        record = self.waits(*what)
        record.needs = needs
        return record

    def parks(self, record):
        record.why = self.resources.blocked_by(record)
        assert record.why is not None
        self.resources.park(record)
        assert self.petitions.waiting.is_parked(record.place)

    def lines(self):
        """Give the priority with which the petition stands in lines, and the lines; None where it stands in none."""
        waiter = self.resources._lines.waiters.get(self.both.seq)
        return None if waiter is None else (waiter.place[0], sorted(waiter.lines))


@pytest.mark.parametrize("is_key", [False, True])
def test_what_is_asked_since_it_has_gained_stands_in_its_lines_until_then(is_key):
    world = TwoResources()
    if is_key:
        world.petitions.unload([world.both.place])
        world.petitions.take()
    version = world.petitions.version
    world.passes(60.0)
    assert world.petitions.version > version
    assert (world.order(), world.lines()) == ([world.both.seq], (4, ["gpu", "ram"]))
    world.passes(60.0)
    assert (world.order(), world.lines()) == ([world.both.seq], (3, ["gpu", "ram"])), "it has not been asked"
    late = world.takes({"ram": 1}, "still", 3)
    assert world.resources.blocked_by(late) is not None
    both = world.petitions.records[world.both.seq]
    both.needs = world.both.needs
    world.parks(both)
    assert world.lines() == (3, ["gpu", "ram"])


def test_what_gains_while_it_is_asked_is_asked_again_at_its_new_place_and_then_waits_in_line():
    world = TwoResources()
    one = world.takes({"gpu": 2}, "slow")
    one.why = world.resources.blocked_by(one)
    world.passes(60.0)
    version = world.petitions.version
    world.resources.park(one)
    assert not world.petitions.waiting.is_parked(one.place)
    assert world.petitions.version > version
    world.parks(one)
    assert [key[0] for key in world.petitions.waiting.parked_keys(resource_lot("gpu"))][-1] == -1


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("is_key", [False, True])
def test_a_look_of_the_hook_thread_while_a_petition_gains_leaves_it_in_its_lines(is_key, stays):
    world = TwoResources()
    if stays:
        assert start.start(world.petitions, world.takes({"ram": 1}, "still"), world.now)
    if is_key:
        world.petitions.unload([world.both.place])
        world.petitions.take()
    world.resources._lock = LooksAfterwards(world.resources)
    for priority in (4, 3):
        world.passes(60.0)
        assert world.lines() == (priority, ["gpu", "ram"])
    assert world.petitions.waiting.is_parked((3, world.both.seq, world.both.key)) == stays


@pytest.mark.parametrize("is_key", [False, True])
@pytest.mark.parametrize(("seconds", "is_ready"), [(60.0, False), (600.0, True)])
def test_what_is_to_be_asked_stands_in_its_lines_after_a_gain_where_it_is_ready(seconds, is_ready, is_key):
    world = TwoResources(most_ready=2)
    world.waits("still")
    world.waits("still")
    if is_key:
        world.petitions.unload([world.both.place])
        world.petitions.take()
    cancel.cancel(world.petitions, world.wide, cancel.cancelled(), world.now)
    assert world.resources.unpark() == [], "it may go, and too many are before it"
    assert world.lines() == (5, ["gpu", "ram"])
    version = world.petitions.version
    world.passes(seconds)
    assert world.petitions.version > version, "petitions behind it may go, or it may"
    assert (world.both.seq in world.order()) == is_ready
    assert world.lines() == ((-5, ["gpu", "ram"]) if is_ready else None)


MAY_START = {
    "nothing": (lambda world: None, False),
    "the length of another one is known": (lambda world: setattr(world.resources._lines, "are_timed", True), True),
    "another one waits for the machine": (lambda world: setattr(world.resources, "whole_waits", True), True),
    "there are quotas": (lambda world: world.admission.set_quotas(lambda owner: ()), True),
}


@pytest.mark.parametrize("what", MAY_START)
def test_what_is_short_of_a_resource_is_asked_with_a_gain_where_more_than_that_decides(what):
    change, is_asked = MAY_START[what]
    world = TwoResources()
    ram = world.takes({"ram": 1}, "still")
    assert start.start(world.petitions, ram, world.now)
    change(world)
    world.passes(60.0)
    assert (world.order() == [world.both.seq]) == is_asked
    assert world.lines() == (4, ["gpu", "ram"])


def test_what_lacks_a_resource_and_whose_group_is_full_leaves_its_line_with_a_gain():
    jobs = [
        Job("run", 0, 100, needs={"gpu": 1}),
        Job("wide", 1, 10, group="slow", needs={"gpu": 2}),
        Job("filler", 2, 50, group="slow"),
        Job("small", 3, 10, needs={"gpu": 1}),
    ]
    capacity = Capacity(groups={"slow": 1}, resources={"gpu": 2}, rules={"slow": GroupRules(age=10)})
    begun = {each.job.id: each.started for each in VirtualSchedule(jobs, capacity).run()}
    assert begun == {"run": 0, "filler": 2, "small": 11, "wide": 100}


def test_where_several_owners_or_quotas_are_each_gain_has_those_asked_that_wait():
    world = AgeingGroups(slow=60.0)
    parked = world.waits()
    assert hold.park(world.petitions, parked, LOTS[0])
    version = world.petitions.version
    world.passes(60.0)
    assert (world.petitions.version, parked.priority) == (version, -1), "its group has no slot"
    world.admission.set_quotas(lambda owner: ())
    version = world.petitions.version
    world.passes(60.0)
    assert world.petitions.version > version
    world.admission.set_quotas(None)
    world.waits()
    world.waits(None, owner="bob")
    version = world.petitions.version
    world.passes(60.0)
    assert world.petitions.version > version


SLOTS_TAKEN = {
    "nothing else": (lambda world, record: None, False),
    "a slot is free": (lambda world, record: setattr(world.petitions, "slots_of", {"m": 2}), True),
    "the slots are not known": (lambda world, record: setattr(world.petitions, "slots_of", {}), True),
    "its group has slots": (lambda world, record: world.admission.set_group("slow", 9, GroupRules(age=60.0)), True),
    "its group has a limit for each user": (
        lambda world, record: world.admission.set_group("slow", None, GroupRules(age=60.0, per_user=1)),
        True,
    ),
    "it is paused": (lambda world, record: world.admission.pause(petition_name(record.seq)), True),
    "another one waits for the machine": (
        lambda world, record: setattr(world.admission.resources, "whole_waits", True),
        True,
    ),
    "there are quotas": (lambda world, record: world.admission.set_quotas(lambda owner: ()), True),
    "it needs a resource": (lambda world, record: setattr(record, "needs", {"gpu": 1}), True),
    "it is behind another one": (lambda world, record: setattr(record, "why", BehindExclusive("one")), True),
}


@pytest.mark.parametrize("what", SLOTS_TAKEN)
def test_of_several_owners_a_gain_has_nobody_asked_where_nothing_but_a_slot_is_missing(what):
    change, is_asked = SLOTS_TAKEN[what]
    world = AgeingGroups(slow=60.0)
    runs, record, other = world.waits("still"), world.waits(), world.waits(owner="bob", group="still")
    assert start.start(world.petitions, runs, world.now)
    world.petitions.slots_of = {"m": 1}
    record.why = other.why = MachineFull(1)
    change(world, record)
    version = world.petitions.version
    world.passes(60.0)
    assert (record.priority, world.petitions.version > version) == (-1, is_asked)
    assert (record.why is None) == is_asked
    assert world.order() == [record.seq, other.seq], "it is before the other one when a slot is free"


class Rounds(VirtualSchedule):
    """A schedule that notes when anybody is asked."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.times = set()

    def _round(self, new, now):
        self.times.add(now.wall)
        return super()._round(new, now)


@pytest.mark.parametrize(
    ("needs", "owner", "asked"),
    [
        ({"gpu": 1}, "", set()),
        ({"gpu": 1}, "bob", set()),
        ({"gpu": 1, "ram": 1}, "", {12, 13, 22, 23}),  # it may lack the other resource by now
    ],
)
def test_a_gain_behind_a_more_urgent_one_in_the_line_has_nobody_asked(needs, owner, asked):
    jobs = [
        Job("run", 0, 30, needs={"gpu": 1}),
        Job("wide", 1, 10, needs={"gpu": 2}),
        Job("a", 2, 10, 50, group="slow", needs=needs, owner=owner),
        Job("b", 3, 10, 10, group="fast", needs=needs, owner=owner),
    ]
    rules = {"slow": GroupRules(age=10), "fast": GroupRules(age=10)}
    schedule = Rounds(jobs, Capacity(resources={"gpu": 2, "ram": 9}, rules=rules))
    assert {each.job.id: each.started for each in schedule.run()} == {"run": 0, "wide": 30, "a": 40, "b": 40}
    assert schedule.times - {0, 1, 2, 3, 30, 40, 50} == asked


def test_a_clock_that_is_set_back_in_the_middle_of_a_step_has_the_rest_gain_later():
    ageing = Ageing({"slow": 60.0}, {})
    for seq in (1, 2):
        ageing.know(seq, str(seq), "slow", since=0.0)
    assert ageing.take_due(60.0)[0] == 1
    assert (ageing.due, ageing.take_due(59.0)) == (60.0, None)
    assert (ageing.take_due(60.0)[0], ageing.due, ageing.take_due(60.0)) == (2, None, None)


def test_a_petition_that_came_anew_is_due_by_what_is_known_of_it_now_and_only_an_earlier_time_is_told():
    ageing = Ageing({"slow": 60.0, "fast": 30.0}, {})
    told = []
    ageing.sooner = lambda: told.append(ageing.due)
    for seq, group, since in ((1, "slow", 0.0), (2, "fast", 0.0), (1, "slow", 5.0)):
        ageing.know(seq, str(seq), group, since)
    assert told == [60.0, 30.0]
    assert ageing.take_due(29.0) is None
    assert ageing.take_due(60.0)[0] == 2
    assert ageing.take_due(64.0) is None, "what was known of it at first counts no more"
    assert ageing.take_due(65.0)[0] == 1


def test_without_a_group_that_ages_there_is_nothing_to_do():
    world = AgeingGroups()
    world.waits()
    assert age.step(world.petitions, world.admission.resources, world.now, 9) == []
    assert world.petitions.ageing is None


def test_what_waits_no_more_is_forgotten_in_time(monkeypatch):
    monkeypatch.setattr(core, "MIN_COMPACTED_COUNT", 4)
    world = AgeingGroups(slow=60.0)
    world.petitions.ageing = Ageing({"slow": 60.0}, world.petitions.live)
    stays = world.waits()
    for _ in range(50):
        record = world.waits()
        cancel.cancel(world.petitions, record, cancel.cancelled("gone"), world.now)
        assert record.key not in world.petitions.live
    assert len(world.petitions.ageing._due) <= 8
    world.passes(60.0)
    assert stays.priority == -1


class AgeingBesideASum(RuleBasedStateMachine):
    """Wherever a petition waits, its priority is what it was given less what its time has brought."""

    @initialize(
        most_ready=st.integers(1, 3),
        slow=st.sampled_from([None, 10.0, 10.0]),
        there=st.lists(st.tuples(GROUP, PRIORITY, OWNER, st.sampled_from([None, *LOTS])), min_size=3, max_size=10),
    )
    def begin(self, most_ready, slow, there):
        self.ages = {"slow": slow, "fast": 4.0}
        self.world = AgeingGroups(most_ready, **self.ages)
        self.given = {}
        self.groups = {}
        for group, priority, owner, lot in there:
            self.accept(group, priority, owner)
            if lot is not None:
                hold.park(self.world.petitions, self.world.rows[max(self.given)], lot)
        for seq in [seq for seq in self.given if seq % 2]:
            self.world.petitions.unload([self.world.rows[seq].place])
        self.world.petitions.take()

    def one(self, which):
        seqs = sorted(self.given)
        return self.world.find(str(seqs[which % len(seqs)]))

    @rule(group=GROUP, priority=PRIORITY, owner=OWNER)
    def accept(self, group, priority, owner):
        record = self.world.waits(group, priority, owner)
        self.given[record.seq], self.groups[record.seq] = priority, group

    @rule(seconds=st.integers(0, 25))
    def wait(self, seconds):
        self.world.passes(float(seconds))

    @rule()
    def commit(self):
        self.world.petitions.take()

    @precondition(lambda self: self.given)
    @rule(which=WHICH, priority=st.integers(-3, 3))
    def reprioritize(self, which, priority):
        record = self.one(which)
        assert hold.reprioritize(self.world.petitions, self.world.admission.resources, record, priority)
        self.given[record.seq] = priority
        self.world.rows[record.seq] = record

    @precondition(lambda self: self.given)
    @rule(which=WHICH, lot=st.sampled_from(LOTS))
    def park(self, which, lot):
        hold.park(self.world.petitions, self.one(which), lot)

    @rule(lot=st.sampled_from(LOTS), count=st.integers(0, 3))
    def unpark(self, lot, count):
        self.world.load(hold.unpark(self.world.petitions, lot, count))

    @rule(group=st.sampled_from(["slow", "fast"]), seconds=st.sampled_from([4.0, 10.0, 30.0]))
    def change(self, group, seconds):
        if self.ages[group] is not None:  # petitions that came before are looked up by the service
            self.ages[group] = seconds
            self.world.ages(group, seconds)
            self.world.step()

    @precondition(lambda self: self.given)
    @rule(which=WHICH)
    def begin_one(self, which):
        record = self.one(which)
        start.start(self.world.petitions, record, self.world.now)
        del self.given[record.seq]

    @rule()
    def refill(self):
        self.world.load(self.world.petitions.waiting.refill())
        self.world.petitions.unload(self.world.petitions.waiting.spill())

    @invariant()
    def each_has_what_it_gained(self):
        petitions = self.world.petitions
        where = {}
        for seq, priority in self.given.items():
            seconds = self.ages.get(self.groups[seq])
            waited = self.world.now.wall - self.world.rows[seq].submitted
            gained = 0 if seconds is None else int(waited // seconds)
            known = petitions.live[str(seq)]
            place = known if isinstance(known, tuple) else known.place
            assert place == (priority - gained, seq, str(seq)), (priority, gained)
            if not isinstance(known, tuple):
                assert known.given_priority == priority
            where[place] = petitions.waiting.lot_of(place)
        assert len(petitions.waiting) == sum(lot is None for lot in where.values())
        assert petitions.waiting.parked == sum(lot is not None for lot in where.values())
        ready = petitions.waiting.head(99)
        assert {where.get(key, "none") for key in ready} <= {None}
        for lot in LOTS:
            mine = sorted(key for key, its in where.items() if its == lot)
            found = petitions.waiting.first_parked_in(lot, 99)
            assert (sorted(found) if petitions.fairness else found) == mine


AgeingBesideASum.TestCase.settings = settings(max_examples=100, stateful_step_count=20, deadline=None)
test_wherever_it_waits_its_priority_is_what_it_was_given_less_what_it_gained = AgeingBesideASum.TestCase


# --- in virtual time ---------------------------------------------------------------------------------------------


@st.composite
def workloads(draw):
    return [
        Job(
            str(number),
            float(draw(st.integers(0, 40))),
            float(draw(st.integers(1, 9))),
            draw(st.integers(-2, 3)),
            draw(st.sampled_from(["slow", "slow", "fast", None])),
            manager="m",
        )
        for number in range(draw(st.integers(1, 14)))
    ]


RULES = {"slow": GroupRules(age=5.0), "fast": GroupRules(age=2.0)}


def beside(jobs, slots):
    """Give who starts when, by what is written in the documentation."""
    left, ends, found = list(jobs), [], []
    while left:
        now = min(job.submitted for job in left) if not ends else ends[0]
        now = max(now, min((job.submitted for job in left), default=now)) if len(ends) < slots else now
        while ends and ends[0] <= now:
            heapq.heappop(ends)
        if len(ends) >= slots:
            continue
        came = [job for job in left if job.submitted <= now]
        if not came:
            continue
        first = min(came, key=lambda job: (_effective(job, now), job.submitted, int(job.id)))
        left.remove(first)
        heapq.heappush(ends, now + first.seconds)
        found.append((first.id, now))
    return found


def _effective(job, now):
    age = RULES[job.group].age if job.group in RULES else None
    return job.priority - (0 if age is None else (now - job.submitted) // age)


@given(workloads())
@settings(max_examples=150, deadline=None)
def test_a_forecast_starts_whose_priority_is_first_at_that_moment(jobs):
    planned = VirtualSchedule(jobs, Capacity(slots={"m": 1}, rules=RULES)).run()
    assert [(each.job.id, each.started) for each in planned] == beside(jobs, 1)


@given(workloads(), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_no_petition_waits_longer_behind_later_ones_than_is_promised(jobs, slots):
    """What comes (p - q + 1) ages after a petition of priority p, with priority q, starts after that petition."""
    jobs = [job._replace(group="slow") for job in jobs]
    starts = {
        each.job.id: each.started for each in VirtualSchedule(jobs, Capacity(slots={"m": slots}, rules=RULES)).run()
    }
    for job in jobs:
        for later in jobs:
            steps = max(0, job.priority - later.priority + 1)
            if later.submitted >= job.submitted + steps * RULES["slow"].age and later is not job and steps:
                assert starts[job.id] <= starts[later.id], (job, later)


def test_a_forecast_knows_how_long_a_petition_has_waited_before():
    jobs = [
        Job("runs", 100.0, 5.0, started=100.0, manager="m"),
        Job("new", 100.0, 5.0, 1, "slow", manager="m"),
        Job("old", 100.0, 5.0, 2, "slow", manager="m", waits_since=80.0),
    ]
    planned = VirtualSchedule(jobs, Capacity(slots={"m": 1}, rules=RULES)).run()
    assert [each.job.id for each in planned] == ["runs", "old", "new"]


@pytest.mark.parametrize("paused", [False, True])
def test_a_forecast_ends_though_what_cannot_start_gains_for_ever(paused):
    jobs = [Job("a", 0.0, 1.0, 0, "slow", paused=True), Job("b", 50.0, 1.0, 0, "slow")]
    planned = list(VirtualSchedule(jobs, Capacity(rules=RULES, is_paused=paused)).run())
    assert [each.started for each in planned if each.job.id == "a"] == [None]
