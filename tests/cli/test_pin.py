"""Commands that have processors of their own, through the real command and a real service."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from support.waiting import wait_for

USABLE = sorted(os.sched_getaffinity(0))
LIST = ",".join(map(str, USABLE[:2]))
PRINT = 'echo "$ORCHA_CPUS" $(grep Cpus_allowed_list /proc/self/status)'
"""Print what a process that the command starts is bound to."""

pytestmark = pytest.mark.skipif(len(USABLE) < 2, reason="processors of their own need two processors")


def detach(service, name, *words, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def bound(processor):
    return f"{processor} Cpus_allowed_list: {processor}\n"


def test_pinned_commands_have_processors_of_their_own_over_a_kill_of_the_service(serve, latch):
    wait = ("sh", "-c", f"{PRINT}; {latch.wait}; {PRINT}")
    service = serve(arguments=("serve", "commands", "--resource", f"cpu={LIST}"), environment={"ORCHA_COMMANDS": "9"})
    pinned = ("--need", "cpu=1", "--pin")
    for name in ("a", "b"):
        detach(service, name, *wait, options=pinned)
        wait_for(lambda name=name: shown(service, name)["state"] == "running", what="it runs")
    service.kill()
    service.start()
    detach(service, "c", "sh", "-c", PRINT, options=pinned)
    wait_for(lambda: shown(service, "c")["why"] == "it needs 1 cpu, 0 of 2 are free", what="it waits")
    detach(service, "free", "grep", "Cpus_allowed_list", "/proc/self/status")
    known = {name: shown(service, name) for name in ("a", "b")}
    for (name, each), processor in zip(known.items(), USABLE, strict=False):
        assert (each["command"]["pin"], each["attempts"][0]["devices"]) == (True, {"cpu": [str(processor)]})
        beside = service.run("exec", name, "--", "sh", "-c", PRINT)
        assert (beside.stdout, beside.stderr) == (bound(processor), "")
    latch.open()
    assert service.ask("wait", "a", "b", "c", "free").returncode == 0
    for name, processor in zip(("a", "b"), USABLE, strict=False):
        assert service.run("logs", name).stdout == bound(processor) * 2
    assert service.run("logs", "c").stdout in {bound(each) for each in USABLE[:2]}
    text = service.ask("show", "c").stdout
    assert ("pin" in text, "devices cpu " in text) == (True, True), text
    ours = re.findall("Cpus_allowed_list.*\n", Path("/proc/self/status").read_text())
    assert [service.run("logs", "free").stdout] == ours  # the shim that ran pinned commands, too, is bound to nothing


def test_scripts_arrays_schedules_and_set_pin_too(serve, tmp_path):
    service = serve(arguments=("serve", "commands", "--resource", f"cpu={LIST}"), environment={"ORCHA_COMMANDS": "9"})
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\n#ORCHA --need cpu=1 --pin\n{PRINT}\n")
    script.chmod(0o755)
    either = {bound(each) for each in USABLE[:2]}
    assert service.run("run", str(script)).stdout in either
    detach(service, "each", "sh", "-c", PRINT, options=("--array", "1-3", "--need", "cpu=1", "--pin"))
    assert service.ask("wait", "each").returncode == 0
    assert {service.run("logs", f"each.{number}").stdout for number in (1, 2, 3)} <= either
    added = service.ask("cron", "add", "night", "30 3 * * *", "--need", "cpu=1", "--pin", "--", "sh", "-c", PRINT)
    assert added.returncode == 0, added.stderr
    now = service.ask("cron", "now", "night").stdout.split()[0]
    assert service.ask("wait", now).returncode == 0
    assert service.run("logs", now).stdout in either
    detach(service, "later", "sh", "-c", PRINT, options=("--in", "1h"))
    refused = service.ask("set", "later", "--pin")
    assert (refused.returncode, "say how many, as in --need cpu=2" in refused.stderr) == (1, True), refused.stderr
    assert service.ask("set", "later", "--pin", "--need", "cpu=1").returncode == 0
    refused = service.ask("set", "later", "--unset", "need")
    assert (refused.returncode, "say how many, as in --need cpu=2" in refused.stderr) == (1, True), refused.stderr
    assert service.ask("set", "later", "--unset", "at").returncode == 0
    assert service.ask("wait", "later").returncode == 0
    assert service.run("logs", "later").stdout in either
    assert shown(service, "later")["changes"][0]["what"]["pin"] == [None, True]


def test_what_cannot_be_pinned_is_refused_with_the_cure_and_never_runs_unbound(serve):
    service = serve(arguments=("serve", "commands", "--resource", f"cpu={LIST}"))
    detach(service, "a", "true", options=("--need", "cpu=1", "--pin", "--in", "1h"))
    for resource, need, code, text in (
        (LIST, (), 2, "--pin gives the command processors of its own: say how many, as in --need cpu=2"),
        (LIST, ("--need", "cpu=0.5"), 2, "--pin gives the command whole processors, not cpu=0.5: need cpu=1 or more"),
        ("a,b", ("--need", "cpu=1"), 125, "cpu:a is no processor of the service: serve with --resource cpu="),
        ("2", ("--need", "cpu=1"), 125, "cpu is an amount here: serve with --resource cpu="),
    ):
        assert service.ask("resource", "set", f"cpu={resource}").returncode == 0
        refused = service.run("run", *need, "--pin", "--", "true")
        assert (refused.returncode, text in refused.stderr) == (code, True), refused.stderr
    assert service.ask("set", "a", "--unset", "at").returncode == 0
    assert service.ask("wait", "a").returncode == 125
    assert "cannot pin the command to processors without a number" in shown(service, "a")["reason"]
