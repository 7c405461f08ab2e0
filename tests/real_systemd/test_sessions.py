"""What the end of a login session ends: a user's own service, unless the user lingers; nothing of the machine's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.waiting import wait_for

pytestmark = [pytest.mark.slow]
INSTALL = "orcha install-units --user && systemctl --user daemon-reload && systemctl --user enable --now orcha.service"


@pytest.fixture
def logged_in(machine):
    """Give what runs lines of shell in a session of alice; what she has is removed afterwards."""
    yield lambda script: machine.log_in("alice", script)
    machine.run("loginctl", "disable-linger", "alice")
    machine.run("sh", "-c", "loginctl terminate-user alice; systemctl stop user@$(id -u alice).service")
    machine.run("sh", "-c", "rm -rf /home/alice/.config /home/alice/.local /etc/systemd/logind.conf.d")


def manager_of(machine, user):
    """Tell in which state the systemd of a user is."""
    uid = machine.run("id", "-u", user)
    return machine.run("systemctl", "show", "--property=ActiveState", "--value", f"user@{uid}.service")


def test_the_last_logout_ends_a_users_service_and_its_commands_which_is_told_at_the_next_login(machine, logged_in):
    logged_in(f"{INSTALL} && orcha run --detach --name mine -- sleep 3000")
    wait_for(lambda: manager_of(machine, "alice") == "inactive", what="the end of the systemd of alice")
    assert machine.processes("sleep") == []
    rows = json.loads(logged_in("systemctl --user start orcha.service && orcha ps --all --json"))
    assert [(row["id"], row["outcome"]) for row in rows] == [("mine", "interrupted")]
    assert "enable-linger" in rows[0]["reason"]


def test_the_service_of_a_user_who_lingers_outlives_the_logout(machine, logged_in):
    machine.run("loginctl", "enable-linger", "alice")
    logged_in(f"{INSTALL} && orcha run --detach --name mine -- sleep 3000")
    command = machine.processes("sleep")
    wait_for(lambda: "session-" not in machine.run("systemctl", "list-units", "--no-legend", "session-*.scope"))
    assert manager_of(machine, "alice") == "active"
    assert '"running"' in logged_in("systemctl --user restart orcha.service; orcha ps --json")
    assert machine.processes("sleep") == command


@pytest.mark.parametrize("kills", ["no", "yes"])
def test_commands_of_the_machines_service_outlive_the_logout_of_their_user(machine, unit, logged_in, kills):
    machine.write("/etc/systemd/logind.conf.d/test.conf", f"[Login]\nKillUserProcesses={kills}\n")
    machine.run("systemctl", "restart", "systemd-logind.service")
    unit.start()
    logged_in("orcha run --detach --name keep -- sleep 3000")
    command = machine.processes("sleep")
    wait_for(lambda: manager_of(machine, "alice") == "inactive", what="the end of the systemd of alice")
    assert unit.rows()["keep"]["state"] == "running"
    assert machine.processes("sleep") == command


SERVE = "PYTHONPATH=/opt/plugin orcha serve commands still"
ASK = """
from orcha import ClientManager, Message
client = ClientManager()
client.plugin_name = "still"
assert client.connect()
client.send(Message("action", {}))
"""


def test_a_service_in_the_foreground_of_a_session_stops_in_good_order_with_it(machine, logged_in):
    """Its actions have their time to return, and end as interrupted; its commands get the signal of the session."""
    plugin = Path(__file__).with_name("orcha_standing_still.py")
    machine.write("/opt/plugin/orcha_standing_still.py", plugin.read_text())
    machine.write("/home/alice/ask.py", ASK)
    login = f"runuser --login alice -c '{SERVE} & exec sleep 2000'"
    machine.run(
        "systemd-run", "--quiet", "--collect", "--unit=terminal", "script", "--quiet", "--command", login, "/dev/null"
    )
    wait_for(lambda: "nothing" in machine.run_as("alice", "orcha ps || true"), what="the service", interval=0.5)
    machine.run_as("alice", "python3 ask.py && orcha run --detach --name mine -- sleep 3000")
    machine.run("loginctl", "terminate-user", "alice")
    wait_for(lambda: not machine.running("orcha serve"), what="the end of the service", interval=0.2)
    said = logged_in(f"{SERVE} --background 2>&1 && orcha ps --all --json && orcha stop --end-commands 2>&1")
    rows = {row["id"]: row for row in json.loads(said[said.index("[") : said.rindex("]") + 1])}
    assert {name: row["outcome"] for name, row in rows.items()} == {"action": "interrupted", "mine": "interrupted"}
    assert rows["action"]["reason"] == "interrupted: the service was stopped while it ran"
