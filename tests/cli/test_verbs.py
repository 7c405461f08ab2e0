"""The verbs about petitions, through the real command and a real service."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import datetime

import pytest

from orcha._cli import VERBS, show
from orcha.bin import main
from support.terminals import OnTerminal
from support.waiting import DEADLINE, wait_for

ELSEWHERE = {
    "service",
    "relay",
    "serve",
    "stop",
    "cron",
    "group",
    "resource",
    "backup",
    "restore",
    "install-units",
    "config",
    "where",
    "key",
}
"""Verbs that have verbs themselves, or ask no service."""
MINE = [verb for verb in VERBS if verb not in ELSEWHERE]
READING = ["ps", "why", "show", "logs", "wait", "stats", "history", "simulate", "doctor", "reload", "who", "events"]
WITHOUT_ID = ("ps", "stats", "history", "drain", "undrain", "doctor", "reload", "who", "events")
AFTER_ID = {"priority": ["1"], "signal": ["HUP"], "extend": ["1h"], "exec": ["--", "true"], "set": ["--priority", "1"]}
"""What has to stand behind the id."""


AT_ONCE = 1
"""Commands that the service runs."""


def detach(service, name, *command, options=()):
    done = service.ask("run", "--detach", "--name", name, *options, "--", *map(str, command))
    assert done.returncode == 0, done.stderr


def rows(service, *arguments):
    done = service.run("ps", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {row["id"]: row for row in json.loads(done.stdout)}


def shown(service, name):
    done = service.run("show", "--json", name)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def busy(service):
    """Have one command running, as long as the test."""
    detach(service, "busy", "sleep", "1000")
    wait_for(lambda: rows(service)["busy"]["state"] == "running")
    yield service
    service.run("cancel", "busy")


@pytest.fixture
def in_process(monkeypatch, capsys, orcha_home):
    """Give a function that runs a command in this process, which asks no service: its code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["orcha", *words])
        try:
            code = main.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_each_verb_has_help_with_an_example(in_process):
    for verb in MINE:
        code, out, _ = in_process(verb, "--help")
        assert code == 0
        assert f"orcha {verb}" in out.partition("example")[2], verb
        assert ("--json" in out) == (verb in READING), verb


def test_each_verb_says_in_a_line_that_there_is_no_service(own_service):
    service = own_service
    service.stop()
    for verb in MINE:
        if verb in {"simulate", "doctor"}:  # the first one asks no service, the other one needs none
            continue
        known = {"run": ["true"], **dict.fromkeys(WITHOUT_ID, ())}
        arguments = known.get(verb, ["x", *AFTER_ID.get(verb, [])])
        done = service.run(verb, *arguments)
        assert done.returncode == (125 if verb in {"run", "attach", "exec", "lock"} else 69), verb
        assert done.stderr.count("\n") == 1, verb
        assert done.stdout == ""


def test_each_verb_says_in_a_line_that_there_is_no_such_petition(own_service):
    service = own_service
    for verb in MINE:
        if verb in {"run", "simulate", *WITHOUT_ID}:
            continue
        done = service.run(verb, "nobody\x1b[2J", *AFTER_ID.get(verb, []))
        assert done.returncode == (125 if verb in {"attach", "exec", "lock"} else 1), verb
        assert "nobody" in done.stderr, verb
        assert "\x1b" not in done.stderr, verb
        assert done.stderr.count("\n") == 1, verb


def test_each_verb_refuses_what_it_does_not_know_with_its_own_usage(in_process):
    for verb in MINE:
        arguments = [] if verb in WITHOUT_ID else ["x", *AFTER_ID.get(verb, [])]
        code, _, said = in_process(verb, "--nonsense", *arguments)
        assert code == 2, verb
        assert said.startswith(f"usage: orcha {verb} "), verb
        assert "--nonsense" in said, verb


