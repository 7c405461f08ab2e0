"""What happens to a command whose output has no reader any more: one that left a pipe, or a broken connection."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess

import pytest

from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 4
"""Commands that the service runs."""


def row_of(service, name):
    rows = json.loads(service.ask("ps", "--all", "--json").stdout)
    return next((row for row in rows if row["id"] == name), None)


class Run:
    """A client whose command writes when the test says so."""

    def __init__(self, service, tmp_path, *options, verb="run", stdout, stderr, environment=None, **more):
        self.fifo = tmp_path / "go"
        os.mkfifo(self.fifo)
        script = 'echo ready; exec 3< "$1"; while read -r line <&3; do echo "$line"; done; exec sleep 1000'
        words = ["--name", "it", "--", "sh", "-c", script, "-", str(self.fifo)]
        if verb == "attach":
            assert service.ask("run", "--detach", *words).returncode == 0
        command = service.orcha(verb, *options, *(words if verb == "run" else ["it"]))
        self.service = service
        environment = service.environment | (environment or {})
        self.process = service.spawn(*command, stdout=stdout, stderr=stderr, env=environment, **more)

    def write(self):
        with self.fifo.open("w") as pipe, contextlib.suppress(BrokenPipeError):
            pipe.write("more\n")

    def ended(self, code):
        assert self.process.wait(DEADLINE) == code

    def goes_on(self):
        assert row_of(self.service, "it")["state"] == "running"
        assert self.service.ask("cancel", "it").returncode == 0

    def was_cancelled(self):
        wait_for(lambda: row_of(self.service, "it")["outcome"] == "cancelled", what="it is cancelled")


VERBS = pytest.mark.parametrize("verb", ["run", "attach"])
CHOICES = pytest.mark.parametrize("choice", [None, "cancel", "keep"])


def options(choice):
    return () if choice is None else ("--on-disconnect", choice)


@VERBS
@CHOICES
@pytest.mark.parametrize("merged", [False, True])
def test_a_pipes_reader_leaves(service, tmp_path, verb, choice, merged):
    stderr = subprocess.STDOUT if merged else subprocess.PIPE
    it = Run(service, tmp_path, *options(choice), verb=verb, stdout=subprocess.PIPE, stderr=stderr)
    assert it.process.stdout.readline() == b"ready\n"
    it.process.stdout.close()
    it.write()
    it.ended(141)
    if choice == "cancel" or (choice is None and verb == "run"):
        it.was_cancelled()
    else:
        if not merged:
            assert (b"it goes on: orcha attach it" in it.process.stderr.read()) == (verb == "run")
        it.goes_on()


@VERBS
@CHOICES
@pytest.mark.parametrize("kind", ["sockets", "pipes", "one pipe"])
def test_a_connection_breaks_off(service, tmp_path, verb, choice, kind):
    """As ssh without a terminal: what it gave is closed at once, each stream a pipe of its own, or a socket."""
    ours, theirs = [], []
    for _ in range(3):
        if kind == "sockets":
            here, there = (each.detach() for each in socket.socketpair())
        else:
            there, here = os.pipe()
        ours.append(here)
        theirs.append(there)
    if kind == "sockets":
        given = {"stdin": theirs[0], "stdout": theirs[1], "stderr": theirs[2]}
        first = ours[1]
    else:
        given = {"stdin": theirs[0], "stdout": ours[1], "stderr": ours[1 if kind == "one pipe" else 2]}
        first = theirs[1]
    environment = {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"} if kind == "one pipe" else {}
    it = Run(service, tmp_path, *options(choice), verb=verb, environment=environment, **given)
    stays = set(given.values())
    for descriptor in stays:
        os.close(descriptor)
    assert os.read(first, 6) == b"ready\n"
    for descriptor in {*ours, *theirs} - stays:
        os.close(descriptor)
    it.write()
    it.ended(141)
    if choice == "cancel":
        it.was_cancelled()
    else:
        it.goes_on()


def test_in_an_ssh_session_head_still_ends_it(service, tmp_path):
    environment = {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}
    reader, writer = os.pipe()
    it = Run(
        service,
        tmp_path,
        stdin=reader,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        environment=environment,
    )
    assert it.process.stdout.readline() == b"ready\n"
    it.process.stdout.close()
    it.write()
    it.ended(141)
    it.was_cancelled()
    os.close(reader)
    os.close(writer)


@VERBS
@CHOICES
@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_is_hung_up(service, tmp_path, verb, choice, ignored):
    """With SIGHUP ignored, as nohup(1) has it, the next output tells."""
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    words = ["--name", "it", "--", "sh", "-c", f"echo ready; cat {fifo}; exec sleep 1000"]
    if verb == "attach":
        assert service.ask("run", "--detach", *words).returncode == 0
    client = service.orcha(verb, *options(choice), *(words if verb == "run" else ["it"]))
    shell = ["sh", "-c", ("trap '' HUP; " if ignored else "") + 'exec "$@"', "sh", *client]
    with OnTerminal(shell, service.environment) as it:
        it.until(b"ready")
        it.hang_up()
        if ignored:
            fifo.write_text("more\n")
        assert it.process.wait(DEADLINE) == 129
    if choice == "cancel":
        wait_for(lambda: row_of(service, "it")["outcome"] == "cancelled", what="it is cancelled")
    else:
        assert row_of(service, "it")["outcome"] is None
        assert service.ask("cancel", "--now", "it").returncode == 0


def test_sighup_from_elsewhere_cancels_where_that_is_wanted(service, tmp_path):
    it = Run(service, tmp_path, "--on-disconnect", "cancel", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert it.process.stdout.readline() == b"ready\n"
    it.process.send_signal(signal.SIGHUP)
    it.ended(129)
    it.was_cancelled()
