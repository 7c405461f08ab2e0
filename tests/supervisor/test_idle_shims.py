"""How many shims wait for commands, and for how long."""

from __future__ import annotations

import math

import pytest
from service_start import Start, living

from orcha._supervisor import shim_registry
from orcha._supervisor.contract import CommandStarted
from orcha._supervisor.shim_registry import IDLE_SHIMS
from support.waiting import wait_for

BURST = IDLE_SHIMS + 4


def burst(world: Start, program: str) -> None:
    """Have more commands run at once than shims are kept, and end them all."""
    keys = [world.start(program, "1000") for _ in range(BURST)]
    for key in keys:
        world.wait(key, CommandStarted)
    for key in keys:
        world.commands.kill(*key, why="cancel")
    for key in keys:
        world.end(key)


def shims(world: Start) -> set[str]:
    """Give the shims that are connected, once all that were asked for have come."""
    wait_for(lambda: not world.commands._supervisor.asked, what="the shims that the supervisor owes")
    return {shim.name for shim in world.commands._registry}


def test_shims_of_a_burst_take_the_commands_of_the_next_one(
    world: Start, nap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shim_registry, "SURPLUS_SECONDS", math.inf)
    burst(world, nap)
    known = shims(world)
    burst(world, nap)
    assert len(known) >= BURST
    assert shims(world) == known


def test_shims_of_a_burst_are_let_go_when_no_command_follows(
    world: Start, nap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shim_registry, "SURPLUS_SECONDS", 0.0)
    burst(world, nap)
    wait_for(lambda: len(living(world.folder)) == IDLE_SHIMS, what="the end of the surplus")
