"""Which commands give their place to a more urgent one, in what order, and which come back."""

from __future__ import annotations

import pytest

from orcha._core import preemption
from orcha._core import transitions as change
from orcha._core.admission import Admission
from orcha._core.effects import Do
from orcha._core.granted import LENT
from orcha._core.groups import GroupRules
from orcha._core.moment import Moment
from orcha._core.petitions import PREEMPTED, Petitions
from orcha._core.preempted import PAUSE, REQUEUE, Preempted
from orcha._core.preemption import Preemption
from orcha._core.reasons import BehindPreempted, GroupFull, NeedsShort
from orcha._core.record import Record
from orcha._core.room import EVERYTHING, GROUP, SLOTS, in_words
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER

NOW = Moment(10.0, 10.0)
STOPPED = CommandEnd(Outcome.CANCELLED, 130, by_itself=False)


class SmallMachine:
    """Commands that wait and run on a machine of some slots, with a group of some and a few resources."""

    def __init__(self, slots=9, rig=None, rules=None, **resources):
        self.petitions = Petitions()
        self.petitions.slots_of = {COMMAND_MANAGER: slots}
        self.admission = Admission(self.petitions, resources=resources, now=lambda: self.petitions.now)
        self.admission.load([], {"rig": rig, "other": None}, rules or {})
        self.broken = set()
        self.preemption = Preemption(self.petitions, self.admission, lambda record: record.key not in self.broken)

    def waits(self, name, priority=0, *, owner="ann", manager=COMMAND_MANAGER, **declared):
        seq = self.petitions.take_seq()
        record = Record(seq, seq.to_bytes(16, "big"), name, manager, owner, b"", b"", 0.0)
        assert change.submit.receive(self.petitions, record) is None
        record.priority, record.command, record.petition = priority, True, object()
        for field, value in declared.items():
            setattr(record, field, value)
        change.submit.accept(self.petitions, record, NOW, start=False, new_channel=False)
        if (reason := self.admission.blocked_by(record)) is not None:
            record.why = reason
            self.admission.park(record)
        return record

    def runs(self, name, priority=0, *, how=PAUSE, started=10.0, **declared):
        record = self.waits(name, priority, **{"preemptible": how} | declared)
        self.petitions.granted.take(record)
        assert change.start.start(self.petitions, record, NOW)
        change.command.running(self.petitions, record.seq, record.attempt, NOW)
        record.started = started
        return record

    def gives(self, record, by):
        """Have a command give its place, as the service does."""
        change.preempt.give_way(self.petitions, record, by.key, NOW)
        if record.state is State.RUNNING:
            assert change.preempt.stands_still(self.petitions, record)

    def ends(self, record):
        change.command.ended(self.petitions, record.seq, record.attempt, STOPPED, NOW)

    def chosen(self):
        return [(each.record.key, each.by.key) for each in self.preemption.chosen()]

    def coming_back(self):
        return [record.key for record in self.preemption.coming_back()]


# --- who gives a place --------------------------------------------------------------------------------------------


def test_a_strictly_more_urgent_command_takes_the_place_of_the_latest_of_the_least_urgent():
    world = SmallMachine(rig=3)
    for name, priority, started in (("a", 2, 5.0), ("b", 2, 7.0), ("c", 1, 9.0)):
        world.runs(name, priority, started=started, group="rig")
    world.waits("later", 2, group="rig")
    assert world.chosen() == []
    world.waits("urgent", 0, group="rig")
    assert world.chosen() == [("b", "urgent")]
    assert world.chosen() == [], "nothing has changed since"


def test_what_may_not_be_preempted_or_cannot_run_again_keeps_its_place():
    world = SmallMachine(slots=3)
    world.runs("never", 9, how=None)
    world.runs("typed", 9, how=REQUEUE)
    world.runs("train", 1, how=REQUEUE)
    world.broken = {"typed"}
    world.waits("urgent")
    assert world.chosen() == [("train", "urgent")]


def test_a_command_that_starts_or_ends_or_stands_still_is_not_preempted():
    world = SmallMachine(slots=1)
    starts = world.waits("starts", 1, preemptible=PAUSE)
    world.petitions.granted.take(starts)
    change.start.start(world.petitions, starts, NOW)
    world.petitions.preemptible[starts.seq] = starts
    urgent = world.waits("urgent")
    assert world.chosen() == []
    change.command.running(world.petitions, starts.seq, starts.attempt, NOW)
    assert world.chosen() == [("starts", "urgent")]
    change.preempt.give_way(world.petitions, starts, urgent.key, NOW)
    world.petitions.note_change()
    assert world.chosen() == [], "it is about to stand still"
    assert change.preempt.stands_still(world.petitions, starts)
    assert not change.preempt.stands_still(world.petitions, starts)
    assert world.chosen() == []
    assert world.petitions.granted.of_manager(LENT) == {"starts": starts.seq}


