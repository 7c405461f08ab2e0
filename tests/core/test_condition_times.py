"""Conditions that name the time of day: what they stand for, and when that changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._core.conditions.terms import Reading
from orcha._core.conditions.times import LocalTime, seconds_until_change, value_at

NIGHT = Reading("between", ("22:00", "6:00"))
NAMES = ("hour", "minute", "weekday", "day")
CLOCK = st.floats(0, 86_399.9).map(lambda seconds: LocalTime(3, 2, seconds))
TIMES = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda time: f"{time[0]:02}:{time[1]:02}")
READINGS = st.one_of(
    st.sampled_from(NAMES).map(Reading), st.tuples(TIMES, TIMES).map(lambda times: Reading("between", times))
)


def at(hours, minutes=0, seconds=0.0):
    return LocalTime(day=31, weekday=6, seconds=hours * 3600 + minutes * 60 + seconds)


def test_each_name_tells_the_time():
    now = at(22, 5, 59.5)
    assert [value_at(Reading(name), now) for name in NAMES] == [22, 5, "sun", 31]
    assert value_at(NIGHT, now)
    assert not value_at(NIGHT, at(6))
    assert value_at(NIGHT, at(5, 59, 59.9))
    assert not value_at(Reading("between", ("12:00", "12:00")), at(12))


@pytest.mark.parametrize(
    ("readings", "seconds"),
    [
        ([Reading("minute")], 30),
        ([Reading("hour")], 30 + 54 * 60),
        ([Reading("weekday")], 30 + 54 * 60 + 3600),
        ([Reading("day"), Reading("hour")], 30 + 54 * 60),
        ([NIGHT], 30 + 54 * 60 + 7 * 3600),
        ([Reading("between", ("22:05", "22:06"))], 30),
        ([], None),
    ],
)
def test_it_is_known_when_the_time_changes_them(readings, seconds):
    assert seconds_until_change(readings, at(22, 5, 30)) == seconds


@given(CLOCK, st.lists(READINGS, min_size=1), st.floats(0, 1))
def test_nothing_changes_before(now, readings, part):
    left = seconds_until_change(readings, now)
    assert 0 < left <= 86_400
    later = now.seconds + left * part
    if later < 86_400 and part < 1 and now.seconds + left - later > 1e-6:
        assert [value_at(each, now._replace(seconds=later)) for each in readings] == [
            value_at(each, now) for each in readings
        ]


@given(CLOCK, READINGS)
def test_what_changes_next_has_changed_then(now, reading):
    left = seconds_until_change([reading], now)
    then = now.seconds + left
    changed = now._replace(seconds=then + 1e-6) if then < 86_400 else LocalTime(4, 3, 1e-6)
    is_never = reading.name == "between" and reading.arguments[0] == reading.arguments[1]
    assert is_never or value_at(reading, changed) != value_at(reading, now) or then >= 86_400
