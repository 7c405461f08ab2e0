"""systemd restarts a service that stands still, within the watchdog's time; commands go on, and a hook may hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.waiting import wait_for

pytestmark = [pytest.mark.slow]
SECONDS = 6
SEND = """
from orcha import ClientManager, Message
client = ClientManager()
client.plugin_name = "still"
assert client.connect()
client.send(Message("hangs", {}))
"""


@pytest.fixture
def still(unit):
    """Give the unit with a plugin that obeys files, a watchdog of some seconds, and a command that goes on."""
    plugin = Path(__file__).with_name("orcha_standing_still.py")
    unit.machine.write("/opt/plugin/orcha_standing_still.py", plugin.read_text())
    serve = "/usr/bin/python3 -P -m orcha --systemd serve --system commands still"
    variables = 'Environment="PYTHONPATH=/opt/plugin" "ORCHA_HOOK_DEADLINE=600"'
    unit.drop_in(f"WatchdogSec={SECONDS}", variables, "ExecStart=", f"ExecStart={serve}")
    unit.start()
    unit.machine.run_as("alice", "orcha run --detach --name keep -- sleep 3000")
    return unit


@pytest.mark.parametrize("thread", ["engine", "hooks", "loop"])
def test_a_thread_that_stands_still_has_the_service_restarted(still, thread):
    pid, command = still.pid, still.machine.processes("sleep")
    still.machine.write("/run/orcha/stand-still", thread)
    still.restarted(pid)
    assert f"Watchdog timeout (limit {SECONDS}s)!" in still.log()
    assert "timed out. Killing." not in still.log()  # SIGABRT ended it
    assert still.rows()["keep"]["state"] == "running"
    assert still.machine.processes("sleep") == command


def test_a_service_that_was_stopped_is_restarted(still):
    pid, command = still.pid, still.machine.processes("sleep")
    still.machine.run("kill", "-STOP", str(pid))
    still.restarted(pid)
    assert "timed out. Killing." not in still.log()  # systemd has a process go on to which it sends SIGABRT
    assert still.rows()["keep"]["state"] == "running"
    assert still.machine.processes("sleep") == command


def test_a_service_that_does_not_end_by_sigabrt_is_killed(still):
    pid = still.pid
    still.machine.write("/run/orcha/stand-still", "deaf")
    still.restarted(pid)
    assert "timed out. Killing." in still.log()  # TimeoutAbortSec=10
    assert still.rows()["keep"]["state"] == "running"


def test_a_hook_that_hangs_is_no_standstill(still):
    def fed_at():
        return int(still.systemctl("show", "--property=WatchdogTimestampMonotonic", "--value"))

    pid = still.pid
    still.machine.write("/run/orcha/hangs", "")
    still.machine.run("systemd-run", "--quiet", "--collect", "python3", "-c", SEND)
    before = fed_at()
    wait_for(lambda: fed_at() > before + 3 * SECONDS * 1_000_000, what="a hook that hangs for long", interval=0.5)
    assert still.pid == pid
    assert "Watchdog timeout" not in still.log()
    still.machine.run("rm", "/run/orcha/hangs")
    wait_for(lambda: "hangs" in still.rows(), what="the petition of the hook that hung")
