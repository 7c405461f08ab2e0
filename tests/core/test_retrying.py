"""Rows of the table of states of petitions that are tried again, where their attempts are actions."""

from __future__ import annotations

import json

import pytest

from orcha._core import transitions
from orcha._core.reasons import RestingUntil
from orcha._core.record import Phase
from orcha._core.retry import remembered
from orcha._core.state import OnInterrupt, Outcome, State
from orcha.interfaces import Retry
from support.miniature import Miniature, settle
from support.miniature_hooks import Plan

TOKEN = b"t" * 16
FIRST, SECOND = (1, 1), (1, 2)
CANCELLED = (Outcome.CANCELLED, 130, None)
TOO_LONG = (Outcome.TIMED_OUT, 124, "too long")


@pytest.fixture
def world():
    return Miniature()


def row(world):
    return world.store.rows([1])[0]


def record(world):
    return world.petitions.records[1]


def kept(world):
    return world.store.attempts([1])[1]


def log(world):
    return [(kind, value) for kind, _, value in world.store.log(TOKEN)]


def running(world, **retry):
    """Give it as many as one retry, in 50 seconds, where the test does not say otherwise."""
    plan = {name: retry.pop(name) for name in ("on_interrupt", "on_start") if name in retry}
    world.submit(Plan(retry=Retry(**({"times": 1, "delay": 50, "jitter": 0} | retry)), **plan), "a", TOKEN)
    settle(world)
    assert row(world).state is State.STARTING
    assert world.actions[FIRST].alive


def finished(world):
    world.finish(FIRST, 3)


def raised(world):
    world.returns(FIRST, "ValueError: x")


def rests(world, **retry):
    running(world, **retry)
    world.finish(FIRST, 3)
    world.returns(FIRST, None)
    settle(world)
    assert record(world).phase is Phase.RESTING


def ended(world):
    found = row(world)
    assert found.state is State.ENDED
    return found.outcome, found.code, found.reason


# --- an attempt that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [finished, raised])
def test_one_that_fails_is_kept_as_queued_without_a_final_value_in_place_of_its_end(world, fails):
    running(world)
    fails(world)
    world.commit()
    assert (row(world).state, row(world).attempt, row(world).hook_pending) == (State.QUEUED, 1, True)
    assert (kept(world).due, kept(world).retries) == (50, 1)
    assert log(world) == []
    assert not world.put(FIRST, 1), "its attempt is over"
    assert not world.finish(FIRST, 0), "its outcome is decided"


def test_the_next_attempt_begins_when_the_action_is_back_its_on_finish_too_and_its_time_has_come(world):
    running(world)
    world.finish(FIRST, 3)
    settle(world)
    world.time_passes()
    settle(world)
    assert world.petitions.granted.has(1), "its action goes on"
    assert not world.on_finishes
    world.returns(FIRST, None)
    world.commit()
    assert not world.petitions.granted
    world.time_passes()
    assert not world.petitions.waiting, "its on_finish is not back"
    settle(world)
    assert world.on_finishes == {FIRST: [0]}
    assert (row(world).state, row(world).attempt, row(world).hook_pending) == (State.STARTING, 2, False)
    assert (kept(world).due, kept(world).retries) == (None, 1)


def test_it_rests_until_its_time_has_come_and_is_asked_its_condition_again(world):
    rests(world)
    assert row(world).hook_pending is False
    assert "attempt 1 ended with 3: it is tried again at 1970-01-01 00:00:50 UTC" in record(world).why.text()
    transitions.retry.time_came(world.petitions, 1, world.petitions.now)
    assert not world.petitions.waiting, "it is too soon"
    world.plans[TOKEN] = world.plans[TOKEN]._replace(flag="x")
    world.time_passes()
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.QUEUED, 1)
    assert world.petitions.waiting
    world.flags = {"x"}
    world.petitions.note_change()
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)