@pytest.mark.parametrize("verb", [["ps", "--port", "3"], ["run", "--port", "3", "true"], ["show", "x", "--key=k"]])
def test_what_goes_before_the_command_is_said(orcha, verb):
    done = orcha.run(*verb)
    assert done.returncode == 2
    assert "goes before the command: orcha --" in done.stderr


def test_what_is_no_text_is_no_id(in_process):
    odd = os.fsdecode(b"\xff")
    for verb in MINE:
        if verb in {"simulate", *WITHOUT_ID}:
            continue
        arguments = ["--name", odd, "true"] if verb == "run" else [odd, *AFTER_ID.get(verb, [])]
        code, _, said = in_process(verb, *arguments)
        assert code == 2, verb
        assert "'\\udcff' is no text" in said, verb


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_tells_how_it_went_and_nothing_secret(service, tmp_path):
    options = ("--env", "MY_TOKEN=s3cr3t-1", "--label", "a \x1b[2J label", "--memory", "512M", "--cwd", str(tmp_path))
    options = (*options, "--expect", "30m")
    detach(service, "it", "sh", "-c", "exit 3", "x", "--password=s3cr3t-2", options=options)
    assert service.run("wait", "it").returncode == 3
    text = service.run("show", "it").stdout
    lines = dict(line.split(":", 1) for line in text.splitlines())
    fields = {name: value.strip() for name, value in lines.items()}
    assert fields["state"] == "failed (3)"
    assert fields["command"] == "sh -c 'exit 3' x '--password=***'"
    assert fields["label"] == "a \\x1b[2J label"
    assert fields["memory"] == "512 MiB"
    assert fields["expect"] == "30 min"
    assert shown(service, "it")["expect"] == 1800
    assert fields["cwd"] == str(tmp_path)
    assert "MY_TOKEN" in fields["env"].split()
    assert "ago" in fields["ended"] or "now" in fields["ended"]
    assert fields["attempt 1"].startswith("failed (3), ")
    made = shown(service, "it")
    assert (made["outcome"], made["code"], made["command"]["memory"]) == ("failed", 3, 512 << 20)
    assert datetime.fromisoformat(made["ended"]) >= datetime.fromisoformat(made["submitted"])
    assert len(made["attempts"]) == 1
    for told in (
        text,
        json.dumps(made),
        service.run("ps", "--all").stdout,
        service.run("ps", "--all", "--json").stdout,
    ):
        assert "s3cr3t" not in told
        assert "\x1b" not in told


def test_show_tells_of_each_attempt_and_which_signal_ended_it(service):
    detach(service, "it", "sh", "-c", "kill -USR1 $$", options=("--retry", "1", "--retry-delay", "10ms"))
    assert service.run("wait", "it").returncode == 138
    text = service.run("show", "it").stdout
    assert "attempt 1:" in text
    assert "attempt 2:" in text
    assert text.count("ended by SIGUSR1") == 2
    detach(service, "killed", "sleep", "1000")
    wait_for(lambda: rows(service)["killed"]["state"] == "running")
    service.run("cancel", "killed")
    assert "sent SIGINT (cancel" in service.run("show", "killed").stdout
    (sent,) = shown(service, "killed")["attempts"][0]["signals"]
    assert datetime.fromisoformat(sent[0]).year > 2000
    assert sent[1:] == [2, "cancelled"]


def test_show_of_what_waits_tells_why(busy):
    detach(busy, "it", "true")
    made = shown(busy, "it")
    assert (made["state"], made["place"]) == ("queued", 0)
    assert made["why"]
    assert f"why:           {made['why']}\n" in busy.run("show", "it").stdout


def test_attempts_that_are_not_the_last_are_told_by_their_code():
    attempt = {"attempt": 1, "ended": 0.0, "code": 75, "signals": [[0.0, 15, "idle"], [0.0, 99, "x"]]}
    assert show._attempt(attempt).startswith("exit code 75, sent SIGTERM (idle), signal 99 (x), ended 1970")


