"""``orcha run --secret``: the value is where the command finds it, and nowhere else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from orcha._supervisor import black_box
from orcha._supervisor.secret_files import kind_of
from support.processes import processes_of
from support.waiting import wait_for

AT_ONCE = 1
CANARY = "canary-7f3a-" + "zq" * 9
"""A secret that a test looks for."""
LOOKS = ('cat "$ORCHA_SECRET_TOKEN"', 'stat -c "%a %s" "$ORCHA_SECRETS" "$ORCHA_SECRET_TOKEN"', "ulimit -c")

pytestmark = pytest.mark.skipif(kind_of("/dev/shm") != "tmpfs", reason="/dev/shm is no file system in memory here")


def asked(service, *words, **environment):
    return service.run(*words, env=service.environment | {"API_TOKEN": CANARY} | environment)


def run(service, *words, **environment):
    return asked(service, "run", "--secret", "TOKEN=env:API_TOKEN", *words, **environment)


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def blocked(service, name):
    return [each["kind"] for each in shown(service, name)["blocked"] or ()]


def folder_of(service, name):
    """Give the folder of a running command's secrets, which its first process names."""
    pid = wait_for(lambda: (shown(service, name)["attempts"] or [{}])[-1].get("pid"), what=f"{name} runs")
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return Path(next(os.fsdecode(word) for word in words if word.startswith(b"ORCHA_SECRETS=")).partition("=")[2])


def places_of(needle, service):
    """Give where a value is found: below the service's home, and in what /proc shows of its processes."""
    found = [str(path) for path in service.home.rglob("*") if path.is_file() and needle in path.read_bytes()]
    for pid in processes_of(service.home):
        found += [f"/proc/{pid}/{name}" for name in ("cmdline", "environ") if needle in read(f"/proc/{pid}/{name}")]
    return found


def read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def shims(service):
    boxes = (black_box.read(str(path)) for path in service.home.rglob("shims/*.box"))
    return [box for box in boxes if box is not None]


# --- where it is --------------------------------------------------------------------------------------------------


def test_a_command_finds_its_secret_in_a_file_in_memory_that_goes_with_the_attempt(service):
    done = run(service, "--", "sh", "-c", "; ".join((*LOOKS, 'echo "$ORCHA_SECRETS" >&2', 'echo "$API_TOKEN" >&2')))
    value, modes = done.stdout[: len(CANARY)], done.stdout[len(CANARY) :].split("\n")
    own_limit = service.run("run", "--", "sh", "-c", "ulimit -c").stdout.strip()
    assert (done.returncode, value, modes[1], modes[2]) == (0, CANARY, f"400 {len(CANARY)}", own_limit)
    folder = Path(done.stderr.splitlines()[0])
    assert modes[0].startswith("700 ")
    assert kind_of(str(folder.parent)) == "tmpfs"
    assert not folder.exists()
    assert done.stderr.splitlines()[1:] == [""], "the variable that it came from is no part of its environment"


def test_no_file_no_table_no_listing_and_no_process_has_the_value(own_service, tmp_path):
    """While it waits, while it runs, and when it has ended."""
    service = own_service
    canary = f"canary-{os.urandom(12).hex()}"  # its own: the interpreter that services are forked from has seen others
    needle = canary.encode()
    assert service.run("run", "-d", "--name", "first", "--", "sleep", "600").returncode == 0
    script = 'test -s "$ORCHA_SECRET_TOKEN" && echo has it; exec sleep 600'
    assert (
        run(service, "-d", "--all-env", "--name", "deploy", "--", "sh", "-c", script, API_TOKEN=canary).returncode == 0
    )
    assert shown(service, "deploy")["command"]["secrets"] == ["TOKEN"]
    assert places_of(needle, service) == []
    service.ask("cancel", "first")
    folder = folder_of(service, "deploy")
    assert (folder / "TOKEN").read_bytes() == needle
    backup = tmp_path / "backup.tar"
    said = [
        service.run(*words)
        for words in (
            ("ps", "--all", "--json"),
            ("show", "deploy"),
            ("show", "--json", "deploy"),
            ("why", "deploy"),
            ("history", "--json"),
            ("stats", "--json"),
            ("logs", "deploy"),
            ("simulate", "--json"),
            ("doctor", "--json"),
            ("events", "--json"),
            ("who", "--json"),
            ("config", "show", "--json"),
            ("backup", str(backup)),
        )
    ]
    assert [done.args for done in said if canary in done.stdout + done.stderr] == []
    assert needle not in backup.read_bytes()
    assert places_of(needle, service) == []
    for pid in processes_of(service.home):
        limits = Path(f"/proc/{pid}/limits").read_text()
        core = next(line.split()[4] for line in limits.splitlines() if line.startswith("Max core"))
        holds = needle in memory_of(pid)
        assert not holds or core == "1", f"process {pid} would leave a core file with the secret"
    service.ask("cancel", "deploy")
    wait_for(lambda: not folder.exists(), what="the files go with the attempt")
    wait_for(lambda: not any(needle in memory_of(box.pid) for box in shims(service)), what="so does its shim")
    assert service.stop() == 0
    assert places_of(needle, service) == []
    assert canary not in service.all_stderr()


def memory_of(pid):
    """Give what is readable and writable of a process's memory; nothing of a process that has gone."""
    found = []
    try:
        with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            for line in maps:
                span, mode = line.split()[:2]
                if mode.startswith("rw") and "[v" not in line:
                    begin, end = (int(each, 16) for each in span.split("-"))
                    memory.seek(begin)
                    found.append(memory.read(end - begin))
    except OSError:
        pass
    return b"".join(found)


