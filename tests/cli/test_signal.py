"""``orcha signal`` through the real command and a real service."""

from __future__ import annotations

import json

import pytest

from support.waiting import wait_for

AT_ONCE = 2
"""Commands that the service runs."""


@pytest.fixture
def listening(service, tmp_path):
    """Have a command run that writes down which signals it gets; give its log."""
    log = tmp_path / "log"
    traps = f"trap 'echo usr1 >> {log}' USR1; trap 'echo hup >> {log}' HUP"
    script = f"{traps}; echo ready >> {log}; while :; do sleep 0.02; done"
    done = service.ask("run", "--detach", "--name", "it", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: log.exists() and "ready\n" in log.read_text(), what="it is ready")
    yield log
    service.ask("cancel", "--now", "it")


def test_a_running_command_gets_it_and_that_is_shown(service, listening):
    for name in ("USR1", "sighup", "10"):
        assert service.run("signal", "it", name).returncode == 0
        wait_for(lambda name=name: len(listening.read_text().splitlines()) == {"USR1": 2, "sighup": 3, "10": 4}[name])
    assert listening.read_text().split() == ["ready", "usr1", "hup", "usr1"]
    assert service.ask("cancel", "it").returncode == 0
    (attempt,) = json.loads(service.ask("show", "it", "--json").stdout)["attempts"]
    assert [(number, why) for _, number, why in attempt["signals"]][:3] == [
        (10, "signal"),
        (1, "signal"),
        (10, "signal"),
    ]


@pytest.mark.parametrize(("signal", "verb"), [("STOP", "pause"), ("CONT", "resume")])
def test_what_a_pause_sends_is_left_to_that(service, listening, signal, verb):
    done = service.run("signal", "it", signal)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"SIG{signal} is what orcha {verb} sends: use that" in done.stderr


def test_what_does_not_run_gets_none_and_the_others_do(service, listening):
    service.ask("run", "--detach", "--name", "over", "--", "true")
    service.ask("wait", "over")
    done = service.run("signal", "over", "nobody", "it", "USR1")
    assert done.returncode == 1
    assert "'over' is ended: only a command that runs gets a signal" in done.stderr
    assert "nobody" in done.stderr
    wait_for(lambda: "usr1" in listening.read_text(), what="the third one gets it")


def test_what_is_no_signal_is_refused_with_how_to_write_it(service):
    for word in ("NOPE", "65", "0", ""):
        done = service.run("signal", "it", word)
        assert done.returncode == 2
        assert "is no signal: write it as" in done.stderr
