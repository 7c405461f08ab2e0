"""``orcha exec``: a command beside a running command, through the real command and a real service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from orcha._supervisor.cgroups import CgroupPlaces
from support.terminals import OnTerminal
from support.waiting import wait_for

AT_ONCE = 1
"""Commands that the service runs: what runs beside another one takes none of these slots."""


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


@pytest.fixture
def host(service, tmp_path):
    """Have a command run in a folder, with a variable; give the service."""
    done = service.ask("run", "-d", "--name", "train", "-C", str(tmp_path), "-e", "RIG=a b", "--", "sleep", "600")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: shown(service, "train")["state"] == "running", what="it runs")
    return service


def beside(service, *words, **options):
    return service.run("exec", "train", "--", *words, **options)


def last_beside(service):
    rows = json.loads(service.ask("ps", "--all", "--json").stdout)
    return max((row["seq"], row["id"]) for row in rows if row["label"] == "beside train")[1]


def lives(path):
    """Tell whether the process lives whose number a command has written there; before that it does not."""
    number = path.read_text().strip() if path.exists() else ""
    return number != "" and Path(f"/proc/{number}/cmdline").exists()


def test_it_has_folder_and_environment_of_the_other_one_and_needs_no_slot(host, tmp_path):
    script = 'pwd; echo "$RIG $ORCHA_BESIDE $EXTRA"; echo oops >&2; exit 7'
    done = host.run("exec", "-e", "EXTRA=x", "train", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (7, f"{tmp_path}\na b train x\n")
    assert "oops\n" in done.stderr
    assert shown(host, "train")["state"] == "running"
    assert host.ask("run", "-d", "--name", "next", "--", "true").returncode == 0
    assert shown(host, "next")["state"] == "queued", "the slot is that of the first one"


def test_standard_input_is_passed_and_a_terminal_given(host):
    assert host.run("exec", "-i", "train", "--", "cat", input="some text").stdout == "some text"
    script = "tty; read line; echo got $line; exit 3"
    with OnTerminal(host.orcha("exec", "-t", "train", "--", "sh", "-c", script), host.environment) as person:
        person.until(b"/dev/pts")
        person.type(b"hello\r")
        person.until(b"got hello")
        assert person.end() == 3


def test_it_is_in_the_cgroups_of_the_other_one(host):
    if not CgroupPlaces().available >= {"pids"}:
        pytest.skip("no cgroup can be written here")
    assert host.run("cancel", "train").returncode == 0
    assert host.ask("run", "-d", "--name", "limited", "--pids", "64", "--", "sleep", "600").returncode == 0
    wait_for(lambda: shown(host, "limited")["state"] == "running", what="it runs")
    theirs = Path(f"/proc/{shown(host, 'limited')['attempts'][-1]['pid']}/cgroup").read_text()
    assert theirs != Path("/proc/self/cgroup").read_text()
    assert host.run("exec", "limited", "--", "cat", "/proc/self/cgroup").stdout == theirs
    line = host.orcha("exec", "limited", "--", "sh", "-c", "echo it runs; exec sleep 600")
    runs = host.spawn(*line, stdout=subprocess.PIPE)
    assert runs.stdout.readline() == b"it runs\n"
    assert host.run("cancel", "limited").returncode == 0
    assert runs.wait(30) == 130
    runs.stdout.close()


@pytest.mark.parametrize("how", ["cancel", "kill"])
def test_it_ends_as_soon_as_the_other_one_ends(host, tmp_path, how):
    pid = tmp_path / "pid"
    runs = host.spawn(
        *host.orcha("exec", "train", "--", "sh", "-c", f"echo $$ > {pid}; trap '' INT TERM; sleep 600 & wait; wait")
    )
    wait_for(lambda: lives(pid), what="it runs")
    if how == "cancel":
        assert host.run("cancel", "train").returncode == 0
    else:
        os.kill(shown(host, "train")["attempts"][-1]["pid"], signal.SIGKILL)
    assert runs.wait(30) == 130
    assert not lives(pid)
    name = next(
        row["id"] for row in json.loads(host.run("ps", "--all", "--json").stdout) if row["label"] == "beside train"
    )
    assert shown(host, name)["reason"] == "cancelled: the command ended beside which it ran"


def test_ctrl_c_cancels_it_and_leaves_the_other_one(host, tmp_path):
    pid = tmp_path / "pid"
    runs = host.spawn(*host.orcha("exec", "train", "--", "sh", "-c", f"echo $$ > {pid}; exec sleep 600"))
    wait_for(lambda: lives(pid), what="it runs")
    runs.send_signal(signal.SIGINT)
    assert runs.wait(30) == 130
    assert not lives(pid)
    assert shown(host, "train")["state"] == "running"


def test_it_does_not_outlive_the_service(own_service, tmp_path):
    service, pid = own_service, tmp_path / "pid"
    assert service.ask("run", "-d", "--name", "train", "--", "sleep", "600").returncode == 0
    wait_for(lambda: shown(service, "train")["state"] == "running", what="it runs")
    line = service.orcha("exec", "train", "--", "sh", "-c", f"echo $$ > {pid}; exec sleep 600")
    runs = service.spawn(*line, stderr=subprocess.DEVNULL)
    wait_for(lambda: lives(pid), what="it runs")
    service.kill()
    wait_for(lambda: not lives(pid), what="it has ended")
    service.start()
    assert shown(service, "train")["state"] == "running"
    runs.kill()
    runs.wait()


def test_a_quota_of_what_runs_lets_as_many_commands_run_beside_and_refuses_one_more(own_service, tmp_path):
    service, fifo = own_service, tmp_path / "fifo"
    os.mkfifo(fifo)
    (service.home / "orcha.toml").write_text("quota.default.running = 1\n")
    assert service.run("reload").returncode == 0
    assert service.ask("run", "-d", "--name", "train", "--", "sleep", "600").returncode == 0
    wait_for(lambda: shown(service, "train")["state"] == "running", what="it runs")
    runs = service.spawn(*service.orcha("exec", "train", "--", "sh", "-c", f"echo begun; cat {fifo}"), stdout=-1)
    assert runs.stdout.readline() == b"begun\n"
    refused = beside(service, "true")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "1 commands beside others run (quota.default.running, " in refused.stderr
    (known,) = json.loads(service.ask("who", "--json").stdout)["users"]
    assert (known["running"], known["beside"], known["queued"]) == (1, 1, 0)
    fifo.write_text("ended\n")
    assert runs.communicate()[0] == b"ended\n"
    assert beside(service, "echo", "again").stdout == "again\n"


def test_beside_nothing_that_runs_there_is_nothing(host):
    assert host.ask("run", "-d", "--name", "waits", "--", "true").returncode == 0
    for name, why in (
        ("waits", "'waits' is queued: only beside a command that runs"),
        ("none", "'none' of yours runs"),
    ):
        done = host.run("exec", name, "--", "true")
        assert (done.returncode, why in done.stderr) == (125, True), done.stderr
    assert host.run("exec", "train").returncode == 2
    assert beside(host, "no-such-program").returncode == 127
    assert beside(host, "true").returncode == 0
    ended = next(
        row["id"]
        for row in json.loads(host.run("ps", "--all", "--json").stdout)
        if row["command"] == "true" and row["label"]
    )
    assert "orcha exec runs a command there again" in host.run("retry", ended).stderr
