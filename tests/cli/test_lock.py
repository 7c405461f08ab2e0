"""Leases: taken by people, through the real command and a real service."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.emptying import empty
from orcha._cli.lease import Lease
from support.service import Serve
from support.terminals import OnTerminal
from support.waiting import wait_for

SERVE = ("serve", "commands", "--resource", "rig=a,b", "--resource", "gpu=0,1")


@pytest.fixture(scope="module")
def with_rigs(tmp_path_factory):
    """Give a service with devices, for all tests that leave it as it is."""
    home = Path(tempfile.mkdtemp(prefix="orcha-"))
    factory = Serve(home, tmp_path_factory.mktemp("rigs"))
    yield factory(arguments=SERVE, environment={"ORCHA_COMMANDS": "9"})
    problems = factory.close()
    assert not problems, "; ".join(problems)
    shutil.rmtree(home)


@pytest.fixture
def rigs(with_rigs, monkeypatch):
    """Give a service with devices, on which nothing is when the test begins."""
    monkeypatch.setenv("ORCHA_HOME", str(with_rigs.home))
    yield with_rigs
    with_rigs.end_clients()
    empty(with_rigs)


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def state(service, name):
    return shown(service, name)["state"]


def lock(service, name, *words):
    done = service.ask("lock", "--detach", "--name", name, *words)
    assert (done.stdout, done.stderr, done.returncode) == (f"{name}\n", "", 0)


def held(service):
    found = json.loads(service.ask("resource", "ls", "--json").stdout)
    return {
        f"{each['resource']}:{device['name']}": [holder["id"] for holder in device["holders"]]
        for each in found
        for device in each["devices"]
    }


def test_a_lease_holds_a_device_over_a_kill_until_it_is_given_back(serve):
    rigs = serve(arguments=SERVE, environment={"ORCHA_COMMANDS": "9"})
    lock(rigs, "mine", "rig=a", "--for", "2h", "--why", "soldering")
    wait_for(lambda: state(rigs, "mine") == "running", what="it is held")
    lock(rigs, "next", "rig:a", "--for", "1h")
    assert rigs.ask("run", "--detach", "--name", "command", "--need", "rig=1@name=a", "--", "true").returncode == 0
    wait_for(lambda: "0 of 1 are free" in (shown(rigs, "next")["why"] or ""), what="the next one waits")
    before = shown(rigs, "mine")["until"]
    rigs.kill()
    rigs.start()
    assert shown(rigs, "mine")["until"] == before
    wait_for(lambda: held(rigs)["rig:a"] == ["mine"], what="it is held after the kill, too")
    assert [state(rigs, name) for name in ("mine", "next", "command")] == ["running", "queued", "queued"]
    said = rigs.run("why", "command").stdout
    assert "held by mine (rig:a, lent to root until " in said
    assert ": soldering)" in said
    assert rigs.run("unlock", "rig=a").returncode == 0
    wait_for(lambda: held(rigs)["rig:a"] == ["next"], what="the next one has it")
    assert state(rigs, "command") == "queued"
    assert rigs.run("unlock", "next").returncode == 0
    assert rigs.run("wait", "command").returncode == 0
    assert shown(rigs, "mine")["outcome"] == "succeeded"


def test_who_has_what_and_until_when_is_told_by_every_verb(rigs):
    lock(rigs, "mine", "gpu=0.5", "--for", "2h", "--why", "a demo")
    lock(rigs, "rig", "rig", "--for", "1h")
    wait_for(lambda: state(rigs, "rig") == "running", what="both are held")
    lines = [" ".join(line.split()) for line in rigs.run("resource", "ls").stdout.splitlines()]
    assert any(
        line.startswith("gpu:0 mine (0.5), lent to root until 20") and line.endswith(": a demo") for line in lines
    )
    rows = {row["id"]: row for row in json.loads(rigs.run("ps", "--json").stdout)}
    assert [rows[name]["command"] for name in ("mine", "rig")] == ["lock gpu=0.5", "lock rig=1"]
    assert rows["mine"]["until"] == shown(rigs, "mine")["until"]
    assert rows["mine"]["until"][:2] == "20"
    assert "lease:         why a demo, what 0.5 of gpu:0" in rigs.run("show", "mine").stdout
    assert rigs.run("why", "mine").stdout.endswith("its time is over, unless it is extended\n")
    told = rigs.run("extend", "rig", "1h")
    assert (told.returncode, told.stdout[:13], "wait" in told.stdout) == (0, "rig lasts unt", False), told.stderr
    assert shown(rigs, "rig")["expect"] == 7200
    refused = rigs.run("unlock", "rig:b", "rig")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "no lease has the id 'rig:b', and you have none of that" in refused.stderr
    assert state(rigs, "rig") == "ended"
    assert "lock rig=1" in rigs.run("history").stdout


def test_a_command_runs_while_the_lease_is_held_and_gives_it_back_when_it_ends(rigs):
    script = 'echo "$ORCHA_LEASE $ORCHA_RIG"; exit 3'
    ran = rigs.run("lock", "--name", "x", "--no-wait", "rig=b", "--", "sh", "-c", script)
    assert (ran.returncode, ran.stdout) == (3, "x b\n")
    assert ran.stderr == "orcha: x has rig:b\n"
    assert shown(rigs, "x")["outcome"] == "succeeded"
    ran = rigs.run("lock", "--for", "1", "rig=b", "--", "sleep", "600")
    assert (ran.returncode, ran.stderr.count("its time is over")) == (143, 1)
    ran = rigs.run("lock", "rig=b", "--", "/no/such/program")
    assert (ran.returncode, "No such file" in ran.stderr) == (127, True)
    assert held(rigs)["rig:b"] == []


def test_a_shell_runs_while_the_lease_is_held_and_is_hung_up_when_its_time_is_over(rigs, tmp_path):
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$ORCHA_LEASE $ORCHA_RIG"\nexec sleep "$SECONDS_LEFT"\n')
    shell.chmod(0o700)
    here = {**rigs.environment, "SHELL": str(shell), "SECONDS_LEFT": "0"}
    ran = rigs.run("lock", "--name", "x", "--shell", "rig=b", env=here)
    assert (ran.returncode, ran.stdout) == (0, "x b\n"), ran.stderr
    assert held(rigs)["rig:b"] == []
    ran = rigs.run("lock", "--name", "y", "--for", "1", "--shell", "rig=b", env=here | {"SECONDS_LEFT": "600"})
    assert (ran.returncode, ran.stderr.count("its time is over")) == (129, 1)


def test_what_cannot_be_had_at_once_is_not_waited_for_with_that_option(rigs):
    lock(rigs, "first", "rig:a", "--why", "soldering")
    wait_for(lambda: state(rigs, "first") == "running", what="it is held")
    refused = rigs.run("lock", "-n", "--name", "second", "rig=a")
    assert refused.returncode == 1
    assert "cannot be had at once: next; it needs 1 rig with name=a, 0 of 1 are free; first of root" in refused.stderr
    assert shown(rigs, "second")["outcome"] == "cancelled"
    assert rigs.run("lock", "--leave", "--name", "third", "rig=b").stdout == "third\n"
    assert held(rigs)["rig:b"] == ["third"]
    gave_up = rigs.run("lock", "--name", "fourth", "--queue-timeout", "100ms", "rig=a")
    assert gave_up.returncode == 124, gave_up.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing is named"),
        (("rig=1", "rig:a"), "rig is given twice"),
        (("rig@mem>=2G",), "'rig@mem>=2G' is no need"),
        (("rig", "--detach", "--", "true"), "--detach leaves"),
        (("rig", "--shell", "--", "true"), "--shell is a command already"),
        (("rig", "--leave", "--while-attached"), "--while-attached"),
    ],
)
def test_what_cannot_be_meant_is_said(orcha, words, said):
    refused = orcha.run("lock", *words)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_a_person_sees_what_a_lock_waits_for_what_it_got_and_gives_it_back_by_ctrl_c(rigs):
    lock(rigs, "first", "rig=a", "--why", "soldering")
    wait_for(lambda: state(rigs, "first") == "running", what="it is held")
    with OnTerminal(rigs.orcha("lock", "--name", "second", "rig=a"), rigs.environment) as it:
        it.resize(24, 200)
        it.until(b"second waits: next; it needs 1 rig with name=a, 0 of 1 are free; first of root has rig:a until ")
        assert rigs.run("unlock", "first").returncode == 0
        it.until(b"second has rig:a until ")
        it.until(b": Ctrl+C gives it back")
        it.forget()
        assert rigs.run("extend", "second", "2h").returncode == 0
        it.until(b"second has rig:a until ")
        it.type(b"\x03")
        assert it.end() == 0
        assert b"given back by uid:0" in it.seen
    assert held(rigs)["rig:a"] == []


def test_a_person_leaves_a_lock_that_waits_or_gives_it_up(rigs):
    lock(rigs, "first", "rig=a")
    with OnTerminal(rigs.orcha("lock", "--name", "left", "rig=a"), rigs.environment) as it:
        it.until(b"left waits")
        it.type(b"\x1dd")
        assert it.end() == 0
    assert state(rigs, "left") == "queued"
    with OnTerminal(rigs.orcha("lock", "--name", "given up", "rig=a"), rigs.environment) as it:
        it.until(b"given up waits")
        it.type(b"\x03")
        assert it.end() == 130
    assert shown(rigs, "given up")["outcome"] == "cancelled"


def test_why_foretells_the_end_of_the_lease_on_the_device_that_is_needed(rigs):
    """The other device is lent for longer, and a third one is drained: only the right one says when."""
    assert rigs.run("lock", "rig=a", "--for", "2h", "--detach").returncode == 0
    assert rigs.run("lock", "rig=b", "--for", "9h", "--detach").returncode == 0
    rigs.ask("run", "--detach", "--name", "bench", "--need", "rig=1@name=b", "--", "true")
    rigs.ask("run", "--detach", "--name", "quick", "--need", "rig=1@name=a", "--", "true")
    for name, hours in (("bench", 9), ("quick", 2)):
        found = json.loads(rigs.run("why", "--json", name).stdout)["estimate"]
        waits = datetime.fromisoformat(found["likely"]) - datetime.now(UTC)
        assert hours - 1 < waits.total_seconds() / 3600 <= hours, name


def test_the_warning_of_the_end_has_the_time_of_the_reader(monkeypatch):
    said = []
    service = SimpleNamespace(details=lambda _: {"state": "running", "until": 1.0})
    held = Lease(service, SimpleNamespace(tell=said.append), "mine", token=bytes(16), command=[])
    held.is_held, held._until = True, 1.0
    monkeypatch.setenv("TZ", "NINE-9")
    time.tzset()
    try:
        held._take("the lease of rig:a ends at 2100-01-31 22:00:00 UTC: orcha extend mine 1h\n")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert said == ["the lease of rig:a ends at 2100-02-01 07:00:00: orcha extend mine 1h\n"]
