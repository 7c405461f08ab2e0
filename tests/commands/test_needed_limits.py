"""What a command needs of memory and processors limits the command, where it can."""

from __future__ import annotations

import pytest

from orcha._core.record import Record
from orcha._service.execution import needed_limits
from orcha._service.execution.command_attempt import spec_of
from orcha.interfaces import Message
from orcha.lib.commands import CommandManager


def spec(needs, **fields):
    petition = CommandManager(most=1).convert_to_petition(Message("m", {"argv": ["true"], "queue": None} | fields))
    record = Record(1, bytes(16), "m", "a:b", "u", bytes(16), None, 0.0)
    record.petition, record.needs = petition, needs
    made = spec_of(record)
    return made.memory, made.cpu_share


@pytest.fixture(params=[{"memory", "cpu_share", "pids"}, {"memory"}, set()], ids=["all", "memory", "none"])
def available(request, monkeypatch):
    monkeypatch.setattr(needed_limits, "_available", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("needs", "limits"),
    [
        (None, (None, None)),
        ({"gpu": 1}, (None, None)),
        ({"memory": 4 << 30}, (4 << 30, None)),
        ({"cpu": 2}, (None, 200)),
        ({"cpu": "1.5", "memory": 1 << 20}, (1 << 20, 150)),
        ({"cpu": "0.000001", "memory": 64}, (None, 1)),
    ],
)
def test_needs_are_limits_where_a_cgroup_can_hold_them(available, needs, limits):
    memory, share = limits
    expected = (memory if "memory" in available else None, share if "cpu_share" in available else None)
    assert spec(needs) == expected


def test_a_limit_that_the_command_names_goes_first(available):
    assert spec({"cpu": 2, "memory": 4 << 30}, memory=5 << 20, cpu_share=50) == (5 << 20, 50)
