"""Commands that wait for the ends of others, through the real command and a real service."""

from __future__ import annotations

import json
import re

from support.waiting import wait_for

AT_ONCE = 2
"""Commands that the service runs."""


def detach(service, name, *words, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


def rows(service, *more):
    return {row["id"]: row for row in json.loads(service.ask("ps", "--all", "--json", *more).stdout)}


def state(service, name):
    row = rows(service)[name]
    return row["outcome"] or row["state"]


def build(service, latch, code=0):
    script = f"{latch.wait}; exit {code}"
    detach(service, "build", "sh", "-c", script)


def test_a_chain_waits_over_a_kill_and_runs_in_its_order(own_service, latch, tmp_path):
    service, order = own_service, tmp_path / "order"
    build(service, latch)
    detach(service, "test", "sh", "-c", f"echo test >> {order}", options=("--after-ok", "build"))
    detach(service, "report", "sh", "-c", f"echo report >> {order}", options=("--after", "test", "--after", "build"))
    service.kill()
    service.start()
    assert rows(service)["report"]["why"] == "it waits for build and test to end"
    latch.open()
    assert service.ask("wait", "report").returncode == 0
    assert order.read_text() == "test\nreport\n"


def test_who_waits_for_what_failed_is_told_which_and_ends_as_cancelled(service, latch):
    build(service, latch, code=3)
    command = service.orcha("run", "--name", "test", "--after-ok", "build", "--", "true")
    client = service.spawn(*command, stdout=-1, stderr=-1)
    wait_for(lambda: "test" in rows(service), what="it is there")
    latch.open()
    out, err = client.communicate()
    assert (out, client.returncode) == (b"", 130)
    assert b"orcha: test was cancelled: it comes after 'build', which did not succeed\n" in err


def test_the_tree_and_show_draw_what_waits_for_what(service, latch):
    build(service, latch)
    detach(service, "unit", "true", options=("--after-ok", "build"))
    detach(service, "lint", "true", options=("--after", "build"))
    detach(service, "deploy", "true", options=("--after-ok", "unit", "--after-ok", "lint"))
    lines = service.ask("ps", "--tree").stdout.splitlines()[1:]
    drawn = [re.split(" +(?:queued|starting|running)", line)[0] for line in lines]
    assert drawn == ["build", "├─ unit", "└─ lint", "   └─ deploy"]
    shown = service.ask("show", "deploy").stdout
    assert "after:         unit (must succeed, queued), lint (must succeed, queued)\n" in shown
    assert "dependents:    unit lint\n" in service.ask("show", "build").stdout
    assert len(rows(service)["deploy"]["after"]) == 2
    latch.open()
    assert service.ask("wait", "deploy").returncode == 0


def test_it_may_be_held_or_run_all_the_same(service, latch):
    build(service, latch, code=3)
    for policy in ("hold", "run"):
        detach(service, policy, "true", options=("--after-ok", "build", "--if-dependency-fails", policy))
    latch.open()
    assert service.ask("wait", "run").returncode == 0
    assert "build, which did not succeed: resume it" in rows(service)["hold"]["why"]
    assert service.ask("resume", "hold").returncode == 0
    assert service.ask("wait", "hold").returncode == 0


def test_a_held_command_names_what_failed_after_a_restart_and_not_what_succeeded(own_service, latch):
    build(own_service, latch, code=3)
    detach(own_service, "later", "true")
    options = ("--after-ok", "build", "--after-ok", "later", "--if-dependency-fails", "hold")
    detach(own_service, "hold", "true", options=options)
    assert own_service.ask("wait", "later").returncode == 0
    latch.open()
    wait_for(lambda: "resume it" in (rows(own_service)["hold"]["why"] or ""))
    told = rows(own_service)["hold"]["why"]
    assert told.startswith("it comes after build,")
    own_service.kill()
    own_service.start()
    assert rows(own_service)["hold"]["why"] == told


def test_wrong_options_are_named_with_the_cure(service):
    unknown = service.run("run", "--after", "nobody\x1b", "--", "true")
    assert (unknown.returncode, unknown.stdout) == (125, "")
    assert "there is no petition 'nobody\\x1b' to wait for: orcha ps --all shows" in unknown.stderr
    alone = service.run("run", "--if-dependency-fails", "run", "--", "true")
    assert alone.returncode == 2
    assert "give --after-ok ID too" in alone.stderr
