"""Verbs about commands that run: pause, standard input, terminals, kills, a stop that keeps them."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path
from threading import Thread

import psutil
import pytest

from orcha._protocol.messages import Verdict
from support.commands import COMMANDS, everything, run
from support.waiting import wait_for


@pytest.fixture
def commands(serve):
    return serve(COMMANDS, environment={"ORCHA_SLOTS": "rig=none"})


@pytest.fixture
def client(commands, connect):
    return connect(commands)


def details(client, identity):
    wire = client.manager.client
    reply = wire.show(identity)
    assert reply.verdict == Verdict.OK, reply
    return wire.decode(reply.value)


def wait_until_runs(client, identity):
    wait_for(lambda: details(client, identity)["state"] == "running", what=f"{identity} runs")
    return details(client, identity)


def is_stopped(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_paused_command_stands_still_until_it_goes_on(client, tmp_path):
    end = tmp_path / "end"
    os.mkfifo(end)  # a loop that starts processes would at times be seen in vfork(2), which does not count as stopped
    queue = run(client, "m1", "sh", "-c", f"read _ < {end}")
    shown = wait_until_runs(client, "m1")
    pid = shown["attempts"][-1]["pid"]
    wire = client.manager.client
    assert wire.pause("m1").verdict == Verdict.OK
    wait_for(lambda: is_stopped(pid), what="it is stopped")
    assert details(client, "m1")["paused"]
    assert wire.set("m1", timeout=3600, label="a").verdict == Verdict.OK
    assert wire.set("m1", argv=["true"]).reason == "'argv' cannot be changed after a command was accepted"
    assert (details(client, "m1")["timeout"], details(client, "m1")["label"]) == (3600, "a")
    assert wire.resume("m1").verdict == Verdict.OK
    end.write_text("\n")
    assert everything(queue)[-1] == 0


def test_a_command_goes_on_in_its_groups_pause_unless_it_is_paused_itself(client):
    run(client, "m1", "sleep", "600", group="rig")
    pid = wait_until_runs(client, "m1")["attempts"][-1]["pid"]
    wire = client.manager.client
    assert wire.pause("m1").verdict == wire.pause(group="rig").verdict == Verdict.OK
    wait_for(lambda: is_stopped(pid), what="it is stopped")
    assert details(client, "m1")["paused"]
    assert wire.resume("m1").verdict == Verdict.OK
    wait_for(lambda: not is_stopped(pid), what="it goes on, though its group is paused")
    assert not details(client, "m1")["paused"]
    assert client.finish("m1")


def test_a_command_that_is_paused_while_it_starts_stands_still_once_it_runs(client):
    """Said as soon as it is accepted, whatever it is doing then."""
    wire = client.manager.client
    for name in ("a", "b", "c", "d", "e"):
        queue = run(client, name, "sleep", "1000")
        assert wire.pause(name).verdict == Verdict.OK
        if details(client, name)["state"] != "queued":
            pid = wait_until_runs(client, name)["attempts"][-1]["pid"]
            wait_for(lambda pid=pid: is_stopped(pid), what="it is stopped")
            assert wire.resume(name).verdict == Verdict.OK
            wait_for(lambda pid=pid: not is_stopped(pid), what="it goes on")
        assert client.finish(name)
        assert everything(queue)[-1] == 130


@pytest.mark.parametrize("decision", ["resume", "cancel"])
def test_what_was_interrupted_and_asks_runs_again_or_ends_as_a_person_decides(client, decision):
    queue = run(client, "m1", "sh", "-c", "test $ORCHA_ATTEMPT = 2 || exec sleep 600", on_interrupt="ask")
    pid = wait_until_runs(client, "m1")["attempts"][-1]["pid"]
    os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)  # its shim
    wait_for(lambda: details(client, "m1")["state"] == "held", what="it is held")
    wire = client.manager.client
    assert "resume it to run it again, or cancel it" in details(client, "m1")["why"]
    assert "resume it to run it again, or cancel it" in wire.retry("m1").reason
    if decision == "resume":
        assert wire.resume("m1").verdict == Verdict.OK
    else:
        assert client.finish("m1")
    assert everything(queue)[-1] == (0 if decision == "resume" else 130)
    assert details(client, "m1")["attempt"] == (2 if decision == "resume" else 1)


def test_a_paused_command_can_be_cancelled(client):
    queue = run(client, "m1", "sleep", "600")
    pid = wait_until_runs(client, "m1")["attempts"][-1]["pid"]
    client.manager.client.pause("m1")
    wait_for(lambda: is_stopped(pid), what="it is stopped")
    assert client.finish("m1")
    assert everything(queue)[-1] == 130
    assert not Path(f"/proc/{pid}").exists()


def test_what_people_type_arrives_whole_and_in_order_with_flow_control(client, latch):
    script = f"{latch.wait}; sha256sum"
    queue = run(client, "m1", "sh", "-c", script, stdin=True)
    shown = wait_until_runs(client, "m1")
    wire, data, offset = client.manager.client, os.urandom(1 << 20), 0
    part = 64 * 1024
    first = wire.stdin(shown["seq"], 1, 0, data[:part])
    assert wire.decode(first.value) == part
    again = wire.stdin(shown["seq"], 1, 0, data[:part])  # its answer was lost, say
    assert wire.decode(again.value) == part
    gap = wire.stdin(shown["seq"], 1, part + 1, b"x")
    assert wire.decode(gap.value) == part
    latch.open()
    offset = part
    while offset < len(data):
        reply = wire.stdin(shown["seq"], 1, offset, data[offset : offset + part])
        assert reply.verdict == Verdict.OK, reply
        offset = wire.decode(reply.value)
    assert wire.stdin(shown["seq"], 1, offset, b"", end=True).verdict == Verdict.OK
    out, _, _, code = everything(queue)
    assert (out.split()[0].decode(), code) == (hashlib.sha256(data).hexdigest(), 0)
    assert wire.stdin(shown["seq"], 1, offset, b"late").verdict == Verdict.GONE


def test_who_writes_to_a_command_that_reads_nothing_waits_and_is_told_of_its_end(client):
    run(client, "m1", "sleep", "600", stdin=True)
    shown = wait_until_runs(client, "m1")
    wire, offset = client.manager.client, 0
    replies = []

    def write(offset=offset):
        while True:
            reply = wire.stdin(shown["seq"], 1, offset, bytes(128 * 1024))
            replies.append(reply.verdict)
            if reply.verdict != Verdict.OK:
                return
            offset = wire.decode(reply.value)

    writer = Thread(target=write)
    writer.start()
    wait_for(lambda: len(replies) >= 2, what="some of it fits")
    assert client.finish("m1")
    writer.join(30)
    assert replies[-1] == Verdict.GONE
    assert len(replies) < 20


def test_a_command_without_standard_input_refuses_it(client):
    run(client, "m1", "sleep", "600")
    shown = wait_until_runs(client, "m1")
    wire = client.manager.client
    assert wire.stdin(shown["seq"], 1, 0, b"x").verdict == Verdict.REFUSED
    assert wire.resize(shown["seq"], 1, 24, 80).verdict == Verdict.REFUSED
    assert wire.resize(shown["seq"], 2, 24, 80).verdict == Verdict.GONE


def test_a_terminal_is_told_its_size(client):
    script = "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.02; done"
    queue = run(client, "m1", "sh", "-c", script, tty=[24, 80], stdin=True)
    assert b"24 80" in queue.get()[1]
    seq = details(client, "m1")["seq"]
    assert client.manager.client.resize(seq, 1, 50, 132).verdict == Verdict.OK
    out, _, _, code = everything(queue)
    assert (b"50 132" in out, code) == (True, 0)


def test_a_cancel_at_once_spares_no_grace(client):
    queue = run(client, "m1", "sh", "-c", "trap '' INT TERM; echo there; while :; do sleep 1; done", grace=600.0)
    assert queue.get() == (1, b"there\n")
    reply = client.manager.client.cancel(id="m1", at_once=True)
    assert client.manager.client.decode(reply.value) == "cancelled"
    assert details(client, "m1")["attempts"][-1]["signals"][-1][1] == 9


def test_show_tells_of_a_command_and_its_attempts_but_no_secret(client):
    queue = run(client, "m1", "sh", "-c", "exit 3", env={"TOKEN": "hush", "PATH": "/bin:/usr/bin"}, cwd="/tmp")
    assert everything(queue)[-1] == 3
    shown = details(client, "m1")
    command = shown["command"]
    assert command | {"argv": ["sh", "-c", "exit 3"], "cwd": "/tmp", "env": ["PATH", "TOKEN"]} == command
    (attempt,) = shown["attempts"]
    assert (attempt["attempt"], attempt["code"], attempt["signal"]) == (1, 3, None)
    assert attempt["wall"] > 0
    assert "hush" not in repr(shown)


def test_commands_of_a_group_with_slots_run_so_many_at_a_time(serve, connect, latch):
    service = serve(COMMANDS, environment={"ORCHA_SLOTS": "rig=1", "ORCHA_COMMANDS": "4"})
    client = connect(service)
    queues = [run(client, f"m{number}", "sh", "-c", latch.wait, group="rig") for number in range(3)]
    wait_until_runs(client, "m0")
    shown = details(client, "m1")
    assert (shown["state"], shown["why"]) == ("queued", "1 of 1 slots of its group rig is in use")
    latch.open()
    assert [everything(queue)[-1] for queue in queues] == [0, 0, 0]


def test_a_stop_can_leave_commands_running_and_the_next_start_goes_on_with_them(commands, client, connect, tmp_path):
    end = tmp_path / "end"
    os.mkfifo(end)  # as above
    writer = os.open(end, os.O_RDWR)  # what is stopped while it opens a pipe for reading does not count as a reader
    queue = run(client, "m1", "sh", "-c", f"echo before; read _ < {end}; echo after; exit 5")
    assert queue.get() == (1, b"before\n")
    pid = wait_until_runs(client, "m1")["attempts"][-1]["pid"]
    client.manager.client.pause("m1")
    wait_for(lambda: is_stopped(pid), what="it is stopped")
    stopped = commands.run("stop", "--keep-commands")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert commands.wait_for_end() == 0
    assert is_stopped(pid)
    os.write(writer, b"\n")
    commands.start()
    other = connect(commands)
    shown = details(other, "m1")
    assert (shown["state"], shown["paused"], shown["attempts"][-1]["pid"]) == ("running", True, pid)
    assert other.manager.client.resume("m1").verdict == Verdict.OK
    assert everything(queue) == (b"after\n", b"", [], 5)
    os.close(writer)


def test_a_command_is_tried_again_by_hand(client):
    first = run(client, "m1", "sh", "-c", "echo tried; exit 4")
    assert everything(first) == (b"tried\n", b"", [], 4)
    wire = client.manager.client
    wait_for(lambda: (reply := wire.retry("m1")).verdict == Verdict.OK and reply, what="it is accepted")
    known = details(client, "m1")
    queue = wire.channel(known["channel"], own=True)
    assert everything(queue) == (b"tried\n", b"", [], 4)


def until(path):
    return ("sh", "-c", f"while [ ! -e {path} ]; do sleep 0.02; done")


def test_a_command_that_lives_on_holds_what_it_needs_from_the_first_moment_on(serve, connect, tmp_path):
    environment = {"ORCHA_RESOURCES": "gpu=2,ram=4", "ORCHA_COMMANDS": "9"}
    service = serve(COMMANDS, environment=environment)
    client = connect(service)
    queues = [run(client, "large", *until(tmp_path / "large"), needs={"gpu": 2, "ram": 1})]
    wait_until_runs(client, "large")
    queues += [run(client, f"small {number}", *until(tmp_path / "small"), needs={"gpu": 1}) for number in range(3)]
    service.kill()
    service.start()
    client = connect(service)
    queues += [run(client, "new", *until(tmp_path / "small"), needs={"ram": 4})]
    shown = details(client, "large")
    assert (shown["state"], shown["needs"]) == ("running", {"gpu": 2, "ram": 1})
    assert details(client, "new")["why"] == "it needs 4 ram, 3 of 4 are free"
    wait_for(
        lambda: details(client, "small 0")["why"] == "it needs 1 gpu, 0 of 2 are free", what="it says for what it waits"
    )
    assert [details(client, f"small {number}")["state"] for number in range(3)] == ["queued"] * 3
    (tmp_path / "large").touch()
    wait_until_runs(client, "small 0")
    wait_until_runs(client, "small 1")
    wait_until_runs(client, "new")
    assert details(client, "small 2")["why"] == "it needs 1 gpu, 0 of 2 are free"
    (tmp_path / "small").touch()
    assert [everything(queue)[-1] for queue in queues] == [0] * 5


def test_a_command_that_can_never_run_is_refused(serve, connect):
    client = connect(serve(COMMANDS, environment={"ORCHA_RESOURCES": "gpu=2"}))
    text = b"it needs 3 gpu, and the service has 2: need less of it, or serve with --resource gpu=3"
    queue = run(client, "m1", "true", needs={"gpu": 3})
    assert text.decode() in repr(everything(queue))
