"""What people decide about those that wait: priorities, and lots."""

from __future__ import annotations

import pytest

from orcha._core import holding
from orcha._core.machine import Machine
from orcha._core.record import Cancellation, Record
from orcha._core.state import Outcome, State


def waiting(machine, number, priority=0, group=None, once=None, needs=None):
    record = Record(machine.take_seq(), number.to_bytes(16, "big"), f"p{number}", "m", "o", bytes(16), b"", 0.0)
    record.priority, record.group, record.once, record.needs = priority, group, once, needs
    assert machine.receive(record) is None
    machine.accept(record, start=False, new_channel=False)
    return record


@pytest.fixture
def machine():
    return Machine()


def head(machine):
    return [key[1] for key in machine.waiting.head(99)]


def test_another_priority_is_another_place_and_kept(machine):
    first, second = waiting(machine, 1), waiting(machine, 2)
    assert machine.reprioritize(second, -5)
    assert head(machine) == [second.seq, first.seq]
    assert machine.changes.priorities == {second.seq: -5}
    assert machine.version == 1


def test_what_does_not_wait_keeps_its_priority(machine):
    record = waiting(machine, 1)
    machine.start(record)
    assert not machine.reprioritize(record, 3)
    assert (record.priority, machine.changes.priorities) == (0, {})


def test_a_spilled_one_moves_to_the_head_and_back_and_is_found_once():
    machine = Machine()
    machine.waiting.__init__(2)
    records = [waiting(machine, number) for number in range(1, 6)]
    machine.take()
    assert machine.waiting.spilled == 3
    last = records[-1]
    key = machine.live[last.key]
    assert key == last.place
    machine.load(last)
    assert machine.reprioritize(last, -1)
    assert machine.live[last.key] is last
    assert head(machine)[0] == last.seq
    assert machine.reprioritize(last, 0)
    assert len(machine.waiting) == 5
    for record in records[:2]:
        machine.waiting.remove(record.place)
    assert [moved[1] for moved in machine.waiting.refill()] == [3, 4]
    machine.waiting.remove((0, 3, "p3"))
    assert [moved[1] for moved in machine.waiting.refill()] == [last.seq]


def test_what_is_parked_is_asked_no_more_and_comes_back_in_order(machine):
    records = [waiting(machine, number) for number in range(1, 4)]
    for record in reversed(records[:2]):
        assert machine.park(record, "a lot")
    assert not machine.park(records[0], "another")
    assert (head(machine), len(machine.waiting), machine.waiting.parked) == ([3], 1, 2)
    assert machine.waiting.lots() == ["a lot"]
    assert machine.unpark("a lot", 1) == []
    assert head(machine) == [1, 3]
    assert machine.unpark("a lot", 9) == []
    assert (head(machine), machine.waiting.parked) == ([1, 2, 3], 0)
    assert machine.unpark("a lot", 9) == []


def test_what_is_parked_can_be_cancelled_and_get_another_priority(machine):
    first, second = waiting(machine, 1), waiting(machine, 2)
    machine.park(first, "s")
    machine.park(second, "s")
    machine.cancel(first, Cancellation(Outcome.CANCELLED, 130, None))
    assert (first.state, machine.waiting.parked) == (State.ENDED, 1)
    assert machine.reprioritize(second, -1)
    assert (head(machine), machine.waiting.parked) == ([second.seq], 0)


def test_what_runs_is_not_parked(machine):
    record = waiting(machine, 1)
    machine.start(record)
    assert not machine.park(record, "s")


def test_a_long_lot_holds_keys_only(machine, monkeypatch):
    monkeypatch.setattr(holding, "MOST_LOADED", 1)
    first, second = waiting(machine, 1), waiting(machine, 2)
    third = waiting(machine, 3)
    machine.park(first, "s")
    machine.park(second, "s")
    machine.take()
    assert first.seq in machine.records
    assert second.seq not in machine.records
    assert machine.unpark("s", 2) == [second.place]
    machine.load(second)
    assert head(machine) == [1, 2, third.seq]


def test_what_leaves_a_lot_may_be_spilled():
    machine = Machine()
    machine.waiting.__init__(1)
    first, second = waiting(machine, 1), waiting(machine, 2, priority=-1)
    machine.park(first, "s")
    third = waiting(machine, 3, priority=-2)
    waiting(machine, 4, priority=5)
    assert machine.unpark("s", 1) == []
    machine.take()
    assert first.seq not in machine.records
    assert {second.seq, third.seq} <= set(machine.records)


def test_some_leave_a_lot_whichever_they_are(machine, monkeypatch):
    monkeypatch.setattr(holding, "MOST_LOADED", 1)
    first, second, third = (waiting(machine, number) for number in range(1, 4))
    for record in (first, second, third):
        machine.park(record, "s")
    machine.take()
    assert (machine.waiting.lot_of(second.place), machine.waiting.lot_of((0, 9, "p9"))) == ("s", None)
    assert machine.unpark_these([first.place, third.place]) == [third.place]
    assert (head(machine), machine.waiting.parked_in("s")) == ([first.seq, third.seq], 1)


def test_group_needs_and_key_of_a_new_one_are_kept_unless_it_is_taken_back(machine):
    record = waiting(machine, 1, group="rig", once="key", needs={"gpu": 1})
    machine.reprioritize(record, 4)
    changes, effects, _ = machine.take()
    assert (changes.groups, changes.once) == ({record.seq: "rig"}, {record.seq: "key"})
    assert changes.needs == {record.seq: {"gpu": 1}}
    machine.take_back(changes, effects, {record.token}, 3, "no")
    assert (changes.groups, changes.needs, changes.once, changes.priorities) == ({}, {}, {}, {})


def test_who_cancelled_is_kept_and_no_line_of_its_output_but_a_limit_is(machine):
    first, second = waiting(machine, 1), waiting(machine, 2)
    machine.cancel(first, Cancellation(Outcome.CANCELLED, 130, "cancelled by me"))
    machine.cancel(second, Cancellation(Outcome.TIMED_OUT, 124, "waited longer than 1 s"))
    changes, _, finals = machine.take()
    assert [final.line for final in finals] == [None, "waited longer than 1 s\n"]
    assert changes.transitions[first.seq].reason == "cancelled by me"
