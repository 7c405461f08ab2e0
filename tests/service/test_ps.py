"""`orcha ps`: what waits, since when and why, what runs, and with --all what ended."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from support.document import lines, wait_for_state

QUEUED_FIELDS = {"id", "state", "priority", "submitted", "started", "ended", "outcome", "code", "reason", "why"}


@pytest.fixture
def busy(variant, observer, gate):
    """A service with one that runs, two that wait, and some that ended in each way."""
    document = variant(TEST_LIMIT="1")
    assert document.send("m1").ended() == (lines(1), "", 0)
    assert document.send("three-1").ended()[2] == 3
    assert document.send("raise-1").ended()[2] == 1
    running = document.send("gated-1", counter=2, sleep_time=3)
    assert running.line()
    clients = [running]
    for identity, counter in [("m2", 7), ("conditionfailed-1", 5)]:
        clients.append(document.send(identity, counter=counter, sleep_time=1))
        wait_for_state(observer(document), identity, "queued")
    yield document
    for client in clients:
        client.process.kill()
    for identity in ("m2", "conditionfailed-1"):
        observer(document).finish(identity)
    gate.open()


def test_it_shows_what_runs_and_waits_in_order_with_the_reason(busy):
    shown = busy.service.run("ps")
    assert shown.returncode == 0
    table = [line.split() for line in shown.stdout.splitlines()]
    assert table[0] == ["ID", "STATE", "PRIORITY", "ELAPSED", "COMMAND", "WHY"]
    assert [row[:3] for row in table[1:]] == [
        ["gated-1", "running", "6"],
        ["conditionfailed-1", "queued", "5"],
        ["m2", "queued", "7"],
    ]
    assert "waiting for rig 3" in shown.stdout
    assert "its condition says no" in shown.stdout


def test_all_shows_what_ended_too(busy):
    shown = busy.service.run("ps", "--all").stdout
    assert "failed (3)" in shown
    assert "RuntimeError: the rig is on fire" in shown
    assert "succeeded" in shown
    assert len(shown.splitlines()) == 1 + 6
    assert len(busy.service.run("ps", "--all", "--limit", "2").stdout.splitlines()) == 1 + 2


def test_json_is_for_programs(busy):
    rows = json.loads(busy.service.run("ps", "--all", "--json").stdout)
    assert all(set(row) >= QUEUED_FIELDS for row in rows)
    by_id = {row["id"]: row for row in rows}
    assert [by_id["three-1"][name] for name in ("state", "outcome", "code")] == ["ended", "failed", 3]
    assert by_id["m2"]["priority"] == 7
    assert by_id["gated-1"]["started"] is not None
    since = datetime.fromisoformat(by_id["gated-1"]["submitted"])
    assert timedelta() < datetime.now(UTC) - since < timedelta(minutes=5)
    assert [row["id"] for row in json.loads(busy.service.run("ps", "--json").stdout)] == [
        "gated-1", "conditionfailed-1", "m2",
    ]  # fmt: skip


def test_states_can_be_chosen(busy):
    rows = json.loads(busy.service.run("ps", "--state", "running", "--json").stdout)
    assert [row["id"] for row in rows] == ["gated-1"]


def test_it_says_so_where_nothing_is_there(variant):
    document = variant()
    assert document.service.run("ps").stdout == "nothing waits or runs\n"
    assert document.service.run("ps", "--all").stdout == "no petitions\n"
    assert json.loads(document.service.run("ps", "--json").stdout) == []


def test_without_a_service_it_ends_with_69(variant):
    document = variant()
    document.service.stop()
    shown = document.service.run("ps")
    assert (shown.stdout, shown.returncode) == ("", 69)
    assert shown.stderr.count("\n") == 1
