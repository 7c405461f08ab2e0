"""What blocks a petition whatever its condition says, where it is parked for that, and when it leaves the lot."""

from __future__ import annotations

import threading

import pytest

from core.looking_lock import LooksAfterwards
from orcha._core import admission as admission_module
from orcha._core import once_keys as once_module
from orcha._core import transitions
from orcha._core.admission import ALL, Admission, GroupUse, group_name, is_petition_name, petition_name
from orcha._core.changes import Altered, NewAlteration
from orcha._core.converted import Converted
from orcha._core.petitions import Petitions
from orcha._core.reasons import (
    BehindAnother,
    GroupFull,
    GroupPaused,
    GroupUnknown,
    InOrder,
    NeedsShort,
    NeverEnough,
    PetitionPaused,
    ReplacesAnother,
)
from orcha._core.record import Cancellation, Record
from orcha._core.resources import ResourceUse, resource_lot
from orcha._core.state import OnInterrupt, Outcome, State
from orcha.interfaces.needs import WHOLE


class AdmittedPetitions:
    """Petitions that wait and run, as the engine has them, and their admission."""

    def __init__(self):
        self.petitions = Petitions()
        self.admission = Admission(self.petitions, resources={"gpu": 2, "ram": 8}, lock=threading.Lock())
        self.admission.load([], {"rig": 1, "any": None, "none": 0})

    def waits(self, number, *, priority=0, group=None, needs=None, once=None):
        record = Record(self.petitions.take_seq(), number.to_bytes(16, "big"), f"p{number}", "m", "me", b"", b"", 0.0)
        record.priority, record.group, record.needs, record.once = priority, group, needs, once
        assert transitions.submit.receive(self.petitions, record) is None
        transitions.submit.accept(self.petitions, record, self.petitions.now, start=False, new_channel=False)
        return record

    def runs(self, number, **declared):
        record = self.waits(number, **declared)
        assert self.admission.blocked_by(record) is None
        self.petitions.granted.take(record)
        assert transitions.start.start(self.petitions, record, self.petitions.now)
        return record

    def ends(self, record):
        transitions.finish.action_going(self.petitions, record.seq, record.attempt)
        transitions.finish.returned(
            self.petitions, record.seq, record.attempt, None, self.petitions.now, processes=False
        )

    def blocked(self, record):
        """Ask, park what is blocked, and give the reason."""
        reason = self.admission.blocked_by(record)
        assert reason is not None
        assert self.admission.park(record) == []
        return reason

    def asked(self):
        """Give the sequences of those whose conditions are asked next."""
        assert self.admission.unpark() == []
        return [key[1] for key in self.petitions.waiting.head(99)]


@pytest.fixture
def world():
    return AdmittedPetitions()


def test_what_declares_nothing_is_blocked_by_nothing(world):
    record = world.waits(1)
    assert world.admission.blocked_by(record) is None
    assert world.admission.held_by(record.seq, None) is None
    assert world.admission.park(record) == []
    assert world.asked() == [record.seq]


def test_a_full_group_holds_back_until_one_of_it_ends(world):
    first = world.runs(1, group="rig")
    second, third = world.waits(2, group="rig"), world.waits(3, group="rig")
    assert world.blocked(second) == world.blocked(third) == GroupFull("rig", 1)
    assert world.admission.held_by(third.seq, "rig") == GroupFull("rig", 1)
    assert world.asked() == []
    assert world.admission.before(third, "rig") == 1
    world.ends(first)
    assert world.asked() == [second.seq]
    assert world.admission.before(third, "rig") == 1


def test_a_group_without_a_limit_holds_nothing_back_and_one_without_slots_everything(world):
    world.runs(1, group="any")
    assert world.admission.blocked_by(world.waits(2, group="any")) is None
    assert world.blocked(world.waits(3, group="none")) == GroupFull("none", 0)


def test_what_is_of_a_group_that_is_not_there_waits_and_says_so(world):
    world.admission.of_groups.takes_new = False
    record = world.waits(1, group="rgi")
    assert world.blocked(record) == GroupUnknown("rgi", "rig")
    assert world.admission.refusal("rgi", None) == GroupUnknown("rgi", "rig")
    assert world.admission.refusal("rig", {"gpu": 2}) is None
    assert world.admission.refusal("rgi", {"gpu": 3}) == NeverEnough("gpu", 3, 2)
    world.admission.load([group_name("rgi")], world.admission.groups)
    assert world.admission.unknown("rgi") is None


