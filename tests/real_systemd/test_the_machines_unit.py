"""The unit of the machine's service: its states, commands that outlive it, what it is given, what it is taken."""

from __future__ import annotations

import json

import pytest

from orcha._protocol.keys import make_key
from support.waiting import wait_for

pytestmark = [pytest.mark.slow]


def started_command(unit):
    """Start a command of alice that goes on; give its pid."""
    unit.machine.run_as("alice", "orcha run --detach --name keep -- sleep 3000")
    (pid,) = wait_for(lambda: unit.machine.processes("sleep"))
    return pid


def test_a_start_waits_until_it_serves_and_the_status_follows_the_numbers(unit):
    unit.start()
    assert unit.machine.run_as("alice", "orcha run -- sh -c 'id -un; pwd'") == "alice\n/home/alice"
    wait_for(lambda: unit.status == "0 queued, 0 running")
    started_command(unit)
    wait_for(lambda: unit.status == "0 queued, 1 running")
    unit.systemctl("stop")
    assert unit.pid == 0


@pytest.mark.parametrize("options", [(), ("--hardened",)], ids=["plain", "hardened"])
def test_a_command_keeps_its_pid_over_restart_and_stop_and_kill(unit, options):
    unit.install(*options)
    unit.start()
    command = started_command(unit)
    unit.systemctl("restart")
    assert unit.rows()["keep"]["state"] == "running"
    unit.systemctl("stop")
    unit.start()
    assert unit.rows()["keep"]["state"] == "running"
    pid = unit.pid
    unit.machine.run("kill", "-KILL", str(pid))
    unit.restarted(pid)
    assert unit.rows()["keep"]["state"] == "running"
    assert unit.machine.processes("sleep") == [command]
    assert unit.machine.run_as("alice", "orcha exec keep -- id -un") == "alice"


def test_the_life_of_a_petition_is_read_by_journalctl(unit):
    unit.start()
    machine = unit.machine
    machine.run_as("alice", "orcha run --name nightly -- true")
    machine.run_as("bob", "orcha run --name other -- sh -c 'echo ORCHA_ID=nightly; echo ORCHA_ID=nightly >&2'")

    def life():
        text = machine.run("journalctl", "ORCHA_ID=nightly", "--output=json", "--no-pager")
        found = [json.loads(line) for line in text.splitlines()]
        return found if any(each.get("ORCHA_EVENT") == "ends" for each in found) else []

    entries = wait_for(life, what="the journal has the end of the petition")
    assert {each["ORCHA_USER"] for each in entries} == {"alice"}
    assert {each["_SYSTEMD_UNIT"] for each in entries} == {"orcha.service"}
    told = [each["ORCHA_EVENT"] for each in entries]
    assert [each for each in told if each != "is queued"] == ["begins", "ends"]
    (end,) = [each for each in entries if each["ORCHA_EVENT"] == "ends"]
    assert (end["ORCHA_OUTCOME"], end["ORCHA_CODE"]) == ("succeeded", "0")


def test_a_unit_starts_right_after_all_of_it_was_killed_and_removed(unit):
    """By cgroup.kill: in the same group once more, Linux would kill the service as systemd 257 starts it."""
    for _ in range(3):
        unit.start()
        started_command(unit)
        unit.remove()
        unit.install("--hardened")
    unit.start()
    assert unit.systemctl("show", "--property=Result,NRestarts").split() == ["Result=success", "NRestarts=0"]


def test_the_drop_in_takes_what_it_says_and_leaves_homes(unit):
    unit.install("--hardened")
    unit.start()
    looks = "touch here; touch /etc/here; grep NoNewPrivs /proc/self/status; ls /dev/disk /dev/vda"
    said = unit.machine.run_as("alice", f"orcha run -- sh -c '{looks}'; orcha run -t -- tty; rm here", fails=False)
    assert "touch: cannot touch '/etc/here': Read-only file system" in said
    assert "NoNewPrivs:\t1" in said
    assert "touch: cannot touch 'here'" not in said
    assert "/dev/pts/" in said
    assert 'sudo: The "no new privileges" flag is set' in unit.machine.run_as(
        "alice", "orcha run -- sudo -n true", fails=True
    )


def test_a_key_comes_as_a_credential(unit):
    right, wrong = make_key().text, make_key().text
    unit.machine.write("/etc/orcha.key", right)
    unit.machine.run("chmod", "600", "/etc/orcha.key")
    serve = "/usr/bin/python3 -P -m orcha --systemd --port 50001 serve"
    state = "Environment=ORCHA_HOME=/var/lib/orcha/keyed"  # the machine's service has no port, and so no key
    unit.drop_in("LoadCredential=orcha.key:/etc/orcha.key", state, "ExecStart=", f"ExecStart={serve}")
    unit.start()
    unit.systemctl("restart")
    ask = "ORCHA_HOME=/var/lib/orcha/keyed orcha --port 50001 --key {} run -- echo let in"
    assert unit.machine.run("sh", "-c", ask.format(right)) == "let in"
    assert "key" in unit.machine.run("sh", "-c", ask.format(wrong), fails=True)


def test_a_reload_brings_a_changed_setting_and_says_what_is_wrong_with_another(unit):
    unit.start()
    pid = unit.pid
    unit.machine.write("/etc/orcha/orcha.toml", "[groups.rig]\nslots = 2\n")
    unit.systemctl("reload")
    assert "the configuration changed: groups.rig.slots" in unit.log()
    unit.machine.write("/etc/orcha/orcha.toml", "[groups.rig]\nslots = many\n")
    unit.systemctl("reload", fails=True)
    assert "the configuration stays as it was: /etc/orcha/orcha.toml:2:9" in unit.log()
    assert (unit.pid, unit.machine.run_as("alice", "orcha run --group rig -- echo on")) == (pid, "on")


def test_commands_and_service_have_groups_of_their_own(unit):
    unit.start()
    version = int(unit.machine.run("systemctl", "--version").split()[1])
    theirs = unit.machine.run_as("alice", "orcha run -- grep 0:: /proc/self/cgroup")
    its = unit.machine.run("grep", "0::", f"/proc/{unit.pid}/cgroup")
    if version < 254:  # DelegateSubgroup= is ignored
        assert theirs == its == "0::/system.slice/orcha.service"
    else:
        assert its == "0::/system.slice/orcha.service/orcha-service"
        assert theirs == "0::/system.slice/orcha.service/orcha-commands"
        folder = "/sys/fs/cgroup/system.slice/orcha.service/orcha-commands"
        look = f"cat {folder}/cgroup.events && ! test -w {folder}/cgroup.procs"
        assert "populated 1" in unit.machine.run_as("alice", f"orcha run -- sh -c '{look}'")
