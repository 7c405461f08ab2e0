"""API.md, orcha.lib: `WatchdogManager`, `WatchdogClientManager`; orcha.plugins: ``orcha watchdog``."""

from __future__ import annotations

import errno
import socket

import pytest

from orcha.interfaces import Message
from orcha.lib import WatchdogClientManager

SOURCE = """
from orcha.interfaces import Petition
from orcha.lib import WatchdogManager

class Watched(WatchdogManager):
    notify = False
    def __init__(self, **a): super().__init__(notify_watchdog=self.notify, **a)
    def convert_to_petition(self, m):
        return super().convert_to_petition(m) or Petition(m.id, m.extras["queue"], self.act, lambda p: False)
    def act(self, cb, p): p.finish(0)

class Notifying(Watched):
    notify = True
"""


@pytest.fixture
def systemd(tmp_path):
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(30)
        yield listener, str(tmp_path / "notify")


def test_a_service_that_notifies_answers_0_and_tells_systemd(serve, systemd):
    listener, path = systemd
    service = serve("watched:Notifying", source=SOURCE, environment={"NOTIFY_SOCKET": path})
    asked = service.run("watchdog", "--timeout", "30", env={**service.environment, "NOTIFY_SOCKET": ""})
    assert (asked.stdout, asked.returncode) == ("", 0)
    told = []
    while "WATCHDOG=1" not in told:
        told += listener.recv(4096).decode().splitlines()
    assert "READY=1" in told


def test_one_that_does_not_notify_answers_eperm(serve):
    service = serve("watched:Watched", source=SOURCE)
    asked = service.run("wd")
    assert asked.returncode == errno.EPERM
    assert asked.stderr == "orcha: the service lives, but does not notify systemd\n"


def test_it_comes_before_everything_that_waits(serve, orcha_home):
    service = serve("watched:Watched", source=SOURCE)
    client = WatchdogClientManager(port=service.port)
    client.connect()
    for number in range(100):
        client.send(Message(number, {"queue": None}))
    queue = client.manager.Queue()
    client.send_watchdog(queue)
    assert queue.get(timeout=30) == errno.EPERM
    with pytest.raises(ValueError, match="reserved"):
        client.send(Message("watchdog", {"queue": queue}))
    client.shutdown()


def test_no_service_is_69(service):
    service.stop()
    assert service.run("watchdog").returncode == 69