def test_where_the_condition_of_one_says_no_another_of_its_group_is_asked(world):
    first = world.runs(1, group="rig")
    second, third = world.waits(2, group="rig"), world.waits(3, group="rig")
    for record in (second, third):
        world.blocked(record)
    world.ends(first)
    assert world.asked() == [second.seq]
    assert world.admission.park(second) == []
    assert world.asked() == [second.seq, third.seq]
    assert world.admission.park(second) == [], "no other one of the group is parked"


def test_a_record_that_was_only_a_key_in_its_lot_is_to_be_loaded(world, monkeypatch):
    from orcha._core.transitions import hold

    monkeypatch.setattr(hold, "MAX_LOADED_PETITIONS", 0)
    first, second = world.runs(1, group="rig"), world.waits(2, group="rig")
    world.blocked(second)
    world.petitions.take()
    world.ends(first)
    assert world.admission.unpark() == [second.place]


@pytest.mark.parametrize("named", ["petition", "group"])
def test_a_pause_holds_back_until_it_ends_and_is_kept(world, named):
    record = world.waits(1, group="rig", needs={"gpu": 1})
    name = petition_name(record.seq) if named == "petition" else group_name("rig")
    world.admission.pause(name)
    assert world.blocked(record) == (PetitionPaused() if named == "petition" else GroupPaused("rig"))
    assert world.petitions.changes.pauses == {name: True}
    assert world.asked() == []
    assert world.admission.is_paused(record.seq, "rig", State.QUEUED)
    assert not world.admission.is_paused(record.seq, "rig", State.ENDED)
    assert world.admission.is_paused(record.seq, "rig", State.RUNNING) is (named == "petition")
    assert world.admission.before(record, "rig") == (None if named == "petition" else 0)
    world.admission.resume(name)
    assert world.petitions.changes.pauses == {name: False}
    assert world.admission.unpark_resumed() == ([], False)
    assert world.asked() == [record.seq]
    assert is_petition_name(name) is (named == "petition")


def test_what_declares_nothing_is_held_back_by_what_holds_all_back(world):
    plain = world.waits(1)
    plain.is_plain = True
    assert world.admission.blocked_by(plain) is None
    world.admission.pause(petition_name(plain.seq))
    assert world.admission.blocked_by(plain) == PetitionPaused()
    world.admission.resume(petition_name(plain.seq))
    assert world.admission.blocked_by(plain) is None
    whole = world.runs(2, needs={WHOLE: 1})
    assert world.admission.blocked_by(plain) is not None
    world.ends(whole)
    assert world.admission.blocked_by(plain) is None


def test_a_pause_of_everything_holds_back_what_waits_and_parks_nothing(world):
    record = world.waits(1)
    world.admission.pause(ALL)
    assert world.admission.is_paused(record.seq, None, State.QUEUED)
    assert world.admission.blocked_by(record) is None
    world.admission.resume(ALL)
    assert world.admission.unpark_resumed() == ([], False)


def test_what_goes_on_leaves_its_lot_in_parts(world, monkeypatch):
    monkeypatch.setattr(admission_module, "MAX_UNPARKED_PETITIONS", 2)
    world.admission.pause(group_name("any"))
    for number in range(1, 4):
        assert world.blocked(world.waits(number, group="any")) == GroupPaused("any")
    world.admission.resume(group_name("any"))
    assert world.admission.unpark_resumed() == ([], True)
    assert len(world.petitions.waiting) == 2
    world.admission.pause(group_name("any"))
    assert world.admission.unpark_resumed() == ([], False)
    assert len(world.petitions.waiting) == 3


def test_one_waits_for_what_another_holds_and_later_ones_wait_behind_it(world):
    first = world.runs(1, needs={"gpu": 1})
    large, small = world.waits(2, needs={"gpu": 2}), world.waits(3, needs={"gpu": 1})
    assert world.blocked(large) == NeedsShort("gpu", 2, 1, 2)
    assert world.blocked(small) == BehindAnother("gpu", 1, 1, 2)
    assert world.admission.held_by(small.seq, None) == BehindAnother("gpu", 1, 1, 2)
    assert (world.admission.before(large, None), world.admission.before(small, None)) == (0, 1)
    assert world.asked() == []
    world.ends(first)
    assert world.asked() == [large.seq]
    assert world.admission.blocked_by(large) is None
    version = world.petitions.version
    world.admission.resources.note_left()
    world.admission.resources.note_left()
    assert world.petitions.version == version + 1


