"""Rows of the table of states that commands have for themselves."""

from __future__ import annotations

import pytest

from orcha._core import transitions
from orcha._core.changes import AttemptStep
from orcha._core.effects import Do
from orcha._core.reasons import RestingUntil
from orcha._core.record import Phase
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha._core.transitions.recover import never_executed
from support.miniature import Miniature, settle
from support.miniature_hooks import Plan

TOKEN = b"t" * 16
FIRST = (1, 1)


@pytest.fixture
def world():
    return Miniature()


def row(world):
    return world.store.rows([1])[0]


def handed_over(world, **plan):
    world.submit(Plan(command=True, **plan), "a", TOKEN)
    settle(world)
    assert row(world).state is State.STARTING
    assert FIRST in world.commands


def running(world, **plan):
    handed_over(world, **plan)
    world.executes(FIRST)
    settle(world)
    assert row(world).state is State.RUNNING


def ended(world):
    found = row(world)
    assert found.state is State.ENDED
    return found.outcome, found.code, found.reason


def test_the_step_of_an_attempt_goes_on_with_what_comes_to_be_known():
    step = AttemptStep(7, 2, last_chunk=5)
    begun = step.begun(11, 2.5, "boot", "shim")
    assert begun == AttemptStep(7, 2, 11, 2.5, "boot", "shim", last_chunk=5)
    over = begun.over("[]", retries=1, due=9.0)
    assert over == AttemptStep(7, 2, 11, 2.5, "boot", "shim", 5, 9.0, retries=1, losses=0, history="[]")


@pytest.mark.parametrize("begin", [handed_over, running])
def test_a_command_that_ends_ends_its_petition(world, begin):
    begin(world)
    world.command_ends(FIRST, 3)
    settle(world)
    assert ended(world) == (Outcome.FAILED, 3, None)
    assert not world.petitions.granted
    assert world.on_finishes[FIRST]


def test_what_comes_twice_or_late_changes_nothing(world):
    running(world)
    world.executes(FIRST)
    world.command_ends(FIRST, 0)
    for report in (
        lambda: transitions.command.running(world.petitions, *FIRST, world.petitions.now),
        lambda: transitions.command.ended(world.petitions, *FIRST, CommandEnd(Outcome.FAILED, 1), world.petitions.now),
        lambda: transitions.command.lost(world.petitions, *FIRST, world.petitions.now, executed=True),
        lambda: transitions.retry.time_came(world.petitions, 1, world.petitions.now),
    ):
        report()
    settle(world)
    assert ended(world) == (Outcome.SUCCEEDED, 0, None)
    assert world.petitions.dropped_events == 3


def test_a_command_may_not_give_its_own_final_value(world):
    running(world)
    assert world.petitions.writable(*FIRST)
    assert not transitions.finish.finish(world.petitions, *FIRST, 0, world.petitions.now)


def test_what_it_starts_is_ended_where_a_cancel_came_before_it_was_handed_over(world):
    world.submit(Plan(command=True), "a", TOKEN)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    world.commit()
    record = world.petitions.records[1]
    assert record.phase is Phase.ON_START
    world.dispatch()
    world.hook_step()  # on_start has been called, and nobody has been told
    world.cancel("a")
    world.executes(FIRST)
    world.hook_step()
    assert record.state is State.CANCELLING
    settle(world)
    assert world.commands[FIRST].cancelled
    world.command_ends(FIRST, 0)
    settle(world)
    assert ended(world) == (Outcome.CANCELLED, 130, None)


def test_survivors_of_a_cancel_break_it_and_are_named(world):
    running(world)
    world.cancel("a")
    settle(world)
    world.command_ends(FIRST, 0, survivors=(42, 43))
    settle(world)
    assert ended(world) == (Outcome.BROKEN, 1, "cannot be killed: process 42, 43")


def test_survivors_of_an_end_by_itself_leave_its_outcome_but_let_nothing_start_again(world):
    running(world)
    world.command_ends(FIRST, 3, due=0.0, survivors=(42,))
    settle(world)
    assert ended(world) == (Outcome.FAILED, 3, None)


def test_a_cancel_is_answered_at_once_where_something_lives_on_after_the_end(world):
    running(world)
    world.command_ends(FIRST, 3, survivors=(42,))
    settle(world)
    world.cancel("a")
    settle(world)
    assert world.answers == {1: Outcome.FAILED}
    world.survivors_go()
    settle(world)
    assert not world.petitions.granted