def test_each_attempt_has_a_petition_of_its_own(world):
    rests(world)
    assert record(world).petition is None
    world.plans[TOKEN] = world.plans[TOKEN]._replace(converts_again=False)
    world.time_passes()
    settle(world)
    assert ended(world) == (Outcome.BROKEN, 1, "no petition any more")


def test_the_last_attempt_ends_it(world):
    rests(world)
    world.time_passes()
    settle(world)
    world.finish(SECOND, 4)
    world.returns(SECOND, None)
    settle(world)
    assert ended(world) == (Outcome.FAILED, 4, None)
    assert log(world) == [("final", 4)]
    assert world.on_starts == {FIRST: 1, SECOND: 1}
    assert world.on_finishes == {FIRST: [0], SECOND: [0]}
    (first,) = json.loads(kept(world).history)
    assert (first["attempt"], first["outcome"], first["code"], first["reason"]) == (1, "failed", 3, None)


@pytest.mark.parametrize(
    ("retry", "outcome"),
    [({"codes": (75,)}, Outcome.FAILED), ({"timeout": True}, Outcome.FAILED), ({}, Outcome.SUCCEEDED)],
)
@pytest.mark.parametrize("by_finish", [True, False], ids=["finish", "return"])
def test_an_end_that_is_not_named_is_the_petitions(world, retry, outcome, by_finish):
    running(world, **retry)
    failed = outcome is Outcome.FAILED
    if by_finish:
        world.finish(FIRST, 1 if failed else 0)
    world.returns(FIRST, "ValueError: x" if failed else None)
    settle(world)
    assert ended(world)[0] is outcome
    assert not world.store.attempts([1])


def test_an_on_start_that_says_no_breaks_it(world):
    world.submit(Plan(retry=Retry(times=1), on_start=False), "a", TOKEN)
    settle(world)
    assert ended(world)[0] is Outcome.BROKEN


# --- its processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [finished, raised])
def test_what_its_action_left_behind_is_gone_before_anything_else_begins(world, fails):
    running(world, delay=0)
    world.spawn(FIRST, tells=True)
    fails(world)
    if world.actions[FIRST].alive:
        world.returns(FIRST, None)
    settle(world)
    assert world.ladders == {FIRST}
    assert not world.on_finishes
    world.ladder_done(FIRST, [])
    settle(world)
    assert world.on_finishes == {FIRST: [0]}
    assert row(world).attempt == 2


def test_one_that_comes_after_its_finish_is_ended_and_the_action_waited_for(world):
    running(world)
    world.finish(FIRST, 3)
    world.spawn(FIRST, tells=True)
    world.ladder_done(FIRST, [])
    settle(world)
    assert not world.on_finishes, "its action goes on"
    world.returns(FIRST, None)
    settle(world)
    world.ladder_done(FIRST, [])
    settle(world)
    assert record(world).phase is Phase.RESTING


def test_one_that_comes_while_it_rests_is_ended_and_changes_nothing(world):
    rests(world)
    world.spawn(FIRST, tells=True)
    world.ladder_done(FIRST, [])
    settle(world)
    assert record(world).phase is Phase.RESTING
    assert len(world.on_finishes[FIRST]) == 1


def test_with_one_that_nothing_can_kill_it_is_not_tried_again(world):
    running(world)
    world.spawn(FIRST, tells=True)
    world.finish(FIRST, 3)
    world.returns(FIRST, None)
    settle(world)
    world.ladder_done(FIRST, [42])
    settle(world)
    assert ended(world) == (Outcome.FAILED, 3, None)
    assert world.petitions.granted.has(1)
    world.ladder_done(FIRST, [])
    settle(world)
    assert not world.petitions.granted
    assert world.on_finishes == {FIRST: [0]}


# --- time limits ------------------------------------------------------------------------------------------------------


