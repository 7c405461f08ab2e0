"""What is typed or piped into ``orcha run``: standard input, terminals, and their sizes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import threading
from itertools import pairwise

import pytest

from orcha._cli.streams import Streams
from orcha._cli.terminal_input import Typing
from orcha._protocol import values
from orcha._protocol.messages import Reply, Verdict
from orcha._supervisor import black_box
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
    wait_for(lambda: "it " in service.ask("ps", "--state", "queued").stdout)
    assert service.ask("cancel", "a", "b").returncode == 0
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
    data = chance.randbytes(3_000_000)
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


def test_another_attempt_gets_all_of_standard_input_and_its_end(service):
    script = "read -r line; cat; echo got $line; exit 1"
    done = run(service, "-i", "--retry", "1", "--retry-delay", "0.05", "--", "sh", "-c", script, input=b"a\nb\n")
    assert (done.stdout, done.returncode) == (b"b\ngot a\nb\ngot a\n", 1)


FIRST_READS_SOME = "if [ $ORCHA_ATTEMPT = 1 ]; then head -c 1000 >/dev/null; %s; fi; exec sha256sum"
"""The first attempt reads some of its standard input, then this happens; the second one sums up all it gets."""


def attempts_of(service, data, happens, *options, ended=True):
    """Run such a command; give the client, which has brought `data`, and the end where it `ended`."""
    command = service.orcha("run", "--name", "it", "-i", *options, "--", "sh", "-c", FIRST_READS_SOME % happens)
    client = service.spawn(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    thread = threading.Thread(target=bring, args=(client, data, ended))
    thread.start()
    return client, thread


def bring(client, data, ended):
    client.stdin.write(data)
    client.stdin.flush()
    if ended:
        client.stdin.close()


@pytest.mark.parametrize("size", [1_000, 1_001, 300_000, 3_000_000])
@pytest.mark.parametrize("ended", [True, False])
def test_a_second_attempt_gets_every_byte_of_standard_input(service, size, ended):
    data = os.urandom(size)
    client, thread = attempts_of(service, data, "exit 3", "--retry", "1", "--retry-delay", "0.05", ended=ended)
    if not ended:  # what comes later follows on it
        wait_for(
            lambda: service.ask("show", "it").stdout.count("attempt") > 1 or client.poll() is not None, what="another"
        )
        thread.join()
        client.stdin.write(b"more")
        client.stdin.close()
        data += b"more"
    assert client.stdout.read().split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert client.wait(DEADLINE) == 0
    thread.join()


def kill_the_shim(service):
    """Kill the shim whose command runs; give the folder of the service."""
    folder = service.home / f"{service.address}-{service.port}"
    for path in (folder / "shims").glob("*.box"):
        word = black_box.read(str(path))
        if word is not None and word.phase == black_box.STARTED:
            os.kill(word.pid, signal.SIGKILL)
    return folder


@pytest.mark.parametrize("also_the_service", [False, True])
def test_after_the_death_of_what_watched_over_it_a_rerun_gets_every_byte(own_service, tmp_path, also_the_service):
    data, mark = os.urandom(200_000), tmp_path / "mark"
    client, thread = attempts_of(own_service, data, f"touch {mark}; exec sleep 1000", "--on-interrupt", "rerun")
    wait_for(mark.exists, what="the first attempt")
    if also_the_service:
        own_service.kill()
    folder = kill_the_shim(own_service)
    if also_the_service:
        own_service.start()
    assert client.stdout.read().split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert client.wait(DEADLINE) == 0
    thread.join()
    assert not list((folder / "output").glob("*.in")), "an input is kept although no other attempt follows"


def test_more_than_is_kept_ends_with_the_first_attempt_and_why(serve):
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_KEEP_INPUT": "50000"})
    client, thread = attempts_of(service, b"x" * 50_001, "cat >/dev/null; exit 3", "--retry", "2")
    thread.join()
    out, err = client.stdout.read(), client.stderr.read()
    client.wait(DEADLINE)
    assert (out, client.returncode) == (b"", 3)
    assert b"not tried again" in err
    assert b"50000" in err


def test_more_than_is_kept_is_not_run_again_when_it_is_interrupted(serve, tmp_path):
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_KEEP_INPUT": "5000"})
    mark = tmp_path / "mark"
    happens = f"cat >/dev/null; touch {mark}; exec sleep 1000"
    client, thread = attempts_of(service, b"x" * 50_001, happens, "--on-interrupt", "rerun")
    wait_for(mark.exists, what="the first attempt")
    service.kill()
    kill_the_shim(service)
    service.start()
    thread.join()
    out, err = client.stdout.read(), client.stderr.read()
    client.wait(DEADLINE)
    assert (out, client.returncode) == (b"", 75)
    assert b"does not run again" in err


@pytest.mark.parametrize("dies", [False, True], ids=["while the service goes on", "while no service runs"])
def test_input_that_the_disk_has_changed_reaches_no_second_attempt(serve, tmp_path, dies):
    service = serve(arguments=("serve", "commands"))
    mark, go_on = tmp_path / "mark", tmp_path / "go-on"
    happens = f"cat; touch {mark}; while [ ! -e {go_on} ]; do sleep 0.02; done; exit 3"
    client, thread = attempts_of(service, b"x" * 9_000, happens, "--retry", "2", "--on-interrupt", "rerun")
    wait_for(mark.exists, what="the first attempt")
    [kept] = (service.home / f"{service.address}-{service.port}" / "output").glob("*.in")
    wait_for(lambda: kept.read_bytes()[4] == 1, what="that the input has ended")
    assert client.stdout.read(8_000) == b"x" * 8_000, "the first attempt has read 1,000 bytes before"
    if dies:
        service.kill()
        kill_the_shim(service)
    content = bytearray(kept.read_bytes())
    content[5_000] ^= 1
    kept.write_bytes(content)
    go_on.touch()
    if dies:
        service.start()
    thread.join()
    out, err = client.stdout.read(), client.stderr.read()
    client.wait(DEADLINE)
    assert out == b""
    assert client.returncode == (75 if dies else 3)
    assert b"not all of its standard input is known to be kept" in err


POINTS = [
    *((point, nth) for point in ("before-keep", "after-keep", "after-write") for nth in (1, 3)),
    *((point, 1) for point in ("before-end", "after-end", "after-close")),
]
"""Bytes come again and again, their end comes once."""


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["fail", "rerun"])
@pytest.mark.parametrize(("point", "nth"), POINTS)
def test_killed_where_standard_input_is_taken_every_byte_comes_before_its_end(serve, point, nth, policy):
    service = serve(arguments=("serve", "commands"), environment={"ORCHA_COMMANDS": str(AT_ONCE)}, start=False)
    service.start(environment={"ORCHA_CRASH": f"stdin.{point}:{nth}"})
    command = service.orcha("run", "-i", "--on-interrupt", policy, "--", "cat")
    client = service.spawn(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    lines = [b"line %d\n" % number for number in range(5)]
    died = []
    keeper = threading.Thread(target=start_again, args=(service, client, died))
    keeper.start()
    for line in lines[:4]:
        client.stdin.write(line)
        client.stdin.flush()
        assert client.stdout.readline() == line
    client.stdin.write(lines[4])
    client.stdin.close()
    assert client.stdout.read() == lines[4]
    assert client.wait(DEADLINE) == 0
    keeper.join()
    assert died == [-signal.SIGKILL]


def start_again(service, client, died):
    """Start a service again that dies while its client runs; note how it died."""
    wait_for(lambda: service.process.poll() is not None or client.poll() is not None, what="an end")
    if client.poll() is None:
        died.append(service.wait_for_end())
        service.start()


class Restarted:
    """Answers as a service does that has just been started again."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.cancelled = []
        self.row = {"seq": 7, "attempt": 1, "state": "running"}

    def stdin(self, seq, attempt, offset, data, *, end=False):
        self.asked.append((offset, data, end))
        got = self.answers.pop(0)
        return Reply(0, Verdict.GONE) if got is None else Reply(0, Verdict.OK, values.encode(got))

    def cancel(self, **named):
        self.cancelled.append((named["id"], named["why"]))

    def done(self, reply):
        return values.decode(reply.value)

    def look(self, name):
        return self.row