def test_a_cancel_that_comes_too_late_is_answered_with_how_it_ended(world):
    running(world)
    world.cancel("a")
    world.commands[FIRST].cancelled = False
    world.command_ends(FIRST, 0, due=5.0)
    settle(world)
    assert ended(world) == (Outcome.SUCCEEDED, 0, None)
    assert world.answers == {1: Outcome.SUCCEEDED}


def test_a_retry_is_kept_with_the_end_and_waits_for_its_time_and_its_on_finish(world):
    running(world)
    world.command_ends(FIRST, 3, due=50.0)
    world.commit()
    assert (row(world).state, row(world).hook_pending, row(world).attempt) == (State.QUEUED, True, 1)
    assert world.store.attempts([1])[1].due == 50.0
    assert world.petitions.records[1].why == RestingUntil(1, 3, 50.0)
    settle(world)
    assert row(world).hook_pending is False
    assert not world.petitions.waiting
    transitions.retry.time_came(world.petitions, 1, world.petitions.now)
    assert not world.petitions.waiting, "it is too soon"
    world.time_passes()
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)
    assert world.store.attempts([1])[1].due is None
    assert world.store.log(TOKEN) == []


def test_a_retry_whose_time_has_come_waits_for_its_on_finish(world):
    running(world)
    world.command_ends(FIRST, 3, due=50.0)
    world.commit()
    world.time_passes()
    assert not world.petitions.waiting
    settle(world)
    assert row(world).attempt == 2


def test_a_retry_whose_time_comes_in_a_batch_that_began_before_it_goes_on_when_its_on_finish_is_back(world):
    running(world)
    world.command_ends(FIRST, 3, due=50.0)
    world.commit()
    begun = world.petitions.now  # its on_finish comes back in the same batch
    until = world.petitions.records[1].rests_until
    transitions.retry.time_came(world.petitions, 1, begun._replace(steady=until))
    assert not world.petitions.waiting
    settle(world)
    assert world.petitions.now.steady < until
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)


@pytest.mark.parametrize("returned", [True, False])
def test_a_cancel_ends_what_rests(world, returned):
    running(world)
    world.command_ends(FIRST, 3, due=50.0)
    if returned:
        settle(world)
    world.cancel("a")
    settle(world)
    assert ended(world) == (Outcome.CANCELLED, 130, None)
    assert len(world.on_finishes[FIRST]) == 1
    assert row(world).hook_pending is False


def test_a_lost_command_goes_by_its_policy(world):
    for policy, state in ((OnInterrupt.FAIL, State.ENDED), (OnInterrupt.ASK, State.HELD)):
        mine = Miniature()
        running(mine, on_interrupt=policy)
        mine.command_lost(FIRST)
        settle(mine)
        assert row(mine).state is state
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.command_lost(FIRST)
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)


@pytest.mark.parametrize("finished", [True, False], ids=["its on_finish is back", "its on_finish is owed"])
def test_a_lost_command_that_is_held_runs_again_when_a_person_says_so(world, finished):
    running(world, on_interrupt=OnInterrupt.ASK)
    world.command_lost(FIRST)
    world.commit()
    if finished:
        settle(world)
    assert row(world).state is State.HELD
    assert transitions.hold.release(world.petitions, world.find("a"), world.petitions.now)
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)
    assert len(world.on_finishes[FIRST]) == 1


