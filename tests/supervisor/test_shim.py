"""A shim by itself, in a process of the test's."""

from __future__ import annotations

import os
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
from orcha._supervisor import black_box as boxes, shim
shim.SOCKET_LOOK_SECONDS = 0.05
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
    """A shim process that looks again after a twentieth of a second."""
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
