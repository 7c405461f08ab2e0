"""A command of a known length goes before a command that waits for more than is free: the real command and service."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from orcha._cli.like import MIN_LIKE_PETITIONS
from support.waiting import wait_for


@pytest.fixture
def service(serve):
    return serve(
        arguments=("serve", "commands", "--resource", "gpu=2"), environment={"ORCHA_COMMANDS": "9", "TZ": "UTC"}
    )


def detach(service, name, *words, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def blocked(service, name):
    return json.loads(service.ask("why", "--json", name).stdout)["blocked"]


def has_begun(service, name):
    wait_for(lambda: shown(service, name)["state"] == "running", what=f"{name} runs")


def test_who_would_end_before_a_large_one_starts_goes_before_it(service):
    detach(service, "long", "sleep", "1000", options=["--need", "gpu=1", "--expect", "1h"])
    has_begun(service, "long")
    detach(service, "big", "true", options=["--need", "gpu=2", "--expect", "1h"])
    detach(service, "late", "true", options=["--need", "gpu=1", "--timeout", "2h"])
    detach(service, "unknown", "true", options=["--need", "gpu=1"])
    detach(service, "short", "true", options=["--need", "gpu=1", "--timeout", "30m"])
    assert service.ask("wait", "short").returncode == 0
    assert [shown(service, name)["state"] for name in ("big", "late", "unknown")] == ["queued"] * 3

    [reason] = blocked(service, "late")
    due = datetime.fromisoformat(shown(service, "long")["started"]).timestamp() + 3600
    assert (reason["kind"], reason["first"]["id"], reason["overdue"]) == ("held_free", "big", [])
    assert abs(reason["due"] - due) <= 1
    said = service.ask("why", "late").stdout
    assert "it needs 1 gpu, 1 of 2 is free, held free for an earlier petition until about 20" in said
    assert "    held free for big (" in said
    assert [each["kind"] for each in blocked(service, "unknown")] == ["behind_another"]
    assert "until about 20" in service.ask("why", "big").stdout, "who holds what it needs is expected to end then"

    assert service.ask("set", "late", "--timeout", "10m").returncode == 0
    assert service.ask("wait", "late").returncode == 0, "what people change is known at once"
    service.ask("cancel", "long")
    assert service.ask("wait", "big", "unknown").returncode == 0


def test_what_the_same_command_took_is_expected_where_its_owner_asks_for_that(service):
    again = ["--expect-like", "--need", "gpu=1", "--", "sleep", "0.01"]
    said = service.run("run", "--name", "first", *again).stderr
    assert "nothing is expected: the same command was run 0 times of late, and 5 times are wanted" in said
    for number in range(MIN_LIKE_PETITIONS - 1):
        assert service.run("run", "--name", f"run{number}", "--", "sleep", "0.01").returncode == 0
    assert shown(service, "first")["expect"] is None
    done = service.ask("run", "--detach", "--name", "next", *again)
    assert "it is expected to take " in done.stderr
    assert shown(service, "next")["expect"] >= 1
    source = shown(service, "next")["expect_source"]
    assert source.startswith("the longest of 5 petitions that ran the same command took ")
    service.ask("run", "--detach", "--name", "later", "--in", "1h", *again)
    assert ": the longest of " in service.ask("why", "later").stdout
    assert service.ask("set", "later", "--expect", "2h").returncode == 0
    assert shown(service, "later")["expect_source"] is None, "people know better"
    for more in (["--expect", "1h"], ["--array", "1-2"]):
        done = service.run("run", *more, *again)
        assert (done.returncode, "--expect-like is for one command" in done.stderr) == (2, True)


def test_a_length_that_proves_wrong_is_told_and_delays_alone(service):
    detach(service, "long", "sleep", "1000", options=["--need", "gpu=1", "--expect", "0.01s"])
    has_begun(service, "long")
    detach(service, "big", "true", options=["--need", "gpu=2", "--expect", "1h"])
    detach(service, "short", "true", options=["--need", "gpu=1", "--expect", "0.01s"])
    wait_for(lambda: [each["kind"] for each in blocked(service, "short")] == ["held_free"], what="it is overdue")
    [reason] = blocked(service, "short")
    assert (reason["due"], reason["overdue"]) == (None, ["long"])
    assert "    longer than expected: long\n" in service.ask("why", "short").stdout
    assert " longer than expected)\n" in service.ask("why", "big").stdout
    service.ask("cancel", "long")
    assert service.ask("wait", "big", "short").returncode == 0