# --- what was wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("TOKEN=hunter2", "is never given as a word"),
        ("hunter2", "NAME=file:PATH or NAME=env:VARIABLE"),
        ("to ken=env:HOME", "letters, digits and _"),
        ("TOKEN=env:", "names no variable"),
        ("TOKEN=env:NOT_SET", "export NOT_SET"),
        ("TOKEN=file:/nowhere", "cannot be read: No such file"),
        ("TOKEN=file:/dev/null", "is empty"),
        ("TOKEN=file:/dev/zero", "more than 65536 bytes"),
    ],
)
def test_what_is_no_secret_is_refused_with_the_cure_and_never_shown(service, option, words):
    done = service.run("run", "--secret", option, "--", "true")
    assert done.returncode == 2
    assert words in done.stderr
    assert "hunter2" not in done.stderr


def test_what_cannot_keep_a_secret_says_so(service):
    secret = ("--secret", "TOKEN=env:API_TOKEN")
    schedule = asked(service, "cron", "add", "nightly", "0 22 * * *", *secret, "--", "true")
    assert (schedule.returncode, "a schedule would have to store it" in schedule.stderr) == (2, True)
    array = asked(service, "run", *secret, "--array", "1-3", "--", "true")
    assert (array.returncode, "leave out --secret" in array.stderr) == (125, True), array.stderr
    many = asked(service, "set", "--state", "queued", *secret)
    assert (many.returncode, "give their ids alone" in many.stderr) == (2, True)


def test_a_petition_that_has_ended_is_given_its_secret_again(service):
    assert run(service, "--name", "again", "--", "sh", "-c", 'cat "$ORCHA_SECRET_TOKEN"').stdout == CANARY
    refused = service.ask("retry", "again")
    assert (refused.returncode, "--secret TOKEN=file:PATH" in refused.stderr) == (1, True), refused.stderr
    other = asked(service, "retry", "again", "--attach", "--secret", "TOKEN=env:API_TOKEN", API_TOKEN="another")
    assert (other.returncode, other.stdout) == (0, "another")
    late = asked(service, "set", "again", "--secret", "TOKEN=env:API_TOKEN")
    assert (late.returncode, "has ended: orcha retry again --secret" in late.stderr) == (1, True)


def test_each_attempt_has_files_of_its_own(service):
    script = 'cat "$ORCHA_SECRET_TOKEN"; echo " $ORCHA_SECRETS"; exit 7'
    done = run(service, "--retry", "1", "--retry-delay", "0.01s", "--", "sh", "-c", script)
    first, second = done.stdout.splitlines()
    assert first.split()[0] == second.split()[0] == CANARY
    assert first != second


# --- what dies -----------------------------------------------------------------------------------------------------


def test_after_a_kill_what_runs_has_its_secret_and_what_waits_is_given_it_again(own_service, tmp_path):
    service = own_service
    go = tmp_path / "go"
    os.mkfifo(go)
    reads = f'read line < {go}; cat "$ORCHA_SECRET_TOKEN"'
    assert run(service, "-d", "--name", "runs", "--", "sh", "-c", reads).returncode == 0
    line = service.orcha("run", "--secret", "TOKEN=env:API_TOKEN", "--name", "there", "--", "sh", "-c", reads)
    client = service.spawn(*line, env=service.environment | {"API_TOKEN": CANARY}, stdout=subprocess.DEVNULL)
    wait_for(lambda: service.ask("show", "there").returncode == 0, what="the second one waits")
    assert run(service, "-d", "--name", "gone", "--", "sh", "-c", 'cat "$ORCHA_SECRET_TOKEN"').returncode == 0
    folder = folder_of(service, "runs")
    service.kill()
    service.start()
    wait_for(lambda: "secrets_lost" in blocked(service, "gone"), what="the service has forgotten the secret")
    wait_for(lambda: "secrets_lost" not in blocked(service, "there"), what="its client has given it again")
    assert (folder / "TOKEN").read_text() == CANARY
    for name in ("runs", "there"):
        wait_for(lambda name=name: shown(service, name)["state"] == "running", what=f"{name} runs")
        go.write_text("\n")
        wait_for(lambda name=name: shown(service, name)["state"] == "ended", what=f"{name} ends")
        assert service.run("logs", name).stdout == CANARY
    assert client.wait(30) == 0
    why = service.ask("why", "gone").stdout
    assert "its secret TOKEN is lost" in why
    assert "orcha set gone --secret" in why
    other = asked(service, "set", "gone", "--secret", "OTHER=env:API_TOKEN")
    assert (other.returncode, "its secrets are TOKEN" in other.stderr) == (1, True)
    assert asked(service, "set", "gone", "--secret", "TOKEN=env:API_TOKEN").returncode == 0
    assert service.run("attach", "gone").stdout == CANARY
    assert not folder.exists()


@pytest.mark.parametrize("victims", ["shim", "all"])
def test_the_files_go_when_what_watches_over_them_is_killed(own_service, victims):
    service = own_service
    assert run(service, "-d", "--name", "runs", "--on-interrupt", "fail", "--", "sleep", "600").returncode == 0
    folder = folder_of(service, "runs")
    shim = next(box.pid for box in shims(service) if box.seq == shown(service, "runs")["seq"])
    if victims == "shim":
        os.kill(shim, signal.SIGKILL)
    else:
        service.kill()
        supervisor = int(Path(f"/proc/{shim}/stat").read_text().rpartition(")")[2].split()[1])
        for pid in (supervisor, shim):
            os.kill(pid, signal.SIGKILL)
        assert folder.exists()
        service.start()
    wait_for(lambda: not folder.exists(), what="the files are swept")
    wait_for(lambda: shown(service, "runs")["state"] == "ended", what="the petition has ended")
