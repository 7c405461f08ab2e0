"""A drained service starts nothing more, says so to all who wait, and goes on when people or the time say so."""

from __future__ import annotations

import math

from orcha._protocol.messages import Cancel, DrainService, Pause, Resume, Show, Stats, Verdict
from orcha._service import clock_looks
from support.asking import asking
from support.clocks import WallClock
from support.waiting import wait_for

NOON = "2026-06-01T12:00:00"


def drain(asked, person=None, **how):
    return asked.ask(person or asked.owner, DrainService, True, **how)


def undrain(asked, person=None):
    return asked.ask(person or asked.owner, DrainService, False)


def test_nothing_starts_what_runs_goes_on_and_who_waits_hears_why():
    with asking() as asked:
        asked.submit(asked.user, "runs", holds=True)
        wait_for(lambda: asked.manager.begun == ["runs"], what="it runs")
        assert drain(asked, why="a new disk").verdict == Verdict.OK
        for identity in ("waits", "ends"):
            assert asked.submit(asked.user, identity).verdict == Verdict.ACCEPTED
        assert asked.rows()["waits"]["why"] == "the service is drained: a new disk"
        shown = asked.value(asked.ask(asked.user, Show, "waits"))
        (reason,) = shown["blocked"]
        assert (reason["kind"], reason["why"], reason["until"]) == ("service_drained", "a new disk", None)
        assert asked.value(asked.ask(asked.owner, Stats))["drained"]["who"] == asked.owner.identity
        assert asked.ask(asked.user, Cancel, None, "ends").verdict == Verdict.OK
        asked.manager.free("runs")
        asked.wait_for("runs", "succeeded")
        assert asked.state("waits") == "queued"
        assert undrain(asked).verdict == Verdict.OK
        asked.wait_for("waits", "succeeded")
        assert asked.manager.order == ["runs", "waits"]


def test_it_outlives_restarts_and_ends_when_its_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(clock_looks, "CLOCK_LOOK_SECONDS", 0.01)
    clock = WallClock(monkeypatch)
    clock.show(NOON)
    with asking(tmp_path) as asked:
        assert drain(asked, seconds=7_200.0).verdict == Verdict.OK
        asked.submit(asked.user, "waits")
    with asking(tmp_path) as asked:
        clock.show("2026-06-01T13:50:00")
        assert asked.rows()["waits"]["why"].startswith("the service is drained until 2026-06-01 14:0")
        clock.show("2026-06-01T14:10:00")
        asked.wait_for("waits", "succeeded")
    with asking(tmp_path) as asked:
        assert asked.value(asked.ask(asked.owner, Stats))["drained"] is None


def test_it_is_apart_from_a_pause_of_everything():
    with asking() as asked:
        drain(asked)
        asked.ask(asked.owner, Pause)
        asked.submit(asked.user, "waits")
        blocked = asked.value(asked.ask(asked.user, Show, "waits"))["blocked"]
        assert [each["kind"] for each in blocked] == ["service_drained", "everything_paused"]
        asked.ask(asked.owner, Resume)
        assert asked.rows()["waits"]["why"] == "the service is drained"
        asked.ask(asked.owner, Pause)
        undrain(asked)
        assert asked.rows()["waits"]["why"] == "everything is paused"
        asked.ask(asked.owner, Resume)
        asked.wait_for("waits", "succeeded")


def test_owners_alone_may_and_what_cannot_be_is_refused():
    with asking() as asked:
        for said in (drain(asked, asked.user), undrain(asked, asked.user), drain(asked, asked.attempt)):
            assert said.verdict == Verdict.DENIED
        assert undrain(asked).reason == "the service is not drained"
        assert drain(asked, why="x" * 201).reason == "give a reason of at most 200 characters"
        for seconds in (0.0, -1.0, math.inf, math.nan):
            reason = "give a time above zero, and of at most a hundred years"
            assert drain(asked, seconds=seconds).reason == reason
