"""The example plugin does what its pages say."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import RunningService, Serve, wait_for

ROOT = Path(__file__).resolve().parents[2]
HELLO = ROOT / "examples" / "orcha_hello"


@pytest.fixture
def hello(serve: Serve, tmp_path) -> RunningService:
    path = os.pathsep.join([str(tmp_path), str(HELLO)])
    return serve(arguments=("hello", "serve", "--at-once", "1"), environment={"PYTHONPATH": path})


def test_a_greeting_streams_and_ends_with_zero(hello):
    done = hello.run("hello", "send", "Ada", "--start", "2")
    assert done.stdout == "Ada in 2\nAda in 1\nHello, Ada!\n", done.stderr
    assert done.returncode == 0


def test_orcha_serve_serves_it_beside_commands(serve: Serve):
    service = serve(arguments=("serve",), environment={"PYTHONPATH": str(HELLO)})
    assert service.run("hello", "send", "Ada", "--start", "1").stdout == "Ada in 1\nHello, Ada!\n"
    assert service.run("run", "--", "echo", "too").stdout == "too\n"


def test_what_must_wait_says_why(hello):
    first = hello.spawn(
        *hello.orcha("hello", "send", "Grace", "--start", "600", "--pause", "1"), stdout=subprocess.PIPE
    )
    assert first.stdout.readline() == b"Grace in 600\n"
    hello.spawn(*hello.orcha("hello", "send", "Alan", "--id", "alan"), stdout=subprocess.DEVNULL)
    wait_for(lambda: "1 at once, and 1 are counting" in hello.run("ps").stdout, what="the reason in orcha ps")


def test_ctrl_c_ends_a_greeting_with_130(hello):
    client = hello.spawn(
        *hello.orcha("hello", "send", "Grace", "--start", "600", "--pause", "1"), stdout=subprocess.PIPE
    )
    assert client.stdout.readline() == b"Grace in 600\n"
    client.send_signal(signal.SIGINT)
    assert client.wait(30) == 130
    assert hello.run("hello", "send", "Ada", "--start", "1").returncode == 0


def test_a_message_without_a_name_is_rejected(hello, connect):
    from orcha.interfaces import Message

    client = connect(hello)
    values = client.manager.Queue()
    client.send(Message("nobody", {"queue": values}))
    assert isinstance(values.get(), str)
    assert values.get() == 1


def test_a_petition_can_be_tested_without_a_service(monkeypatch):
    monkeypatch.syspath_prepend(str(HELLO))
    from orcha_hello.countdown import Countdown, count_down

    values: queue.Queue[str] = queue.Queue()
    count_down(Countdown(id=1, queue=values, action=print, condition=bool, name="Ada", start=1))
    assert [values.get_nowait(), values.get_nowait()] == ["Ada in 1\n", "Hello, Ada!\n"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "orcha_hello"]:
        monkeypatch.delitem(sys.modules, name)
