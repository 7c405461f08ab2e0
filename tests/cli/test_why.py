"""``orcha why`` through the real command and a real service."""

from __future__ import annotations

import json
import time

import pytest

from orcha._cli import render
from support.waiting import wait_for

AT_ONCE = 1
"""Commands that the service runs."""


def detach(service, name, *words, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.fixture
def busy(service):
    """Have one command running, as long as the test."""
    detach(service, "busy", "sleep", "1000")
    wait_for(lambda: "busy is running\n" in service.run("why", "busy").stdout)
    yield service
    service.ask("cancel", "busy")


def test_what_waits_says_for_what_who_holds_it_and_what_ends_it(busy):
    detach(busy, "next", "true")
    detach(busy, "it", "true", options=("--after", "busy"))
    assert busy.run("pause", "it").returncode == 0
    said = busy.run("why", "it").stdout.splitlines()
    assert said[0].startswith("it is queued, and was asked for ")
    since = [line for line in said if line.startswith("    since ")]
    assert [line.partition("), ")[2].startswith("by ") for line in since] == [True, False, False]
    assert [line for line in said[1:] if line not in since] == [
        "  - it is paused",
        "    until somebody resumes it: orcha resume it",
        "  - it waits for busy to end",
        "    until those petitions have ended",
        "  - 1 of 1 slots of the machine is in use",
        "    held by busy",
        "    until a command ends, or the service is started with a higher ORCHA_COMMANDS",
        "when it starts cannot be foretold",
    ]
    shown = json.loads(busy.run("why", "it", "--json").stdout)
    assert [reason["kind"] for reason in shown["blocked"]] == ["petition_paused", "after_others", "machine_full"]
    busy.run("cancel", "it", "next")


def test_times_of_reasons_are_in_the_zone_of_the_reader_and_in_utc_for_programs(service):
    detach(service, "later", "true", options=("--at", "2100-01-31T22:00+00:00"))
    there = service.environment | {"TZ": "NINE-9"}
    for words in (("why", "later"), ("ps",), ("show", "later")):
        shown = " ".join(service.run(*words, env=there, warm=False).stdout.split())
        assert "it starts at 2100-02-01 07:00:00 at the earliest" in shown, words
    (row,) = json.loads(service.run("ps", "--json", env=there).stdout)
    shown = json.loads(service.run("why", "later", "--json", env=there).stdout)
    for text in (row["why"], shown["why"], shown["blocked"][0]["text"]):
        assert text == "it starts at 2100-01-31 22:00:00 UTC at the earliest"
    service.ask("cancel", "later")


@pytest.mark.parametrize(
    "text", ["9999-12-31 23:59:59 UTC", "2100-13-01 00:00:00 UTC", "12100-01-01 00:00:00 UTC", "UTC"]
)
def test_what_is_no_time_in_the_zone_of_the_reader_stays(monkeypatch, text):
    monkeypatch.setenv("TZ", "NINE-9")
    time.tzset()
    try:
        assert render.local(f"until {text}: why") == f"until {text}: why"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_has_ended_tells_its_story(service):
    detach(service, "it", "sh", "-c", "exit 3", options=("--retry", "1", "--retry-delay", "0.01s"))
    assert service.ask("wait", "it").returncode == 3
    said = service.run("why", "it").stdout.splitlines()
    assert said[0] == "it is failed (3)"
    told = [line[23:].partition(", after it had waited")[0] for line in said[1:]]
    assert told[0].startswith("asked for by ")
    assert told[1:4] == ["attempt 1 started", "attempt 1 failed, code 3", "attempt 2 started"]
    assert told[4].startswith("attempt 2 failed, code 3")


def test_there_is_no_such_petition(service):
    done = service.run("why", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nobody" in done.stderr