@pytest.mark.parametrize(
    "declared",
    [
        {"manager": "plugin"},
        {"petition": None},
        {"once": "key", "replaces": True},
        {"needs": {"gpu": 1}, "group": "other", "paused": True},
        {"needs": {"*": 1}},
    ],
)
def test_nobody_is_preempted_for_what_others_cannot_give(declared):
    world = SmallMachine(rig=1, gpu=1)
    world.runs("train", 5, group="rig", needs={"gpu": 1})
    declared = {"group": "rig"} | declared
    if declared.pop("paused", False):
        world.admission.pause("group:other")
    if declared.pop("replaces", False):
        world.admission.keys.replaces = lambda seq: True
    world.waits("urgent", 0, **declared)
    assert world.chosen() == []


def test_the_smallest_set_is_preempted_and_nobody_where_all_are_too_few():
    world = SmallMachine(ram=4)
    for name, amount in (("a", 1), ("b", 1), ("c", 2)):
        world.runs(name, 5, needs={"ram": amount})
    two = world.waits("two", 1, needs={"ram": 2})
    assert world.chosen() == [("c", "two")]
    change.cancel.cancel(world.petitions, two, change.cancel.cancelled(), NOW)
    three = world.waits("three", 1, needs={"ram": 3})
    assert world.chosen() == [("c", "three"), ("b", "three")]
    change.cancel.cancel(world.petitions, three, change.cancel.cancelled(), NOW)
    world.petitions.preemptible.pop(1)
    world.waits("all", 1, needs={"ram": 4})
    assert world.chosen() == []


def test_a_long_search_takes_one_after_the_other_and_lets_go_of_who_was_not_wanted(monkeypatch):
    monkeypatch.setattr(preemption, "MAX_SETS", 1)
    world = SmallMachine(ram=4)
    for name, amount in (("a", 2), ("b", 1), ("c", 1)):
        world.runs(name, 5, started=float(ord(name[0])), needs={"ram": amount})
    world.waits("two", 1, needs={"ram": 2})
    assert world.chosen() == [("c", "two"), ("b", "two")]
    world = SmallMachine(ram=3)
    for name, priority, amount in (("small", 7, 1), ("large", 5, 2)):
        world.runs(name, priority, needs={"ram": amount})
    world.waits("two", 1, needs={"ram": 2})
    assert world.chosen() == [("large", "two")]


def test_devices_and_memory_are_given_by_who_is_ended_and_not_by_who_stands_still():
    world = SmallMachine(memory=8, gpu=2, licence=1)
    needs = {"memory": 8, "gpu": 2, "licence": 1}
    still = world.runs("still", 5, needs=needs)
    world.waits("urgent", 0, needs={"memory": 1})
    world.waits("other", 0, needs={"licence": 1})
    assert world.chosen() == [("still", "other")]
    still.preemptible = REQUEUE
    world.petitions.note_change()
    assert world.chosen() == [("still", "urgent")]


def test_who_would_take_the_place_first_has_it_kept():
    world = SmallMachine(slots=9, rig=1)
    world.runs("train", 5, group="rig")
    world.waits("aged", -9, group="rig", unaged=6)
    world.waits("urgent", 0, group="rig")
    assert world.chosen() == []


def test_what_is_being_ended_is_taken_before_anybody_gives_a_place():
    world = SmallMachine(slots=2)
    ending = world.runs("ending", 1, how=None)
    world.runs("train", 1)
    change.cancel.cancel(world.petitions, ending, change.cancel.cancelled(), NOW)
    world.waits("first")
    assert world.chosen() == []
    world.waits("second")
    assert world.chosen() == [("train", "second")]


def test_a_petition_behind_another_one_in_the_line_of_a_resource_takes_nothing():
    world = SmallMachine(ram=2)
    world.runs("train", 5, needs={"ram": 1})
    world.runs("never", 5, how=None, needs={"ram": 1})
    world.waits("large", 0, needs={"ram": 2})
    world.waits("small", 1, needs={"ram": 1})
    assert world.chosen() == []


def test_as_many_of_one_owner_run_as_may():
    world = SmallMachine(rig=9, rules={"rig": GroupRules(per_user=1)})
    world.runs("train", 5, group="rig")
    world.runs("bob's", 5, group="rig", owner="bob")
    world.waits("urgent", 0, group="rig")
    assert world.chosen() == [("train", "urgent")]