def test_a_cancelled_command_that_is_lost_is_cancelled(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.cancel("a")
    world.command_lost(FIRST)
    settle(world)
    assert ended(world) == (Outcome.CANCELLED, 130, None)


def test_one_that_was_never_executed_starts_again_but_not_for_ever(world):
    handed_over(world)
    for attempt in (1, 2, 3):
        world.command_lost((1, attempt))
        settle(world)
    assert ended(world)[0] is Outcome.BROKEN
    assert "could not be executed" in ended(world)[2]


def test_never_executed_after_a_crash_is_not_counted_with_those_before(world):
    handed_over(world)
    world.command_lost(FIRST)
    settle(world)
    for attempt in (3, 4, 5):
        world.commands.clear()
        world.restart()
        settle(world)
        assert row(world).attempt == attempt
    assert never_executed(3).outcome is Outcome.BROKEN


@pytest.mark.parametrize("begin", [handed_over, running])
def test_a_command_that_lives_is_adopted_and_its_end_counts(world, begin):
    begin(world)
    world.restart()
    assert world.petitions.granted.has(1)
    settle(world)
    world.command_ends(FIRST, 3)
    settle(world)
    assert ended(world) == (Outcome.FAILED, 3, None)
    assert len(world.on_finishes[FIRST]) == 1
    assert world.on_starts[FIRST] == 1


def test_a_cancel_and_an_interruption_go_on_after_a_crash(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.stop()
    settle(world)
    assert row(world).state is State.CANCELLING
    world.restart()
    assert world.commands[FIRST].cancelled
    settle(world)
    world.command_ends(FIRST, 0)
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)


def test_what_rests_rests_on_after_a_crash(world):
    running(world)
    world.command_ends(FIRST, 3, due=50.0)
    world.commit()
    world.restart()
    settle(world)
    assert not world.petitions.waiting
    assert world.on_finishes[FIRST], "it is owed"
    world.time_passes()
    settle(world)
    assert row(world).attempt == 2


def test_an_acceptance_that_is_not_kept_leaves_no_command(world):
    world.submit(Plan(command=True), "a", TOKEN)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    assert world.petitions.changes.attempts
    world.store.full = True
    world.commit()
    assert world.verdicts[1] == "busy"
    assert not world.store.attempts([1])


def test_effects_name_what_is_to_be_ended(world):
    running(world)
    world.cancel("a")
    assert [effect.do for effect in world.petitions.effects] == [Do.END_PROCESSES]


@pytest.mark.parametrize(("policy", "told"), [(OnInterrupt.FAIL, True), (OnInterrupt.RERUN, False)])
def test_an_outcome_is_given_at_once_where_no_other_attempt_follows(world, policy, told):
    running(world, on_interrupt=policy)
    assert world.report(transitions.command.outlived, *FIRST, (42,), "an error", world.petitions.now) is told
    assert world.report(transitions.command.gone, *FIRST) is told
    assert world.report(transitions.command.gone, *FIRST) is told
    assert world.report(transitions.command.gone, 1, 7)
    assert world.report(transitions.command.outlived, 1, 7, (42,), "", world.petitions.now)


@pytest.mark.parametrize("survivors", [(42,), ()], ids=["known", "unknown"])
def test_a_stored_end_that_something_outlives_or_may_outlive_holds_its_place(world, survivors):
    running(world)
    record = world.petitions.records[1]
    world.command_ends(FIRST, 0, survivors=(42,))
    settle(world)
    world.report(transitions.command.gone, *FIRST)
    settle(world)
    transitions.command.adopt_outlived(world.petitions, record, survivors, hook_owed=False)
    assert record.survivors == survivors
    assert record.is_outlived
    assert world.petitions.granted


@pytest.mark.parametrize("survivors", [(42,), ()])
def test_an_end_that_is_told_again_says_what_a_petition_keeps_its_place_for(world, survivors):
    running(world)
    record = world.petitions.records[1]
    assert not world.report(transitions.command.told_of, *FIRST, survivors)
    world.command_ends(FIRST, 0, survivors=(41,))
    settle(world)
    assert not world.report(transitions.command.told_of, 1, 7, survivors)
    assert world.report(transitions.command.told_of, *FIRST, survivors)
    assert record.survivors == survivors
    assert record.is_outlived is bool(survivors)
    world.report(transitions.command.gone, *FIRST)
    assert not record.is_outlived
    assert not world.report(transitions.command.told_of, *FIRST, survivors)
    assert not world.report(transitions.command.told_of, 9, 1, survivors)


def test_what_outlived_a_petition_that_cannot_be_made_again_owes_its_on_finish_all_the_same(world):
    running(world)
    world.petitions.records[1].petition = None
    assert world.report(transitions.command.outlived, *FIRST, (42,), "an error", world.petitions.now)
    world.report(transitions.command.gone, *FIRST)
    assert Do.ON_FINISH in [effect.do for effect in world.petitions.effects]


def test_a_petition_that_waits_for_nothing_else_is_not_released_twice(world):
    running(world)
    world.command_ends(FIRST, 0, survivors=(42,))
    settle(world)
    record = world.petitions.records[1]
    record.processes_gone = True
    assert world.report(transitions.command.gone, *FIRST)
    assert 1 in world.petitions.records
