"""The log of a daemon: one line an event, with its time, what was run, for whom, and how it ended."""

from __future__ import annotations

import getpass
import os
import re

import pytest

from support import warm
from support.ports import free_port
from support.processes import processes_of
from support.waiting import DEADLINE, wait_for

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


@pytest.fixture
def daemon(serve, with_plugins, orcha_home):
    """Give a function that runs an orcha command, and one that reads the log of the daemon that it is about."""
    port = free_port()
    serve.know_plugins()
    environment = serve.environment() | with_plugins

    def run(*words):
        command = [os.sys.executable, "-m", "orcha", "--port", str(port), *words]
        return warm.run(command, env=environment, capture_output=True, text=True, timeout=2 * DEADLINE)

    run.log = lambda: (orcha_home / f"127.0.0.1-{port}" / "service.log").read_text().splitlines()
    run.environment = environment
    started = run("serve", "--background")
    assert started.returncode == 0, started.stderr
    yield run
    run("stop", "--now")
    wait_for(lambda: not processes_of(orcha_home), what="the end of the daemon")


def about(daemon, identity, count):
    """Wait until the log has so many lines about a petition; give them without their times."""

    def lines():
        found = [TIME.sub("", line) for line in daemon.log() if f"petition {identity} " in line]
        return found if len(found) >= count else None

    return wait_for(lines, what=f"the lines about {identity}")


def test_each_petition_has_a_line_for_its_beginning_and_one_for_its_end(daemon):
    user = getpass.getuser()
    assert daemon("run", "--name", "m1", "--", "sh", "-c", "echo TOKEN=hidden; exit 3").returncode == 3
    daemon("run", "--name", "m2", "--", "env", "PASSWORD=hidden", "true")
    daemon("run", "--name", "m3", "--", "no-such-program-anywhere")
    daemon("run", "--name", "m4", "--timeout", "0.2", "--", "sleep", "600")
    daemon("run", "--name", "m5", "--", "echo", "x" * 1_000, "a\nb\x1b[2J")
    begin, end = about(daemon, "m1", 2)
    assert begin.startswith(f"INFO: petition m1 of {user} (sh -c ")
    assert begin.endswith(" begins")
    assert re.search(r"\) ends: failed \(3\), [\d.e-]+ s after its start$", end)
    assert "ends: succeeded (0)" in about(daemon, "m2", 2)[1]
    assert "no-such-program-anywhere" in about(daemon, "m3", 2)[1]
    assert "ends: timed out (124)" in about(daemon, "m4", 2)[1]
    assert max(map(len, about(daemon, "m5", 2))) < 400
    for identity in ("m1", "m2", "m3", "m4", "m5"):
        assert len(about(daemon, identity, 2)) == 2
    text = "\n".join(daemon.log())
    assert "hidden" not in text
    assert "\x1b" not in text


def test_every_line_has_its_time_and_no_line_comes_twice(daemon):
    daemon("run", "--name", "m1", "--", "true")
    about(daemon, "m1", 2)
    assert daemon("stop").returncode == 0
    lines = daemon.log()
    assert all(TIME.match(line) for line in lines), lines
    assert len(set(lines)) == len(lines)
    assert any("orcha: serving " in line for line in lines)
    assert lines[-1].endswith("INFO: the service is stopping")


def test_what_the_next_start_finds_has_a_line(daemon):
    assert daemon("run", "-d", "--name", "m1", "--", "sleep", "600").returncode == 0
    about(daemon, "m1", 1)
    running = '"state": "running"'  # until then nobody knows whether it was executed, and it may begin anew
    wait_for(lambda: running in daemon("ps", "--json").stdout, what="the command")
    assert daemon("stop", "--keep-commands").returncode == 0
    assert daemon("serve", "--background").returncode == 0
    begins, goes_on = about(daemon, "m1", 2)
    assert begins.endswith("(sleep 600) begins")
    assert goes_on.endswith("(sleep 600) goes on")
    assert daemon("cancel", "m1").returncode == 0
    assert "ends: cancelled (130)" in about(daemon, "m1", 3)[2]


def test_what_the_service_is_told_to_leave_out_is_left_out(daemon):
    assert daemon("stop").returncode == 0
    daemon.environment["ORCHA_LOG_RUNS"] = "0"
    assert daemon("serve", "--background").returncode == 0
    daemon("run", "--name", "m9", "--", "true")
    daemon("stop")
    assert not [line for line in daemon.log() if "m9" in line]
