"""``orcha run`` on a terminal: what a person sees, and types."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 2
"""Commands that the service runs."""


def run(service, *arguments, **options):
    return service.run("run", *arguments, **{"text": False} | options)


def rows(service, *arguments):
    return json.loads(service.ask("ps", "--json", *arguments).stdout)


def row_of(service, identity):
    return next((row for row in rows(service, "--all") if row["id"] == identity), None)


def wait_for_state(service, identity, *states):
    return wait_for(
        lambda: (row := row_of(service, identity)) and row["state"] in states and row,
        what=f"{identity} being {' or '.join(states)}",
    )


@pytest.fixture
def fill(service, tmp_path):
    """Give a function that occupies both places, until the test ends."""

    def occupy():
        for name in ("block-1", "block-2"):
            assert run(service, "--detach", "--name", name, "--", "sleep", "1000").returncode == 0
            wait_for_state(service, name, "starting", "running")

    yield occupy
    service.ask("cancel", "block-1", "block-2")


def on_terminal(service, *arguments, **options):
    return OnTerminal(service.orcha("run", *arguments), service.environment, **options)


def test_a_terminal_is_told_its_place_and_why_and_the_line_goes(service, fill):
    fill()
    with on_terminal(service, "--name", "it", "--", "sh", "-c", "echo first; exit 4") as it:
        it.until(b"orcha: it waits: next; 2 of 2 slots of the machine are in use (Ctrl+] d leaves)")
        assert service.ask("cancel", "block-1").returncode == 0
        it.until(b"first")
        before, _, after = it.seen.rpartition(b"first")
        assert before.endswith(b"\r\x1b[K")
        assert it.end() == 4
        assert b"waits" not in after
        assert it.mode() == it.before


def test_a_terminal_is_told_how_many_are_before_it(service, fill):
    fill()
    for name in ("a", "b"):
        assert run(service, "--detach", "--name", name, "true").returncode == 0
    with on_terminal(service, "--name", "it", "true") as it:
        it.until(b"orcha: it waits: 2 before it; 2 of 2 slots of the machine are in use")
        assert service.ask("cancel", "a").returncode == 0
        it.until(b"orcha: it waits: 1 before it; ")
        service.ask("cancel", "block-1", "b")
        assert it.end() == 0


@pytest.mark.parametrize("verb", ["run", "attach"])
def test_a_terminal_is_told_that_it_waits_to_be_tried_again(service, verb):
    script = ("--name", "it", "--retry", "1", "--retry-delay", "1h", "--", "sh", "-c", "echo failed; exit 9")
    if verb == "attach":
        assert run(service, "--detach", *script).returncode == 0
    command = service.orcha(*(("run", *script) if verb == "run" else ("attach", "it")))
    with OnTerminal(command, service.environment) as it:
        it.until(b"failed")
        it.until(b"orcha: it waits: attempt 1 ended with 9: it is tried again")
        it.type(b"\x03")
        assert it.end() == 130


def test_in_a_pipe_one_line_says_that_it_waits(service, fill):
    fill()
    assert run(service, "--detach", "--name", "before", "true").returncode == 0
    with on_terminal(service, "--name", "it", "--", "echo", "x", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as it:
        line = it.process.stderr.readline()
        assert line == b"orcha: it is queued, 1 before it; 2 of 2 slots of the machine are in use\n"
        service.ask("cancel", "block-1")
        assert it.process.communicate(timeout=DEADLINE) == (b"x\n", b"")


def test_in_a_pipe_nothing_is_said_of_what_runs(service, tmp_path):
    script = "sleep 3; echo x"  # longer than the two seconds after which a wait is told
    with on_terminal(service, "--", "sh", "-c", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as it:
        assert it.process.communicate(timeout=DEADLINE) == (b"x\n", b"")


def test_the_keys_leave_it_running_and_say_how_to_come_back(service):
    with on_terminal(service, "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000") as it:
        it.until(b"ready")
        it.type(b"x\x1dy")  # no part of it, or the first key alone
        it.type(b"\x1dd")
        assert it.end() == 0
        assert b"orcha attach it" in it.seen
        assert it.mode() == it.before
    assert row_of(service, "it")["outcome"] is None
    assert service.ask("cancel", "it").returncode == 0


def test_other_keys_can_be_chosen(service):
    with OnTerminal(
        service.orcha("run", "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000"),
        service.environment | {"ORCHA_DETACH_KEYS": "ctrl-p,ctrl-q"},
    ) as it:
        it.until(b"ready")
        it.type(b"\x1dd\x10\x11")
        assert it.end() == 0
    assert service.ask("cancel", "it").returncode == 0


@pytest.mark.parametrize("keys", [b"\x03", b"\x03\x03"])
def test_ctrl_c_on_a_terminal_cancels(service, keys):
    with on_terminal(service, "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000") as it:
        it.until(b"ready")
        it.type(keys)
        assert it.end() == 130
        assert it.mode() == it.before
    assert row_of(service, "it")["outcome"] == "cancelled"


def test_a_pager_has_the_terminal_for_itself(service):
    """Where standard output is a pipe its reader may read the terminal: the mode stays, no key is taken."""
    with on_terminal(service, "--", "sh", "-c", "echo ready; exec sleep 1000", stdout=subprocess.PIPE) as it:
        assert it.process.stdout.readline() == b"ready\n"
        assert it.mode() == it.before
        it.type(b"\x03")
        assert it.end() == 130


def test_ctrl_z_stops_the_client_alone_and_leaves_the_terminal_as_it_was(service):
    script = 'set -m; "$@"; echo "stopped $?"; read -r _; fg > /dev/null; echo "ended $?"'
    command = service.orcha("run", "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000")
    with OnTerminal(["bash", "-c", script, "-", *command], service.environment) as it:
        it.until(b"ready")
        assert it.mode() != it.before
        it.type(b"\x1a")
        it.until(b"stopped 148")
        assert it.mode() == it.before
        assert row_of(service, "it")["outcome"] is None
        it.type(b"\n")
        wait_for(lambda: it.mode() != it.before, what="the terminal's mode changed again")
        it.type(b"\x03")
        it.until(b"ended 130")
        assert it.end() == 0
        assert it.mode() == it.before


def test_in_the_background_it_takes_no_keys_and_in_the_foreground_it_does(service):
    script = 'set -m; "$@" & read -r _; fg > /dev/null; echo "ended $?"'
    command = service.orcha("run", "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000")
    with OnTerminal(["bash", "-c", script, "-", *command], service.environment) as it:
        it.until(b"ready")
        assert it.mode() == it.before
        it.type(b"\n")
        wait_for(lambda: it.mode() != it.before, what="the terminal's mode changed")
        it.type(b"\x1dd")
        it.until(b"ended 0")
        assert it.end() == 0
        assert it.mode() == it.before
    assert service.ask("cancel", "it").returncode == 0


def test_where_nobody_could_continue_it_ctrl_z_does_nothing(service):
    with on_terminal(service, "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000") as it:
        it.until(b"ready")
        it.type(b"\x1a")
        it.type(b"\x03")
        assert it.end() == 130
        assert it.mode() == it.before


@pytest.mark.parametrize("tty", [(), ("--tty",)])
def test_ctrl_backslash_ends_the_client_alone_and_leaves_the_terminal_as_it_was(service, tty):
    """For a command with a terminal it is a key, so the signal comes from elsewhere."""
    command = service.orcha("run", *tty, "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000")
    with OnTerminal(["sh", "-c", 'ulimit -c 0; exec "$@"', "sh", *command], service.environment) as it:
        it.until(b"ready")
        assert it.mode() != it.before
        if tty:
            it.process.send_signal(signal.SIGQUIT)
        else:
            it.type(b"\x1c")
        assert it.end() == -signal.SIGQUIT
        assert it.mode() == it.before
    assert row_of(service, "it")["outcome"] is None
    assert service.ask("cancel", "it").returncode == 0