def test_attempts_that_were_lost_or_killed_have_no_code():
    ended = {"attempt": 1, "ended": 0.0, "code": None}
    assert show._attempt(ended | {"signal": 9, "why": None}).startswith("ended by SIGKILL, ended 1970")
    lost = show._attempt(ended | {"why": "lost", "executed": True})
    assert "None" not in lost
    assert lost.endswith("why lost, executed yes")


# --- what changes a petition -----------------------------------------------------------------------------------------


def test_cancel_ends_each_and_says_which_was_not_there(busy):
    detach(busy, "a", "true")
    detach(busy, "b", "true")
    done = busy.run("cancel", "a", "nobody", "b")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    ends = rows(busy, "--state", "ended")
    assert (ends["a"]["outcome"], ends["b"]["outcome"]) == ("cancelled", "cancelled")


def test_cancel_now_does_not_ask(service):
    detach(
        service, "it", "sh", "-c", "trap '' INT TERM; echo ready; while :; do sleep 1; done", options=("--grace", "1h")
    )
    wait_for(lambda: service.run("logs", "it").stdout == "ready\n")
    assert service.run("cancel", "--now", "it").returncode == 0
    assert shown(service, "it")["outcome"] == "cancelled"


def test_a_second_ctrl_c_kills_at_once(service):
    script = "trap 'echo asked' INT; trap '' TERM; echo ready; while :; do sleep 0.05; done"
    command = service.orcha("run", "--name", "it", "--grace", "1h", "--", "sh", "-c", script)
    with OnTerminal(command, service.environment) as it:
        it.until(b"ready")
        it.type(b"\x03")
        it.until(b"asked")
        it.until(b"it is being cancelled: Ctrl+C again kills it")
        it.type(b"\x03")
        assert it.end() == 130
    assert shown(service, "it")["outcome"] == "cancelled"


def test_priorities_change_the_order(busy):
    for name in ("a", "b"):
        detach(busy, name, "true")
    assert busy.run("priority", "b", "-5").returncode == 0
    assert list(rows(busy, "--state", "queued")) == ["b", "a"]
    assert busy.run("priority", "b", "nan").returncode == 2
    assert busy.run("priority", "busy", "1").returncode == 1


def test_what_is_paused_rests_and_goes_on(service, tmp_path):
    detach(service, "it", "sh", "-c", "while :; do sleep 0.01; done")
    wait_for(lambda: rows(service)["it"]["state"] == "running")
    assert service.run("pause", "it").returncode == 0
    assert "it  paused" in service.run("ps").stdout
    assert service.run("resume", "it").returncode == 0
    assert "it  running" in service.run("ps").stdout
    service.run("cancel", "it")


def test_everything_can_be_paused(service):
    assert service.run("pause", "--all").returncode == 0
    detach(service, "it", "true")
    assert rows(service)["it"]["why"] == "everything is paused"
    assert service.run("resume", "--all").returncode == 0
    assert service.run("wait", "it").returncode == 0
    assert service.run("pause").returncode == 2
    assert service.run("pause", "--all", "it").returncode == 2


def test_a_group_can_be_paused_and_shown(serve):
    service = serve(arguments=("serve", "commands", "--slots", "g=none"))
    assert service.run("pause", "--group", "g").returncode == 0
    detach(service, "in", "true", options=("--group", "g"))
    detach(service, "out", "true")
    assert service.run("wait", "out").returncode == 0
    assert list(rows(service, "--all", "--group", "g")) == ["in"]
    table = service.run("ps").stdout.splitlines()
    assert table[0].split() == ["ID", "STATE", "PRIORITY", "GROUP", "ELAPSED", "COMMAND", "WHY"]
    assert table[1].split()[:4] == ["in", "queued", "0", "g"]
    assert service.run("resume", "--group", "g").returncode == 0
    assert service.run("wait", "in").returncode == 0


