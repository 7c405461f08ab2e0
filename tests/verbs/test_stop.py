"""What ends with the service, and what goes on: ``orcha stop`` in its variants, and the signals that mean the same."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from orcha._cli import stop
from orcha._core.transitions.command import OUTSIDE
from orcha._processes.identity import read_stat
from orcha._protocol import socket_ends
from orcha._protocol.messages import Verdict
from orcha.interfaces import Message, Petition
from support.asking import asking
from support.commands import COMMANDS, everything, run
from support.terminals import OnTerminal
from support.waiting import wait_for

HOWS = {
    "stop": lambda service: service.run("stop").returncode,
    "SIGTERM": lambda service: os.kill(service.pid, signal.SIGTERM),
    "SIGINT": lambda service: os.kill(service.pid, signal.SIGINT),
    "SIGHUP": lambda service: os.kill(service.pid, signal.SIGHUP),
}


@pytest.fixture
def served(serve):
    """Give a service that treats commands as it does where nothing is set."""
    service = serve(COMMANDS, start=False)
    del service.environment["ORCHA_KEEP_COMMANDS"]
    service.environment["ORCHA_COMMANDS"] = "8"
    service.start()
    yield service
    if service.process.poll() is None:
        service.run("stop", "--now")
        service.wait_for_end()


def lives(pid):
    return Path(f"/proc/{pid}").exists()


def wait_until_runs(client, identity):
    def known():
        wire = client.manager.client
        shown = wire.decode(wire.show(identity).value)
        return shown if shown["state"] == "running" else None

    return wait_for(known, what="it runs")


def begin(service, connect, tmp_path, name="m1"):
    """Run a command until the file `end` is there; give its channel and its pid."""
    client = connect(service)
    script = f"echo before; while [ ! -e {tmp_path}/end ]; do sleep 0.1; done; echo after"
    queue = run(client, name, "sh", "-c", script)
    assert queue.get() == (1, b"before\n")
    return queue, wait_until_runs(client, name)["attempts"][-1]["pid"]


@pytest.mark.parametrize("how", HOWS)
def test_commands_go_on_when_the_service_stops_and_the_next_start_finds_them(served, connect, tmp_path, how):
    queue, pid = begin(served, connect, tmp_path)
    HOWS[how](served)
    assert served.wait_for_end() == 0
    assert lives(pid)
    served.start()
    (tmp_path / "end").touch()
    assert everything(queue) == (b"after\n", b"", [], 0)


@pytest.mark.parametrize("options", [("--end-commands",), ("--now",), ("--now", "--end-commands")])
def test_commands_end_where_that_is_asked_for(served, connect, tmp_path, options):
    queue, pid = begin(served, connect, tmp_path)
    assert served.run("stop", *options, timeout=120).returncode == 0
    assert served.wait_for_end() == 0
    wait_for(lambda: not lives(pid), what="the end of the command")
    served.start()
    assert everything(queue)[-1] == 75


def test_commands_that_nobody_could_find_again_end_with_the_service(serve, connect, tmp_path):
    service = serve(COMMANDS, environment={"ORCHA_STORE": "memory", "ORCHA_KEEP_COMMANDS": "1"})
    _, pid = begin(service, connect, tmp_path)
    assert service.run("stop", "--keep-commands").returncode == 0
    assert service.wait_for_end() == 0
    wait_for(lambda: not lives(pid), what="the end of the command")


def test_on_a_terminal_it_says_what_runs_and_what_becomes_of_it(served, connect, tmp_path):
    begin(served, connect, tmp_path)
    with OnTerminal(served.orcha("stop"), served.environment) as it:
        it.until(b"1 command goes on running, and the next start finds it: m1")
        assert it.end() == 0
    assert served.wait_for_end() == 0
    served.start()
    with OnTerminal(served.orcha("stop", "--now"), served.environment) as it:
        it.until(b"1 command is ended as interrupted: m1")
        assert it.end() == 0
    assert served.wait_for_end() == 0


def test_on_a_terminal_the_seconds_are_counted_that_actions_have(serve, connect, gate):
    service = serve(environment={"ORCHA_STOP_GRACE": "3"})
    client = connect(service)
    queue = client.manager.Queue()
    client.send(Message("a1", {"queue": queue, "lines": ["a"], "gate": gate.path}))
    gate.wait_until_reached()
    with OnTerminal(service.orcha("stop"), service.environment) as it:
        it.until(b"1 action in Python has 3 s to end, then is interrupted: a1")
        it.until(b"may come to an end:   2 s")
        it.until(b"may come to an end:   1 s")
        assert it.end() == 0
    assert service.wait_for_end() == 0


def test_sigterm_starts_nothing_and_lets_actions_go_on_while_clients_list_cancel_and_read(serve, connect, gate):
    service = serve(environment={"TEST_LIMIT": "1", "ORCHA_STOP_GRACE": "600"})
    client = connect(service)
    queues = {}
    for name in ("runs", "waits", "stays"):
        queues[name] = client.manager.Queue()
        client.send(Message(name, {"gate": gate.path, "lines": ["said"], "queue": queues[name]}))
    gate.wait_until_reached()
    service.process.terminate()
    wait_for(lambda: "stopping" in service.run("why", "waits").stdout, what="the stop")
    listed = service.run("ps").stdout
    assert all(name in listed for name in queues)
    assert service.run("cancel", "waits").returncode == 0
    assert queues["waits"].get() == 130
    refused = service.run("run", "true")
    assert (refused.returncode, refused.stderr) == (125, "orcha: the service is stopping\n")
    gate.open()
    assert [queues["runs"].get(), queues["runs"].get()] == ["said", None]
    assert service.wait_for_end() == 0
    service.start()
    gate.open()
    assert [queues["stays"].get(), queues["stays"].get()] == ["said", None]


def test_elsewhere_it_says_nothing(served, connect, tmp_path):
    begin(served, connect, tmp_path)
    stopped = served.run("stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "", "")
    assert served.wait_for_end() == 0
    served.start()


def descendants(pid):
    """Give a process and all that it has started, as the control group of a systemd unit has them."""
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        for task in Path(f"/proc/{found[-1]}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    return sorted(found)


CATCHES = (
    "exec 2>/dev/null; trap 'kill $!; while [ ! -e {}/told ]; do sleep 0.1; done; exit 0' TERM; "
    "echo before; sleep 600 & wait; while :; do sleep 0.1; done"
)
"""A shell that goes on where `sleep` ends before its own SIGTERM, so that the trap alone ends it."""
PASSES_ON = "exec 2>/dev/null; echo before; sleep 600; exit $?"
"""A shell that learns of the end of `sleep` before its own SIGTERM would write about that to stderr."""


def has_taken_sigterm(pid):
    """Tell whether a process has handled its SIGTERM, and ended or waits for the next event (proc_pid_status(5))."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (FileNotFoundError, ProcessLookupError):  # it was stopped before its SIGTERM, and so has got that first
        return True
    pending = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    return not pending >> (signal.SIGTERM - 1) & 1 and status["State"].strip().startswith("S")