# --- how it gives it ----------------------------------------------------------------------------------------------


def test_a_requeued_command_waits_again_and_that_is_no_failure():
    world = SmallMachine(slots=1)
    train = world.runs("train", 1, how=REQUEUE)
    urgent = world.waits("urgent")
    world.gives(train, urgent)
    assert (train.state, train.reason) == (State.CANCELLING, None)
    kept = world.petitions.changes.decided[PREEMPTED, str(train.seq)]
    assert Preempted.of(kept) == Preempted("urgent", REQUEUE, 10.0)
    world.ends(train)
    change.finish.hook_done(world.petitions, train.seq, NOW)
    assert (train.state, world.petitions.preemptible) == (State.QUEUED, {})
    assert train.seq in world.petitions.preempted
    world.petitions.granted.take(train)
    change.start.start(world.petitions, train, NOW)
    assert (world.petitions.preempted, world.petitions.changes.decided[PREEMPTED, str(train.seq)]) == ({}, None)


def test_a_command_that_ends_by_itself_before_the_signal_has_ended():
    world = SmallMachine(slots=1)
    train = world.runs("train", 1, how=REQUEUE)
    world.gives(train, world.waits("urgent"))
    change.command.ended(world.petitions, train.seq, 1, CommandEnd(Outcome.SUCCEEDED, 0), NOW)
    assert (train.outcome, world.petitions.preempted) == (Outcome.SUCCEEDED, {})


def test_a_command_that_stands_still_may_end_and_then_nothing_of_it_is_kept():
    world = SmallMachine(slots=1)
    train = world.runs("train", 1)
    urgent = world.waits("urgent")
    world.gives(train, urgent)
    assert world.coming_back() == []
    world.ends(train)
    assert (world.petitions.lent, world.petitions.preempted) == ({}, {})


# --- who comes back -----------------------------------------------------------------------------------------------


def paused(slots=1, **declared):
    world = SmallMachine(slots=slots)
    train = world.runs("train", 1, **declared)
    urgent = world.waits("urgent")
    world.gives(train, urgent)
    world.petitions.granted.take(urgent)
    change.start.start(world.petitions, urgent, NOW)
    change.command.running(world.petitions, urgent.seq, 1, NOW)
    return world, train, urgent


def test_it_comes_back_before_all_that_is_not_more_urgent():
    world, train, urgent = paused()
    later = world.waits("later", 1)
    assert world.admission.blocked_by(later) == BehindPreempted("train")
    assert world.admission.held_by(later.seq, None) == BehindPreempted("train")
    assert world.admission.held_by(99, None) is None
    assert world.admission.held_by(world.waits("array", 1, manager=ARRAY_MANAGER).seq, None) is None
    assert world.admission.blocked_by(world.waits("plugin's", 1, manager="m")) is None
    urgent2 = world.waits("urgent2")
    assert world.admission.blocked_by(urgent2) is None
    assert world.coming_back() == world.coming_back() == []
    world.ends(urgent)
    assert world.coming_back() == [], "the more urgent petition that waits comes first"
    assert world.admission.blocked_by(later) == BehindPreempted("train")
    change.cancel.cancel(world.petitions, urgent2, change.cancel.cancelled(), NOW)
    assert world.coming_back() == ["train"]
    world.petitions.effects.clear()
    change.preempt.come_back(world.petitions, train)
    assert [effect.do for effect in world.petitions.effects] == [Do.GO_ON]
    assert (world.petitions.lent, world.petitions.preempted, world.coming_back()) == ({}, {}, [])
    assert world.admission.blocked_by(later) is None
    assert world.chosen() == []


def test_what_a_more_urgent_one_waits_for_in_part_is_kept_free_for_it():
    world = SmallMachine(ram=2)
    still, ended = world.runs("still", 5, needs={"ram": 1}), world.runs("ended", 5, how=REQUEUE, needs={"ram": 1})
    urgent = world.waits("urgent", 0, needs={"ram": 2})
    assert world.chosen() == [("ended", "urgent"), ("still", "urgent")]
    world.gives(still, urgent)
    world.gives(ended, urgent)
    assert world.coming_back() == []
    change.cancel.cancel(world.petitions, urgent, change.cancel.cancelled(), NOW)
    assert world.coming_back() == ["still"]


