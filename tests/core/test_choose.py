"""In which order waiting petitions are asked, and when asking stops."""

from __future__ import annotations

import math
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._core.choose import PATIENCE, Answer, checked_priority, choose, in_order
from orcha._core.record import Record


def petition(seq, priority=0):
    record = Record(seq, b"", str(seq), "", "", b"", None, 0.0)
    record.priority = priority
    return record


class Conditions:
    """Each petition needs some of what there is, or breaks; a yes takes it."""

    def __init__(self, free, needs):
        self.free = free
        self.needs = needs
        self.asked = []
        self.started = []
        self.left_out = []

    def would(self, record):
        need = self.needs[record.seq]
        if need is None:
            return Answer.BROKEN
        return Answer.YES if need <= self.free else Answer.NO

    def __call__(self, record):
        assert record not in self.asked, "asked twice"
        answer = self.would(record)
        self.asked.append(record)
        if answer is Answer.YES:
            self.free -= self.needs[record.seq]
            self.started.append(record)
        return answer


def place(record):
    return (record.priority, record.seq)


PLACES = st.tuples(st.one_of(st.integers(-1, 1), st.sampled_from([math.inf, -math.inf])), st.booleans())


@given(
    places=st.lists(PLACES, max_size=12),
    needs=st.lists(st.one_of(st.integers(0, 3), st.none()), min_size=12, max_size=12),
    free=st.integers(0, 4),
    look_ahead=st.one_of(st.none(), st.integers(1, 6)),
    patience=st.integers(1, 4),
)
def test_nobody_is_passed_who_could_run(places, needs, free, look_ahead, patience):
    records = [petition(seq, priority) for seq, (priority, _) in enumerate(places)]
    new = [record for record, (_, is_new) in zip(records, places, strict=True) if is_new]
    waiting = sorted((record for record in records if record not in new), key=place)
    conditions = Conditions(free, needs)
    events = []

    def ask(record):
        passed = [r for r in records if place(r) < place(record) and r not in conditions.asked]
        noes = sum(r not in new and answer is Answer.NO for r, answer in events)
        assert not passed or noes >= patience, "an earlier one was not asked, and patience was left"
        assert not any(r in new for r in passed), "one that has just come was not asked"
        answer = conditions(record)
        events.append((record, answer))
        return answer

    choose(waiting, new, ask, look_ahead=look_ahead, patience=patience)

    candidates = sorted(records, key=place)[:look_ahead]
    assert [r for r, _ in events] == sorted((r for r, _ in events), key=place)
    assert set(conditions.asked) <= set(candidates)
    assert {r.seq for r in candidates if r in new} <= {r.seq for r in conditions.asked}
    noes = [r for r, answer in events if r not in new and answer is Answer.NO]
    assert len(noes) <= patience
    if len(noes) < patience:
        assert conditions.asked == candidates


def test_a_yes_counts_before_the_next_is_asked():
    conditions = Conditions(1, {1: 1, 2: 1})
    choose([petition(1), petition(2)], [], conditions)
    assert [record.seq for record in conditions.started] == [1]


def test_a_blocked_petition_hides_nobody():
    conditions = Conditions(1, {1: 2, 2: 1})
    choose([petition(1), petition(2)], [], conditions)
    assert [record.seq for record in conditions.started] == [2]


def test_asking_stops_when_patience_is_over():
    conditions = Conditions(0, dict.fromkeys(range(100), 1))
    choose([petition(seq) for seq in range(100)], [], conditions)
    assert len(conditions.asked) == PATIENCE


def test_only_a_no_costs_patience():
    needs = {seq: None if seq % 2 else 0 for seq in range(100)}
    conditions = Conditions(0, needs)
    choose([petition(seq) for seq in range(100)], [], conditions, patience=1)
    assert len(conditions.asked) == 100


def test_one_that_has_just_come_is_asked_behind_any_number_of_blocked_ones():
    conditions = Conditions(1, {**dict.fromkeys(range(100), 2), 100: 1})
    choose([petition(seq) for seq in range(100)], [petition(100)], conditions)
    assert [record.seq for record in conditions.started] == [100]


def test_look_ahead_asks_only_the_first_of_all():
    conditions = Conditions(1, {1: 2, 2: 2, 3: 1})
    choose([petition(1), petition(2)], [petition(3)], conditions, look_ahead=2)
    assert [record.seq for record in conditions.asked] == [1, 2]


