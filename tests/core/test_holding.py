"""What people decide about petitions that wait: priorities, and lots."""

from __future__ import annotations

import pytest

from orcha._core import transitions
from orcha._core.admission import Admission
from orcha._core.changes import NewFiring, Schedule
from orcha._core.petitions import Petitions
from orcha._core.record import Cancellation, Record
from orcha._core.state import Missed, Outcome, Overlap, State


def waiting(petitions, number, priority=0, group=None, once=None, needs=None, expect=None):
    record = Record(petitions.take_seq(), number.to_bytes(16, "big"), f"p{number}", "m", "o", bytes(16), b"", 0.0)
    record.priority, record.group, record.once, record.needs = priority, group, once, needs
    record.expect = expect
    assert transitions.submit.receive(petitions, record) is None
    transitions.submit.accept(petitions, record, petitions.now, start=False, new_channel=False)
    return record


def reprioritize(petitions, record, priority):
    return transitions.hold.reprioritize(petitions, Admission(petitions).resources, record, priority)


@pytest.fixture
def petitions():
    return Petitions()


def head(petitions):
    return [key[1] for key in petitions.waiting.head(99)]


def test_another_priority_is_another_place_and_kept(petitions):
    first, second = waiting(petitions, 1), waiting(petitions, 2)
    assert reprioritize(petitions, second, -5)
    assert head(petitions) == [second.seq, first.seq]
    assert petitions.changes.priorities == {second.seq: -5}
    assert petitions.version == 1


def test_what_does_not_wait_keeps_its_priority(petitions):
    record = waiting(petitions, 1)
    transitions.start.start(petitions, record, petitions.now)
    assert not reprioritize(petitions, record, 3)
    assert (record.priority, petitions.changes.priorities) == (0, {})


def test_a_spilled_one_moves_to_the_head_and_back_and_is_found_once():
    petitions = Petitions()
    petitions.waiting.__init__(2)
    records = [waiting(petitions, number) for number in range(1, 6)]
    petitions.take()
    assert petitions.waiting.spilled == 3
    last = records[-1]
    key = petitions.live[last.key]
    assert key == last.place
    petitions.load(last)
    assert reprioritize(petitions, last, -1)
    assert petitions.live[last.key] is last
    assert head(petitions)[0] == last.seq
    assert reprioritize(petitions, last, 0)
    assert len(petitions.waiting) == 5
    for record in records[:2]:
        petitions.waiting.remove(record.place)
    assert [moved[1] for moved in petitions.waiting.refill()] == [3, 4]
    petitions.waiting.remove((0, 3, "p3"))
    assert [moved[1] for moved in petitions.waiting.refill()] == [last.seq]


def test_what_is_parked_is_asked_no_more_and_comes_back_in_order(petitions):
    records = [waiting(petitions, number) for number in range(1, 4)]
    for record in reversed(records[:2]):
        assert transitions.hold.park(petitions, record, "a lot")
    assert not transitions.hold.park(petitions, records[0], "another")
    assert (head(petitions), len(petitions.waiting), petitions.waiting.parked) == ([3], 1, 2)
    assert petitions.waiting.lots() == ["a lot"]
    assert transitions.hold.unpark(petitions, "a lot", 1) == []
    assert head(petitions) == [1, 3]
    assert transitions.hold.unpark(petitions, "a lot", 9) == []
    assert (head(petitions), petitions.waiting.parked) == ([1, 2, 3], 0)
    assert transitions.hold.unpark(petitions, "a lot", 9) == []


def test_what_is_parked_can_be_cancelled_and_get_another_priority(petitions):
    first, second = waiting(petitions, 1), waiting(petitions, 2)
    transitions.hold.park(petitions, first, "s")
    transitions.hold.park(petitions, second, "s")
    transitions.cancel.cancel(petitions, first, Cancellation(Outcome.CANCELLED, 130, None), petitions.now)
    assert (first.state, petitions.waiting.parked) == (State.ENDED, 1)
    assert reprioritize(petitions, second, -1)
    assert (head(petitions), petitions.waiting.parked) == ([second.seq], 0)


def test_what_runs_is_not_parked(petitions):
    record = waiting(petitions, 1)
    transitions.start.start(petitions, record, petitions.now)
    assert not transitions.hold.park(petitions, record, "s")