def test_a_petition_that_starts_has_those_behind_it_looked_at_where_something_is_left_for_them(world):
    first = world.runs(1, needs={"gpu": 2})
    one, another, large = (world.waits(seq, needs={"gpu": count}) for seq, count in ((2, 1), (3, 1), (4, 2)))
    for record in (one, another, large):
        world.blocked(record)
    world.ends(first)
    assert world.asked() == [one.seq, another.seq]
    looked_at = []
    for record in (one, another):
        assert world.admission.blocked_by(record) is None
        world.petitions.granted.take(record)
        version = world.petitions.version
        world.admission.resources.note_left()
        looked_at.append(world.petitions.version > version)
    assert looked_at == [True, False], "the second gpu is left for another one, then nothing for the large one"


def test_what_came_to_the_head_of_a_line_and_is_blocked_again_stays_ready_for_the_next_question(world):
    first = world.runs(1, needs={"gpu": 2})
    waits = world.waits(2, needs={"gpu": 1})
    world.blocked(waits)
    world.ends(first)
    assert world.asked() == [waits.seq]
    assert world.admission.park(waits) == [], "its own condition said no: it stands in line, and is not parked"
    assert world.asked() == [waits.seq]


def test_what_needs_more_than_there_ever_is_says_so_and_holds_nobody_back(world):
    record = world.waits(1, needs={"gpu": 3, "ram": 1})
    assert world.blocked(record) == NeverEnough("gpu", 3, 2)
    assert world.admission.held_by(record.seq, None) == NeverEnough("gpu", 3, 2)
    assert world.admission.before(record, None) is None
    assert world.admission.blocked_by(world.waits(2, needs={"gpu": 2})) is None


def test_who_needs_a_second_resource_keeps_its_place_in_both_lines(world):
    gpus, ram = world.runs(1, needs={"gpu": 2}), world.runs(2, needs={"ram": 8})
    both = world.waits(3, needs={"gpu": 1, "ram": 1})
    world.blocked(both)
    world.ends(gpus)
    assert world.asked() == [], "there is no ram"
    later = world.waits(4, needs={"gpu": 1})
    assert world.admission.blocked_by(later) == BehindAnother("gpu", 1, 2, 2)
    world.ends(ram)
    assert world.asked() == [both.seq, later.seq]


def test_who_is_paused_or_gone_stands_in_no_line(world):
    first = world.runs(1, needs={"gpu": 2})
    paused, gone = world.waits(2, needs={"gpu": 2}), world.waits(3, needs={"gpu": 2})
    last = world.waits(4, needs={"gpu": 1})
    for record in (paused, gone, last):
        world.blocked(record)
    world.admission.pause(petition_name(paused.seq))
    transitions.cancel.cancel(world.petitions, gone, Cancellation(Outcome.CANCELLED, 130, None), world.petitions.now)
    assert world.admission.held_by(gone.seq, None) is None
    world.ends(first)
    assert world.asked() == [paused.seq, last.seq], "the paused one leaves the lot, to be parked for its pause"
    assert world.blocked(paused) == PetitionPaused()


def test_a_petition_that_left_a_line_while_it_was_paused_keeps_the_place_that_it_is_given_then(world):
    first = world.runs(1, needs={"gpu": 2})
    paused, other = world.waits(2, needs={"gpu": 2}), world.waits(3, needs={"gpu": 2})
    assert world.blocked(paused) == NeedsShort("gpu", 2, 0, 2)
    name = petition_name(paused.seq)
    world.admission.pause(name)
    assert not world.admission.resources.is_behind(other.place, other.needs), "its place in line is noted to be left"
    transitions.hold.reprioritize(world.petitions, world.admission.resources, paused, 4)
    world.admission.resume(name)
    assert world.blocked(paused) == world.blocked(other) == NeedsShort("gpu", 2, 0, 2)
    assert world.asked() == []
    assert world.petitions.waiting.parked_keys("resource:gpu") == [other.place, paused.place]
    world.ends(first)
    assert world.asked() == [other.seq]


