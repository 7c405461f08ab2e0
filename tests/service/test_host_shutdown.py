"""Commands outlive a stop of the unit, and end where the machine goes down."""

from __future__ import annotations

import os

import pytest

from orcha._service.lifecycle import host_shutdown
from orcha._service.lifecycle.host_shutdown import THE_LOGIN, THE_MACHINE, why_host_stops
from support.commands import COMMANDS
from support.gates import Gate


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """Give a function that says what `systemctl` answers; its words stand in a file then."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def answers(word, code=0):
        script = f'#!/bin/sh\necho "$*" > {tmp_path}/asked\necho {word}\nexit {code}\n'
        (folder / "systemctl").write_text(script)
        (folder / "systemctl").chmod(0o755)
        return {"PATH": f"{folder}:{os.environ['PATH']}", "INVOCATION_ID": "1", "NOTIFY_SOCKET": f"{tmp_path}/none"}

    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return answers


@pytest.mark.parametrize(("answer", "code"), [("stopping", 75), ("degraded", 0)])
def test_commands_end_interrupted_where_the_machine_goes_down_and_else_outlive_the_stop(
    serve, systemctl, tmp_path, answer, code
):
    """They end at once: the time that actions have to return, a minute in the units, is not waited for."""
    gate = Gate(tmp_path)
    variables = {"ORCHA_KEEP_COMMANDS": "1", "ORCHA_STOP_GRACE": "3600"}
    service = serve(COMMANDS, environment=systemctl(answer, 1) | variables)
    assert service.ask("run", "--detach", "--name", "job", "--", "cat", gate.path).returncode == 0
    gate.wait_until_reached()
    assert service.stop() == 0
    assert (tmp_path / "asked").read_text() == "is-system-running\n"
    service.start()
    if not code:
        gate.open()  # else the command would hang in a read for ever
    assert service.ask("wait", "job").returncode == code
    assert (f"interrupted: {THE_MACHINE}" in service.ask("show", "job").stdout) == bool(code)
    gate.close()


def test_only_the_manager_that_started_the_service_is_asked(systemctl, tmp_path):
    environment = systemctl("stopping", 1)
    assert why_host_stops(environment) == THE_MACHINE
    assert why_host_stops(environment | {"MANAGERPID": "7"}) == THE_LOGIN
    assert (tmp_path / "asked").read_text() == "--user is-system-running\n"
    assert not why_host_stops({})
    assert not why_host_stops({"NOTIFY_SOCKET": "/run/x"})  # somebody else's supervisor


def test_a_manager_that_does_not_answer_is_not_going_down(systemctl, tmp_path, monkeypatch):
    environment = systemctl("stopping; exec sleep 600")
    monkeypatch.setattr(host_shutdown, "ASK_SECONDS", 0.05)
    assert not why_host_stops(environment)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not why_host_stops(environment)
