"""Commands that give their place to more urgent ones, through the real command and a real service."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support.waiting import wait_for

REQUEUED = "orcha: urgent is more urgent and takes its place: it is ended, and runs anew when its turn comes\n"
PAUSED = "orcha: urgent is more urgent and takes its place: it stands still until that is free again\n"
GOES_ON = "orcha: it has its place again, and goes on\n"
COMMANDS = ("serve", "commands")


@pytest.fixture
def rig(serve):
    """Give a service with a group of one slot, two licences, and slots of the machine to spare."""
    return serve(
        arguments=(*COMMANDS, "--slots", "rig=1", "--resource", "licence=2"), environment={"ORCHA_COMMANDS": "9"}
    )


def ask(service, name, *words, options=(), **more):
    done = service.run("run", "--detach", "--name", name, *options, "--", *map(str, words), **more)
    assert (done.stderr, done.returncode) == ("", 0)


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def runs(service, *names, attempt=1):
    for name in names:
        wait_for(lambda name=name: is_running(service, name, attempt), what=f"{name} runs")


def is_running(service, name, attempt):
    done = service.ask("show", "--json", name)
    known = json.loads(done.stdout) if done.returncode == 0 else {}
    return (known.get("state"), known.get("attempt")) == ("running", attempt)


def until(gate, *, before=":", after=""):
    """Give the words of a command that runs until a file is there."""
    return "sh", "-c", f"{before}; until [ -e {gate} ]; do sleep 0.02; done; {after}:"


@pytest.fixture
def fifo(tmp_path):
    """Give a pipe with a name: what is stopped while it opens one does not count as a reader, so the test has it open.

    A loop that starts processes would at times be seen in vfork(2), which does not count as stopped.
    """
    path = tmp_path / "fifo"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    yield path
    os.close(descriptor)


def reads(fifo):
    """Give the words of a command that runs until a line comes through a pipe."""
    return "sh", "-c", f"read _ < {fifo}"


def state_of(pid):
    """Give the letter of a process's state (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def told(process):
    out, err = process.communicate()
    return out, err, process.returncode