def test_order_is_by_priority_then_by_arrival():
    waiting = [petition(2, -1), petition(1, 0), petition(4, 0)]
    new = [petition(5, 0), petition(6, -1), petition(7, -math.inf), petition(8, math.inf)]
    assert [record.seq for record in in_order(waiting, new)] == [7, 2, 6, 1, 4, 5, 8]


def test_order_of_nothing_is_nothing():
    assert in_order([], []) == []
    assert in_order([one := petition(1)], []) == [one]
    assert in_order([], [one]) == [one]


class Level(IntEnum):
    LOW = 7


class Weight(float):
    pass


@pytest.mark.parametrize(
    ("given_priority", "kept"),
    [
        (0, 0),
        (-5, -5),
        (True, 1),
        (False, 0),
        (Level.LOW, 7),
        (Weight(2.5), 2.5),
        (1.5, 1.5),
        (-0.0, -0.0),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (2**63 - 1, 2**63 - 1),
        (2**63, 2**63 - 1),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, -(2**63)),
        (1e300, 1e300),
    ],
)
def test_a_priority_is_kept_as_a_plain_number(given_priority, kept):
    result = checked_priority(given_priority)
    assert result == kept
    assert type(result) in {int, float}
    assert type(result) is type(kept)


def test_a_priority_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        checked_priority(math.nan)


@pytest.mark.parametrize("priority", [None, "1", 1j, [], object()])
def test_a_priority_of_another_type_is_refused_by_its_name(priority):
    with pytest.raises(TypeError, match=f"is a {type(priority).__name__}, not an int or a float"):
        checked_priority(priority)


class NobodyMay(Conditions):
    """What nobody may do any more is said once for all."""

    def __call__(self, record):
        return Answer.NONE if super().__call__(record) is Answer.NO else Answer.YES


def test_a_no_to_all_ends_the_asking():
    conditions = NobodyMay(1, dict.fromkeys(range(10), 1))
    choose([petition(seq) for seq in range(10)], [], conditions)
    assert [record.seq for record in conditions.asked] == [0, 1]


def test_who_has_just_come_is_asked_though_it_was_a_no_to_all():
    conditions = NobodyMay(0, dict.fromkeys(range(10), 1))
    choose([petition(seq) for seq in range(9)], [petition(9)], conditions, patience=3)
    assert [record.seq for record in conditions.asked] == [0, 1, 2, 9]


class Scripted:
    """Answers as it is told, one after another."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, record):
        self.asked.append(record.seq)
        return self.answers.pop(0) if self.answers else Answer.NO


NO, YES, AGAIN = Answer.NO, Answer.YES, Answer.AGAIN


@pytest.mark.parametrize("new", [[], [5]])
@pytest.mark.parametrize("look_ahead", [None, 9])
def test_where_something_ended_meanwhile_those_that_said_no_are_asked_before_a_later_yes(new, look_ahead):
    conditions = Scripted(NO, YES, NO, AGAIN, YES, NO, YES)
    choose([petition(seq) for seq in (1, 2, 3, 4)], list(map(petition, new)), conditions, look_ahead=look_ahead)
    assert conditions.asked == [1, 2, 3, 4, 1, 3, 4, *new]


def test_they_are_asked_again_as_often_as_something_ends():
    conditions = Scripted(NO, NO, AGAIN, NO, AGAIN, YES, NO, NO)
    choose([petition(seq) for seq in (1, 2, 3)], [], conditions)
    assert conditions.asked == [1, 2, 3, 1, 2, 1, 2, 3]


def test_patience_is_whole_again_then():
    conditions = Scripted(NO, NO, AGAIN, NO, NO, YES)
    choose([petition(seq) for seq in (1, 2, 3, 4)], [], conditions, patience=3)
    assert conditions.asked == [1, 2, 3, 1, 2, 3, 4]


def test_who_would_hear_the_same_is_not_asked_but_who_has_just_come():
    conditions = Scripted(NO, Answer.NONE)
    choose([petition(1), petition(2), petition(3)], [], conditions)
    assert conditions.asked == [1, 2]
    conditions = Scripted(NO, Answer.NONE)
    choose([petition(1), petition(2), petition(3)], [petition(4)], conditions)
    assert conditions.asked == [1, 2, 3, 4]