def test_one_that_takes_too_long_is_ended_and_tried_again(world):
    running(world)
    world.limit(record(world))
    settle(world)
    assert row(world).state is State.CANCELLING
    assert (kept(world).due, kept(world).retries) == (50, 1)
    world.ladder_done(FIRST, [])
    world.returns(FIRST, None)
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.QUEUED, 1)
    (first,) = json.loads(kept(world).history)
    assert (first["outcome"], first["code"], first["reason"]) == ("timed_out", 124, "too long")
    world.time_passes()
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)
    assert log(world) == []


@pytest.mark.parametrize("retry", [{"codes": (1,)}, {"times": 0}])
def test_one_that_takes_too_long_ends_where_that_is_not_tried_again(world, retry):
    running(world, **retry)
    world.limit(record(world))
    world.commit()
    world.ladder_done(FIRST, [])
    world.returns(FIRST, None)
    settle(world)
    assert ended(world) == TOO_LONG


def test_one_that_takes_too_long_and_whose_thread_stays_ends(world):
    running(world)
    world.limit(record(world))
    world.commit()
    world.ladder_done(FIRST, [])
    world.abandon(FIRST)
    settle(world)
    assert ended(world) == TOO_LONG
    assert row(world).slot_held
    world.returns(FIRST, None)
    settle(world)
    assert world.on_finishes == {FIRST: [0]}


def test_one_that_takes_too_long_and_whose_processes_stay_is_broken(world):
    running(world)
    world.limit(record(world))
    world.commit()
    world.ladder_done(FIRST, [42])
    settle(world)
    assert ended(world)[0] is Outcome.BROKEN


def test_a_limit_before_its_on_start_was_called_has_it_wait_again_at_once(world):
    world.submit(Plan(retry=Retry(times=1, delay=50)), "a", TOKEN)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    world.commit()
    world.limit(record(world))
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)
    assert world.on_starts == {SECOND: 1}
    assert not world.on_finishes


@pytest.mark.parametrize("limited", [True, False])
def test_one_whose_on_start_hangs_is_not_tried_again(world, limited):
    world.submit(Plan(retry=Retry(times=1, delay=50)), "a", TOKEN)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    world.commit()
    world.dispatch()
    world.hook_step()
    if limited:
        world.limit(record(world))
    transitions.finish.start_failed(world.petitions, *FIRST, "hangs", world.petitions.now, hung=True)
    settle(world)
    assert ended(world)[0] is (Outcome.TIMED_OUT if limited else Outcome.BROKEN)


def test_a_cancel_while_its_on_start_hangs_is_a_cancel(world):
    world.submit(Plan(retry=Retry(times=1, delay=50)), "a", TOKEN)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    world.commit()
    world.dispatch()
    world.hook_step()
    world.cancel("a")
    transitions.finish.start_failed(world.petitions, *FIRST, "hangs", world.petitions.now, hung=True)
    settle(world)
    assert ended(world) == CANCELLED


@pytest.mark.parametrize("returns", [True, False])
def test_one_that_finished_and_takes_too_long_to_return_is_tried_again_if_it_does(world, returns):
    running(world)
    world.finish(FIRST, 3)
    settle(world)
    world.limit(record(world))
    settle(world)
    assert row(world).state is State.CANCELLING
    world.ladder_done(FIRST, [])
    if returns:
        world.returns(FIRST, None)
        settle(world)
        assert (row(world).state, kept(world).retries, len(json.loads(kept(world).history))) == (State.QUEUED, 1, 1)
    else:
        world.abandon(FIRST)
        settle(world)
        assert ended(world) == TOO_LONG


# --- cancels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("returned", [True, False])
def test_a_cancel_before_its_action_returned_is_answered_when_nothing_of_it_lives(world, returned):
    running(world)
    world.spawn(FIRST, tells=True)
    world.finish(FIRST, 3)
    if returned:
        world.returns(FIRST, None)
    settle(world)
    world.cancel("a")
    settle(world)
    assert row(world).state is State.CANCELLING
    assert world.unanswered
    world.ladder_done(FIRST, [])
    if not returned:
        world.returns(FIRST, None)
    settle(world)
    while world.ladders:
        world.ladder_done(FIRST, [])
        settle(world)
    assert ended(world) == CANCELLED
    assert world.answers == {1: Outcome.CANCELLED}
    assert world.on_finishes == {FIRST: [0]}


