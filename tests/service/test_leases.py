"""Leases end at the time of the clock on the wall, warn before, and are changed by people."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from orcha._core.devices import Device
from orcha._protocol import values
from orcha._protocol.messages import Cancel, ChangeLease, Pause, Retry, Show, Signal, Unfollow, Verdict
from orcha._service import clock_looks
from orcha._service.execution import leases
from orcha.utils.users import name_of
from support.asking import asking
from support.clocks import HOUR, WallClock
from support.waiting import wait_for

SOMEBODY = name_of(7)
RESOURCES = {"rig": (Device("a"), Device("b")), "licence": 2}


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(clock_looks, "CLOCK_LOOK_SECONDS", 0.01)
    return WallClock(monkeypatch)


def lending(folder=None):
    return asking(folder, leases=True, resources=RESOURCES)


def lock(asked, identity, person=None, **extras):
    taken = {"needs": {"rig": "1@name=a"}, "for": 2 * HOUR, **extras}
    result = asked.lock(person or asked.user, identity, **taken)
    assert result.verdict == Verdict.ACCEPTED, result
    return result


def shown(asked, identity, person=None):
    return asked.value(asked.ask(person or asked.owner, Show, identity))


def change(asked, name, seconds=None, person=None):
    return asked.ask(person or asked.user, ChangeLease, name, seconds)


def passes(asked):
    """Have another petition come and go: whatever is due is done by then."""
    asked.submit(asked.user, "beside")
    asked.wait_for("beside", "succeeded")


def test_a_lease_ends_when_its_time_is_over_and_the_next_one_gets_what_it_had(clock):
    with lending() as asked:
        lock(asked, "first")
        lock(asked, "next", why="soldering")
        asked.submit(asked.user, "command", needs={"rig": "1@name=a"})
        asked.wait_for("first", "running")
        clock.set_by = 2 * HOUR - 60
        passes(asked)
        assert (asked.state("first"), asked.state("next")) == ("running", "queued")
        clock.set_by = 2 * HOUR
        asked.wait_for("first", "succeeded")
        asked.wait_for("next", "running")
        assert asked.state("command") == "queued"
        assert shown(asked, "next")["until"] == pytest.approx(time.time() + 2 * HOUR, abs=60)
        why = asked.rows()["command"]["why"]
        assert why.startswith(f"it needs 1 rig with name=a, 0 of 1 are free; next of {SOMEBODY} has rig:a until ")
        assert why.endswith(" UTC (soldering)")
        lock(asked, "other", needs={"rig": "1@name=b"})
        asked.wait_for("other", "running")
        asked.submit(asked.user, "behind", needs={"rig": "1@name=b"})
        why = asked.rows()["behind"]["why"]
        assert why.startswith(f"it needs 1 rig with name=b, 0 of 1 are free; other of {SOMEBODY} has rig:b until ")
        assert "rig:a" not in why
        assert [each["holders"] for each in shown(asked, "behind")["blocked"]] == [["other"]]


def test_who_follows_a_lease_is_told_what_it_has_and_warned_of_its_end_once(clock):
    with lending() as asked:
        channel = lock(asked, "mine").channel
        asked.wait_for("mine", "running")
        clock.set_by = 2 * HOUR - leases.WARNING_SECONDS + 1

        def lines():
            return [values.decode(record.payload, channel=bytes) for record in asked.records(asked.user, channel)]

        wait_for(lambda: len(lines()) == 2, what="the warning")
        clock.set_by += 30
        passes(asked)
        lent, warned = lines()
        assert lent.startswith("lent: rig:a until ")
        assert warned.startswith("the lease of rig:a ends at ")
        assert warned.endswith(" UTC: orcha extend mine 1h\n")
        assert asked.value(change(asked, "mine", HOUR))["id"] == "mine"
        clock.set_by += HOUR - 30
        wait_for(lambda: len(lines()) == 4, what="the new end, and its warning")
        clock.set_by += HOUR
        wait_for(lambda: lines()[-1] is None, what="the end of the channel")
        assert lines()[-3:-1] == [f"{leases.OVER}\n", 0]


def test_an_extended_lease_keeps_its_new_end_over_a_restart_also_where_it_waits(tmp_path, clock):
    with lending(tmp_path) as asked:
        lock(asked, "mine")
        lock(asked, "waits")
        lock(asked, "gone")
        asked.wait_for("mine", "running")
        told = asked.value(change(asked, "rig=a", HOUR))
        assert (told["id"], told["behind"]) == ("mine", 2)
        assert told["until"] == pytest.approx(time.time() + 3 * HOUR, abs=60)
        for name in ("waits", "gone"):
            assert asked.value(change(asked, name, HOUR))["until"] is None
        assert asked.ask(asked.user, Cancel, None, "gone").verdict == Verdict.OK
        assert set(asked.store.decided("lease")) == {
            str(shown(asked, name)["seq"]) for name in ("mine", "waits", "gone")
        }
    clock.set_by = 2.5 * HOUR
    with lending(tmp_path) as asked:
        passes(asked)
        assert (asked.state("mine"), asked.state("waits")) == ("running", "queued")
        assert shown(asked, "mine")["until"] == told["until"]
        assert set(asked.store.decided("lease")) == {str(shown(asked, name)["seq"]) for name in ("mine", "waits")}
        clock.set_by = 3 * HOUR + 1
        asked.wait_for("waits", "running")
        assert shown(asked, "waits")["timeout"] == 3 * HOUR
        assert asked.value(change(asked, "waits"))["id"] == "waits"
        wait_for(lambda: not asked.store.decided("lease"), what="nothing of changed lengths is kept")


def test_a_lease_whose_end_passed_while_the_service_was_away_ends_at_its_start(tmp_path, clock):
    with lending(tmp_path) as asked:
        lock(asked, "mine")
        lock(asked, "next")
        asked.wait_for("mine", "running")
    clock.set_by = 3 * HOUR
    with lending(tmp_path) as asked:
        asked.wait_for("mine", "succeeded")
        asked.wait_for("next", "running")
        assert shown(asked, "mine")["reason"] == leases.OVER


def test_who_waits_for_a_leased_device_does_not_keep_others_from_the_device_beside_it():
    with lending() as asked:
        lock(asked, "first")
        lock(asked, "next")
        asked.wait_for("first", "running")
        asked.submit(asked.stranger, "any", needs={"rig": 1})
        asked.wait_for("any", "succeeded")
        lock(asked, "beside", needs={"rig": "1@name=b"})
        asked.wait_for("beside", "running")
        assert asked.state("next") == "queued"


def test_a_lease_waits_in_the_order_of_priorities_and_for_its_time(clock):
    with lending() as asked:
        lock(asked, "first")
        for name, extras in (("low", {"priority": 5}), ("high", {"priority": -5}), ("later", {"delay": HOUR})):
            lock(asked, name, **extras)
        lock(asked, "dated", at=time.time() + HOUR)
        asked.wait_for("first", "running")
        assert asked.rows()["dated"]["why"].startswith("it starts at ")
        for name, following in (("first", "high"), ("high", "low")):
            assert change(asked, name).verdict == Verdict.OK
            asked.wait_for(following, "running")
        assert change(asked, "low").verdict == Verdict.OK
        clock.set_by = HOUR
        asked.wait_for("dated", "running")


def test_a_lease_that_waits_or_is_held_can_be_cancelled_and_the_one_that_waits_paused():
    with lending() as asked:
        lock(asked, "held")
        asked.wait_for("held", "running")
        lock(asked, "waits")
        assert asked.ask(asked.user, Pause, "waits").verdict == Verdict.OK
        paused = asked.ask(asked.user, Pause, "held")
        assert (paused.verdict, "is a lease" in paused.reason) == (Verdict.REFUSED, True)
        signalled = asked.ask(asked.user, Signal, "held", None, 10)
        assert (signalled.verdict, "is a lease" in signalled.reason) == (Verdict.REFUSED, True)
        assert asked.value(asked.ask(asked.user, Cancel, None, "held", "", True)) == "cancelled"
        assert asked.value(asked.ask(asked.user, Cancel, None, "waits")) == "cancelled"
        assert [asked.state(name) for name in ("held", "waits")] == ["cancelled"] * 2
        again = asked.ask(asked.user, Retry, bytes(16), "held")
        assert (again.verdict, "orcha lock" in again.reason) == (Verdict.REFUSED, True)


def test_only_its_user_and_owners_change_a_lease_and_everybody_sees_it():
    with lending() as asked:
        lock(asked, "mine", why="soldering")
        asked.wait_for("mine", "running")
        lock(asked, "other", needs={"rig": "1@name=b", "licence": 2})
        asked.wait_for("other", "running")
        asked.submit(asked.stranger, "theirs", needs={"rig": 1})
        held = shown(asked, "theirs", asked.stranger)["blocked"][0]
        assert held["holders"] == ["mine", "other"]
        assert held["held"][0]["lease"] == {"user": SOMEBODY, "why": "soldering", "what": "rig:a"}
        assert change(asked, "mine", HOUR, asked.stranger).verdict == Verdict.DENIED
        assert change(asked, "rig", None, asked.stranger).verdict == Verdict.UNKNOWN
        assert change(asked, "mine", HOUR, asked.attempt).verdict == Verdict.DENIED
        assert change(asked, "theirs", None, asked.stranger).verdict == Verdict.REFUSED
        assert "mine, other" in change(asked, "rig").reason
        assert asked.value(change(asked, "licence", None, asked.owner))["id"] == "other"
        assert asked.value(change(asked, "rig:a", None, asked.owner))["id"] == "mine"
        asked.wait_for("theirs", "succeeded")


@pytest.mark.parametrize(
    ("extras", "said"),
    [
        ({"needs": {}}, "a lease takes something"),
        ({"needs": {"tape": 1}}, "the service has no tape"),
        ({"for": -1}, "timeout is a finite number"),
        ({"why": 7}, "why is a text"),
        ({"argv": ["true"]}, "a lease has no field 'argv'"),
    ],
)
def test_what_cannot_be_lent_is_refused(extras, said):
    with lending() as asked:
        result = asked.lock(asked.user, "a", **{"needs": {"rig": 1}, **extras})
        assert result.verdict == Verdict.REFUSED
        assert said in result.reason


def test_a_lease_cannot_last_too_long_and_one_without_an_end_has_none():
    with lending() as asked:
        lock(asked, "long")
        assert "at most" in change(asked, "long", 1e12).reason
        assert "more than 0" in change(asked, "long", -1.0).reason
        lock(asked, "endless", **{"for": None, "needs": {"licence": 1}})
        asked.wait_for("endless", "running")
        assert "has no end" in change(asked, "endless", 1.0).reason
        assert shown(asked, "endless")["until"] is None


def test_a_lease_for_its_client_alone_ends_when_nobody_follows_it(monkeypatch):
    with lending() as asked:
        _, left, waits = (
            lock(asked, name, needs={"rig": f"1@name={device}"}, while_attached=True).channel
            for name, device in (("followed", "a"), ("left", "b"), ("waits", "a"))
        )
        asked.wait_for("left", "running")
        monkeypatch.setattr(leases, "ABSENCE_SECONDS", 0.01)
        for channel in (left, waits):
            asked.engine.receive(asked.user, Unfollow(channel))
        asked.engine.peer_closed(asked.stranger)
        asked.wait_for("left", "succeeded")
        asked.wait_for("waits", "cancelled")
        assert shown(asked, "left")["reason"] == shown(asked, "waits")["reason"] == leases.NOT_FOLLOWED
        assert asked.state("followed") == "running"
        asked.engine.peer_closed(asked.user)
        asked.wait_for("followed", "succeeded")


def test_leases_are_asked_however_many_others_wait_before_them():
    with lending() as asked:
        lock(asked, "first")
        asked.wait_for("first", "running")
        asked.submit_all(asked.user, [(f"w{number}", {"waits": True}) for number in range(200)])
        lock(asked, "next")
        asked.engine.post(asked.engine.visits.set_look_ahead, None)
        assert change(asked, "first").verdict == Verdict.OK
        asked.wait_for("next", "running")


def test_no_command_runs_beside_a_lease():
    with lending() as asked:
        lock(asked, "mine")
        asked.wait_for("mine", "running")
        host = asked.engine.beside._host(SimpleNamespace(asker=SimpleNamespace(peer=asked.user)), "mine")
        assert host == "'mine' is no command: only beside a command that runs another one can"