class BothResources(AdmittedPetitions):
    """One petition needs both resources and stands in both lines, though nothing is short: a wide one is before it."""

    def __init__(self):
        super().__init__()
        gpu, ram = self.runs(1, needs={"gpu": 1}), self.runs(2, needs={"ram": 1})
        self.wide = self.waits(3, priority=-9, needs={"gpu": 2})
        self.both = self.waits(4, needs={"gpu": 1, "ram": 8})
        assert self.blocked(self.wide) == NeedsShort("gpu", 2, 1, 2)
        assert self.blocked(self.both) == BehindAnother("gpu", 1, 1, 2)
        self.ends(ram)
        self.gpu = gpu
        assert self.asked() == []

    def reprioritizes(self, priority):
        assert transitions.hold.reprioritize(self.petitions, self.admission.resources, self.both, priority)

    def changes(self, names, priority):
        both = self.both
        new = Converted(
            both,
            is_new=False,
            seq=both.seq,
            key=both.key,
            manager="m",
            owner="me",
            petition=object(),
            is_command=False,
            priority=priority,
            needs=both.needs,
            has_policy=True,
            on_interrupt=OnInterrupt.FAIL,
            **dict.fromkeys(
                ("retry", "timeout", "queue_timeout", "expect", "group", "once", "after", "at", "delay", "when")
            ),
        )
        kept = Altered(b"", priority, None, both.needs, None)
        note = NewAlteration(both.seq, 0.0, "me", "{}")
        now = self.petitions.now
        transitions.alter.alter(self.petitions, self.admission.resources, both, new, kept, note, names, now)

    def lines(self):
        """Give the priority with which the petition stands in lines, and the lines; None where it stands in none."""
        waiter = self.admission.resources._lines.waiters.get(self.both.seq)
        return None if waiter is None else (waiter.place[0], sorted(waiter.lines))


@pytest.mark.parametrize("priority", [-5, 5])
def test_what_gets_another_priority_keeps_its_places_in_all_its_lines_until_it_is_asked(priority):
    world = BothResources()
    world.reprioritizes(priority)
    assert (world.asked(), world.lines()) == ([world.both.seq], (priority, ["gpu", "ram"]))
    late = world.waits(5, priority=6, needs={"ram": 1})
    assert world.blocked(late) == BehindAnother("ram", 1, 8, 8), "as before: it would take what the other one waits for"
    assert world.blocked(world.both) == BehindAnother("gpu", 1, 1, 2)
    assert world.lines() == (priority, ["gpu", "ram"])
    world.ends(world.gpu)
    assert world.asked() == [world.wide.seq]


def test_what_gets_a_worse_priority_stands_behind_petitions_that_are_before_it_now():
    world = BothResources()
    late = world.waits(5, needs={"ram": 1})
    assert world.blocked(late) == BehindAnother("ram", 1, 8, 8)
    world.reprioritizes(1)
    assert world.asked() == [late.seq, world.both.seq]
    assert world.admission.blocked_by(late) is None


@pytest.mark.parametrize(("names", "stays"), [({"priority"}, True), ({"priority", "label"}, True), ({"needs"}, False)])
def test_what_is_set_to_another_priority_keeps_its_places_where_it_needs_what_it_needed(names, stays):
    world = BothResources()
    world.changes(names, -5)
    assert (world.asked(), world.lines()) == ([world.both.seq], (-5, ["gpu", "ram"]) if stays else None)


def test_what_gets_so_bad_a_priority_that_nobody_asks_it_keeps_nobody_waiting():
    world = BothResources()
    world.petitions.waiting.__init__(1)
    world.waits(5)
    world.waits(6)
    world.petitions.waiting.park(world.both.place, resource_lot("gpu"))
    world.reprioritizes(1)
    assert (world.petitions.waiting.is_ready(world.both.place), world.lines()) == (False, None)


def test_a_look_of_the_hook_thread_while_it_gets_another_priority_leaves_a_petition_in_its_lines():
    world = BothResources()
    world.admission.resources._lock = LooksAfterwards(world.admission.resources)
    for priority in (-5, 5):
        world.reprioritizes(priority)
        assert world.lines() == (priority, ["gpu", "ram"])


