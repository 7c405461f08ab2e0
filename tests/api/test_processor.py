"""API.md, orcha.lib: `Processor`, the view of what a service runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orcha.interfaces import Message
from support.waiting import wait_for

SOURCE = """
from orcha.interfaces import Message
from orcha.lib import Processor
from support.managers import ScriptManager

class Viewed(ScriptManager):
    def setup(self):
        super().setup()
        self.register("view", self.view)
        self.register("start_nothing", lambda: setattr(self.processor, "running", False))
        self.register("start_again", lambda: setattr(self.processor, "running", True))
        self.register("consider", lambda count: setattr(self.processor, "look_ahead", count))
        self.register("enqueue", lambda name, extras: self.processor.enqueue(Message(name, extras)))
        self.register("end", lambda name: self.processor.finish(name))
        self.register("wait", lambda seconds: self.processor.wait(seconds))
        self.register("runs", lambda name: [self.processor.is_running(name), self.processor.exists(name)])

    def view(self):
        assert Processor() is self.processor and self.processor.manager is self
        return {"running": self.processor.running, "look_ahead": self.processor.look_ahead,
                "notify_watchdog": self.processor.notify_watchdog}
"""


@pytest.fixture
def client(serve, connect):
    client = connect(serve("viewed:Viewed", source=SOURCE, environment={"TEST_LIMIT": "1"}))
    for name in ("view", "start_nothing", "start_again", "consider", "enqueue", "end", "wait", "runs"):
        client.register(name)
    return client


def test_there_is_none_before_a_manager_has_one():
    code = "from orcha.lib import Processor\ntry: Processor()\nexcept ValueError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "there is no processor yet" in done.stdout


def test_it_is_one_and_shows_what_is_set(client):
    assert client.view() == {"running": True, "look_ahead": None, "notify_watchdog": False}
    client.consider(3)
    assert client.view()["look_ahead"] == 3


def test_running_false_starts_nothing_and_true_goes_on(client):
    client.start_nothing()
    wait_for(lambda: client.view()["running"] is False)
    queue = client.manager.Queue()
    client.send(Message("a", {"queue": queue}))
    assert client.runs("a") == [False, False]
    client.start_again()
    assert queue.get() is None


def test_enqueue_is_running_and_finish(client, gate):
    client.enqueue("a", {"gate": gate.path})
    gate.wait_until_reached()
    assert client.runs("a") == [True, True]
    client.enqueue("b", {})
    wait_for(lambda: client.end("b"), what="it waits, and ends")
    assert client.end("b") is False
    gate.open()
    wait_for(lambda: client.runs("a") == [False, False])


def test_look_ahead_considers_the_first_only(serve, connect, tmp_path):
    """With look_ahead=1 a blocked head hides what is behind it, as in the original."""
    source = """
import os
from support.managers import ScriptManager
class Narrow(ScriptManager):
    def __init__(self, **a): super().__init__(look_ahead=1, **a)
    def below_limit(self, petition): return not str(petition.id).startswith("blocked")
"""
    client = connect(serve("narrow:Narrow", source=source))
    client.send(Message("blocked", {"priority": 1}))
    queue = client.manager.Queue()
    client.send(Message("behind", {"queue": queue, "priority": 2}))
    first = client.manager.Queue()
    client.send(Message("before", {"queue": first, "priority": 0}))
    assert first.get() is None
    assert queue.empty()
    client.finish("blocked")
    assert queue.get() is None


def test_wait_answers_whether_shutdown_was_called(client):
    assert client.wait(0) is False
