"""Systemd's watchdog: fed while the service goes on, and not a moment longer."""

from __future__ import annotations

import threading
import time

import pytest

from orcha._service.lifecycle.systemd_watchdog import Feeding
from orcha._service.timers import Timers
from orcha.interfaces import Message
from orcha.lib.remote import items_of
from orcha.utils.systemd import reloading
from service.systemd import KEEP_ALIVE, Systemd
from support.gates import Gate

WATCHDOG_MICROSECONDS = 300_000


@pytest.fixture
def systemd(tmp_path):
    """Give what systemd is to a service."""
    known = Systemd(tmp_path)
    yield known
    known.close()


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


def test_a_service_that_goes_on_is_fed_also_while_a_hook_hangs(serve, connect, systemd, tmp_path):
    gate = Gate(tmp_path)
    service = serve(
        "hangs:Hangs",
        source=HANGS,
        environment=systemd.environment(WATCHDOG_MICROSECONDS) | {"ORCHA_HOOK_DEADLINE": "600"},
    )
    for _ in range(3):
        systemd.wait_for(KEEP_ALIVE)
    client = connect(service)
    item = Message("m1", {"gate": gate.path})
    sending = client.manager.client
    thread = threading.Thread(target=lambda: sending.submit(items_of([item], [None]), None))
    thread.start()
    gate.wait_until_reached()
    systemd.drain()
    for _ in range(3):
        systemd.wait_for(KEEP_ALIVE)
    gate.open()
    thread.join(60)


def test_orcha_serve_is_fed(serve, systemd):
    serve(arguments=("--systemd", "serve", "commands"), environment=systemd.environment(WATCHDOG_MICROSECONDS))
    systemd.wait_for("READY=1")
    for _ in range(3):
        systemd.wait_for(KEEP_ALIVE)


def test_what_is_meant_for_another_process_is_not_fed(serve, systemd):
    service = serve(environment=systemd.environment(1_000) | {"WATCHDOG_PID": "1"})
    assert service.stop() == 0
    told = [each for each in systemd.wait_for("STOPPING=1") if not each.startswith("STATUS=")]
    assert told == ["READY=1", "STOPPING=1"]


FREEZES = """
import threading
from orcha._core.asking_round import Round
from orcha._service.hooks.visit import Visit
from orcha.properties import extras
from support.gates import pass_gate
from support.managers import ScriptManager
import os

class StandsStill(Visit):
    "A visit with which the hook thread gets no further, and is in no call of a plugin."
    def __init__(self):
        super().__init__([], Round([]))
        self.calls = self._stand_still()
    def _stand_still(self):
        stand_still()
        yield from ()

def stand_still():
    pass_gate(os.environ["STANDS_STILL"])

class Freezes(ScriptManager):
    def start(self):
        super().start()
        threading.Thread(target=self._freeze, daemon=True).start()
    def _freeze(self):
        pass_gate(os.environ["BEGIN"])
        parts = self._service._parts
        ways = {
            "engine": lambda: parts.engine.post(stand_still),
            "hooks": lambda: parts.engine.visits.hooks.perform(StandsStill()),
            "loop": lambda: parts.server.call_soon(stand_still),
        }
        ways[os.environ["THREAD"]]()
"""


@pytest.mark.parametrize("thread", ["engine", "hooks", "loop"])
def test_a_thread_that_stands_still_ends_the_feeding_within_the_time_of_the_watchdog(serve, systemd, tmp_path, thread):
    begin, still = Gate(tmp_path), Gate(tmp_path)
    known = {"BEGIN": begin.path, "STANDS_STILL": still.path, "THREAD": thread}
    service = serve("freezes:Freezes", source=FREEZES, environment=systemd.environment(WATCHDOG_MICROSECONDS) | known)
    systemd.wait_for(KEEP_ALIVE)
    begin.open()
    still.wait_until_reached()
    assert systemd.restarts(WATCHDOG_MICROSECONDS)
    still.open()
    systemd.wait_for(KEEP_ALIVE)
    assert service.stop() == 0


class Fed:
    """A feeding whose engine and loop are the test's."""

    def __init__(self, interval=10.0):
        """Begin."""
        self.timers, self.loop, self.told, self.hooks = Timers(), [], [], True
        self.now = time.monotonic()
        self.feeding = Feeding(self.timers, self.loop.append, interval, hooks_go_on=lambda: self.hooks, tell=self._tell)

        self.feeding.start()

    def _tell(self, state, **_):
        self.told.append(state)

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


def test_with_hooks_that_stand_still_it_is_not_fed():
    fed = Fed()
    fed.hooks = False
    for _ in range(3):
        fed.engine_goes_on()
        fed.loop_goes_on()
    assert fed.told == []
    fed.hooks = True
    fed.engine_goes_on()
    fed.loop_goes_on()
    assert fed.told == [KEEP_ALIVE]


# --- the other states ------------------------------------------------------------------------------------------------


def test_the_status_says_how_many_wait_and_run_and_what_holds_them_back(serve, connect, systemd, tmp_path):
    gate = Gate(tmp_path)
    service = serve(environment=systemd.environment() | {"TEST_LIMIT": "1"})
    assert systemd.wait_for("READY=1") == ["STATUS=0 queued, 0 running", "READY=1"]
    client = connect(service)
    for name in ("a", "b", "c"):
        client.send(Message(name, {"gate": gate.path}))
    systemd.wait_for("STATUS=2 queued, 1 running")
    service.ask("drain")
    systemd.wait_for("STATUS=2 queued, 1 running, drained")
    gate.open()
    systemd.wait_for("STATUS=2 queued, 0 running, drained")
    service.ask("cancel", "b", "c")
    systemd.wait_for("STATUS=0 queued, 0 running, drained")


def test_systemd_hears_of_a_stop_that_is_not_its_own(serve, systemd):
    service = serve(environment=systemd.environment())
    assert service.run("stop").returncode == 0
    assert service.wait_for_end() == 0
    assert systemd.wait_for("STOPPING=1")[-2:] == ["READY=1", "STOPPING=1"]


def test_a_reload_is_told_with_its_time_and_its_end(systemd, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.path)
    with reloading(12.5):
        assert systemd.next() == "RELOADING=1\nMONOTONIC_USEC=12500000"
    assert systemd.next() == "READY=1"
    with pytest.raises(ValueError, match="bad"), reloading(13.0):
        raise ValueError("bad")
    assert [systemd.next(), systemd.next()] == ["RELOADING=1\nMONOTONIC_USEC=13000000", "READY=1"]