def test_two_come_back_the_more_urgent_first():
    world = SmallMachine(slots=2)
    first, second = world.runs("first", 2), world.runs("second", 1)
    urgent = [world.waits("u1"), world.waits("u2")]
    assert world.chosen() == [("first", "u1"), ("second", "u2")]
    for record, by in zip((first, second), urgent, strict=True):
        world.gives(record, by)
        world.petitions.granted.take(by)
        change.start.start(world.petitions, by, NOW)
    world.ends(urgent[0])
    assert world.coming_back() == ["second"]
    change.preempt.come_back(world.petitions, second)
    assert world.coming_back() == []
    assert dict(world.petitions.lent) == {first.seq: first}


def test_who_wants_what_it_lacks_is_behind_it_and_others_are_not():
    world = SmallMachine(rig=1, licence=1, gpu=1)
    train = world.runs("train", 1, group="rig", needs={"licence": 1, "gpu": 1})
    urgent = world.waits("urgent", 0, group="rig", needs={"licence": 1})
    world.gives(train, urgent)
    world.petitions.granted.take(urgent)
    lacked = world.admission.room.lacks(train)
    assert lacked == {GROUP, "resource licence"}
    assert in_words(train, lacked | {SLOTS}) == (
        "a slot of the machine",
        "a slot of its group rig",
        "1 licence",
    )
    assert in_words(train, frozenset()) == ()
    in_group, licensed = world.waits("a", 1, group="rig"), world.waits("b", 1, needs={"licence": 1})
    assert world.admission.reasons(in_group) == [GroupFull("rig", 1), BehindPreempted("train")]
    assert isinstance(world.admission.blocked_by(licensed), NeedsShort)
    assert world.admission.blocked_by(world.waits("c", 1, group="other")) is None
    world.petitions.granted.give_back(urgent)
    assert world.admission.blocked_by(licensed) == BehindPreempted("train")
    in_group.why = BehindPreempted("train")
    assert (world.admission.park(in_group), world.admission.held_by(in_group.seq, "rig")) == ([], in_group.why)
    assert "everything" in EVERYTHING


def test_what_is_not_in_memory_is_passed_over():
    world, _, urgent = paused()
    lease = world.waits("lease", 0, manager="leases", unaged=3)
    other = world.waits("other")
    del world.petitions.records[other.seq]
    world.ends(urgent)
    assert (lease.given_priority, world.coming_back()) == (3, ["train"])


def test_what_a_copy_of_the_book_says_stays_out_of_the_book():
    world, train, urgent = paused()
    copy = world.petitions.granted.copy()
    copy.take(train)
    copy.give_back(urgent)
    assert (copy.kept("train"), world.petitions.granted.has(urgent.seq)) == ((), True)
    world.petitions.note_owner(99, "bob")
    two = world.runs("two", 1)
    world.petitions.granted.lend(two.seq)
    assert world.petitions.fairness is not None


# --- over restarts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "state", "lives", "policy", "is_kept"),
    [
        (REQUEUE, State.CANCELLING, True, OnInterrupt.RERUN, True),
        (REQUEUE, State.QUEUED, False, OnInterrupt.FAIL, True),
        (PAUSE, State.RUNNING, True, OnInterrupt.FAIL, True),
        (PAUSE, State.QUEUED, False, OnInterrupt.FAIL, False),
    ],
)
def test_after_a_restart_what_was_being_ended_waits_again(how, state, lives, policy, is_kept):
    petitions = Petitions()
    record = Record(1, b"", "train", COMMAND_MANAGER, "me", b"", b"", 0.0)
    record.state, record.outcome = state, Outcome.INTERRUPTED
    change.preempt.found(petitions, record, lives=lives)
    assert record.on_interrupt is OnInterrupt.FAIL
    change.preempt.load(petitions, {1: Preempted("urgent", how, 7.0)})
    change.preempt.found(petitions, record, lives=lives)
    assert (record.on_interrupt, 1 in petitions.preempted) == (policy, is_kept)


def test_a_command_that_goes_on_may_be_preempted():
    petitions = Petitions()
    record = Record(1, b"", "train", COMMAND_MANAGER, "me", b"", b"", 0.0)
    record.state, record.preemptible = State.STARTING, PAUSE
    change.preempt.adopted(petitions, record)
    assert petitions.preemptible == {}
    record.state = State.RUNNING
    change.preempt.adopted(petitions, record)
    assert petitions.preemptible == {1: record}
    assert not change.preempt.stands_still(petitions, record), "nobody takes its place"


def test_people_change_whether_a_command_that_runs_may_be_preempted():
    world = SmallMachine(slots=1)
    train = world.runs("train", 1)
    train.preemptible = None
    change.preempt.changed(world.petitions, train)
    world.waits("urgent")
    assert world.chosen() == []
    train.preemptible = REQUEUE
    change.preempt.changed(world.petitions, train)
    assert world.chosen() == [("train", "urgent")]
