"""What is claimed starts before its transaction is made, and after a crash it is known to have been."""

from __future__ import annotations

import pytest

from orcha._core.state import Outcome, State
from support.simulated import Crash, World
from support.simulated_hooks import Plan

COMMAND = Plan(command=True)


def goes_on(world):
    for _ in range(3):
        world.commit()
        goes_on_without_commit(world)


def goes_on_without_commit(world):
    world.dispatch()
    while world.visit is not None:
        world.hook_step()


@pytest.fixture
def world():
    """Two commands that run, and two that wait, of which the first is claimed."""
    it = World()
    for number in range(1, 5):
        it.submit(COMMAND, str(number), b"%016d" % number)
    goes_on(it)
    for key in sorted(it.commands):
        it.executes(key)
    it.claim(it.find("3"))
    it.commit()
    return it


def row(world, number):
    return world.store.tokens([b"%016d" % number])[b"%016d" % number]


def test_a_claim_is_kept_beside_the_waiting_petition(world):
    assert (row(world, 3).state, row(world, 3).attempt, row(world, 3).slot_held) == (State.QUEUED, 0, True)
    assert not row(world, 4).slot_held


def test_what_was_claimed_starts_before_its_transaction(world):
    world.command_ends((1, 1), 0)
    goes_on_without_commit(world)
    with pytest.raises(Crash):
        world.commit(dies="before")
    assert (3, 1) in world.commands
    assert row(world, 3).state is State.QUEUED


def test_after_a_crash_what_had_begun_goes_on_and_is_not_executed_again(world):
    world.command_ends((1, 1), 0)
    goes_on_without_commit(world)
    with pytest.raises(Crash):
        world.commit(dies="before")
    world.executes((3, 1))
    world.restart()
    goes_on(world)
    assert (row(world, 3).state, row(world, 3).attempt) == (State.STARTING, 1)
    world.command_ends((3, 1), 0)
    world.command_ends((2, 1), 0)
    goes_on(world)
    assert row(world, 3).outcome is Outcome.SUCCEEDED
    assert world.executed[3, 1] == 1


def test_after_a_crash_what_had_not_begun_waits_in_its_place(world):
    world.restart()
    assert (row(world, 3).state, row(world, 3).attempt, row(world, 3).slot_held) == (State.QUEUED, 0, False)
    goes_on(world)
    world.command_ends((1, 1), 0)
    goes_on(world)
    assert (row(world, 3).state, row(world, 3).attempt) == (State.STARTING, 1)


def test_a_claim_that_is_taken_back_leaves_no_trace(world):
    before = row(world, 4)
    world.unclaim(3)
    world.commit()
    assert row(world, 3)._replace(seq=4, token=before.token, id="4", channel=before.channel) == before


def test_nothing_is_taken_back_of_what_has_started(world):
    world.machine.unclaim(world.find("1"))
    assert not world.machine.changes


def test_a_claimed_petition_is_cancelled_as_any_other(world):
    world.cancel("3")
    world.commit()
    assert (row(world, 3).outcome, row(world, 3).slot_held) == (Outcome.CANCELLED, False)


def test_only_commands_that_wait_are_claimed(world):
    machine = world.machine
    assert not machine.claim(world.find("1"))
    assert not machine.claim(world.find("2"))
    world.submit(Plan(), "5", b"%016d" % 5)
    goes_on(world)
    assert not machine.claim(world.find("5"))
    assert machine.claim(world.find("4"))
    assert not machine.claim(world.find("4"))
