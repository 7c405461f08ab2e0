"""A shim that hangs is told wherever people look, and its command is cancelled all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orcha._processes.identity import identify, is_alive
from orcha._protocol.shown_reasons import SILENT
from support.commands import everything, run
from support.waiting import wait_for

SCRIPT = Path(__file__).parent.parent / "support" / "shims" / "silent.py"
WRITES = 'while [ ! -e "$1" ]; do sleep 0.02; done; echo; echo "$$" > "$2"; while :; do sleep 1; done'


@pytest.mark.parametrize("verb", [("cancel", "one"), ("stop", "--now", "--end-commands")])
def test_it_is_told_wherever_people_look_and_what_it_started_is_ended(serve, connect, tmp_path, verb):
    hangs, pid = tmp_path / "hangs", tmp_path / "pid"
    environment = {"TEST_HANGS": str(hangs), "TEST_NEVER_KILLS": "1", "ORCHA_SHIM_SILENCE": "0.2"}
    service = serve(script=SCRIPT, environment=environment)
    queue = run(connect(service), "one", "sh", "-c", WRITES, "sh", str(hangs), str(pid))
    wait_for(lambda: "running" in service.ask("ps", "--json").stdout, what="the command runs")
    hangs.touch()
    assert queue.get() == f"orcha: {SILENT}\n"
    wait_for(lambda: json.loads(service.ask("ps", "--json").stdout)[0]["why"] == SILENT, what="the reason in ps")
    assert SILENT[:30] in " ".join(service.ask("ps").stdout.split())
    assert SILENT in " ".join(service.ask("show", "one").stdout.split())
    assert "limits of its command do not hold" in service.stderr()
    command = identify(int(pid.read_text()))
    assert is_alive(command)
    done = service.run(*verb)
    assert (done.returncode, "stays behind" in done.stderr) == (0, False)
    if verb[0] == "stop":
        assert service.wait_for_end() == 0
        service.start()
    assert not is_alive(command)
    outcome = "cancelled" if verb[0] == "cancel" else "interrupted"
    assert json.loads(service.ask("show", "one", "--json").stdout)["outcome"] == outcome


AGAIN = 'if [ "$ORCHA_ATTEMPT" = 2 ]; then rm "$1"; exit 3; fi; ' + WRITES


@pytest.mark.parametrize("policy", ["fail", "rerun"])
def test_it_is_killed_with_its_command_which_was_interrupted_then(serve, connect, tmp_path, policy):
    hangs, pid = tmp_path / "hangs", tmp_path / "pid"
    service = serve(script=SCRIPT, environment={"TEST_HANGS": str(hangs), "ORCHA_SHIM_SILENCE": "0.2"})
    queue = run(connect(service), "one", "sh", "-c", AGAIN, "sh", str(hangs), str(pid), on_interrupt=policy)
    wait_for(lambda: "running" in service.ask("ps", "--json").stdout, what="the command runs")
    hangs.touch()
    _, _, lines, code = everything(queue)
    assert lines[0] == f"orcha: {SILENT}\n"
    assert identify(int(pid.read_text())) is None
    shown = json.loads(service.ask("show", "one", "--json").stdout)
    if policy == "rerun":
        assert (code, shown["outcome"], len(shown["attempts"])) == (3, "failed", 2)
        return
    assert (code, shown["outcome"]) == (75, "interrupted")
    assert "did not answer for" in shown["reason"]
    assert "so Orcha killed it and ended the command" in shown["reason"]
