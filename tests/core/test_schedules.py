"""When schedules are due, under a clock that tests set: over changes of summer time, leap days, jumps and gaps."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcha._core.schedules import (
    CLOCK_SET_BACK_SECONDS,
    Due,
    ExpressionError,
    PassedOver,
    Timetable,
    checked_expression,
    due,
)
from orcha._core.state import Missed

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def at(text, zone=UTC):
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def listed(expression, begin, count, zone=BERLIN):
    instants = islice(Timetable(expression, zone).after(at(begin, zone)), count)
    return [datetime.fromtimestamp(instant, zone).isoformat(timespec="minutes") for instant in instants]


# --- instants -----------------------------------------------------------------------------------------------------


def test_in_spring_a_time_that_does_not_exist_comes_at_the_next_one_that_does():
    assert listed("30 2 * * *", "2026-03-28T00:00", 3) == [
        "2026-03-28T02:30+01:00",
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]
    assert listed("*/30 * * * *", "2026-03-29T01:00", 2) == ["2026-03-29T01:30+01:00", "2026-03-29T03:00+02:00"]


def test_in_autumn_a_time_that_comes_twice_counts_once_and_a_step_goes_on():
    assert listed("30 2 * * *", "2026-10-24T12:00", 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    assert listed("*/30 * * * *", "2026-10-25T01:30", 5) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:30+01:00",
        "2026-10-25T03:00+01:00",
    ]


def test_within_the_second_of_two_equal_hours_nothing_of_the_first_comes_again():
    second = datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1).timestamp()
    assert Timetable("45 2 * * *", BERLIN).first_after(second) == at("2026-10-26T02:45", BERLIN)


def test_a_leap_day_comes_every_fourth_year():
    assert listed("0 6 29 2 *", "2026-01-01T00:00", 2, UTC) == ["2028-02-29T06:00+00:00", "2032-02-29T06:00+00:00"]


@pytest.mark.parametrize("zone", [BERLIN, LORD_HOWE, UTC])
@pytest.mark.parametrize("expression", ["*/7 * * * *", "15 */2 * * *", "30 2 * * *", "0 0 1 * *"])
def test_instants_do_not_depend_on_where_one_begins(zone, expression):
    timetable = Timetable(expression, zone)
    begin = at("2026-01-01T00:00", zone)
    known = list(islice(timetable.after(begin), 300))
    assert known == sorted(set(known))
    for one, following in pairwise(known):
        assert timetable.first_after(one) == following
        assert timetable.first_after((one + following) / 2) == following
        assert timetable.last_between(begin, (one + following) / 2) == one


@pytest.mark.parametrize(
    ("name", "expression"), [("@hourly", "0 * * * *"), ("@Daily", "0 0 * * *"), ("@yearly", "0 0 1 1 *")]
)
def test_some_have_names(name, expression):
    assert checked_expression(name) == expression


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "write five fields"),
        ("* * * * * *", "write five fields"),
        ("@often", "write five fields"),
        ("61 * * * *", "its minute cannot be read: write *, numbers from 0 to 59"),
        ("0 24 * * *", "its hour cannot be read"),
        ("0 0 0 * *", "its day of month cannot be read"),
        ("0 0 * 13 *", "its month cannot be read"),
        ("0 0 * * 8", "its day of week cannot be read"),
        ("0 0 * * mon#6", "its day of week cannot be read"),
        ("*/0 * * * *", "its minute cannot be read"),
        ("5-1 * * * *", "its minute cannot be read"),
        ("a b c d e", "its minute cannot be read"),
        ("0 0 30 2 *", "no month that it names has such a day"),
        ("0 0 31 4,6 *", "no month that it names has such a day"),
        ("0 0 32 2 *", "its day of month cannot be read"),
        ("0 0 */31 2 mon#3", "never comes"),
        ("\ud800 * * * *", "its minute cannot be read"),
        ("1," * 200 + "1 * * * *", "at most 200 characters"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_cure(expression, said):
    with pytest.raises(ExpressionError, match=r"is no schedule|never comes") as refused:
        Timetable(expression, UTC)
    assert said in str(refused.value)


@settings(deadline=None)
@given(st.text("0123456789*/,-#LWmon ", max_size=30))
def test_whatever_is_written_is_read_or_refused(expression):
    try:
        timetable = Timetable(expression, BERLIN)
    except ExpressionError:
        return
    assert timetable.first_after(0.0) > 0


# --- names --------------------------------------------------------------------------------------------------------


def test_an_instant_is_written_in_the_schedules_zone_and_differs_from_every_other():
    timetable = Timetable("*/30 * * * *", BERLIN)
    names = [timetable.name_of(instant) for instant in islice(timetable.after(at("2026-10-25T01:45", BERLIN)), 4)]
    assert names == ["2026-10-25T02:00", "2026-10-25T02:30", "2026-10-25T02:00+01:00", "2026-10-25T02:30+01:00"]


# --- what is due --------------------------------------------------------------------------------------------------


HOURLY = Timetable("0 * * * *", UTC)
NOON = at("2026-06-01T12:00")


@pytest.mark.parametrize("missed", Missed)
def test_an_instant_is_fired_when_it_comes_and_only_then(missed):
    assert due(HOURLY, missed, NOON, NOON + HOUR - 1) == Due(None, None, NOON + HOUR)
    assert due(HOURLY, missed, NOON, NOON + HOUR) == Due(NOON + HOUR, None, NOON + 2 * HOUR)
    assert due(HOURLY, missed, NOON, NOON + HOUR + 59) == Due(NOON + HOUR, None, NOON + 2 * HOUR)
    assert due(HOURLY, missed, NOON + HOUR, NOON + HOUR + 1) == Due(None, None, NOON + 2 * HOUR)


def test_what_was_missed_is_passed_over_or_made_up_for_as_the_schedule_says():
    now = NOON + 3 * HOUR + 120
    assert due(HOURLY, Missed.SKIP, NOON, now) == Due(None, PassedOver(NOON + 3 * HOUR, 3), NOON + 4 * HOUR)
    last = due(HOURLY, Missed.LAST, NOON, now)
    assert last == Due(NOON + 3 * HOUR, PassedOver(NOON + 2 * HOUR, 2), NOON + 4 * HOUR)
    assert due(HOURLY, Missed.ALL, NOON, now) == Due(NOON + HOUR, None, NOON + 4 * HOUR)


def test_an_instant_on_time_is_fired_whatever_was_missed_before_it():
    now = NOON + 3 * HOUR + 5
    for missed in (Missed.SKIP, Missed.LAST):
        found = due(HOURLY, missed, NOON, now)
        assert found == Due(NOON + 3 * HOUR, PassedOver(NOON + 2 * HOUR, 2), NOON + 4 * HOUR)


def test_of_years_that_were_missed_a_hundred_instants_are_counted():
    often = Timetable("* * * * *", UTC)
    now = NOON + 2000 * DAY + 30
    for missed, last in ((Missed.SKIP, NOON + 2000 * DAY - MINUTE), (Missed.LAST, NOON + 2000 * DAY - MINUTE)):
        found = due(often, missed, NOON, now)
        assert found == Due(NOON + 2000 * DAY, PassedOver(last, 100), NOON + 2000 * DAY + MINUTE)


def test_what_comes_once_in_forty_years_comes():
    rarely = Timetable("0 0 * 2 mon#5", UTC)
    assert list(islice(rarely.after(NOON), 3)) == [at(f"{year}-02-29T00:00") for year in (2044, 2072, 2112)]
    now = at("2200-01-01T00:00")
    assert due(rarely, Missed.LAST, NOON, now).instant == at("2196-02-29T00:00")


def test_times_that_a_zone_leaves_out_never_come_there():
    """On the last Sunday of March the clocks of Berlin go from 2:00 to 3:00."""
    Timetable("* 2 * 3 0L", UTC).check_comes_after(NOON)
    never = Timetable("* 2 * 3 0L", BERLIN)
    with pytest.raises(ExpressionError, match=r"'\* 2 \* 3 0L' never comes: its zone leaves these times out"):
        never.check_comes_after(NOON)
    assert list(never.after(NOON)) == []
    assert never.last_between(NOON, NOON + 1000 * DAY) is None
    assert due(never, Missed.ALL, NOON, NOON + 1000 * DAY) == Due(None, None, math.inf)


def test_a_clock_that_is_set_back_a_little_repeats_nothing_and_one_far_back_begins_again():
    fired = NOON + 5 * HOUR
    for now in (fired - 1, fired - CLOCK_SET_BACK_SECONDS):
        assert due(HOURLY, Missed.ALL, fired, now) == Due(None, None, fired + HOUR)
    now = fired - DAY + 60
    assert due(HOURLY, Missed.ALL, fired, now + 1) == Due(None, None, fired - DAY + HOUR)
    assert due(HOURLY, Missed.ALL, fired, now - 1) == Due(fired - DAY, None, fired - DAY + HOUR)


class Machine:
    """A service that fires what is due, on a clock that is set."""

    def __init__(self, timetable, missed, now):
        self.timetable, self.missed, self.now, self.until = timetable, missed, now, now
        self.fired, self.passed = [], []

    def look(self):
        while True:
            found = due(self.timetable, self.missed, self.until, self.now)
            assert found.next > self.now
            if found.passed is not None:
                assert self.until < found.passed.last or self.until - self.now > CLOCK_SET_BACK_SECONDS
                self.passed.append(found.passed)
                self.until = found.passed.last
            if found.instant is None:
                return found.next
            assert found.instant <= self.now
            self.fired.append(found.instant)
            self.until = found.instant


SEASONS = st.sampled_from([at("2026-03-28T20:00"), at("2026-10-24T20:00"), at("2028-02-28T20:00")])
STEPS = st.lists(st.tuples(st.sampled_from(["serve", "away", "suspend", "back"]), st.floats(1, 2 * DAY)), max_size=12)


@settings(deadline=None)
@given(
    begin=SEASONS,
    expression=st.sampled_from(["*/20 * * * *", "30 2 * * *", "0 */3 * * *", "15 2,3 * * *"]),
    zone=st.sampled_from([BERLIN, LORD_HOWE, UTC]),
    missed=st.sampled_from(Missed),
    steps=STEPS,
)
def test_whatever_the_clock_does_nothing_is_fired_twice_and_nothing_is_lost(begin, expression, zone, missed, steps):
    """A service is there, is away, sleeps with the machine; its clock is set back by less than three hours."""
    machine = Machine(Timetable(expression, zone), missed, begin)
    latest = begin
    for what, seconds in steps:
        if what == "serve":  # it looks when the next instant comes
            end = machine.now + seconds
            while (upcoming := machine.look()) <= end:
                machine.now = upcoming
            machine.now = end
        elif what == "back":
            machine.now -= min(seconds, CLOCK_SET_BACK_SECONDS - 1)
        else:
            machine.now += seconds
        latest = max(latest, machine.now)
        if machine.until - machine.now > CLOCK_SET_BACK_SECONDS:
            return  # set back several times: it begins again
        machine.look()
    expected = []
    for instant in machine.timetable.after(begin):
        if instant > latest:
            break
        expected.append(instant)
    assert len(set(machine.fired)) == len(machine.fired)
    assert set(machine.fired) <= set(expected)
    if missed is Missed.ALL:
        assert machine.fired == expected
    elif len(expected) < 100:
        assert len(machine.fired) + sum(passed.count for passed in machine.passed) == len(expected)
