"""``orcha set``: what waits is changed, and the limit of what runs, through the real command and a real service."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from support.waiting import wait_for

AT_ONCE = 4
"""Commands that the service runs."""


def detach(service, name, *words, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, words))
    assert (done.stderr, done.returncode) == ("", 0)


def put(service, *words):
    done = service.run("set", *words)
    assert (done.stderr, done.stdout, done.returncode) == ("", "", 0)


def refused(service, *words):
    done = service.run("set", *words)
    assert (done.stdout, done.returncode) == ("", 1)
    return done.stderr


def shown(service, name):
    return json.loads(service.ask("show", "--json", name).stdout)


def state(service, name):
    row = shown(service, name)
    return row["outcome"] or row["state"]


@pytest.fixture
def groups(service):
    """Have two groups, one without slots; give the service."""
    for name, slots in (("full", "0"), ("open", "none")):
        assert service.ask("group", "set", name, "--slots", slots).returncode == 0
    return service


def test_all_that_decides_about_a_start_is_changed_and_remembered(groups):
    service = groups
    detach(service, "other", "sleep", "600")
    detach(service, "a", "true", options=("--group", "full", "--timeout", "1h"))
    put(service, "a", "--at", "23:59", "--unset", "need", "--priority", "-3", "--label", "x y")
    put(service, "a", "--timeout", "+30m", "--expect", "5m", "--retry", "2", "--when", "hour >= 0", "--unset", "at")
    put(service, "a", "--after-ok", "other")
    known = shown(service, "a")
    assert (known["priority"], known["label"], known["timeout"], known["expect"]) == (-3, "x y", 5400.0, 300.0)
    assert (known["when"], known["after"][0]["id"], known["command"]["retry"]["times"]) == ("hour >= 0", "other", 2)
    assert known["state"] == "queued"
    first, second, third = known["changes"]
    assert (first["who"], first["what"]["label"], first["what"]["priority"]) == ("uid:0", [None, "x y"], [0, -3])
    assert second["what"]["timeout"] == [3600.0, 5400.0]
    assert third["what"] == {"after_ok": [None, ["other"]]}
    assert {each["kind"]: each["since"] for each in known["blocked"]}["after_others"] == third["at"]
    text = service.ask("show", "a").stdout
    assert "timeout 1 h \N{RIGHTWARDS ARROW} 1 h 30 min" in text
    put(service, "a", "--group", "open", "--unset", "after")
    assert service.ask("wait", "a").returncode == 0
    assert "changed by root: after ok other \N{RIGHTWARDS ARROW} none, group full" in service.ask("why", "a").stdout


def test_the_limit_of_a_group_is_the_limit_of_what_is_set(groups):
    assert groups.ask("group", "set", "open", "--default-timeout", "1h", "--longest", "2h").returncode == 0
    detach(groups, "a", "sleep", "600", options=("--group", "open"))
    wait_for(lambda: state(groups, "a") == "running", what="it runs")
    put(groups, "a", "--timeout", "+30m")
    assert shown(groups, "a")["timeout"] == 5400.0
    assert "its group open gives 2h at most" in refused(groups, "a", "--timeout", "+1h")
    assert shown(groups, "a")["timeout"] == 5400.0


def test_a_petition_is_put_off_and_starts_at_once_again(service):
    detach(service, "a", "true", options=("--in", "10h"))
    put(service, "a", "--in", "2h")
    assert "starts" in shown(service, "a")["why"]
    put(service, "a", "--unset", "at")
    assert service.ask("wait", "a").returncode == 0


def test_no_petition_comes_to_wait_for_itself(groups):
    service = groups
    detach(service, "a", "true", options=("--group", "full"))
    detach(service, "b", "true", options=("--after", "a"))
    detach(service, "c", "true", options=("--after-ok", "b"))
    circle = refused(service, "a", "--after", "c")
    assert circle == (
        "orcha: it cannot wait for 'c', which waits for it already ('c' after 'b' after 'a'): take that back first\n"
    )
    assert refused(service, "a", "--after", "a") == "orcha: 'a' cannot wait for itself\n"
    assert "there is no petition 'd' to wait for" in refused(service, "a", "--after", "d")
    assert shown(service, "a")["after"] is None
    put(service, "c", "--unset", "after")
    put(service, "a", "--after", "c", "--group", "open")
    assert service.ask("wait", "b").returncode == 0


def test_a_dependency_that_failed_before_it_was_named_fails_the_petition(groups):
    service = groups
    detach(service, "bad", "false")
    assert service.ask("wait", "bad").returncode == 1
    detach(service, "a", "true", options=("--group", "full"))
    put(service, "a", "--after-ok", "bad")
    wait_for(lambda: state(service, "a") == "cancelled", what="it is cancelled")
    detach(service, "b", "true", options=("--group", "full"))
    put(service, "b", "--after-ok", "bad", "--if-dependency-fails", "run", "--group", "open")
    assert service.ask("wait", "b").returncode == 0


def test_what_cannot_be_changed_is_refused_with_the_cure(service):
    detach(service, "runs", "sleep", "600")
    wait_for(lambda: state(service, "runs") == "running", what="it runs")
    assert refused(service, "runs", "--need", "gpu=1", "--at", "23:59") == (
        "orcha: 'runs' runs, so its needs and time of its start cannot be changed: "
        "cancel it, and run it anew, or change what waits\n"
    )
    assert "it has no time limit" in refused(service, "runs", "--timeout", "+1h")
    detach(service, "over", "true")
    assert service.ask("wait", "over").returncode == 0
    assert "'over' has ended" in refused(service, "over", "--priority", "3")
    assert "no petition with the id 'none'" in refused(service, "none", "--priority", "3")
    detach(service, "later", "true", options=("--in", "1h"))
    assert "cannot be read" in refused(service, "later", "--when", "nothing.known > 4")
    assert shown(service, "later")["changes"] is None
    assert service.run("set", "later").returncode == 2
    assert service.run("set", "--priority", "3").returncode == 2


def test_a_running_command_gets_another_limit_and_keeps_it_over_kills(own_service):
    service = own_service
    detach(service, "long", "sleep", "600", options=("--timeout", "1h", "--label", "x"))
    detach(service, "short", "sleep", "600", options=("--timeout", "1h"))
    for name in ("long", "short"):
        wait_for(lambda name=name: state(service, name) == "running", what="it runs")
    put(service, "long", "--timeout", "+2h", "--label", "y", "--retry", "1", "--expect", "3h", "--priority", "2")
    service.kill()
    service.start()
    known = shown(service, "long")
    assert (known["state"], known["timeout"], known["label"], known["expect"]) == ("running", 10800.0, "y", 10800.0)
    put(service, "short", "--timeout", "10ms")
    assert service.ask("wait", "short").returncode == 124
    assert "ran longer than 0.01 s" in service.ask("show", "short").stdout
    put(service, "long", "--unset", "timeout", "--unset", "retry")
    assert shown(service, "long")["timeout"] is None


def test_a_limit_that_was_kept_reaches_the_command_after_a_kill_that_came_before(own_service):
    """The service keeps the new limit, and dies before it tells the shim: the next start tells it."""
    service = own_service
    detach(service, "a", "sleep", "600", options=("--timeout", "1h"))
    wait_for(lambda: state(service, "a") == "running", what="it runs")
    service.kill()
    service.start(environment={"ORCHA_CRASH": "alter.after-commit"})
    asks = service.spawn(*service.orcha("set", "a", "--timeout", "10ms"), stderr=subprocess.DEVNULL)
    assert service.wait_for_end() == -signal.SIGKILL
    asks.kill()
    asks.wait()
    service.start()
    assert service.ask("wait", "a").returncode == 124


def test_what_waits_is_changed_for_good(own_service):
    service = own_service
    assert service.ask("group", "set", "full", "--slots", "0").returncode == 0
    detach(service, "first", "sleep", "600")
    detach(service, "a", "true", options=("--in", "1h", "--timeout", "1h"))
    detach(service, "b", "true", options=("--in", "1h"))
    put(service, "a", "--group", "full", "--after", "first", "--priority", "9", "--timeout=-30m", "--unset", "at")
    put(service, "b", "--after", "first", "--unset", "at")
    service.kill()
    service.start()
    known = shown(service, "a")
    assert (known["group"], known["priority"], known["after"][0]["id"]) == ("full", 9, "first")
    assert known["why"] == "it waits for first to end"
    put(service, "b", "--unset", "after")
    assert service.ask("wait", "b").returncode == 0
    put(service, "a", "--unset", "group", "--unset", "after")
    assert service.ask("wait", "a").returncode == 0
    assert shown(service, "a")["timeout"] is None
    assert shown(service, "a")["changes"][0]["what"]["timeout"] == [3600.0, 1800.0]


def test_all_that_meet_a_selector_are_changed(groups):
    service = groups
    for name in ("t-1", "t-2", "u-1"):
        detach(service, name, "true", options=("--group", "full", "--label", f"night {name}"))
    dry = service.run("set", "--in-group", "full", "--with-label", "night t-*", "--group", "open", "--dry-run")
    assert sorted(dry.stdout.split()) == ["t-1", "t-2"]
    assert shown(service, "t-1")["group"] == "full"
    put(service, "--in-group", "full", "--with-label", "night t-*", "--group", "open", "--yes")
    assert service.ask("wait", "t-1", "t-2").returncode == 0
    assert state(service, "u-1") == "queued"


def test_every_limit_of_what_waits_is_changed(groups):
    service = groups
    detach(service, "a", "true", options=("--group", "full", "--idle-timeout", "1m"))
    put(service, "a", "--warn", "USR1@5m", "--cpu-timeout", "9m", "--memory", "1G", "--pids", "7", "--cpu-share", "50")
    put(service, "a", "--stop-signal", "TERM", "--grace", "3s", "--drain", "1s", "--output-limit", "1M", "--ok", "0,3")
    put(service, "a", "--output-policy", "kill", "--leftovers", "keep", "--preemptible", "pause")
    put(service, "a", "--queue-timeout", "1h", "--unset", "idle-timeout")
    known = shown(service, "a")
    command = known["command"]
    assert (known["queue_timeout"], command["idle_timeout"], command["cpu_timeout"]) == (3600.0, None, 540.0)
    assert (command["warn"], command["memory"], command["pids"], command["cpu_share"]) == ([10, 300], 1 << 30, 7, 50)
    assert (command["stop_signal"], command["grace"], command["drain"], command["ok_codes"]) == (15, 3, 1, [0, 3])
    assert (command["output_limit"], command["output_policy"], command["leftovers"]) == (1 << 20, "kill", "keep")
    assert (command["preemptible"], known["changes"][-1]["what"]["idle_timeout"]) == ("pause", [60, None])
    put(service, "a", *(f"--unset={name}" for name in ("preemptible", "warn", "queue-timeout", "ok", "memory")))
    known = shown(service, "a")
    command = known["command"]
    assert (known["queue_timeout"], command["preemptible"], command["warn"], command["memory"]) == (None,) * 4
    assert command["ok_codes"] in (None, [0])


def test_the_limit_of_waiting_is_another_one(groups):
    service = groups
    detach(service, "a", "true", options=("--group", "full", "--queue-timeout", "1h"))
    put(service, "a", "--queue-timeout", "0.05")
    wait_for(lambda: state(service, "a") == "timed_out", what="it has waited longer than it may by now")
    assert shown(service, "a")["reason"] == "waited longer than 0.05 s"


def test_what_its_shim_counts_of_a_running_command_is_changed(service, tmp_path):
    gate, ready = tmp_path / "gate", tmp_path / "ready"
    script = f"trap ': > {gate}' USR1; : > {ready}; until [ -e {gate} ]; do sleep 0.02; done; exit 3"
    detach(service, "warned", "sh", "-c", script, options=("--timeout", "2h"))
    detach(service, "silent", "sleep", "600")
    detach(service, "busy", "sh", "-c", "while :; do :; done")
    wait_for(ready.exists, what="its trap is set")
    for name in ("warned", "silent", "busy"):
        wait_for(lambda name=name: state(service, name) == "running", what="it runs")
    put(service, "silent", "--idle-timeout", "0.05")
    put(service, "busy", "--cpu-timeout", "0.05")
    put(service, "warned", "--ok", "0,3", "--preemptible", "pause")
    assert "its number of processes cannot be changed" in refused(service, "warned", "--pids", "3")
    put(service, "warned", "--warn", "USR1@119m59s")
    service.ask("wait", "warned", "silent", "busy")
    assert [state(service, name) for name in ("warned", "silent", "busy")] == ["succeeded", "timed_out", "timed_out"]
    assert shown(service, "silent")["reason"] == "wrote nothing for 0.05 s"


def test_a_selector_reaches_the_elements_that_are_no_petitions_yet(own_service):
    service = own_service
    detach(service, "train", "sleep", "600", options=("--array", "1-100%2"))
    wait_for(lambda: service.ask("show", "train.2").returncode == 0, what="the second element is a petition")
    wait_for(lambda: state(service, "train.2") == "running", what="two elements run")
    met = service.run(
        "set", "--array", "train", "--state", "queued", "--label", "late", "--dry-run"
    ).stdout.splitlines()
    assert met == [f"train.{number}" for number in range(3, 101)]
    done = service.run("set", "--array", "train", "--timeout", "9m", "--yes")
    assert (done.stderr, done.returncode) == ("", 0)
    assert [shown(service, f"train.{number}")["timeout"] for number in (1, 2)] == [540.0, 540.0]
    assert service.ask("priority", "--array", "train", "--state", "queued", "--yes", "4").returncode == 0
    partly = service.run("set", "train.9?", "--label", "x", "--yes")
    assert "of 'train' 10 elements that are no petitions yet cannot be changed alone: orcha set train" in partly.stderr
    assert partly.returncode == 1
    assert (shown(service, "train")["priority"], shown(service, "train.1")["priority"]) == (4, 0)
    assert service.ask("group", "set", "full", "--slots", "0").returncode == 0
    service.kill()
    service.start()
    assert service.run("set", "--array", "train", "--state", "queued", "--group", "full", "--yes").returncode == 0
    assert service.ask("cancel", "train.1").returncode == 0
    wait_for(lambda: service.ask("show", "train.3").returncode == 0, what="the next element is a petition")
    third = shown(service, "train.3")
    assert (third["group"], third["timeout"], third["priority"], third["label"]) == ("full", 540.0, 4, None)
    assert shown(service, "train.2")["group"] is None


def test_an_array_is_changed_with_its_elements_that_wait_and_those_to_come(groups):
    service = groups
    detach(service, "train", "sleep", "600", options=("--array", "1-100%2"))
    wait_for(lambda: service.ask("show", "train.2").returncode == 0, what="the second element is a petition")
    wait_for(lambda: state(service, "train.2") == "running", what="two elements run")
    put(service, "train", "--group", "full", "--timeout", "9m", "--priority", "5")
    assert [shown(service, name)["priority"] for name in ("train", "train.1")] == [5, 5]
    assert shown(service, "train.2")["timeout"] == 540.0
    assert shown(service, "train.2")["group"] is None
    assert "orcha set train changes all elements" in refused(service, "train.77", "--priority", "3")
    assert service.ask("cancel", "train.1").returncode == 0
    wait_for(lambda: service.ask("show", "train.3").returncode == 0, what="the next element is a petition")
    third = shown(service, "train.3")
    assert (third["group"], third["timeout"], third["priority"], third["state"]) == ("full", 540.0, 5, "queued")
    assert service.ask("priority", "train", "7").returncode == 0
    assert [shown(service, name)["priority"] for name in ("train", "train.3")] == [7, 7]
    detach(service, "later", "true", options=("--after", "train"))
    assert "waits for it already" in refused(service, "train", "--after", "later")
    put(service, "train.3", "--group", "open")
    wait_for(lambda: state(service, "train.3") == "running", what="it runs in a group with room")
