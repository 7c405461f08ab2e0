"""Systemd's watchdog: fed while the service goes on, and not a moment longer."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from orcha._service.lifecycle.systemd_watchdog import KEEP_ALIVE, Feeding
from orcha._service.timers import Timers
from orcha.interfaces import Message
from orcha.lib.remote import items_of
from support.gates import Gate


@pytest.fixture
def systemd(tmp_path):
    """Give the socket on which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def told(listening, what):
    """Wait until systemd is told this."""
    while listening.recv(4096).decode() != what:
        pass


def drain(listening):
    """Take what has been told by now."""
    listening.setblocking(False)
    try:
        while True:
            listening.recv(4096)
    except BlockingIOError:
        listening.settimeout(60)


HANGS = """
from orcha.interfaces import Petition
from orcha.lib import Manager
from support.gates import pass_gate

class Hangs(Manager):
    def convert_to_petition(self, m):
        pass_gate(m.extras["gate"])
        return Petition(m.id, None, lambda *_: None, lambda _: True)
    def on_start(self, petition): ...
    def on_finish(self, petition): ...
"""


def environment(listening, microseconds=300_000):
    return {"NOTIFY_SOCKET": listening.getsockname(), "WATCHDOG_USEC": str(microseconds)}


def test_a_service_that_goes_on_is_fed_also_while_a_hook_hangs(serve, connect, systemd, tmp_path):
    gate = Gate(tmp_path)
    service = serve("hangs:Hangs", source=HANGS, environment=environment(systemd) | {"ORCHA_HOOK_DEADLINE": "600"})
    for _ in range(3):
        told(systemd, KEEP_ALIVE)
    client = connect(service)
    item = Message("m1", {"gate": gate.path})
    sending = client.manager.client
    thread = threading.Thread(target=lambda: sending.submit(items_of([item], [None]), None))
    thread.start()
    gate.wait_until_reached()
    drain(systemd)
    for _ in range(3):
        told(systemd, KEEP_ALIVE)
    gate.open()
    thread.join(60)


def test_orcha_serve_is_fed(serve, systemd):
    serve(arguments=("--systemd", "serve", "commands"), environment=environment(systemd))
    told(systemd, "READY=1")
    for _ in range(3):
        told(systemd, KEEP_ALIVE)


def test_what_is_meant_for_another_process_is_not_fed(serve, systemd):
    service = serve(environment=environment(systemd, 1_000) | {"WATCHDOG_PID": "1"})
    assert service.stop() == 0
    assert [systemd.recv(4096).decode(), systemd.recv(4096).decode()] == ["READY=1", "STOPPING=1"]


class Fed:
    """A feeding whose engine and loop are the test's."""

    def __init__(self, interval=10.0):
        """Begin."""
        self.timers, self.loop, self.told = Timers(), [], []
        self.now = time.monotonic()
        self.feeding = Feeding(self.timers, self.loop.append, interval, lambda state, **_: self.told.append(state))
        self.feeding.start()

    def engine_goes_on(self):
        """Have the engine do what is due in a while."""
        for call in self.timers.take(self.now + 3_600):
            call()

    def loop_goes_on(self):
        """Have the loop do what it is asked for."""
        calls, self.loop[:] = list(self.loop), []
        for call in calls:
            call()


def test_it_is_fed_when_engine_and_loop_have_gone_on():
    fed = Fed()
    for count in range(1, 4):
        fed.engine_goes_on()
        assert len(fed.told) == count - 1
        fed.loop_goes_on()
        assert fed.told == [KEEP_ALIVE] * count


def test_with_a_loop_that_stands_still_it_is_not_fed():
    fed = Fed()
    for _ in range(5):
        fed.engine_goes_on()
    assert (fed.told, len(fed.loop)) == ([], 1)
    fed.loop_goes_on()
    assert fed.told == [KEEP_ALIVE]


def test_with_an_engine_that_stands_still_it_is_not_fed():
    fed = Fed()
    fed.engine_goes_on()
    for _ in range(5):
        fed.loop_goes_on()
    assert fed.told == [KEEP_ALIVE]
