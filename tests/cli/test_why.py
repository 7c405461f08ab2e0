"""``orcha why`` through the real command and a real service."""

from __future__ import annotations

import json

import pytest

from support.waiting import wait_for

AT_ONCE = 1
"""Commands that the service runs."""


def detach(service, name, *words, options=()):
    done = service.run("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.fixture
def busy(service):
    """Have one command running, as long as the test."""
    detach(service, "busy", "sleep", "1000")
    wait_for(lambda: "busy is running\n" in service.run("why", "busy").stdout)
    yield service
    service.run("cancel", "busy")


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


def test_what_has_ended_tells_its_story(service):
    detach(service, "it", "sh", "-c", "exit 3", options=("--retry", "1", "--retry-delay", "0.01s"))
    assert service.run("wait", "it").returncode == 3
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
