"""Who is asked again by time alone, and how seldom where that costs much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._core.asking import (
    FIRSTS_INTERVAL_SECONDS,
    HOOK_THREAD_SHARE,
    MAX_FIRST_PETITIONS,
    OTHERS_INTERVAL_SECONDS,
    PROCESSOR_SHARE,
    Asking,
    AskingPace,
)
from orcha._core.record import Record


def records(*asked):
    made = []
    for seq, when in enumerate(asked, 1):
        record = Record(seq, b"", str(seq), "m:M", "uid:0", b"", None, 0.0)
        record.asked = when
        made.append(record)
    return made


def seqs(found):
    return [record.seq for record in found]


def test_each_of_the_first_is_asked_once_a_second():
    asking = Asking()
    waiting = records(10.0, 10.0)
    assert asking.whom(waiting, 10.5) == []
    assert asking.firsts.due == 10.0 + FIRSTS_INTERVAL_SECONDS
    assert asking.whom(waiting, 10.9) == []
    assert seqs(asking.whom(waiting, 11.0)) == [1, 2]


def test_those_that_were_asked_meanwhile_are_left_out_and_those_that_never_were_are_not():
    asking = Asking()
    assert seqs(asking.whom(records(1.0, 9.9, None), 10.0)) == [1, 3]


def test_only_the_first_ones_are_asked_however_many_there_are():
    asking = Asking()
    assert seqs(asking.whom(iter(records(*[None] * 1000)), 1.0)) == list(range(1, MAX_FIRST_PETITIONS + 1))


def test_nobody_is_asked_before_the_next_turn():
    asking = Asking()
    asking.firsts.took(now=100.0, asked=1, processor=0.1, elapsed=0.1)
    assert asking.firsts.due == 100.0 + 0.1 / PROCESSOR_SHARE
    assert asking.whom(records(None), 100.0 + 0.1 / PROCESSOR_SHARE - 0.01) == []
    assert seqs(asking.whom(records(None), 100.0 + 0.1 / PROCESSOR_SHARE)) == [1]


def test_of_conditions_that_cost_much_fewer_are_asked_and_the_first_one_always():
    asking = Asking()
    asking.firsts.took(now=0.0, asked=32, processor=32 * 0.001, elapsed=0.032)
    assert len(asking.whom(records(*[None] * 32), 1_000.0)) == 4
    asking.firsts.took(now=0.0, asked=4, processor=4 * 10.0, elapsed=40.0)
    assert len(asking.whom(records(*[None] * 32), 100_000.0)) == 1


def test_what_waits_for_something_takes_a_tenth_of_the_hook_state_time_at_most():
    pace = AskingPace(every=1.0, most=32)
    pace.took(now=0.0, asked=1, processor=0.0001, elapsed=3.0)
    assert pace.due == 3.0 / HOOK_THREAD_SHARE


def test_the_others_come_sooner_than_the_first_ones_and_only_where_there_are_any():
    asking = Asking()
    asking.rest(5.0)
    assert asking.due(are_many=False) == 5.0 + FIRSTS_INTERVAL_SECONDS
    assert asking.due(are_many=True) == 5.0 + OTHERS_INTERVAL_SECONDS
    asking.hurry(5.0)
    assert asking.due(are_many=True) == 5.0


@given(st.floats(1e-7, 10.0), st.integers(1, 10_000))
def test_whatever_a_condition_costs_the_share_is_kept(cost, blocked):
    """Over an hour neither half has more than its share, but for one question at a time, which cannot be divided."""
    pace = AskingPace(every=FIRSTS_INTERVAL_SECONDS, most=MAX_FIRST_PETITIONS)
    now, spent = 0.0, 0.0
    while now < 3_600:
        asked = min(blocked, pace.count)
        pace.took(now=now, asked=asked, processor=asked * cost, elapsed=asked * cost)
        spent += asked * cost
        now = pace.due
    assert spent <= PROCESSOR_SHARE * now + 1e-9
    assert now >= FIRSTS_INTERVAL_SECONDS


@pytest.mark.parametrize("cost", [1e-6, 1e-5])
def test_cheap_ones_are_all_asked_each_second(cost):
    pace = AskingPace(every=FIRSTS_INTERVAL_SECONDS, most=MAX_FIRST_PETITIONS)
    pace.took(now=0.0, asked=32, processor=32 * cost, elapsed=32 * cost)
    assert (pace.count, pace.due) == (MAX_FIRST_PETITIONS, FIRSTS_INTERVAL_SECONDS)


def test_a_turn_that_asked_nobody_teaches_no_cost():
    pace = AskingPace(every=1.0, most=32)
    pace.took(now=0.0, asked=0, processor=0.5, elapsed=0.5)
    assert pace.count == 32
