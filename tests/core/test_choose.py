"""In which order petitions are asked, and when asking stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._core.choose import PATIENCE, Answer, checked_priority, choose
from orcha._core.record import Record


def petition(seq, priority=0):
    record = Record(seq, b"", str(seq), "m", "o", b"", b"", 0.0)
    record.priority = priority
    return record


class Conditions:
    """Say yes to some petitions, and note who was asked."""

    def __init__(self, willing):
        self.willing = willing
        self.asked = []

    def __call__(self, record):
        self.asked.append(record.seq)
        return Answer.YES if record.seq in self.willing else Answer.NO


def test_a_lower_place_is_asked_first_whether_it_waits_or_has_come():
    ask = Conditions({1, 2, 3, 4})
    assert choose([petition(1), petition(2, 5)], [petition(4, 7), petition(3, 1)], ask)
    assert ask.asked == [1, 3, 2, 4]


def test_asking_stops_after_so_many_noes():
    ask = Conditions(set())
    assert not choose([petition(seq) for seq in range(99)], [], ask)
    assert len(ask.asked) == PATIENCE


def test_yeses_do_not_tire_it():
    ask = Conditions(set(range(99)))
    assert choose([petition(seq) for seq in range(99)], [], ask)
    assert len(ask.asked) == 99


def test_who_has_just_come_is_asked_in_any_case():
    ask = Conditions({99})
    assert not choose([petition(seq) for seq in range(50)], [petition(99, 3)], ask)
    assert ask.asked == [*range(PATIENCE), 99]


def test_with_look_ahead_only_the_first_of_all_are_asked():
    ask = Conditions({7})
    choose([petition(1), petition(2)], [petition(7, 9)], ask, look_ahead=2)
    choose([petition(1), petition(2)], [], ask, look_ahead=1)
    assert ask.asked == [1, 2, 1]


def test_one_that_comes_alone_is_asked():
    ask = Conditions({1})
    assert choose([], [petition(1)], ask)
    assert ask.asked == [1]


@given(st.lists(st.tuples(st.integers(-2, 2), st.booleans(), st.booleans()), max_size=40))
def test_nobody_starts_before_one_of_a_lower_place_that_would_have(those):
    records = [petition(seq, priority) for seq, (priority, _, _) in enumerate(those)]
    ask = Conditions({seq for seq, (_, willing, _) in enumerate(those) if willing})
    waiting = sorted((r for r in records if not those[r.seq][2]), key=lambda r: r.place)
    choose(waiting, [r for r in records if those[r.seq][2]], ask)
    places = [records[seq].place for seq in ask.asked]
    assert places == sorted(places)
    skipped = [r for r in records if r.seq not in ask.asked]
    assert all(not those[r.seq][2] for r in skipped)
    assert len(ask.asked) >= min(len(records), PATIENCE)


@pytest.mark.parametrize(
    ("given_priority", "kept"),
    [(3, 3), (True, 1), (2**70, 2**63 - 1), (-(2**70), -(2**63)), (1.5, 1.5), (float("inf"), float("inf"))],
)
def test_any_number_is_a_priority(given_priority, kept):
    assert checked_priority(given_priority) == kept


@pytest.mark.parametrize(("given_priority", "error"), [(float("nan"), ValueError), ("1", TypeError), (None, TypeError)])
def test_what_is_no_number_is_none(given_priority, error):
    with pytest.raises(error):
        checked_priority(given_priority)