def test_a_requeued_command_runs_anew_with_the_same_input_when_the_more_urgent_one_has_ended(rig, tmp_path):
    first, gate = tmp_path / "first", tmp_path / "gate"
    words = until(gate, before='echo "attempt $ORCHA_ATTEMPT"', after="cat;")
    options = ("--name", "train", "-g", "rig", "--preemptible", "requeue", "--stdin", "--", *words)
    train = rig.spawn(
        *rig.orcha("run", *options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    train.stdin.write(b"all of it\n")
    train.stdin.close()
    train.stdin = None
    runs(rig, "train")
    ask(rig, "urgent", *until(first), options=("-g", "rig", "-p", "-5"))
    runs(rig, "urgent")
    wait_for(lambda: shown(rig, "train")["state"] == "queued", what="train waits")
    known = shown(rig, "train")
    assert known["preempted"] == {"by": "urgent", "how": "requeue", "at": known["preempted"]["at"]}
    assert known["why"] == "preempted by urgent; 1 of 1 slots of its group rig is in use"
    assert "it was ended for urgent, which is more urgent" in rig.run("why", "train").stdout
    gate.touch()
    first.touch()
    out, err, code = told(train)
    assert (out, code) == (b"attempt 1\nattempt 2\nall of it\n", 0)
    assert REQUEUED.encode() in err
    known = shown(rig, "train")
    assert (known["outcome"], known["attempt"], known["preempted"]) == ("succeeded", 2, None)
    assert [each["why"] for each in known["attempts"]] == ["preempted", None]


def test_a_paused_command_stands_still_and_goes_on_before_what_came_later(rig, tmp_path, fifo):
    first = tmp_path / "first"
    ask(rig, "train", *reads(fifo), options=("-g", "rig", "--preemptible", "pause", "--expect", "1h"))
    runs(rig, "train")
    ask(rig, "later", "true", options=("-g", "rig"))
    ask(rig, "urgent", *until(first), options=("-g", "rig", "-p", "-5", "--expect", "1h"))
    runs(rig, "urgent")
    known = shown(rig, "train")
    assert (known["state"], known["paused"], known["preempted"]["how"]) == ("running", True, "pause")
    assert known["why"] == "preempted by urgent: it stands still, and lacks a slot of its group rig"
    assert [(each["kind"], each["since"]) for each in known["blocked"]] == [("preempted_by", known["preempted"]["at"])]
    known = shown(rig, "train")
    assert known["estimate"]["reckoned"] == 3
    assert "it probably goes on in " in rig.run("why", "train").stdout
    assert "\ngoes on" in rig.run("show", "train").stdout
    row = rig.run("ps").stdout
    assert ("paused" in row, "preempted by urgent" in row) == (True, True), row
    pid = known["attempts"][0]["pid"]
    wait_for(lambda: state_of(pid) == "T", what="it is stopped")
    assert rig.run("pause", "train").returncode == rig.run("resume", "train").returncode == 0
    fifo.write_bytes(b"\n")
    assert state_of(pid) == "T"
    known = shown(rig, "later")
    assert [each["kind"] for each in known["blocked"]] == ["group_full", "behind_preempted"]
    assert known["estimate"] is not None
    first.touch()
    assert rig.run("wait", "urgent", "train", "later").returncode == 0
    known, later = shown(rig, "train"), shown(rig, "later")
    assert (known["attempt"], later["started"] >= known["ended"]) == (1, True)
    assert rig.run("logs", "train").stderr == PAUSED + GOES_ON


def test_a_paused_command_comes_back_after_a_kill_of_the_service_and_is_cancelled_while_it_stands_still(
    rig, tmp_path, fifo
):
    first = tmp_path / "first"
    ask(rig, "train", *reads(fifo), options=("-g", "rig", "--preemptible", "pause", "--timeout", "1h"))
    runs(rig, "train")
    ask(rig, "urgent", *until(first), options=("-g", "rig", "-p", "-5"))
    runs(rig, "urgent")
    pid = shown(rig, "train")["attempts"][0]["pid"]
    for _ in range(2):
        rig.kill()
        rig.start()
        wait_for(lambda: shown(rig, "train")["paused"], what="it stands still in the new start, too")
        assert shown(rig, "train")["why"] == "preempted by urgent: it stands still, and lacks a slot of its group rig"
        wait_for(lambda: state_of(pid) == "T", what="it is stopped")
    ask(rig, "next", "true", options=("-g", "rig"))
    fifo.write_bytes(b"\n")
    first.touch()
    assert rig.run("wait", "urgent", "train", "next").returncode == 0
    assert [shown(rig, name)["attempt"] for name in ("urgent", "train", "next")] == [1, 1, 1]
    first.unlink()
    gate = tmp_path / "gate"
    ask(rig, "train2", *until(gate), options=("-g", "rig", "--preemptible", "pause"))
    runs(rig, "train2")
    ask(rig, "urgent2", *until(first), options=("-g", "rig", "-p", "-5"))
    runs(rig, "urgent2")
    assert rig.run("cancel", "train2").returncode == 0
    assert shown(rig, "train2")["outcome"] == "cancelled"
    assert shown(rig, "urgent2")["state"] == "running"
    first.touch()
    assert rig.run("wait", "urgent2").returncode == 0


def test_a_requeued_command_waits_again_though_the_service_dies_while_it_is_ended(rig, tmp_path):
    first, gate, dies = tmp_path / "first", tmp_path / "gate", tmp_path / "dies"
    words = ("sh", "-c", f"trap ': > {dies}; until [ -e {first} ]; do sleep 0.02; done; exit 9' INT; {until(gate)[2]}")
    ask(rig, "train", *words, options=("-g", "rig", "--preemptible", "requeue", "--grace", "1h"))
    runs(rig, "train")
    ask(rig, "urgent", "true", options=("-g", "rig", "-p", "-5"))
    wait_for(dies.exists, what="train is ended")
    rig.kill()
    rig.start()
    known = shown(rig, "train")
    assert (known["state"], known["why"]) == ("cancelling", "preempted by urgent")
    gate.touch()
    first.touch()
    assert rig.run("wait", "urgent", "train").returncode == 0
    assert (shown(rig, "train")["attempt"], shown(rig, "urgent")["attempt"]) == (2, 1)


def test_nobody_is_preempted_in_vain_and_the_smallest_set_of_the_latest_gives_way(rig, tmp_path):
    gate = tmp_path / "gate"
    giving = ("--preemptible", "pause", "--need", "licence=1")
    for name in ("a", "b"):
        ask(rig, name, *until(gate), options=giving)
        runs(rig, name)
    ask(rig, "false", "true", options=("-p", "-5", "--need", "licence=1", "--when", "hour < 0"))
    ask(rig, "equal", "true", options=("-p", "0", "--need", "licence=1"))
    ask(rig, "one", *until(gate), options=("-p", "-3", "--need", "licence=1"))
    runs(rig, "one")
    assert [shown(rig, name)["paused"] for name in ("a", "b")] == [False, True]
    assert [shown(rig, name)["state"] for name in ("false", "equal")] == ["queued", "queued"]
    ask(rig, "both", *until(gate), options=("-p", "-4", "--need", "licence=2"))  # one of them is not preemptible
    assert shown(rig, "both")["why"] == "it needs 2 licence, 0 of 2 are free"
    assert shown(rig, "a")["paused"] is False
    assert rig.run("cancel", "both").returncode == 0
    gate.touch()
    assert rig.run("wait", "a", "b", "one", "equal").returncode == 0
    assert rig.run("cancel", "false").returncode == 0


def test_what_cannot_be_preempted_is_refused_with_the_cure(rig):
    done = rig.run("run", "--tty", "--preemptible", "requeue", "--", "true")
    assert "what is typed at a terminal is not kept for another attempt: preemptible is pause, or" in done.stderr
    assert done.returncode != 0
