"""systemd listens for the service, and starts it for the first client."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.slow]


def test_the_first_client_starts_the_service_also_after_a_stop(unit):
    unit.machine.run("systemctl", "enable", "--now", "orcha.socket")
    for word in ("first", "second"):
        assert unit.pid == 0
        assert unit.machine.run_as("alice", f"orcha run -- echo {word}") == word
        assert unit.pid
        unit.systemctl("stop")


def test_the_first_client_waits_for_a_start_that_takes_longer_than_an_answer(unit):
    unit.drop_in("ExecStartPre=/bin/sleep 12")
    unit.machine.run("systemctl", "start", "orcha.socket")
    assert unit.machine.run_as("alice", "orcha run -- echo served") == "served"


def test_a_client_whose_service_cannot_be_started_is_told_what_to_look_at(unit):
    unit.drop_in("ExecStartPre=/bin/false", "Restart=no")
    unit.machine.run("systemctl", "start", "orcha.socket")
    assert "systemctl status" in unit.machine.run_as("alice", "orcha ps", fails=True)
