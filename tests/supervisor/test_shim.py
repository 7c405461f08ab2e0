"""A shim by itself, in a process of the test's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from orcha._supervisor import black_box as boxes
from orcha._supervisor.contract import CommandSpec
from orcha._supervisor.protocol import pack_spec
from orcha._supervisor.shim_connection import ShimConnection, connect
from support.waiting import wait_for

ONE_SHIM = """
import os, socket, sys
from orcha._supervisor import black_box as boxes, escalation, shim, shim_attempt
shim.SOCKET_LOOK_SECONDS = shim_attempt.SURVIVOR_LOOK_SECONDS = escalation.GIVE_UP_SECONDS = 0.05
folder, listener, box = sys.argv[1], socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])
shim.Shim("one", listener, box, boxes.BlackBox(nonce=1, ordinal=1, pid=os.getpid()), folder).run()
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("shims", "output"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def shim(folder):
    """A shim process that looks again, and gives up what nothing can kill, after a twentieth of a second."""
    path = folder / "shims" / "one"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.sock")
        listener.listen()
        box = os.open(f"{path}.box", os.O_RDWR | os.O_CREAT, 0o600)
        passed = (listener.fileno(), box)
        command = [sys.executable, "-c", ONE_SHIM, str(folder), *map(str, passed)]
        process = subprocess.Popen(command, pass_fds=passed)
        os.close(box)
    yield process
    process.kill()
    process.wait()


def test_it_keeps_an_end_as_long_as_a_service_can_come_for_it(folder, shim):
    shims = os.open(folder / "shims", os.O_RDONLY)
    try:
        known = ShimConnection("one", connect(shims, "one"), epoch=1)
    finally:
        os.close(shims)
    spec = CommandSpec(1, 1, b"c" * 16, ("true",), "/", dict(os.environ))
    known.link.send({"t": "start", "spec": pack_spec(spec)})
    box = str(folder / "shims" / "one.box")
    wait_for(lambda: (found := boxes.read(box)) and found.phase == boxes.DONE, what="the command's end")
    known.link.close()
    assert shim.poll() is None
    (folder / "shims" / "one.sock").unlink()
    assert shim.wait(20) == 0


def connected(folder, epoch):
    shims = os.open(folder / "shims", os.O_RDONLY)
    try:
        return ShimConnection("one", connect(shims, "one"), epoch)
    finally:
        os.close(shims)


def order(known, seq, *argv):
    spec = CommandSpec(seq, 1, b"c" * 16, argv, "/", dict(os.environ))
    known.link.send({"t": "start", "spec": pack_spec(spec)})


def heads(known):
    """Give what the shim has said, up to now."""
    return [frame.head for frame in known.link.receive()]


def state_of(known):
    return wait_for(lambda: [head for head in heads(known) if head["t"] == "state"], what="the shim's state")[0]


def wait_for_end(folder, seq):
    box = str(folder / "shims" / "one.box")
    wait_for(lambda: (found := boxes.read(box)) and (found.seq, found.phase) == (seq, boxes.DONE), what="an end")


@pytest.mark.parametrize("comes", ["with the next service", "after the next service"])
def test_an_order_of_the_service_before_is_carried_out_only_where_the_next_one_is_told(folder, shim, tmp_path, comes):
    """Where the next service hears that the shim is idle, it runs the petition again: then nothing else may run it."""
    mark = tmp_path / "mark"
    before = connected(folder, 1)
    assert state_of(before)["phase"] == "idle"
    if comes == "with the next service":
        os.kill(shim.pid, signal.SIGSTOP)
        order(before, 1, "touch", str(mark))
        later = connected(folder, 2)
        os.kill(shim.pid, signal.SIGCONT)
        state = state_of(later)
    else:
        later = connected(folder, 2)
        state = state_of(later)
        order(before, 1, "touch", str(mark))
        assert state["phase"] == "idle"
    if state["phase"] == "idle":
        order(later, 2, "true")
        wait_for_end(folder, 2)
        assert not mark.exists()
    else:
        assert (state["s"], state["a"]) == (1, 1)
        wait_for_end(folder, 1)
        assert mark.exists()
    for known in (before, later):
        known.link.close()
    (folder / "shims" / "one.sock").unlink()


def heard(known, kind):
    """Wait until the shim says something of this kind; give it."""
    return wait_for(lambda: [head for head in heads(known) if head["t"] == kind], what=kind)[0]


def test_it_tells_a_later_service_the_end_again_and_that_what_nothing_could_kill_has_ended(folder, shim, frozen):
    about = {"s": 1, "a": 1}
    before = connected(folder, 1)
    order(before, 1, "sleep", "1000")
    pid = heard(before, "started")["pid"]
    frozen(pid, freeze=True)
    before.link.send({"t": "kill", "why": "cancelled", **about})
    assert heard(before, "ended")["survivors"] == [pid]
    before.link.close()
    later = connected(folder, 2)
    assert state_of(later)["survivors"] == [pid]
    later.link.send({"t": "resume", "n": 0, **about})
    assert heard(later, "ended")["survivors"] == [pid]
    frozen(pid, freeze=False)
    assert heard(later, "gone") == {"t": "gone", **about}
    later.link.close()
