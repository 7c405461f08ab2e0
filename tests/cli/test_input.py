"""What is typed or piped into ``orcha run``: standard input, terminals, and their sizes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
from itertools import pairwise

import pytest

from orcha._cli.streams import Streams
from orcha._cli.typing_in import Typing
from orcha._wire import values
from orcha._wire.messages import Reply, Verdict
from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 2
"""Commands that the service runs."""


def run(service, *arguments, **options):
    return service.run("run", *arguments, **{"text": False} | options)


def on_terminal(service, *arguments, **options):
    return OnTerminal(service.orcha("run", *arguments), service.environment, **options)


# --- a pipe ----------------------------------------------------------------------------------------------------------


def test_standard_input_comes_whole_and_ends(service):
    data = os.urandom(2_000_000)
    done = run(service, "--stdin", "--", "cat", input=data)
    assert done.stdout == data
    assert (done.stderr, done.returncode) == (b"", 0)


def test_without_stdin_the_command_reads_nothing_and_the_client_neither(service):
    reader, writer = os.pipe()
    os.write(writer, b"mine")
    done = run(service, "--", "cat", stdin=reader)
    assert (done.stdout, done.returncode) == (b"", 0)
    assert os.read(reader, 10) == b"mine"
    os.close(reader)
    os.close(writer)


def test_a_command_that_does_not_read_is_no_harm(service):
    done = run(service, "-i", "--", "sh", "-c", "exit 4", input=b"x" * 1_000_000)
    assert done.returncode == 4


def test_what_is_typed_into_a_pipe_comes_as_it_is_written(service):
    client = service.spawn(*service.orcha("run", "-i", "--", "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for line in (b"one\n", b"two\n"):
        client.stdin.write(line)
        client.stdin.flush()
        assert client.stdout.readline() == line
    client.stdin.close()
    assert client.wait(DEADLINE) == 0


def test_standard_input_waits_with_its_command(service):
    for name in ("a", "b"):
        assert run(service, "--detach", "--name", name, "--", "sleep", "1000").returncode == 0
    command = service.orcha("run", "--name", "it", "-i", "cat")
    client = service.spawn(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client.stdin.write(b"early")
    client.stdin.close()
    wait_for(lambda: "it " in service.run("ps", "--state", "queued").stdout)
    assert service.run("cancel", "a", "b").returncode == 0
    assert client.stdout.read() == b"early"
    assert client.wait(DEADLINE) == 0


def test_a_service_that_comes_back_gets_the_rest(own_service):
    service = own_service
    client = service.spawn(*service.orcha("run", "-i", "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    client.stdin.write(b"one\n")
    client.stdin.flush()
    assert client.stdout.readline() == b"one\n"
    service.kill()
    client.stdin.write(b"two\n")
    client.stdin.close()
    service.start()
    assert client.stdout.read() == b"two\n"
    assert client.wait(DEADLINE) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_again_and_again_the_service_brings_each_byte_once(own_service, tmp_path, seed):
    """The moments of the kills are numbers of bytes that the client has read; two more come after the last."""
    chance = random.Random(seed)
    data = chance.randbytes(10_000_000)
    moments = sorted(chance.sample(range(len(data)), 5))
    command = own_service.orcha("run", "--name", "it", "-i", "--", "sh", "-c", "tee copy | sha256sum")
    client = own_service.spawn(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path)
    for start, end in pairwise([0, *moments, len(data)]):
        client.stdin.write(data[start:end])
        client.stdin.flush()
        own_service.kill()
        own_service.start()
    client.stdin.close()
    own_service.kill()
    own_service.start()
    assert client.stdout.read().split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert (tmp_path / "copy").read_bytes() == data
    assert client.wait(DEADLINE) == 0


def test_another_attempt_gets_what_is_left_of_standard_input_and_its_end(service):
    script = "read -r line; cat; echo got $line; exit 1"
    done = run(service, "-i", "--retry", "1", "--retry-delay", "0.05", "--", "sh", "-c", script, input=b"a\n")
    assert (done.stdout, done.returncode) == (b"got a\ngot\n", 1)


class Restarted:
    """Answers as a service does that has just been started again."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.row = {"seq": 7, "attempt": 1, "state": "running"}

    def stdin(self, seq, attempt, offset, data, *, end=False):
        self.asked.append((offset, data, end))
        got = self.answers.pop(0)
        return Reply(0, Verdict.GONE) if got is None else Reply(0, Verdict.OK, values.encode(got))

    def done(self, reply):
        return values.decode(reply.value)

    def look(self, name):
        return self.row


def test_what_a_service_did_not_take_yet_is_brought_again():
    service = Restarted(0, None, None, 3)
    typing = Typing(service, Streams(), "it", forward=True, tty=False, detach=KeyboardInterrupt)
    typing._ahead.put(None)
    service.answers += [0, 3, 3]  # the end came before what it follows was found again
    assert typing._send_to((7, 1), b"abc") is None
    assert service.asked == [(0, b"", False), *[(0, b"abc", False)] * 3, (3, b"", True), (0, b"", True), (3, b"", True)]


def test_what_an_attempt_did_not_get_is_kept_for_the_next():
    service = Restarted(0, None)
    service.row = {"seq": 7, "attempt": 2, "state": "running"}
    typing = Typing(service, Streams(), "it", forward=True, tty=False, detach=KeyboardInterrupt)
    assert typing._send_to((7, 1), b"abc") == b"abc"


# --- a terminal ------------------------------------------------------------------------------------------------------