def test_what_is_parked_for_its_group_leaves_the_lines_it_stood_in(world):
    first = world.runs(1, group="rig", needs={"gpu": 2})
    second = world.waits(2, group="rig", needs={"gpu": 1})
    transitions.hold.reprioritize(world.petitions, world.admission.resources, second, -1)
    other = world.waits(3, needs={"gpu": 1})
    world.admission.of_groups.slots = {"rig": None}
    assert world.blocked(second) == NeedsShort("gpu", 1, 0, 2)
    world.admission.of_groups.slots = {"rig": 1}
    transitions.hold.reprioritize(world.petitions, world.admission.resources, second, -2)
    assert world.blocked(second) == GroupFull("rig", 1)
    assert world.admission.resources.before(second.seq) is None
    world.blocked(other)
    world.ends(first)
    assert world.asked() == [second.seq, other.seq]


def test_one_that_replaces_another_waits_until_that_has_gone(world):
    older = world.runs(1, once="nightly")
    keys = world.admission.keys
    keys.load([(older.seq, "m", "me", "nightly")])
    newer = world.waits(2, once="nightly")
    assert keys.holder(("m", "me", "nightly")) == older.seq
    keys.take(newer, lambda _: True)
    assert keys.holder(("m", "me", "nightly")) == newer.seq
    assert world.blocked(newer) == ReplacesAnother()
    assert (world.asked(), world.admission.before(newer, None)) == ([], None)
    world.ends(older)
    assert world.asked() == [newer.seq]
    assert world.admission.blocked_by(newer) is None
    assert world.admission.blocked_by(newer) is None


@pytest.mark.parametrize("group", ["any", "rig"])
def test_one_that_replaces_another_keeps_no_slot_of_its_group_from_others(world, group):
    older = world.runs(1, once="nightly")
    newer, other = world.waits(2, once="nightly", group=group), world.waits(3, group=group)
    world.admission.keys.take(older, lambda _: True)
    world.admission.keys.take(newer, lambda _: True)
    assert world.blocked(newer) == ReplacesAnother()
    version = world.petitions.version
    assert world.asked() == [other.seq]
    assert world.petitions.version == version, "nothing has changed: it is not to be asked again and again"
    assert world.admission.blocked_by(other) is None
    world.ends(older)
    assert world.asked() == [newer.seq, other.seq]


def test_one_that_replaces_another_that_replaces_one_that_lives_waits_for_both(world):
    oldest = world.runs(1, once="nightly")
    older, newer = world.waits(2, once="nightly"), world.waits(3, once="nightly")
    keys = world.admission.keys
    for record in (oldest, older):
        keys.take(record, lambda _: True)
    keys.take(newer, lambda _: True)
    transitions.cancel.cancel(world.petitions, older, Cancellation(Outcome.CANCELLED, 130, None), world.petitions.now)
    assert world.admission.blocked_by(newer) == ReplacesAnother()
    world.ends(oldest)
    assert world.admission.blocked_by(newer) is None


def test_the_next_one_of_a_key_waits_for_one_that_has_its_outcome_and_runs_still(world):
    older, newer = world.runs(1, once="nightly"), world.waits(2, once="nightly")
    keys = world.admission.keys
    keys.take(older, lambda _: True)
    transitions.finish.finish(world.petitions, older.seq, older.attempt, 0, world.petitions.now)
    assert (older.state, world.petitions.granted.has(older.seq)) == (State.ENDED, True)
    keys.take(newer, lambda _: False)
    assert world.admission.blocked_by(newer) == ReplacesAnother()
    world.petitions.release(older)
    assert world.admission.blocked_by(newer) is None


def test_the_next_one_of_a_key_waits_for_nothing_where_the_last_one_has_gone(world):
    older, newer = world.runs(1, once="nightly"), world.waits(2, once="nightly")
    world.admission.keys.take(older, lambda _: True)
    world.ends(older)
    world.admission.keys.take(newer, lambda _: False)
    assert world.admission.blocked_by(newer) is None
    assert world.admission.keys.holder((newer.manager, newer.owner, "nightly")) == newer.seq


def test_the_next_one_of_a_key_waits_for_what_a_cancelled_one_waited_for(world):
    oldest, older, newer = world.runs(1, once="nightly"), *(world.waits(seq, once="nightly") for seq in (2, 3))
    keys = world.admission.keys
    keys.take(oldest, lambda _: True)
    keys.take(older, lambda _: True)
    transitions.cancel.cancel(world.petitions, older, Cancellation(Outcome.CANCELLED, 130, None), world.petitions.now)
    keys.take(newer, lambda _: False)
    assert world.admission.blocked_by(newer) == ReplacesAnother()
    world.ends(oldest)
    assert world.admission.blocked_by(newer) is None