def test_a_cancel_of_one_whose_thread_stays_abandons_it(world):
    running(world)
    world.finish(FIRST, 3)
    settle(world)
    world.cancel("a")
    settle(world)
    world.ladder_done(FIRST, [])
    world.abandon(FIRST)
    settle(world)
    assert ended(world) == CANCELLED
    assert row(world).slot_held


@pytest.mark.parametrize("owed", [True, False])
def test_a_cancel_ends_what_rests(world, owed):
    running(world)
    world.finish(FIRST, 3)
    world.returns(FIRST, None)
    if not owed:
        settle(world)
    world.cancel("a")
    settle(world)
    assert ended(world) == CANCELLED
    assert world.on_finishes == {FIRST: [0]}
    assert row(world).hook_pending is False
    world.time_passes()
    settle(world)
    assert world.on_starts == {FIRST: 1}


def test_a_cancel_goes_before_a_time_limit_that_would_have_been_tried_again(world):
    running(world)
    world.limit(record(world))
    world.commit()
    world.cancel("a")
    settle(world)
    world.ladder_done(FIRST, [])
    world.returns(FIRST, None)
    settle(world)
    assert ended(world) == CANCELLED


# --- crashes ----------------------------------------------------------------------------------------------------------


def rests_again(world):
    settle(world)
    assert world.petitions.records[1].phase is Phase.RESTING
    assert world.on_finishes[FIRST], "it is owed"
    world.time_passes()
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)
    world.finish(SECOND, 3)
    world.returns(SECOND, None)
    settle(world)
    assert ended(world) == (Outcome.FAILED, 3, None), "it was tried again once already"


@pytest.mark.parametrize("fails", [finished, raised])
def test_killed_when_it_was_decided_it_is_tried_again(world, fails):
    running(world)
    fails(world)
    world.commit()
    world.restart()
    rests_again(world)


def test_killed_while_it_rests_it_rests_on(world):
    rests(world)
    world.restart()
    settle(world)
    assert not world.petitions.waiting
    rests_again(world)


def test_killed_while_it_is_ended_for_its_time_limit_it_is_tried_again(world):
    running(world)
    world.limit(record(world))
    world.commit()
    world.restart()
    rests_again(world)


def test_killed_while_one_that_was_to_be_tried_again_is_cancelled_it_is_cancelled(world):
    running(world)
    world.limit(record(world))
    world.commit()
    world.cancel("a")
    world.commit()
    world.restart()
    settle(world)
    assert ended(world) == CANCELLED


@pytest.mark.parametrize("policy", OnInterrupt)
def test_killed_while_the_second_attempt_runs_it_goes_by_its_policy(world, policy):
    rests(world, on_interrupt=policy)
    world.time_passes()
    settle(world)
    world.restart()
    settle(world)
    if policy is OnInterrupt.FAIL:
        assert ended(world)[0] is Outcome.INTERRUPTED
    elif policy is OnInterrupt.ASK:
        assert (row(world).state, row(world).attempt) == (State.HELD, 2)
    else:
        assert (row(world).state, row(world).attempt) == (State.STARTING, 3)
        assert kept(world).retries == 1


# --- what is told -----------------------------------------------------------------------------------------------------


def test_a_time_beyond_all_calendars_is_not_told():
    assert RestingUntil(1, 3, 1e300).text() == "attempt 1 ended with 3: it is tried again"
    assert RestingUntil(1, None, 0.0).text() == "attempt 1 failed: it is tried again at 1970-01-01 00:00:00 UTC"


def test_only_the_last_attempts_are_remembered():
    history = None
    for attempt in range(1, 60):
        history = remembered(history, attempt, code=attempt)
    assert [each["attempt"] for each in json.loads(history)] == list(range(10, 60))