def test_what_has_ended_is_retried_and_forgotten(service, tmp_path):
    detach(service, "it", "sh", "-c", f"echo x >> {tmp_path}/ran; exit 3")
    assert service.run("wait", "it").returncode == 3
    assert service.run("retry", "it", "--attach").returncode == 3
    assert (tmp_path / "ran").read_text() == "x\nx\n"
    for left in (1, 0):
        assert service.run("rm", "it").returncode == 0
        assert len([row for row in rows(service, "--all") if row == "it"]) == left
    assert service.run("rm", "it").returncode == 1


def test_what_runs_is_neither_retried_nor_forgotten(busy):
    for verb in ("retry", "rm"):
        done = busy.run(verb, "busy")
        assert done.returncode == 1
        assert "running" in done.stderr


def test_of_one_key_only_one_waits_or_runs(service, tmp_path):
    os.mkfifo(tmp_path / "go")
    script = 'echo ready; read -r word < "$1"; echo "$word"; exit 5'
    detach(service, "first", "sh", "-c", script, "-", tmp_path / "go", options=("--once", "k"))
    rejected = service.run("run", "--once", "k", "true")
    assert (rejected.returncode, rejected.stdout) == (125, "")
    assert "'first' has the same key" in rejected.stderr
    joined = service.orcha("run", "--once", "k", "--if-exists", "attach", "--", "true")
    others = [service.spawn(*joined, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for other in others:
        assert other.stderr.readline() == b"orcha: attached to first\n"
        assert other.stdout.readline() == b"ready\n"
    named = service.ask("run", "--detach", "--once", "k", "--if-exists", "attach", "true")
    assert (named.returncode, named.stdout) == (0, "first\n")
    (tmp_path / "go").write_text("go\n")
    for other in others:
        assert other.stdout.read() == b"go\n"
        assert other.wait(DEADLINE) == 5
    assert list(rows(service, "--all")) == ["first"]


def test_of_one_key_the_newest_replaces(service):
    detach(service, "first", "sleep", "1000", options=("--once", "k"))
    done = service.run("run", "--once", "k", "--if-exists", "replace", "echo", "second")
    assert (done.stdout, done.returncode) == ("second\n", 0)
    assert shown(service, "first")["outcome"] == "cancelled"


def test_ctrl_c_cancels_what_was_attached_to(service):
    detach(service, "first", "sh", "-c", "echo ready; exec sleep 1000", options=("--once", "k"))
    command = service.orcha("run", "--once", "k", "--if-exists", "attach", "true")
    client = service.spawn(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(2)
    assert client.wait(DEADLINE) == 130
    assert shown(service, "first")["outcome"] == "cancelled"


# --- what is read ----------------------------------------------------------------------------------------------------


def test_stats_count(own_service):
    service = own_service
    detach(service, "it", "true")
    service.run("wait", "it")
    found = json.loads(service.run("stats", "--json").stdout)
    assert (found["outcomes"]["succeeded"], found["states"]["ended"]) == (1, 1)
    assert datetime.fromisoformat(found["started"]).year > 2000
    lines = service.run("stats").stdout
    assert "outcomes:      succeeded 1\n" in lines
    assert "states:        ended 1\n" in lines
    read = found["configuration"]["read"]
    assert datetime.fromisoformat(read).year > 2000
    assert re.search(r"^configuration: read \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines, re.MULTILINE)
    [listed] = [line for line in lines.splitlines() if line.startswith("managers:")]
    assert found["managers"]
    assert all(f"{manager} 0" in listed for manager in found["managers"])


def test_ps_watches_until_ctrl_c(service):
    with OnTerminal(service.orcha("ps", "--watch", "10ms"), service.environment) as it:
        it.until(b"nothing waits or runs")
        detach(service, "it", "sleep", "1000")
        it.until(b"running")
        it.type(b"\x03")
        assert it.end() == 0
        assert it.seen.count(b"\x1b[H\x1b[2J") >= 2
    client = service.spawn(*service.orcha("ps", "--watch", "10ms", "--json"), stdout=-1)
    assert [json.loads(client.stdout.readline())[0]["id"] for _ in range(3)] == ["it"] * 3
    client.send_signal(2)
    client.stdout.read()
    assert client.wait(30) == 0
    service.run("cancel", "it")


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_ps_watches_until_nobody_reads_it(service, arguments):
    client = service.spawn(*service.orcha("ps", "--watch", "10ms", *arguments), stdout=-1, stderr=-1)
    assert client.stdout.readline()
    client.stdout.close()
    assert client.wait(DEADLINE) == 141
    assert client.stderr.read() == b""


@pytest.mark.parametrize("verb", ["ps", "show it", "show --json it", "stats", "stats --json", "wait --json it"])
def test_what_nobody_reads_is_141(service, verb):
    detach(service, "it", "true")
    assert service.run("wait", "it").returncode == 0
    reader, writer = os.pipe()
    os.close(reader)
    done = service.run(*verb.split(), capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def imported(service, *arguments):
    command = service.orcha(*arguments)
    done = service.spawn(command[0], "-X", "importtime", *command[1:], stderr=-1, stdout=-1, text=True)
    lines = done.communicate(timeout=60)[1].splitlines()
    assert done.returncode == 0, lines[-1]
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def test_only_what_is_asked_for_is_imported(service):
    """Each verb is a module of its own, none is imported for another one's sake, and nothing heavy for `run`."""
    heavy = {"rich", "psutil", "apsw", "asyncio", "logging", "subprocess", "ssl", "daemon", "uvloop", "json"}
    heavy |= {"multiprocessing", "pathlib", "importlib.metadata", "orcha.lib", "orcha._service", "orcha._core"}
    for verb, *arguments in (["ps"], ["run", "true"]):
        found = imported(service, verb, *arguments)
        assert {f"orcha._cli.{verb}", "orcha._cli.session"} <= found
        assert {f"orcha._cli.{other}" for other in VERBS if other != verb} & found == set()
        if verb == "run":
            assert found & heavy == set()


# --- what is needed --------------------------------------------------------------------------------------------------


def test_what_a_command_needs_is_taken_shown_and_waited_for(serve):
    service = serve(arguments=("serve", "--resource", "gpu=2", "--resource", "ram_gb=8", "commands"))
    detach(service, "runs", "sleep", "1000", options=("--need", "gpu=1", "--need", "ram_gb=8"))
    wait_for(lambda: rows(service)["runs"]["state"] == "running")
    command = service.orcha("run", "--name", "waits", "--need", "gpu=2", "--", "echo", "done")
    with OnTerminal(command, service.environment) as it:
        it.until(b"waits: next; it needs 2 gpu, 1 of 2 is free")
        assert rows(service)["waits"]["why"] == "it needs 2 gpu, 1 of 2 is free"
        assert shown(service, "runs")["needs"] == {"gpu": 1, "ram_gb": 8}
        assert "needs:         gpu=1 ram_gb=8\n" in service.run("show", "runs").stdout
        assert json.loads(service.run("stats", "--json").stdout)["resources"] == [
            {"resource": "gpu", "capacity": 2, "held": 1, "waiting": 1},
            {"resource": "ram_gb", "capacity": 8, "held": 8, "waiting": 0},
        ]
        assert "resource gpu, capacity 2, held 1, waiting 1" in service.run("stats").stdout
        service.run("cancel", "runs")
        it.until(b"done")
        assert it.end() == 0
    refused = service.run("run", "--need", "gpu=3", "--", "true")
    assert (refused.returncode, "it needs 3 gpu, and the service has 2" in refused.stderr) == (125, True)


@pytest.mark.parametrize("need", ["gpu", "=1", "gpu=0", "gpu=-1", "gpu=a lot"])
def test_a_need_is_a_name_and_a_number(service, need):
    done = service.run("run", f"--need={need}", "--", "true")
    assert (done.returncode, "argument --need: " in done.stderr) == (2, True)
