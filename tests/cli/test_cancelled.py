"""Who watches a petition that somebody else cancels is told who did, and why."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess

import pytest

from orcha.interfaces import Message
from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 1
"""Commands that the service runs."""
ME = pwd.getpwuid(os.getuid()).pw_name
WHY = f"it was cancelled by {ME}: it is late"


def detach(service, name, *options, script="echo ready; exec sleep 1000"):
    done = service.ask("run", "--detach", "--name", name, *options, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr


def watching(service, *arguments):
    return service.spawn(*service.orcha(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def state(service, name):
    return next((row["state"] for row in json.loads(service.ask("ps", "--json").stdout) if row["id"] == name), None)


@pytest.mark.parametrize("verb", [("run",), ("attach", "it"), ("logs", "-f", "it"), ("wait", "it")])
def test_it_is_told_on_standard_error(service, verb):
    words = ["--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000"] if verb == ("run",) else []
    if not words:
        detach(service, "it")
    client = watching(service, *verb, *words)
    if verb[0] != "wait":
        assert client.stdout.readline() == "ready\n"
    assert service.run("cancel", "it", "--why", "it is late").returncode == 0
    out, err = client.communicate(timeout=DEADLINE)
    assert (out, client.returncode) == ("", 0 if verb[0] == "logs" else 130)
    assert err == f"orcha: {WHY}\n"


def test_it_is_told_while_it_waits_for_its_turn_too(service):
    detach(service, "first")
    client = watching(service, "run", "--name", "it", "--", "true")
    wait_for(lambda: state(service, "it") == "queued", what="it waits")
    assert service.run("cancel", "it", "--why", "it is late").returncode == 0
    out, err = client.communicate(timeout=DEADLINE)
    assert (out, client.returncode, err.splitlines()[-1]) == ("", 130, f"orcha: {WHY}")


def test_on_a_terminal_without_what_would_move_the_cursor(service):
    command = service.orcha("run", "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000")
    with OnTerminal(command, service.environment) as it:
        it.until(b"ready")
        assert service.run("cancel", "it", "--why", "\x1b[2Jx").returncode == 0
        assert it.end() == 130
        assert f"orcha: it was cancelled by {ME}: \\x1b[2Jx".encode() in it.seen


def test_who_cancels_it_here_is_told_nothing(service):
    client = watching(service, "run", "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000")
    assert client.stdout.readline() == "ready\n"
    other = watching(service, "attach", "it")
    assert other.stdout.readline() == "ready\n"
    client.send_signal(signal.SIGINT)
    assert (client.communicate(timeout=DEADLINE)[1], client.returncode) == ("", 130)
    _, err = other.communicate(timeout=DEADLINE)
    assert (err, other.returncode) == (f"orcha: it was cancelled by {ME}: its client got SIGINT\n", 130)


def test_a_command_that_ends_with_130_by_itself_was_not_cancelled(service):
    done = service.run("run", "--", "sh", "-c", "exit 130")
    assert (done.returncode, done.stderr) == (130, "")


def test_of_a_plugins_petition_it_is_told_too(serve, connect, gate):
    service = serve()
    client = connect(service)
    queue = client.manager.Queue()
    client.send(Message("it", {"queue": queue, "gate": gate.path, "process": True}))
    gate.wait_until_reached()
    watcher = watching(service, "attach", "it")
    assert service.run("cancel", "it", "--why", "it is late").returncode == 0
    assert (watcher.communicate(timeout=DEADLINE)[1], watcher.returncode) == (f"orcha: {WHY}\n", 130)