@pytest.mark.parametrize("order", [1, -1], ids=["parents first", "children first"])
def test_a_sigterm_to_each_process_interrupts_those_commands_that_it_ends(served, connect, tmp_path, order):
    client = connect(served)
    ignores = f"trap '' TERM; echo before; while [ ! -e {tmp_path}/end ]; do sleep 0.1; done; echo after; exit 3"
    again = 'echo before; [ "$ORCHA_ATTEMPT" = 1 ] || exit 4; exec sleep 600'
    queues = {
        "shielded": run(client, "shielded", "sh", "-c", ignores),
        "plain": run(client, "plain", "sh", "-c", "echo before; exec sleep 600"),
        "shell": run(client, "shell", "sh", "-c", PASSES_ON),
        "catches": run(client, "catches", "sh", "-c", CATCHES.format(tmp_path)),
        "again": run(client, "again", "sh", "-c", again, on_interrupt="rerun"),
    }
    pids = {}
    for name, queue in queues.items():
        assert queue.get() == (1, b"before\n")
        pids[name] = wait_until_runs(client, name)["attempts"][-1]["pid"]
    shims = {name: read_stat(pid).parent for name, pid in pids.items()}
    assert len(set(shims.values()) - {served.pid}) == len(queues)
    meant = descendants(served.pid)
    assert {*pids.values(), *shims.values()} <= set(meant)
    for shim in shims.values():  # so that no shim sees the end of its command before its own SIGTERM
        os.kill(shim, signal.SIGSTOP)
    for pid in meant[::order]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for shim in shims.values():
        os.kill(shim, signal.SIGCONT)
        wait_for(lambda shim=shim: has_taken_sigterm(shim), what="a shim that knows of its SIGTERM")
    (tmp_path / "told").touch()  # a command that had ended before is told as it ended
    assert served.wait_for_end() == 0
    wait_for(lambda: not any(lives(pids[name]) for name in ("plain", "shell", "again")), what="the ends by SIGTERM")
    assert lives(pids["shielded"])
    assert lives(shims["shielded"])
    served.start()
    for name in ("plain", "shell", "catches"):
        assert everything(queues[name]) == (b"", b"", [f"{OUTSIDE}\n"], 75)
        shown = client.manager.client.decode(client.manager.client.show(name).value)
        assert (shown["outcome"], shown["reason"]) == ("interrupted", OUTSIDE)
    assert everything(queues["again"]) == (b"before\n", b"", [], 4)
    (tmp_path / "end").touch()
    assert everything(queues["shielded"]) == (b"after\n", b"", [], 3)
    assert len(client.manager.client.decode(client.manager.client.show("shielded").value)["attempts"]) == 1


