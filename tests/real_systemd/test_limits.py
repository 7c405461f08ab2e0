"""Limits of commands by cgroups of version 2, and of logins by PAM, where the machine has all that they need."""

from __future__ import annotations

import pytest

from support.waiting import wait_for

pytestmark = [pytest.mark.slow]
MIB = 1 << 20
OWN_GROUP = "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)"
LOGINS = """\
alice hard nofile 200000
alice soft nofile 150000
@crew hard memlock 1000000
@crew soft memlock 1000000
bob - priority -5
bob - rtprio 20
"""


@pytest.fixture(params=[(), ("--hardened",)], ids=["plain", "hardened"])
def limiting(unit, request):
    """Give the unit, started, on a machine where cgroups can limit memory."""
    if "memory" not in unit.machine.run("cat", "/sys/fs/cgroup/cgroup.controllers"):
        pytest.skip("cgroups of version 2 have no memory controller here: make systemd SUITES=trixie-vm")
    unit.install(*request.param)
    unit.start()
    return unit


def values(unit, options, names):
    """Give what a command of alice with these options reads in its own cgroup."""
    files = " ".join(f"{OWN_GROUP}/{name}" for name in names)
    return unit.machine.run_as("alice", f"orcha run {options} -- sh -c 'cat {files}'").splitlines()


def test_a_command_that_takes_more_than_its_memory_is_ended_and_that_is_told(limiting):
    machine = limiting.machine
    machine.run("orcha", "resource", "set", "memory=1G")
    takes = 'python3 -c "bytearray(400 << 20)"'
    for option in ("--memory 200M", "--need memory=200M"):
        said = machine.run_as("alice", f"orcha run {option} -- {takes}", fails=True)
        assert said == "orcha: out of memory: it used 200 MiB"
    assert machine.run_as("alice", "orcha run --memory 600M -- python3 -c 'print(len(bytearray(400 << 20)))'")
    assert limiting.systemctl("is-active") == "active"
    assert "memory" not in machine.run("orcha", "doctor")


def test_a_command_reads_its_limits_and_changes_none(limiting):
    machine = limiting.machine
    machine.run("orcha", "resource", "set", "cpu=0,1")
    options = "--memory 100M --pids 50 --cpu-share 40"
    names = ("memory.max", "memory.swap.max", "pids.max", "cpu.max")
    assert values(limiting, options, names) == [str(100 * MIB), "0", "50", "40000 100000"]
    refused = machine.run_as("alice", f"orcha run {options} -- sh -c 'echo max >{OWN_GROUP}/pids.max'", fails=True)
    assert "Permission denied" in refused
    forks = "orcha run --pids 20 -- sh -c 'for each in $(seq 40); do sleep 5 & done; wait'"
    assert "fork" in machine.run_as("alice", forks, fails=True)
    bound = "sh -c 'echo $ORCHA_CPUS; taskset --cpu-list --pid $$'"
    number, _, affinity = machine.run_as("bob", f"orcha run --need cpu=1 --pin -- {bound}").partition("\n")
    assert affinity.endswith(f"affinity list: {number}")


def test_limits_go_on_over_a_restart_and_a_kill_and_hold_for_what_runs_beside(limiting):
    """What was set of the resources is the same as well."""
    machine = limiting.machine
    machine.run("orcha", "resource", "set", "memory=3G")
    machine.run_as("alice", "orcha run --detach --name keep --need memory=100M -- sleep 3000")
    command = wait_for(lambda: machine.processes("sleep"))
    limiting.systemctl("restart")
    pid = limiting.pid
    machine.run("kill", "-KILL", str(pid))
    limiting.restarted(pid)
    assert (limiting.rows()["keep"]["state"], machine.processes("sleep")) == ("running", command)
    beside = machine.run_as("alice", f"orcha exec keep -- sh -c 'cat {OWN_GROUP}/memory.max; id -un'")
    assert beside == f"{100 * MIB}\nalice"
    assert "100M of 3G" in machine.run("orcha", "resource", "ls")
    machine.run_as("alice", "orcha cancel keep")
    group = "/sys/fs/cgroup/system.slice/orcha.service"
    left = "orcha-commands\norcha-service"
    wait_for(lambda: machine.run("sh", "-c", f"cd {group}; ls -d */ | tr -d /") == left, what="its cgroup is gone")


def test_limits_of_a_login_are_raised_above_those_of_the_service(unit):
    """Root without all capabilities, as in a container, may only lower them."""
    machine = unit.machine
    if "000001ffffffffff" not in machine.run("grep", "CapBnd", "/proc/self/status"):
        pytest.skip("root has not all capabilities here: make systemd SUITES=trixie-vm")
    machine.write("/etc/security/limits.d/orcha.conf", LOGINS)
    machine.run("sh", "-c", "groupadd --force crew; usermod --append --groups crew alice")
    unit.start()
    limits = "orcha run -- bash -c 'ulimit -Hn; ulimit -Sn; ulimit -l; ulimit -r; nice'"
    alice, bob = (machine.run_as(user, limits).split() for user in ("alice", "bob"))
    assert alice == ["200000", "150000", "1000000", "0", "0"]
    assert (bob[0], bob[3:]) == ("65536", ["20", "-5"])
    assert machine.run("orcha", "run", "--", "sh", "-c", "ulimit -Hn") == "65536"