def test_a_terminal_for_the_command(service):
    script = 'test -t 0 && test -t 1 && test -t 2 && stty size; read -r line; echo "got $line"; exit 3'
    with on_terminal(service, "--tty", "--", "sh", "-c", script) as it:
        it.until(b"24 80")
        assert it.mode() != it.before
        it.type(b"hello\r")
        it.until(b"got hello")
        assert it.end() == 3
        assert it.mode() == it.before


def test_ctrl_c_is_the_commands_key(service):
    script = "trap 'echo caught; exit 6' INT; echo ready; while :; do sleep 0.05; done"
    with on_terminal(service, "-t", "--", "sh", "-c", script) as it:
        it.until(b"ready")
        it.type(b"\x03")
        it.until(b"caught")
        assert it.end() == 6
        assert it.mode() == it.before


def test_the_size_of_the_terminal_is_passed_on(service):
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    with on_terminal(service, "-t", "--name", "it", "--", "sh", "-c", script) as it:
        it.until(b"ready")
        it.resize(33, 111)
        it.until(b"33 111")
        it.type(b"\x1dd")
        assert it.end() == 0
        assert it.mode() == it.before
    assert service.run("cancel", "it").returncode == 0


def test_what_was_left_is_taken_up_on_another_terminal(service):
    with on_terminal(service, "-t", "--name", "it", "--", "sh", "-c", 'echo ready; read -r x; echo "got $x"') as it:
        it.until(b"ready")
        it.type(b"\x1dd")
        assert it.end() == 0
    with OnTerminal(service.orcha("attach", "it"), service.environment) as it:
        it.until(b"ready")
        it.type(b"more\r")
        it.until(b"got more")
        assert it.end() == 0
        assert it.mode() == it.before


def test_while_it_waits_ctrl_c_cancels_it(service):
    for name in ("a", "b"):
        assert run(service, "--detach", "--name", name, "--", "sleep", "1000").returncode == 0
    with on_terminal(service, "-t", "--name", "it", "cat") as it:
        it.until(b"it waits")
        it.type(b"\x03")
        assert it.end() == 130
        assert it.mode() == it.before
    assert service.run("cancel", "a", "b").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_however_the_client_ends(service, number):
    with on_terminal(service, "-t", "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000") as it:
        it.until(b"ready")
        it.process.send_signal(number)
        assert it.end() == (130 if number == signal.SIGTERM else 129)
        assert it.mode() == it.before
    service.run("cancel", "it")


# --- leaving it ------------------------------------------------------------------------------------------------------


def wait_for_output(service, identity, text):
    wait_for(lambda: text in service.run("logs", identity).stdout, what=f"{text!r} in the output of {identity}")


def test_what_is_typed_before_the_keys_reaches_a_terminal(service):
    script = 'echo ready; read -r line; echo "got $line"; exec sleep 1000'
    with on_terminal(service, "--tty", "--name", "it", "--", "sh", "-c", script) as it:
        it.until(b"ready")
        it.type(b"early\r\x1dd")
        assert it.end() == 0
        assert b"has not taken" not in it.seen
    wait_for_output(service, "it", "got early")
    assert service.run("cancel", "it").returncode == 0


def test_what_is_typed_before_the_keys_reaches_standard_input(service):
    script = "echo ready; head -c 9; exec sleep 1000"
    with on_terminal(service, "--stdin", "--name", "it", "--", "sh", "-c", script) as it:
        it.until(b"ready")
        it.type(b"some text\x1dd\r")
        assert it.end() == 0
    wait_for_output(service, "it", "some text")
    assert service.run("cancel", "it").returncode == 0


def test_what_nobody_takes_before_the_keys_is_said(service):
    for name in ("a", "b"):
        assert run(service, "--detach", "--name", name, "--", "sleep", "1000").returncode == 0
    with on_terminal(service, "-t", "--name", "it", "cat") as it:
        it.until(b"it waits")
        it.type(b"early\r\x1dd")
        assert it.end() == 0
        assert b"it has not taken all that was typed before" in it.seen
    assert service.run("cancel", "it", "a", "b").returncode == 0


# --- who comes later -------------------------------------------------------------------------------------------------


def test_detached_it_has_a_terminal_for_who_attaches(service):
    script = 'tty > /dev/null && echo ready; read -r line; echo "got $line"'
    assert run(service, "-d", "-t", "--name", "it", "--", "sh", "-c", script).returncode == 0
    wait_for_output(service, "it", "ready")
    with OnTerminal(service.orcha("attach", "it"), service.environment) as it:
        it.type(b"more\r")
        it.until(b"got more")
        assert it.end() == 0


def test_detached_it_waits_for_the_input_of_who_attaches(service):
    assert run(service, "--detach", "--stdin", "--name", "it", "cat", input=b"not read").returncode == 0
    done = service.run("attach", "--stdin", "it", input="more")
    assert (done.stdout, done.returncode) == ("more", 0)


def test_what_is_retried_reads_anew(service):
    assert run(service, "-i", "--name", "it", "cat", input=b"first").stdout == b"first"
    done = service.run("retry", "--stdin", "it", input="second")
    assert (done.stdout, done.returncode) == ("second", 0)


def test_who_attaches_on_a_terminal_is_told_of_standard_input(service):
    assert run(service, "-d", "-i", "--name", "it", "cat").returncode == 0
    with OnTerminal(service.orcha("attach", "it"), service.environment) as it:
        it.until(b"orcha attach --stdin it\r")
        it.type(b"\x03")
        assert it.end() == 130
