"""Schedules fire each instant once, whatever becomes of the clock, of earlier firings, and of the service."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from orcha._protocol import values
from orcha._protocol.messages import (
    AddSchedule,
    Cancel,
    ChangeSchedule,
    FireSchedule,
    ListSchedules,
    Remove,
    Show,
    Verdict,
)
from orcha._service import clock_looks
from orcha._service.hooks import schedules
from orcha._service.verbs.schedules import fire_schedule
from support.asking import asking
from support.clocks import WallClock
from support.waiting import wait_for

NOON = "2026-06-01T12:00:10"
AWAY = "missed: the service was away, or could not fire it in time"


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(clock_looks, "CLOCK_LOOK_SECONDS", 0.01)
    clock = WallClock(monkeypatch)
    clock.show(NOON)
    return clock


def add(asked, name="tick", expression="0 * * * *", person=None, zone="UTC", extras=None, **how):
    arguments = (name, expression, values.encode(extras or {}), None, zone)
    return asked.ask(person or asked.user, AddSchedule, *arguments, **how)


def shown(asked, name="tick"):
    return asked.value(asked.ask(asked.owner, ListSchedules, name))


def notes(asked, name="tick"):
    return [firing["id"] or firing["note"] for firing in shown(asked, name)["firings"]]


def decided(asked, number):
    wait_for(lambda: len(notes(asked)) == number, what=f"{number} firings are decided")


def change(asked, what, name="tick", person=None):
    return asked.ask(person or asked.user, ChangeSchedule, name, what)


def fire(asked, name="tick", person=None, token=None):
    return asked.ask(person or asked.user, FireSchedule, token or os.urandom(16), name)


def test_a_schedule_fires_at_its_instants_as_its_owner_and_tells_of_them(clock):
    with asking() as asked:
        said = asked.value(add(asked, extras={"code": 3}))
        assert [instant[:16] for instant in said["next"]][:2] == ["2026-06-01T13:00", "2026-06-01T14:00"]
        clock.show("2026-06-01T12:59:50")
        assert "tick@2026-06-01T13:00" not in asked.rows()
        clock.show("2026-06-01T13:00:01")
        asked.wait_for("tick@2026-06-01T13:00", "failed")
        assert asked.rows()["tick@2026-06-01T13:00"]["owner"] == asked.user.identity
        clock.show("2026-06-01T14:00:00")
        asked.wait_for("tick@2026-06-01T14:00", "failed")
        last, first = shown(asked)["firings"]
        assert (last["id"], first["id"]) == ("tick@2026-06-01T14:00", "tick@2026-06-01T13:00")
        assert (first["outcome"], first["code"], first["note"]) == ("failed", 3, None)
        assert shown(asked)["next"][0].startswith("2026-06-01T15:00")


def test_a_clock_that_is_set_back_fires_nothing_again_and_one_far_back_goes_on(clock):
    with asking() as asked:
        add(asked)
        clock.show("2026-06-01T13:00:00")
        asked.wait_for("tick@2026-06-01T13:00", "succeeded")
        clock.show("2026-06-01T12:59:59")
        clock.show("2026-06-01T13:00:00")
        clock.show("2026-06-01T14:00:00")
        asked.wait_for("tick@2026-06-01T14:00", "succeeded")
        clock.show("2026-06-01T10:00:00")
        asked.wait_for("tick@2026-06-01T10:00", "succeeded")
        assert shown(asked)["next"][0].startswith("2026-06-01T11:00")
        clock.show("2026-06-01T13:00:00")
        clock.show("2026-06-01T15:00:00")
        asked.wait_for("tick@2026-06-01T15:00", "succeeded")
        assert [row for row in asked.rows() if "T13:00" in row or "T14:00" in row] == [
            "tick@2026-06-01T14:00",
            "tick@2026-06-01T13:00",
        ]


@pytest.mark.parametrize(
    ("missed", "fired"),
    [
        ("skip", []),
        ("last", ["tick@2026-06-01T15:00"]),
        ("all", ["tick@2026-06-01T15:00", "tick@2026-06-01T14:00", "tick@2026-06-01T13:00"]),
    ],
)
def test_what_came_while_the_service_was_away_is_made_up_for_as_the_schedule_says(tmp_path, clock, missed, fired):
    with asking(tmp_path) as asked:
        add(asked, missed=missed)
        add(asked, "other", person=asked.stranger)
        change(asked, "pause", "other", person=asked.stranger)
    clock.show("2026-06-01T15:30:00")
    expected = fired if missed == "all" else [*fired, f"{AWAY} (with {2 - len(fired)} before it)"]
    with asking(tmp_path) as asked:
        decided(asked, len(expected))
        assert notes(asked) == expected
        for identity in fired:
            asked.wait_for(identity, "succeeded")
        assert asked.manager.order == fired[::-1]
        assert notes(asked, "other") == []
    with asking(tmp_path) as asked:
        clock.show("2026-06-01T16:00:00")
        asked.wait_for("tick@2026-06-01T16:00", "succeeded")
        assert notes(asked)[1:] == expected


def test_while_an_earlier_firing_has_not_ended_the_next_one_is_skipped(clock):
    with asking() as asked:
        add(asked, extras={"holds": True})
        clock.show("2026-06-01T13:00:00")
        wait_for(lambda: asked.manager.begun == ["tick@2026-06-01T13:00"], what="the first one runs")
        clock.show("2026-06-01T14:00:00")
        decided(asked, 2)
        assert notes(asked)[0] == "skipped: tick@2026-06-01T13:00 has not ended"
        refused = fire(asked)
        assert (refused.verdict, refused.reason) == (Verdict.REFUSED, "skipped: tick@2026-06-01T13:00 has not ended")
        asked.manager.free("tick@2026-06-01T13:00")
        asked.wait_for("tick@2026-06-01T13:00", "succeeded")
        clock.show("2026-06-01T15:00:00")
        wait_for(lambda: len(asked.manager.begun) == 2, what="the third one runs")
        asked.manager.free("tick@2026-06-01T15:00")


def test_a_firing_that_queues_waits_for_the_one_before_it_over_a_restart_too(tmp_path, clock):
    first, second, third = (f"tick@2026-06-01T{hour}:00" for hour in (13, 14, 15))
    with asking(tmp_path) as asked:
        add(asked, extras={"waits": True}, overlap="queue")
        for hour in (13, 14, 15):
            clock.show(f"2026-06-01T{hour}:00:00")
            decided(asked, hour - 12)
        assert asked.rows()[second]["why"] == f"it waits for {first} to end"
        others = asked.value(asked.ask(asked.user, Show, third))["after"]
        assert {(other["id"], other["must_succeed"]) for other in others} == {(first, False), (second, False)}
    with asking(tmp_path) as asked:
        asked.allow(first, second, third)
        asked.wait_for(third, "succeeded")
        assert asked.manager.order == [first, second, third]


def test_a_firing_that_waits_for_a_petition_that_is_cancelled_starts_then(clock):
    with asking() as asked:
        add(asked, extras={"waits": True}, overlap="queue")
        asked.allow("tick@2026-06-01T14:00")
        for hour in (13, 14):
            clock.show(f"2026-06-01T{hour}:00:00")
            decided(asked, hour - 12)
        asked.ask(asked.owner, Cancel, None, "tick@2026-06-01T13:00")
        asked.wait_for("tick@2026-06-01T14:00", "succeeded")


def test_a_firing_waits_for_one_that_runs_though_the_one_between_them_is_cancelled(clock):
    first, second, third = (f"tick@2026-06-01T{hour}:00" for hour in (13, 14, 15))
    with asking() as asked:
        add(asked, extras={"holds": True}, overlap="queue")
        for hour in (13, 14, 15):
            clock.show(f"2026-06-01T{hour}:00:00")
            decided(asked, hour - 12)
        asked.ask(asked.owner, Cancel, None, second)
        assert asked.rows()[third]["why"] == f"it waits for {first} to end"
        asked.manager.free(first, third)
        asked.wait_for(third, "succeeded")
        assert asked.manager.order == [first, third]


def test_a_person_and_the_clock_do_not_fire_a_schedule_at_once(clock):
    with asking() as asked:
        add(asked, extras={"holds": True})

        def both():
            clock.show("2026-06-01T13:00:00")
            fire_schedule(asked.engine, asked.user, FireSchedule(1001, os.urandom(16), "tick"))
            fire_schedule(asked.engine, asked.user, FireSchedule(1002, os.urandom(16), "tick"))
            asked.engine.schedules._look()

        asked.engine.post(both)
        assert asked.answer(asked.user, 1001).verdict == Verdict.OK
        again = asked.answer(asked.user, 1002)
        assert (again.verdict, again.reason) == (Verdict.BUSY, "a firing of 'tick' is being decided: try again")
        decided(asked, 2)
        wait_for(lambda: asked.manager.begun, what="the first one runs")
        (running,) = asked.manager.order
        assert running != "tick@2026-06-01T13:00"
        assert f"skipped: {running} has not ended" in notes(asked)
        asked.manager.free(running)
        asked.wait_for(running, "succeeded")


def test_a_firing_that_replaces_ends_the_earlier_one_and_starts_after_it(clock):
    with asking() as asked:
        add(asked, extras={"waits": True}, overlap="replace")
        clock.show("2026-06-01T13:00:00")
        asked.wait_for("tick@2026-06-01T13:00", "queued")
        asked.allow("tick@2026-06-01T14:00")
        clock.show("2026-06-01T14:00:00")
        asked.wait_for("tick@2026-06-01T14:00", "succeeded")
        row = asked.rows()["tick@2026-06-01T13:00"]
        assert (row["outcome"], "the next firing of its schedule, replaces it" in row["reason"]) == ("cancelled", True)


def test_a_paused_schedule_rests_and_nothing_of_the_pause_was_missed(tmp_path, clock):
    with asking(tmp_path) as asked:
        add(asked, missed="all")
        assert change(asked, "pause").verdict == Verdict.OK
        assert shown(asked)["next"] == []
        clock.show("2026-06-01T13:00:00")
    clock.show("2026-06-01T14:30:00")
    with asking(tmp_path) as asked:
        assert shown(asked)["paused"] is True
        assert change(asked, "resume").verdict == Verdict.OK
        clock.show("2026-06-01T15:00:00")
        asked.wait_for("tick@2026-06-01T15:00", "succeeded")
        assert notes(asked) == ["tick@2026-06-01T15:00"]


def test_a_schedule_that_is_removed_fires_nothing_more_and_leaves_its_petitions(tmp_path, clock):
    with asking(tmp_path) as asked:
        add(asked, extras={"waits": True})
        clock.show("2026-06-01T13:00:00")
        asked.wait_for("tick@2026-06-01T13:00", "queued")
        assert change(asked, "remove").verdict == Verdict.OK
        gone = asked.ask(asked.user, ListSchedules, "tick")
        assert gone.verdict == Verdict.UNKNOWN
        assert gone.reason == "there is no schedule 'tick': orcha cron ls shows the schedules"
        clock.show("2026-06-01T14:00:00")
    with asking(tmp_path) as asked:
        assert list(asked.rows()) == ["tick@2026-06-01T13:00"]
        assert asked.value(add(asked))["name"] == "tick"


def test_people_fire_a_schedule_too_once_for_each_time_they_ask(clock):
    with asking() as asked:
        add(asked)
        change(asked, "pause")
        token = os.urandom(16)
        made, again = asked.value(fire(asked, token=token)), asked.value(fire(asked, token=token))
        assert made == again
        assert made["id"].startswith("tick@2026-06-01T12:00:1")
        asked.wait_for(made["id"], "succeeded")
        other = asked.value(fire(asked))
        asked.wait_for(other["id"], "succeeded")
        assert notes(asked) == [other["id"], made["id"]]
        assert fire(asked, token=token, person=asked.owner).verdict == Verdict.OK


def test_firings_by_people_in_one_millisecond_are_several(clock, monkeypatch):
    moment = 1_780_315_200.9985
    with asking() as asked:
        add(asked)
        change(asked, "pause")
        monkeypatch.setattr(schedules, "time", SimpleNamespace(time=lambda: moment))
        for second in ("00.998", "00.999", "01.001"):
            name = asked.value(fire(asked))["id"]
            assert name == f"tick@2026-06-01T12:00:{second}"
            asked.wait_for(name, "succeeded")
        # as after a restart:
        monkeypatch.setattr(schedules.Planned, "fired_by_hand", property(lambda _: 0.0, lambda *_: None), raising=False)
        assert asked.value(fire(asked))["id"] == "tick@2026-06-01T12:00:01.002"


def test_a_firing_that_is_refused_is_told_and_the_next_one_comes(clock):
    with asking() as asked:
        asked.submit(asked.user, "tick@2026-06-01T13:00", waits=True)
        add(asked)
        clock.show("2026-06-01T13:00:00")
        decided(asked, 1)
        assert notes(asked)[0].startswith("refused: the id 'tick@2026-06-01T13:00' is taken")
        clock.show("2026-06-01T14:00:00")
        asked.wait_for("tick@2026-06-01T14:00", "succeeded")


def test_how_a_firing_ended_stays_known_when_it_is_forgotten(clock):
    with asking() as asked:
        add(asked, extras={"code": 7})
        clock.show("2026-06-01T13:00:00")
        asked.wait_for("tick@2026-06-01T13:00", "failed")
        removed = lambda: asked.ask(asked.user, Remove, "tick@2026-06-01T13:00").verdict == Verdict.OK  # noqa: E731
        wait_for(removed, what="it is removed")
        (firing,) = shown(asked)["firings"]
        assert (firing["state"], firing["outcome"], firing["code"]) == ("forgotten", "failed", 7)


@pytest.mark.parametrize("who", ["stranger", "attempt"])
def test_nobody_but_its_user_and_owners_may(clock, who):
    with asking() as asked:
        add(asked)
        person = getattr(asked, who)
        for answer in (
            asked.ask(person, ListSchedules, "tick"),
            *(change(asked, what, person=person) for what in ("pause", "resume", "remove")),
            fire(asked, person=person),
        ):
            assert answer.verdict == Verdict.DENIED
        assert change(asked, "pause", person=asked.owner).verdict == Verdict.OK
        assert change(asked, "explode").verdict == Verdict.REFUSED


def test_each_user_sees_their_own_schedules_and_an_owner_all(clock):
    with asking() as asked:
        add(asked)
        add(asked, "other", person=asked.stranger)

        def names(person):
            return [each["name"] for each in asked.value(asked.ask(person, ListSchedules, None))["schedules"]]

        assert (names(asked.user), names(asked.stranger), names(asked.owner)) == (
            ["tick"],
            ["other"],
            ["other", "tick"],
        )
        assert asked.ask(asked.attempt, ListSchedules, None).verdict == Verdict.DENIED
        assert add(asked, "mine", person=asked.attempt).verdict == Verdict.DENIED


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"expression": "0 25 * * *"}, "its hour cannot be read"),
        ({"zone": "Europe/Bärlin"}, "is no zone of this machine"),
        ({"zone": "../etc/passwd"}, "is no zone of this machine"),
        ({"zone": "Europe"}, "is no zone of this machine"),
        ({"name": ""}, "a schedule has a name of 1 to 200 characters"),
        ({"name": "a@b"}, "leave out the @"),
        ({"overlap": "both"}, "overlap is one of skip, queue, replace, not 'both'"),
        ({"missed": "some"}, "missed is one of skip, last, all, not 'some'"),
        ({"extras": {"x": "y" * 300_000}}, "long into a file"),
    ],
)
def test_what_can_be_no_schedule_is_refused_and_named(clock, given, said):
    with asking() as asked:
        refused = add(asked, **given)
        assert (refused.verdict, said in refused.reason) == (Verdict.REFUSED, True), refused.reason


def test_a_name_is_taken_until_its_schedule_is_removed_and_the_same_again_is_the_same(clock):
    with asking() as asked:
        assert add(asked).verdict == add(asked).verdict == Verdict.OK
        for person, expression in ((asked.user, "1 * * * *"), (asked.stranger, "0 * * * *")):
            refused = add(asked, person=person, expression=expression)
            assert refused.reason == "there is a schedule 'tick' already: choose another name, or remove it first"
