"""Times as people write them, in this machine's zone."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

import pytest

from orcha._cli import moments, render


@pytest.fixture
def zone(monkeypatch):
    """Give what sets this machine's zone."""

    def set_to(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_to
    monkeypatch.undo()
    time.tzset()


def at(monkeypatch, text):
    """Set the clock to a time of this zone."""
    now = datetime.fromisoformat(text)
    monkeypatch.setattr(render, "now", now.timestamp)
    return now


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:00", "2030-01-31 22:00"),
        ("21:30", "2030-02-01 21:30"),
        ("0:00", "2030-02-01 00:00"),
        ("6:30:15", "2030-02-01 06:30:15"),
        ("today 23:59", "2030-01-31 23:59"),
        ("tomorrow 6:30", "2030-02-01 06:30"),
        ("Thu 22:00", "2030-01-31 22:00"),
        ("thursday 8:00", "2030-02-07 08:00"),
        ("MON 8:00", "2030-02-04 08:00"),
        ("2030-02-01", "2030-02-01 00:00"),
        ("2030-02-01T22:00", "2030-02-01 22:00"),
        ("2030-02-01 22:00:01", "2030-02-01 22:00:01"),
    ],
)
@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/New_York"])
def test_it_is_the_next_such_time_of_this_zone(zone, monkeypatch, name, text, expected):
    zone(name)
    at(monkeypatch, "2030-01-31 21:30")
    assert moments.moment(text) == datetime.fromisoformat(expected).timestamp()


def test_a_time_with_a_zone_is_of_that_zone(zone, monkeypatch):
    zone("America/New_York")
    at(monkeypatch, "2030-01-31 21:30")
    expected = datetime(2030, 2, 2, 21, 0, tzinfo=UTC).timestamp()
    assert moments.moment("2030-02-02T22:00+01:00") == moments.moment("2030-02-02T21:00Z") == expected


def test_where_clocks_are_set_forwards_a_time_that_is_not_there_is_an_hour_later(zone, monkeypatch):
    zone("Europe/Berlin")
    at(monkeypatch, "2030-03-30 12:00")
    assert moments.moment("tomorrow 2:30") == datetime(2030, 3, 31, 1, 30, tzinfo=UTC).timestamp()


def test_where_clocks_are_set_back_a_time_that_comes_twice_is_the_first_one(zone, monkeypatch):
    zone("Europe/Berlin")
    at(monkeypatch, "2030-10-26 12:00")
    assert moments.moment("tomorrow 2:30") == datetime(2030, 10, 27, 0, 30, tzinfo=UTC).timestamp()


NO_TIMES = (
    *("", "25:00", "24:00", "22:60", "22", "22:00:61", "22:00:00:00", "mo 8:00", "someday 8:00", "mon", "-1:00"),
    *("\uff12\uff12:00", "2030-02-30", "99999-01-01", "tomorrow", "now", "8:00 mon", "\x1b[2J", "1e9:00"),
)


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused_with_how_to_write_it(monkeypatch, text):
    at(monkeypatch, "2030-01-31 21:30")
    with pytest.raises(argparse.ArgumentTypeError, match="write it as 22:00, tomorrow 6:30") as caught:
        moments.moment(text)
    assert str(caught.value).isascii()
    assert "\x1b" not in str(caught.value)


def test_a_time_that_has_passed_is_refused(monkeypatch):
    at(monkeypatch, "2030-01-31 21:30")
    for text in ("2030-01-31", "today 21:00", "2029-01-01T22:00Z"):
        with pytest.raises(argparse.ArgumentTypeError, match="has passed"):
            moments.moment(text)