def test_after_a_restart_the_last_one_of_a_key_waits_for_what_lives_of_the_others(world):
    older, newer = world.runs(1, once="nightly"), world.waits(2, once="nightly")
    world.admission.keys.load([(newer.seq, "m", "me", "nightly"), (older.seq, "m", "me", "nightly")])
    assert world.admission.keys.holder(("m", "me", "nightly")) == newer.seq
    assert world.admission.blocked_by(newer) == ReplacesAnother()
    world.ends(older)
    assert world.admission.blocked_by(newer) is None


def test_a_slot_that_has_become_free_is_the_first_ones_of_its_group(world):
    first = world.runs(1, group="rig")
    second, third = world.waits(2, group="rig"), world.waits(3, group="rig")
    world.blocked(second)
    world.ends(first)
    assert world.admission.blocked_by(third) == InOrder(1), "the second one is parked still"
    assert world.admission.unpark() == []
    assert world.admission.blocked_by(second) is None


def test_keys_of_what_has_ended_are_dropped_when_there_are_many(world, monkeypatch):
    monkeypatch.setattr(once_module, "MAX_KEYS", 1)
    world.admission.__init__(world.petitions)
    keys = world.admission.keys
    for number in (1, 2):
        keys.take(world.waits(number, once=f"k{number}"), lambda key: key[2] == "k2")
    assert (keys.holder(("m", "me", "k1")), keys.holder(("m", "me", "k2"))) == (None, 2)


def test_people_are_told_of_each_group_and_resource(world):
    world.runs(1, group="rig", needs={"gpu": 1})
    world.blocked(world.waits(2, group="rig"))
    world.blocked(world.waits(3, needs={"tape": 1}))
    world.admission.pause(group_name("any"))
    assert world.admission.groups_in_use() == [
        GroupUse("any", None, 0, 0, paused=True),
        GroupUse("none", 0, 0, 0, paused=False),
        GroupUse("rig", 1, 1, 1, paused=False),
    ]
    assert world.admission.resources.in_use() == [
        ResourceUse("gpu", 2, 1, 0),
        ResourceUse("ram", 8, 0, 0),
        ResourceUse("tape", 0, 0, 1),
    ]
    assert world.petitions.waiting.lots() == [group_name("rig"), resource_lot("tape")]


def test_others_of_its_group_that_are_ready_count_as_before_it(world):
    world.runs(1, group="rig")
    ready = world.waits(2, group="rig")
    parked = world.waits(3, group="rig")
    world.blocked(parked)
    assert world.admission.before(parked, "rig") == 1
    assert world.admission.before(ready, "rig") == 0


def test_all_that_blocks_is_given_and_nobody_enters_a_line_for_that(world):
    world.runs(1, group="rig", needs={"gpu": 2})
    record = world.waits(2, group="rig", needs={"gpu": 1, "ram": 8}, once="key")
    world.admission.pause(petition_name(record.seq))
    world.admission.pause(group_name("rig"))
    expected = [PetitionPaused(), GroupPaused("rig"), GroupFull("rig", 1), NeedsShort("gpu", 1, 0, 2)]
    assert world.admission.reasons(record) == expected
    assert world.admission.resources.before(record.seq) is None
    assert world.admission.reasons(world.waits(3)) == []
    assert world.admission.reasons(world.waits(4, needs={"gpu": 3})) == [NeverEnough("gpu", 3, 2)]
    older = world.runs(5, once="other")
    newer = world.waits(6, once="other")
    world.admission.keys.take(older, lambda _: True)
    world.admission.keys.take(newer, lambda _: True)
    assert world.admission.reasons(newer) == [ReplacesAnother()]


def test_who_holds_a_slot_of_a_group_or_a_resource_is_known(world):
    world.runs(1, group="rig")
    world.runs(2, needs={"gpu": 1})
    granted = world.petitions.granted
    assert (granted.holders(group="rig"), granted.holders(resource="gpu")) == (["p1"], ["p2"])
    assert granted.holders(resource="ram") == []
