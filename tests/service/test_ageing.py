"""Petitions of a group that ages gain priority by the clock, over restarts too, and people are told."""

from __future__ import annotations

import pytest

from orcha._protocol import values
from orcha._protocol.messages import Priority, SetGroup, Show, Verdict
from orcha._service import clock_looks
from support.asking import asking
from support.clocks import HOUR, WallClock
from support.waiting import wait_for


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(clock_looks, "CLOCK_LOOK_SECONDS", 0.01)
    return WallClock(monkeypatch)


def ages(asked, seconds, slots=None):
    reply = asked.ask(asked.owner, SetGroup, "slow", slots, values.encode({"age": seconds}))
    assert reply.verdict == Verdict.OK, reply


def told(asked, identity):
    details = asked.value(asked.ask(asked.owner, Show, identity))
    return details["priority"], details["aged"]


def has(asked, identity, priority, aged):
    wait_for(lambda: told(asked, identity) == (priority, aged), what=f"{identity} has {priority}, aged to {aged}")


def test_who_has_waited_long_enough_starts_before_who_came_later_with_a_better_priority(clock):
    one = {"gpu": 1}
    with asking(resources=one) as asked:
        asked.manager.let_go.clear()
        asked.submit(asked.user, "runs", needs=one)
        asked.wait_for("runs", "running")
        ages(asked, HOUR)
        asked.submit(asked.user, "old", group="slow", priority=5, needs=one)
        clock.set_by = 3.5 * HOUR
        asked.submit(asked.user, "new", priority=3, needs=one)
        has(asked, "old", 5, 2)
        assert told(asked, "new") == (3, None)
        asked.submit(asked.user, "urgent", priority=1, needs=one)
        asked.manager.let_go.set()
        for name in ("old", "new", "urgent"):
            asked.wait_for(name, "succeeded")
        assert asked.manager.order == ["runs", "urgent", "old", "new"]
        assert told(asked, "old") == (5, None)


def test_over_a_restart_it_counts_from_when_the_petition_was_accepted(clock, tmp_path):
    with asking(tmp_path, slots={"slow": 0}) as asked:
        ages(asked, HOUR, 0)
        asked.submit(asked.user, "a", group="slow", priority=5)
        asked.submit(asked.user, "other", priority=4, group="still", delay=100 * HOUR)
        clock.set_by = 2.5 * HOUR
        has(asked, "a", 5, 3)
    clock.set_by = 4.5 * HOUR
    with asking(tmp_path, slots={"slow": 0}) as asked:
        assert told(asked, "a") == (5, 1), "before anybody is connected"
        assert asked.ask(asked.user, Priority, "a", None, 9).verdict == Verdict.OK
        has(asked, "a", 9, 5)
        clock.set_by = 5.5 * HOUR
        has(asked, "a", 9, 4)
        ages(asked, None, 0)
        has(asked, "a", 9, None)
        assert told(asked, "other") == (4, None)
        assert asked.engine.petitions.ageing.due is None


def test_what_waits_already_when_its_group_is_set_to_age_gains_for_all_its_time(clock, tmp_path):
    with asking(tmp_path, slots={"slow": 0}) as asked:
        asked.submit(asked.user, "kept", group="slow", priority=5)
    with asking(tmp_path, slots={"slow": 0}) as asked:
        asked.submit(asked.user, "later", group="slow", priority=6, delay=3 * HOUR)
        asked.submit(asked.user, "new", group="slow", priority=7)
        clock.set_by = 2.5 * HOUR
        ages(asked, HOUR, 0)
        has(asked, "kept", 5, 3)
        has(asked, "new", 7, 5)
        assert {name: row["aged"] for name, row in asked.rows().items()} == {"kept": 3, "new": 5, "later": None}
        assert told(asked, "later") == (6, None)
        reply = asked.ask(asked.owner, SetGroup, "slow", None, values.encode({"age": 59}))
        assert (reply.verdict, "age is 60 seconds at least" in reply.reason) == (Verdict.REFUSED, True)


def test_a_command_line_says_how_a_group_ages(serve):
    service = serve(arguments=("serve", "commands"))
    assert service.ask("group", "set", "slow", "--age", "1h", "--slots", "0").returncode == 0
    assert service.ask("group", "ls").stdout.rstrip().endswith("age 1h")
    assert service.ask("group", "set", "slow", "--age", "none").returncode == 0
    assert "age" not in service.ask("group", "ls").stdout
