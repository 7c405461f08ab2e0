"""``orcha attach``, ``logs`` and ``wait``: what was written and how it ended, for whoever comes later."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess

import pytest

from orcha.interfaces import Message
from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

AT_ONCE = 8
"""Commands that the service runs."""


def detach(service, name, *command, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, command))
    assert done.returncode == 0, done.stderr


def ended(service, name):
    return wait_for(
        lambda: next(
            (r for r in json.loads(service.ask("ps", "--all", "--json").stdout) if r["id"] == name and r["ended"]), None
        )
    )


def raw(service, *arguments, **options):
    return service.run(*arguments, **{"text": False} | options)


class Valve:
    """A command that writes what the test tells it to, when it tells it."""

    def __init__(self, service, name, tmp_path):
        self.path = tmp_path / f"{name}.fifo"
        os.mkfifo(self.path)
        self.client = None
        script = 'exec 3< "$1"; while IFS= read -r line <&3; do eval "$line"; done; exit 5'
        detach(service, name, "bash", "-c", script, "-", self.path)
        self.pipe = self.path.open("w")

    def say(self, line):
        self.pipe.write(line + "\n")
        self.pipe.flush()

    def end(self):
        self.pipe.close()


@pytest.fixture
def valve(service, tmp_path):
    made = []

    def make(name):
        made.append(Valve(service, name, tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.end()


# --- attach ----------------------------------------------------------------------------------------------------------


def test_attach_replays_from_the_first_byte_and_ends_with_the_code(service):
    detach(service, "it", "sh", "-c", "echo out; echo err >&2; exit 3")
    for _ in range(2):  # while it may run yet, and when it has ended
        done = raw(service, "attach", "it")
        assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)
        ended(service, "it")


def test_two_that_attach_see_the_same_and_what_comes_next(service, valve):
    it = valve("it")
    it.say("echo first")
    one = service.spawn(*service.orcha("attach", "it"), stdout=subprocess.PIPE)
    assert one.stdout.readline() == b"first\n"
    it.say("echo second")
    assert one.stdout.readline() == b"second\n"
    two = service.spawn(*service.orcha("attach", "it"), stdout=subprocess.PIPE)
    assert two.stdout.readline() == b"first\n"
    assert two.stdout.readline() == b"second\n"
    it.say("seq 20000")
    it.end()
    views = [client.stdout.read() for client in (one, two)]
    assert views[0] == views[1] == b"".join(b"%d\n" % number for number in range(1, 20_001))
    assert [client.wait(DEADLINE) for client in (one, two)] == [5, 5]


def test_ctrl_c_in_one_that_attached_cancels_for_all(service, valve):
    valve("it").say("echo ready")
    one, two = (service.spawn(*service.orcha("attach", "it"), stdout=subprocess.PIPE) for _ in range(2))
    for client in (one, two):
        assert client.stdout.readline() == b"ready\n"
    two.send_signal(signal.SIGINT)
    assert [client.wait(DEADLINE) for client in (one, two)] == [130, 130]


def test_a_reader_that_leaves_ends_nothing(service, valve):
    it = valve("it")
    it.say("echo ready")
    client = service.spawn(*service.orcha("attach", "it"), stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"ready\n"
    client.stdout.close()
    it.say("echo more")
    assert client.wait(DEADLINE) == 141
    it.end()
    assert ended(service, "it")["code"] == 5


def test_what_is_left_can_be_attached_again(service):
    with OnTerminal(
        service.orcha("run", "--name", "it", "--", "sh", "-c", "echo ready; exec sleep 1000"), service.environment
    ) as it:
        it.until(b"ready")
        it.type(b"\x1dd")
        assert it.end() == 0
    with OnTerminal(service.orcha("attach", "it"), service.environment) as it:
        it.until(b"ready")
        it.type(b"\x03")
        assert it.end() == 130
        assert it.mode() == it.before


def test_nobody_attaches_to_what_is_not_there(service):
    done = service.run("attach", "it")
    assert (done.returncode, done.stdout) == (125, "")
    assert "'it'" in done.stderr
    assert done.stderr.count("\n") == 1


# --- logs ------------------------------------------------------------------------------------------------------------


def test_logs_show_both_streams_or_one(service):
    detach(service, "it", "sh", "-c", "echo out; echo err >&2; exit 3")
    ended(service, "it")
    for arguments, out, err in (
        ((), b"out\n", b"err\n"),
        (("--stream", "out"), b"out\n", b""),
        (("--stream", "err"), b"err\n", b""),
        (("-f",), b"out\n", b"err\n"),
    ):
        done = raw(service, "logs", *arguments, "it")
        assert (done.stdout, done.stderr, done.returncode) == (out, err, 0)


def test_logs_of_what_runs_end_at_what_there_is_and_follow_goes_on(service, valve):
    it = valve("it")
    it.say("echo one; echo two; echo ready >&2")
    following = service.spawn(*service.orcha("logs", "--follow", "it"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert following.stderr.readline() == b"ready\n"
    assert raw(service, "logs", "--stream", "out", "it").stdout == b"one\ntwo\n"
    assert raw(service, "logs", "--stream", "out", "--tail", "1", "it").stdout == b"two\n"
    it.say("echo three")
    it.end()
    assert following.stdout.read() == b"one\ntwo\nthree\n"
    assert following.wait(DEADLINE) == 0


@pytest.mark.parametrize("count", [0, 1, 3, 1000, 100_000])
def test_the_last_lines(service, count):
    detach(service, "it", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do seq $((i * 1000)) $((i * 1000 + 999)); done")
    assert service.ask("wait", "it").returncode == 0
    lines = [b"%d\n" % number for number in range(1000, 9000)]
    assert raw(service, "logs", "--tail", str(count), "it").stdout == b"".join(lines[max(0, len(lines) - count) :])


def test_logs_of_several_are_told_apart(service):
    detach(service, "a", "sh", "-c", "echo one; printf two")
    detach(service, "long", "sh", "-c", "echo three >&2")
    assert service.ask("wait", "a", "long").returncode == 0
    for arguments in ((), ("--follow",)):
        done = raw(service, "logs", *arguments, "a", "long")
        assert sorted(done.stdout.splitlines()) == [b"a    | one", b"a    | two", b"long | three"]
    with OnTerminal(service.orcha("logs", "a", "long"), service.environment) as it:
        assert it.end() == 0
        assert b"\x1b[36ma    |\x1b[0m one\r\n" in it.seen
        assert b"\x1b[33mlong |\x1b[0m three\r\n" in it.seen


@pytest.mark.parametrize("arguments", [(), ("--follow",)])
def test_logs_show_what_there_is_and_name_what_is_missing(service, arguments):
    for name in ("a", "c"):
        detach(service, name, "echo", name)
    assert service.ask("wait", "a", "c").returncode == 0
    done = service.run("logs", *arguments, "a", "nobody", "c")
    assert sorted(done.stdout.splitlines()) == ["a      | a", "c      | c"]
    assert done.stderr.count("\n") == 1
    assert "'nobody'" in done.stderr
    assert done.returncode == 1


def test_logs_for_programs(service):
    detach(service, "it", "sh", "-c", r"printf 'a\n'; sleep 0.1; printf '\377' >&2")
    assert service.ask("wait", "it").returncode == 0
    pieces = [json.loads(line) for line in service.run("logs", "--json", "it").stdout.splitlines()]
    assert sorted(pieces, key=str) == [
        {"id": "it", "stream": "err", "base64": "/w=="},
        {"id": "it", "stream": "out", "text": "a\n"},
    ]


def test_logs_for_programs_give_text_as_text_wherever_a_write_ends(service, valve, tmp_path):
    it = valve("it")
    following = service.spawn(*service.orcha("logs", "--follow", "--json", "it"), stdout=subprocess.PIPE)
    for octal in ("346", "274", "242"):
        it.say(rf"printf 'a\{octal}'" if octal == "346" else rf"printf '\{octal}'")
        it.say("echo x >&2")
        pieces = [json.loads(following.stdout.readline()) for _ in range(2 if octal != "274" else 1)]
        assert all("text" in piece for piece in pieces)
    it.say(r"printf '\346\274'")
    it.end()
    assert json.loads(following.stdout.read()) == {"id": "it", "stream": "out", "base64": "5rw="}
    assert following.wait(DEADLINE) == 0
    (tmp_path / "data").write_text("漢🙂é" * 300_000)
    detach(service, "large", "cat", tmp_path / "data")
    assert service.ask("wait", "large").returncode == 0
    pieces = [json.loads(line) for line in service.run("logs", "--json", "large").stdout.splitlines()]
    assert "".join(piece["text"] for piece in pieces) == "漢🙂é" * 300_000


def test_large_binary_output_comes_whole(service, tmp_path):
    data = os.urandom(5_000_000)
    (tmp_path / "data").write_bytes(data)
    detach(service, "it", "cat", tmp_path / "data")
    for verb in (("attach", "it"), ("logs", "-f", "it"), ("logs", "it")):
        assert hashlib.sha256(raw(service, *verb).stdout).digest() == hashlib.sha256(data).digest()


def test_logs_stop_when_nobody_reads_them(service):
    detach(service, "it", "yes")
    client = service.spawn(*service.orcha("logs", "-f", "it"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert client.stdout.readline() == b"y\n"
    client.stdout.close()
    assert client.wait(DEADLINE) == 141
    assert client.stderr.read() == b""
    assert service.ask("cancel", "it").returncode == 0


def test_lines_of_the_service_are_told_apart_from_what_was_written(service):
    detach(service, "it", "/nonsense")
    assert service.ask("wait", "it").returncode == 127
    line = "orcha: cannot execute '/nonsense': No such file or directory\n"
    for verb, code in (("attach", 127), ("logs", 0)):
        done = service.run(verb, "it")
        assert (done.stdout, done.stderr, done.returncode) == ("", line, code)
    assert service.run("logs", "--stream", "err", "it").stderr == ""
    assert json.loads(service.run("logs", "--json", "it").stdout)["stream"] == "service"


def test_a_plugins_petition_is_followed_too(serve, connect):
    service = serve()
    client = connect(service)
    client.send(Message("it", {"queue": client.manager.Queue(), "lines": ["one\n", "two\n"], "code": 3}))
    assert service.ask("wait", "it").returncode == 3
    for verb, code in (("attach", 3), ("logs", 0)):
        done = service.run(verb, "it")
        assert (done.stdout, done.stderr, done.returncode) == ("one\ntwo\n", "", code)
    assert "succeeded" not in service.ask("show", "it").stdout


# --- wait ------------------------------------------------------------------------------------------------------------


def test_wait_gives_the_first_code_above_zero(service):
    for name, code in (("a", 0), ("b", 4), ("c", 3)):
        detach(service, name, "sh", "-c", f"exit {code}")
    assert service.run("wait", "a").returncode == 0
    assert service.run("wait", "a", "b", "c").returncode == 4
    assert service.run("wait", "c", "b").returncode == 3
    done = service.run("wait", "--json", "a", "c")
    assert json.loads(done.stdout) == [
        {"id": "a", "outcome": "succeeded", "code": 0},
        {"id": "c", "outcome": "failed", "code": 3},
    ]


def test_wait_ends_when_it_does_and_does_not_need_its_output(service, valve):
    it = valve("it")
    waiting = service.spawn(*service.orcha("wait", "it"))
    it.say("head -c 3000000 /dev/zero")
    assert waiting.poll() is None
    it.end()
    assert waiting.wait(DEADLINE) == 5


def test_wait_does_not_wait_for_longer_than_told(service, valve):
    assert service.run("wait", "--all").returncode == 0
    valve("it")
    for what in ("it", "--all"):
        done = service.run("wait", "--timeout", "50ms", what)
        assert (done.returncode, done.stderr) == (124, "orcha: it has not ended within the time\n")


def test_wait_waits_for_the_others_where_one_is_missing(service, valve):
    it = valve("it")
    command = service.orcha("wait", "--json", "nobody", "it")
    client = service.spawn(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "'nobody'" in client.stderr.readline()
    it.end()
    assert json.loads(client.stdout.read()) == [{"id": "it", "outcome": "failed", "code": 5}]
    assert client.wait(DEADLINE) == 1
    done = service.run("wait", "--json", "nobody", "it")
    assert (done.returncode, [end["code"] for end in json.loads(done.stdout)]) == (1, [5])


def test_wait_for_nobody(service):
    done = service.run("wait", "it")
    assert done.returncode == 1
    assert "'it'" in done.stderr
    assert service.run("wait").returncode == 2