def test_a_long_lot_holds_keys_only(petitions, monkeypatch):
    monkeypatch.setattr(transitions.hold, "MAX_LOADED_PETITIONS", 1)
    first, second = waiting(petitions, 1), waiting(petitions, 2)
    third = waiting(petitions, 3)
    transitions.hold.park(petitions, first, "s")
    transitions.hold.park(petitions, second, "s")
    petitions.take()
    assert first.seq in petitions.records
    assert second.seq not in petitions.records
    assert transitions.hold.unpark(petitions, "s", 2) == [second.place]
    petitions.load(second)
    assert head(petitions) == [1, 2, third.seq]


def test_what_leaves_a_lot_may_be_spilled():
    petitions = Petitions()
    petitions.waiting.__init__(1)
    first, second = waiting(petitions, 1), waiting(petitions, 2, priority=-1)
    transitions.hold.park(petitions, first, "s")
    third = waiting(petitions, 3, priority=-2)
    waiting(petitions, 4, priority=5)
    assert transitions.hold.unpark(petitions, "s", 1) == []
    petitions.take()
    assert first.seq not in petitions.records
    assert {second.seq, third.seq} <= set(petitions.records)


def test_some_leave_a_lot_whichever_they_are(petitions, monkeypatch):
    monkeypatch.setattr(transitions.hold, "MAX_LOADED_PETITIONS", 1)
    first, second, third = (waiting(petitions, number) for number in range(1, 4))
    for record in (first, second, third):
        transitions.hold.park(petitions, record, "s")
    petitions.take()
    assert (petitions.waiting.lot_of(second.place), petitions.waiting.lot_of((0, 9, "p9"))) == ("s", None)
    assert transitions.hold.unpark_these(petitions, [first.place, third.place]) == [third.place]
    assert (head(petitions), petitions.waiting.parked_in("s")) == ([first.seq, third.seq], 1)


def test_group_needs_and_key_of_a_new_one_are_kept_unless_it_is_taken_back(petitions):
    record = waiting(petitions, 1, group="rig", once="key", needs={"gpu": 1}, expect=30.0)
    reprioritize(petitions, record, 4)
    changes, effects, _ = petitions.take()
    assert (changes.groups, changes.once) == ({record.seq: "rig"}, {record.seq: "key"})
    assert changes.expected == {record.seq: 30.0}
    assert changes.needs == {record.seq: {"gpu": 1}}
    transitions.submit.take_back(petitions, changes, effects, {record.token}, 3, "no")
    assert (changes.groups, changes.needs, changes.once, changes.priorities) == ({}, {}, {}, {})
    assert changes.expected == {}


def test_a_firing_is_kept_with_its_petition_and_taken_back_with_it(petitions):
    record, other = waiting(petitions, 1), waiting(petitions, 2)
    schedule = Schedule("tick", "me", "m", "* * * * *", None, Overlap.SKIP, Missed.SKIP, b"", 0.0, 0.0)
    firings = [NewFiring("tick", 60.0, 60.0, record.seq, "a"), NewFiring("tick", 120.0, 120.0, other.seq, "b")]
    petitions.keep_schedule("tick", schedule)
    for firing in [*firings, NewFiring("tick", 180.0, 180.0, note="skipped")]:
        petitions.keep_firing(firing)
    changes, effects, _ = petitions.take()
    assert changes.schedules == {"tick": schedule}
    transitions.submit.take_back(petitions, changes, effects, {record.token}, 3, "no")
    assert [firing.instant for firing in changes.firings] == [120.0, 180.0]


def test_who_cancelled_is_kept_and_no_line_of_its_output_but_a_limit_is(petitions):
    first, second = waiting(petitions, 1), waiting(petitions, 2)
    transitions.cancel.cancel(petitions, first, Cancellation(Outcome.CANCELLED, 130, "cancelled by me"), petitions.now)
    transitions.cancel.cancel(
        petitions, second, Cancellation(Outcome.TIMED_OUT, 124, "waited longer than 1 s"), petitions.now
    )
    changes, _, finals = petitions.take()
    assert [final.line for final in finals] == [None, "waited longer than 1 s\n"]
    assert changes.transitions[first.seq].reason == "cancelled by me"