class ReturningManager:
    """The manager of a petition whose action returns when the test says so."""

    def __init__(self):
        self.may_return = threading.Event()
        self.are_back = []

    def convert_to_petition(self, m):
        return Petition(m.id, m.extras["queue"], lambda *_: self.may_return.wait(60), lambda _: True)

    def on_start(self, petition):
        return True

    def on_finish(self, petition):
        self.are_back.append(petition.id)
        return True


def test_a_stop_waits_for_an_on_finish_that_has_just_come_to_be_owed():
    manager = ReturningManager()
    with asking(manager=manager) as asked:
        asked.submit(asked.user, "a")
        asked.wait_for("a", "running")
        engine, is_held, goes_on, is_quiet = asked.engine, threading.Event(), threading.Event(), []
        engine.post(lambda: (is_held.set(), goes_on.wait(60)))
        assert is_held.wait(60)
        manager.may_return.set()
        wait_for(lambda: len(engine.mailbox) == 1, what="the return of its action")
        engine.post(lambda: is_quiet.append(engine.is_quiet()))
        goes_on.set()
        wait_for(lambda: manager.are_back == ["a"], what="its on_finish")
        assert is_quiet == [False]


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_an_end_that_this_user_cannot_see_is_told_after_the_service_was_asked_to_stop(monkeypatch, capsys, transport):
    """An admin who is not root has no right to the lock, and in a container the service has no number.

    The number that the service has in its own pid namespace is that of a process here, which does not end.
    """
    asked = []

    def closed(lock):
        raise PermissionError(lock)

    client = SimpleNamespace(
        endpoint=SimpleNamespace(ssh=None, lock_path="lock", folder="folder"),
        connection=SimpleNamespace(transport=transport, sock=None),
        stats=dict,
        done=lambda _: {"pid": os.getppid()},
        stop=lambda **options: asked.append(options) or SimpleNamespace(verdict=Verdict.OK),
    )
    monkeypatch.setattr("orcha._cli.connection.connected", lambda *_: contextlib.nullcontext(client))
    monkeypatch.setattr(stop, "say_what_runs", lambda *_, **__: stop.Counter("", 0.0))
    monkeypatch.setattr(stop, "is_held", closed)
    monkeypatch.setattr(stop, "_MAX_STOP_SECONDS", 0.0)
    monkeypatch.setattr(socket_ends, "peer_credentials", lambda _: (0, 0, 0))
    assert stop.run(Namespace(keep_commands=False, end_commands=False, now=False)) == 75
    assert len(asked) == 1
    assert "its end cannot be seen from here" in capsys.readouterr().err