def typing_to(service):
    typing = Typing(service, Streams(), "it", forward=True, tty=False, detach=KeyboardInterrupt)
    typing._piece = b"abc"
    typing._ahead.put(None)
    return typing


def test_what_a_service_did_not_take_yet_is_brought_again():
    service = Restarted(0, None, None, 3, None, 3)
    assert typing_to(service)._send_to((7, 1))
    assert service.asked == [(0, b"", False), *[(0, b"abc", False)] * 3, *[(3, b"", True)] * 2]
    assert service.cancelled == []


def test_the_end_is_never_told_before_all_bytes_that_an_attempt_got():
    service = Restarted(0, 3, 1)
    assert typing_to(service)._send_to((7, 1))
    assert service.asked == [(0, b"", False), (0, b"abc", False), (3, b"", True)]
    assert service.cancelled == [("it", "2 bytes of its standard input are lost")]


def test_another_attempt_is_brought_what_the_last_one_did_not_get():
    service = Restarted(0, 2, None)
    typing = typing_to(service)
    service.row["state"] = "queued"
    assert not typing._send_to((7, 1))
    service.answers += [2, 3, 3]
    assert typing._send_to((7, 2))
    assert service.asked[3:] == [(0, b"", False), (2, b"c", False), (3, b"", True)]


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
    assert service.ask("cancel", "it").returncode == 0


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
    assert service.ask("cancel", "a", "b").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_however_the_client_ends(service, number):
    with on_terminal(service, "-t", "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000") as it:
        it.until(b"ready")
        it.process.send_signal(number)
        assert it.end() == (130 if number == signal.SIGTERM else 129)
        assert it.mode() == it.before
    service.ask("cancel", "it")


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
    assert service.ask("cancel", "it").returncode == 0


def test_what_is_typed_before_the_keys_reaches_standard_input(service):
    script = "echo ready; head -c 9; exec sleep 1000"
    with on_terminal(service, "--stdin", "--name", "it", "--", "sh", "-c", script) as it:
        it.until(b"ready")
        it.type(b"some text\x1dd\r")
        assert it.end() == 0
    wait_for_output(service, "it", "some text")
    assert service.ask("cancel", "it").returncode == 0


def test_what_nobody_takes_before_the_keys_is_said(service):
    for name in ("a", "b"):
        assert run(service, "--detach", "--name", name, "--", "sleep", "1000").returncode == 0
    with on_terminal(service, "-t", "--name", "it", "cat") as it:
        it.until(b"it waits")
        it.type(b"early\r\x1dd")
        assert it.end() == 0
        assert b"it has not taken all that was typed before" in it.seen
    assert service.ask("cancel", "it", "a", "b").returncode == 0


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


def test_what_is_retried_alone_says_how_it_gets_its_standard_input(service):
    assert run(service, "-i", "--name", "it", "cat", input=b"first").stdout == b"first"
    done = service.ask("retry", "it")
    assert done.returncode == 0
    assert "orcha attach --stdin it" in done.stderr
    done = service.run("attach", "--stdin", "it", input="second")
    assert (done.stdout, done.returncode) == ("second", 0)


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
