"""Petitions that were asked for with a time start at that time, however the clock on the wall is set."""

from __future__ import annotations

import time

import pytest

from orcha._protocol.messages import Cancel, Pause, Resume, Show, Verdict
from orcha._service import clock_looks
from support.asking import asking
from support.clocks import DAY, HOUR, WallClock
from support.waiting import wait_for


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(clock_looks, "CLOCK_LOOK_SECONDS", 0.01)
    return WallClock(monkeypatch)


def why(asked, identity):
    return asked.rows()[identity]["why"] or ""


def passes(asked, identity="beside"):
    """Have another one come and go: whatever is due is done by then."""
    asked.submit(asked.user, identity)
    asked.wait_for(identity, "succeeded")


def test_it_starts_when_its_delay_is_over_and_says_so_until_then(clock):
    with asking() as asked:
        asked.submit(asked.user, "later", delay=HOUR)
        asked.submit(asked.user, "a", delay=0.3)
        asked.wait_for("a", "succeeded")
        assert why(asked, "later").startswith("it starts at ")
        assert asked.value(asked.ask(asked.user, Show, "later"))["place"] is None


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, -400 * DAY])
def test_however_the_clock_is_set_a_delay_keeps_its_length(clock, seconds):
    with asking() as asked:
        asked.submit(asked.user, "short", delay=0.3)
        asked.submit(asked.user, "long", delay=HOUR / 2)
        clock.set_by = seconds
        asked.wait_for("short", "succeeded")
        assert asked.state("long") == "queued"


def test_a_time_of_the_clock_on_the_wall_comes_when_that_clock_shows_it(clock):
    with asking() as asked:
        for name, hours in (("later", 5), ("first", 2), ("second", 3)):
            asked.submit(asked.user, name, at=time.time() + hours * HOUR)
        clock.set_by = HOUR
        passes(asked)
        assert asked.state("first") == "queued"
        clock.set_by = 4 * HOUR
        asked.wait_for("second", "succeeded")
        assert asked.state("first") == "succeeded"
        assert asked.manager.order == ["beside", "first", "second"]
        assert asked.state("later") == "queued"


def test_a_time_that_has_passed_is_now(clock):
    with asking() as asked:
        asked.submit(asked.user, "a", at=time.time() - HOUR)
        asked.wait_for("a", "succeeded")


def test_over_a_restart_times_and_delays_stay(tmp_path, clock):
    with asking(tmp_path) as asked:
        asked.submit(asked.user, "at", at=time.time() + HOUR)
        asked.submit(asked.user, "delay", delay=2 * HOUR)
    with asking(tmp_path) as asked:
        passes(asked)
        assert [why(asked, name)[:12] for name in ("at", "delay")] == ["it starts at"] * 2
        clock.set_by = HOUR + 1
        asked.wait_for("at", "succeeded")
        assert asked.state("delay") == "queued"
    clock.set_by = 3 * HOUR
    with asking(tmp_path) as asked:
        asked.wait_for("delay", "succeeded")


def test_until_its_time_it_can_be_cancelled_and_paused(clock):
    with asking() as asked:
        for name in ("a", "b"):
            asked.submit(asked.user, name, at=time.time() + HOUR)
        assert asked.ask(asked.owner, Cancel, None, "a").verdict == Verdict.OK
        assert asked.state("a") == "cancelled"
        assert asked.ask(asked.owner, Pause, "b").verdict == Verdict.OK
        clock.set_by = 2 * HOUR
        wait_for(lambda: why(asked, "b") == "it is paused", what="its time has come")
        passes(asked)
        assert asked.state("b") == "queued"
        assert asked.ask(asked.owner, Resume, "b").verdict == Verdict.OK
        asked.wait_for("b", "succeeded")


def test_the_limit_of_its_waiting_counts_from_its_time(clock):
    with asking() as asked:
        asked.submit(asked.user, "a", delay=0.2, queue_timeout=0.1, waits=True)
        asked.wait_for("a", "timed_out")
        row = asked.rows()["a"]
        assert row["ended"] - row["submitted"] >= 0.3


def test_after_its_time_it_waits_for_others_as_well(clock):
    with asking() as asked:
        asked.submit(asked.user, "build", waits=True)
        asked.submit(asked.user, "test", after=["build"], delay=0.1)
        wait_for(lambda: why(asked, "test") == "it waits for build to end", what="its time has come")
        asked.allow("build")
        asked.wait_for("test", "succeeded")


def test_how_long_it_will_probably_take_is_kept_and_limits_nothing(tmp_path):
    with asking(tmp_path) as asked:
        asked.submit(asked.user, "ends", expect=0.001, holds=True)
        asked.submit(asked.user, "waits", expect=1800, waits=True)
        asked.submit(asked.user, "unknown", waits=True)
        passes(asked)
        asked.manager.free("ends")
        asked.wait_for("ends", "succeeded")
    with asking(tmp_path) as asked:
        told = {name: asked.value(asked.ask(asked.user, Show, name))["expect"] for name in ("ends", "waits", "unknown")}
        assert told == {"ends": 0.001, "waits": 1800, "unknown": None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"at": 1.0, "delay": 1.0}, "give one of them"),
        ({"at": -1}, "at is a time between the years 1970 and 9999"),
        ({"at": float("nan")}, "at is a time between the years 1970 and 9999"),
        ({"at": 1e300}, "at is a time between the years 1970 and 9999"),
        ({"at": "22:00"}, "at is a datetime or a number of seconds"),
        ({"delay": -1}, "delay is a finite number of seconds"),
        ({"delay": float("inf")}, "delay is a finite number of seconds"),
    ],
)
def test_what_is_no_time_is_refused_and_named(given, said):
    with asking() as asked:
        refused = asked.submit(asked.user, "a", **given)
        assert (refused.verdict, said in refused.reason) == (Verdict.REFUSED, True), refused.reason


@pytest.mark.parametrize("given", [{"at": 253402300799.0}, {"delay": 100 * 365 * 86400}])
def test_a_time_far_away_is_taken(given):
    with asking() as asked:
        assert asked.submit(asked.user, "a", **given).verdict == Verdict.ACCEPTED
        passes(asked)
        assert asked.state("a") == "queued"
