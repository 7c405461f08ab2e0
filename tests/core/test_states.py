"""Each row of the table of states: what an event does to a petition, what is kept, and what happens then."""

from __future__ import annotations

import pytest

from orcha._core import transitions
from orcha._core.effects import Do
from orcha._core.petitions import Petitions
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.state import OnInterrupt, Outcome, State
from support.miniature import Miniature, settle
from support.miniature_hooks import Plan

TOKEN = b"t" * 16
OTHER = b"u" * 16
FIRST = (1, 1)


@pytest.fixture
def world():
    return Miniature()


def submitted(world, plan=None, identity="a", token=TOKEN):
    world.submit(plan or Plan(), identity, token)
    settle(world)


def queued(world, **plan):
    submitted(world, Plan(flag="x", **plan))
    assert row(world).state is State.QUEUED


def running(world, **plan):
    submitted(world, Plan(**plan))
    assert row(world).state is State.STARTING
    assert world.actions[FIRST].alive


def in_on_start(world, **plan):
    """The start is kept, and on_start has not been called."""
    world.submit(Plan(**plan), "a", TOKEN)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    world.commit()
    assert record(world).phase is Phase.ON_START


def row(world, seq=1):
    (found,) = world.store.rows([seq])
    return found


def record(world, seq=1):
    return world.petitions.records[seq]


def log(world, token=TOKEN):
    return [(kind, value) for kind, _, value in world.store.log(token)]


def ended(world, seq=1):
    found = row(world, seq)
    assert found.state is State.ENDED
    return found.outcome, found.code, found.reason


CANCELLED = (Outcome.CANCELLED, 130, None)
BY_SHUTDOWN = "stopped"


# --- submit -----------------------------------------------------------------------------------------------------------


def test_submit_of_a_known_live_token_is_the_same_petition(world):
    queued(world)
    submitted(world)
    assert world.verdicts[2] == "known"
    assert len(world.store.all_rows()) == 1


def test_submit_of_a_token_known_to_the_store_only_is_the_same_petition(world):
    running(world)
    world.returns(FIRST, None)
    settle(world)
    submitted(world)
    assert world.verdicts[2] == "known"
    assert not world.petitions.live
    assert not world.petitions.granted
    assert len(world.store.all_rows()) == 1


def test_submit_of_a_token_with_a_tombstone_ends_cancelled_and_is_accepted(world):
    world.cancel_token(TOKEN)
    submitted(world)
    assert world.verdicts[1] == "accepted"
    assert ended(world) == CANCELLED
    assert log(world) == [("final", 130)]
    assert not world.on_starts


def test_submit_of_an_id_that_lives_under_another_token_is_refused(world):
    queued(world)
    submitted(world, token=OTHER)
    assert world.verdicts[2] == "duplicate"


def test_submit_of_an_id_whose_number_reads_the_same_is_refused(world):
    submitted(world, Plan(flag="x"), identity=1)
    submitted(world, identity="1", token=OTHER)
    assert world.verdicts[2] == "duplicate"


@pytest.mark.parametrize("flag", [None, "x"], ids=["started", "queued"])
def test_submit_with_a_full_disk_is_refused_and_frees_its_id(world, flag):
    world.store.full = True
    submitted(world, Plan(flag=flag))
    assert world.verdicts[1] == "busy"
    assert len(world.petitions.waiting) == 0
    assert not world.petitions.live
    assert not world.petitions.records
    assert not world.petitions.granted
    world.store.full = False
    submitted(world)
    assert world.verdicts[2] == "accepted"


def test_a_full_disk_takes_nothing_else_back(world):
    running(world)
    world.submit(Plan(), "b", OTHER)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    world.finish(FIRST, 3)
    world.store.full = True
    world.commit()
    assert world.verdicts[2] == "busy"
    assert ended(world) == (Outcome.FAILED, 3, None)


@pytest.mark.parametrize("flag", [None, "x"], ids=["started", "queued"])
def test_a_client_that_cancels_what_a_full_disk_takes_back_is_answered(world, flag):
    world.submit(Plan(flag=flag), "a", TOKEN)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    world.cancel("a")
    world.store.full = True
    world.commit()
    assert world.verdicts[1] == "busy"
    assert world.answers == {1: Outcome.REJECTED}
    assert len(world.petitions.waiting) == 0
    assert not world.petitions.live


def test_what_was_taken_back_cannot_start_or_break_any_more(world):
    world.submit(Plan(flag="x"), "a", TOKEN)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    waiting = record(world)
    world.store.full = True
    world.commit()
    world.petitions.granted.take(waiting)
    assert transitions.start.start(world.petitions, waiting, world.petitions.now) is False
    transitions.finish.break_waiting(world.petitions, waiting, "late", world.petitions.now)
    assert not world.petitions.granted
    assert not world.petitions.changes


def test_a_shared_channel_stays_while_one_that_names_it_is_kept(world):
    shared = b"s" * 16
    running(world)
    world.returns(FIRST, None)
    settle(world)
    world.submit(Plan(), "a", TOKEN, shared)  # known to the store: taken back
    world.submit(Plan(flag="x"), "b", OTHER, shared)
    settle(world)
    assert [world.verdicts[seq] for seq in (2, 3)] == ["known", "accepted"]
    assert world.store.channel(shared) is not None
    assert row(world, 3).channel == shared


# --- converting -------------------------------------------------------------------------------------------------------


def test_converted_with_a_yes_and_a_free_slot_starts_in_one_transaction(world):
    in_on_start(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 1)
    assert world.verdicts[1] == "accepted"
    settle(world)
    assert world.on_starts == {FIRST: 1}


def test_converted_with_a_no_is_queued(world):
    queued(world)
    assert row(world).attempt == 0
    assert not world.on_starts


def test_not_converted_is_refused_and_its_id_is_free(world):
    submitted(world, Plan(converts=False))
    assert world.verdicts[1] == "refused"
    assert not world.store.all_rows()
    assert not world.petitions.live


def test_a_conversion_that_hangs_is_refused(world):
    world.submit(Plan(), "a", TOKEN)
    world.dispatch()
    world.hook_hangs()
    settle(world)
    assert world.verdicts[1] == "refused"


def test_cancel_while_converting_ends_it_cancelled_on_conversion(world):
    world.submit(Plan(), "a", TOKEN)
    world.cancel("a")
    world.cancel("a")
    settle(world)
    assert world.verdicts[1] == "accepted"
    assert ended(world) == CANCELLED
    assert world.answers == {1: Outcome.CANCELLED, 2: Outcome.CANCELLED}
    assert not world.petitions.granted
    assert not row(world).hook_pending


def test_cancel_while_converting_into_a_channel_that_is_there_makes_no_second_one(world):
    shared = b"s" * 16
    world.submit(Plan(flag="x"), "a", TOKEN, shared)
    settle(world)
    world.submit(Plan(), "b", OTHER, shared)
    world.cancel("b")
    settle(world)
    assert ended(world, 2) == CANCELLED


def test_cancel_of_what_is_then_refused_is_answered_rejected(world):
    world.submit(Plan(converts=False), "a", TOKEN)
    world.cancel("a")
    settle(world)
    assert world.answers == {1: Outcome.REJECTED}


# --- queued and held --------------------------------------------------------------------------------------------------


def test_queued_cancel_ends_it_cancelled_without_on_finish(world):
    queued(world)
    world.cancel("a")
    settle(world)
    assert ended(world) == CANCELLED
    assert log(world) == [("final", 130)]
    assert world.answers == {1: Outcome.CANCELLED}
    assert not world.on_finishes
    assert not row(world).hook_pending


def test_queued_cancel_has_those_asked_that_its_place_kept_from_it(world):
    queued(world)
    version = world.petitions.version
    world.cancel("a")
    assert world.petitions.version > version


def test_queued_condition_breaks_ends_it_broken(world):
    queued(world)
    world.plans[TOKEN] = Plan(condition_breaks=True)
    world.petitions.note_change()
    settle(world)
    assert ended(world) == (Outcome.BROKEN, 1, "condition breaks")
    assert log(world) == [("notice", "condition breaks\n"), ("final", 1)]


def test_queued_condition_breaks_after_a_cancel_changes_nothing(world):
    queued(world)
    waiting = record(world)
    world.cancel("a")
    transitions.finish.break_waiting(world.petitions, waiting, "late", world.petitions.now)
    settle(world)
    assert ended(world) == CANCELLED
    assert world.petitions.dropped_events == 1


def test_queued_too_long_times_out(world):
    queued(world)
    world.limit(record(world))
    settle(world)
    assert ended(world) == (Outcome.TIMED_OUT, 124, "too long")


def test_queued_chosen_keeps_the_intent_before_on_start(world):
    queued(world)
    world.flags.add("x")
    world.petitions.note_change()
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    assert row(world).state is State.QUEUED
    assert not world.on_starts
    world.commit()
    assert (row(world).state, row(world).attempt) == (State.STARTING, 1)


def test_queued_chosen_and_cancelled_in_one_transaction_never_starts(world):
    queued(world)
    world.flags.add("x")
    world.petitions.note_change()
    world.dispatch()
    world.hook_step()
    world.cancel("a")
    settle(world)
    assert ended(world) == CANCELLED
    assert not world.on_starts
    assert not world.on_finishes


def test_a_yes_that_comes_after_the_cancel_starts_nothing_and_frees_the_slot(world):
    queued(world)
    waiting = record(world)
    world.petitions.granted.take(waiting)
    world.cancel("a")
    assert transitions.start.start(world.petitions, waiting, world.petitions.now) is False
    assert not world.petitions.granted
    settle(world)
    assert ended(world) == CANCELLED


def test_a_yes_of_one_that_runs_already_does_not_free_its_slot(world):
    running(world)
    assert transitions.start.start(world.petitions, record(world), world.petitions.now) is False
    assert world.petitions.granted.has(1)


def test_a_yes_for_an_object_that_is_not_the_live_one_starts_nothing(world):
    queued(world)
    old = record(world)
    live = Record(1, TOKEN, "a", "m", "o", TOKEN, None, 0.0)
    live.phase = Phase.WAITING
    world.petitions.records[1] = world.petitions.live["a"] = live
    world.petitions.granted.take(live)
    version = world.petitions.version
    transitions.start.start_all(world.petitions, [old], world.petitions.now)
    assert not world.petitions.granted
    assert old.state is State.QUEUED
    assert world.petitions.version > version, "the live one is to be asked"


def test_of_several_yes_one_that_was_cancelled_is_left_out(world):
    queued(world)
    world.submit(Plan(flag="x"), "b", OTHER)
    settle(world)
    records = [record(world, 1), record(world, 2)]
    world.cancel("a")
    transitions.start.start_all(world.petitions, records, world.petitions.now)
    settle(world)
    assert ended(world) == CANCELLED
    assert row(world, 2).state is State.STARTING


# --- starting: on_start -----------------------------------------------------------------------------------------------


def test_on_start_ok_has_the_action_go(world):
    running(world)
    assert record(world).phase is Phase.ACTION


def test_on_start_no_ends_it_broken_with_on_finish_and_no_action(world):
    submitted(world, Plan(on_start=False))
    assert ended(world) == (Outcome.BROKEN, 1, "on_start answered False")
    assert not world.actions
    assert world.on_finishes == {FIRST: [0]}
    assert not row(world).hook_pending


def test_on_start_hangs_ends_it_broken_and_on_finish_waits_for_it(world):
    in_on_start(world)
    world.dispatch()
    world.hook_hangs()
    settle(world)
    assert ended(world) == (Outcome.BROKEN, 1, "hangs")
    assert not world.on_finishes
    assert row(world).hook_pending
    world.stuck_returns(0)
    settle(world)
    assert world.on_finishes == {FIRST: [0]}
    assert not row(world).hook_pending


def test_cancel_before_on_start_was_called_ends_it_without_on_start_and_on_finish(world):
    in_on_start(world)
    world.cancel("a")
    world.commit()
    assert row(world).state is State.CANCELLING
    settle(world)
    assert ended(world) == CANCELLED
    assert not world.on_starts
    assert not world.on_finishes
    assert not row(world).hook_pending
    assert not world.petitions.granted


def test_cancel_before_on_start_is_back_ends_it_when_it_is(world):
    in_on_start(world)
    world.dispatch()
    world.hook_step()
    world.cancel("a")
    world.commit()
    assert row(world).state is State.CANCELLING
    assert not world.ladders
    transitions.finish.abandon(world.petitions, *FIRST, world.petitions.now)
    assert record(world).state is State.CANCELLING, "its on_start is inside, no thread is to be abandoned"
    world.hook_step()
    world.commit()
    assert world.ladders == {FIRST}, "its action goes, and is ended"
    world.returns(FIRST, None)
    world.ladder_done(FIRST, [])
    settle(world)
    assert ended(world) == CANCELLED
    assert world.on_finishes == {FIRST: [0]}


def test_an_action_that_returns_before_its_on_start_is_known_to_be_back(world):
    in_on_start(world)
    world.dispatch()
    world.hook_step()
    world.returns(FIRST, None)
    settle(world)
    assert ended(world) == (Outcome.SUCCEEDED, None, None)
    assert world.on_finishes == {FIRST: [0]}


def test_an_action_that_is_cancelled_and_returns_with_processes_before_its_on_start_is_known_to_be_back(world):
    in_on_start(world)
    world.dispatch()
    world.hook_step()
    world.cancel("a")
    world.spawn(FIRST, tells=False)
    world.returns(FIRST, None)
    world.hook_step()
    assert [effect.do for effect in world.petitions.effects] == [Do.END_PROCESSES]
    world.commit()
    assert row(world).state is State.CANCELLING
    assert not world.answers
    world.ladder_done(FIRST, [])
    settle(world)
    assert ended(world) == CANCELLED


def test_a_start_that_failed_without_on_start_owes_no_on_finish(world):
    in_on_start(world)
    world.gathered["start"].clear()
    transitions.finish.start_failed(
        world.petitions, *FIRST, "the hook thread is gone", world.petitions.now, called=False
    )
    settle(world)
    assert ended(world) == (Outcome.BROKEN, 1, "the hook thread is gone")
    assert not row(world).hook_pending
    assert not world.on_finishes


def test_start_failed_twice_changes_nothing(world):
    in_on_start(world)
    transitions.finish.start_failed(world.petitions, *FIRST, "no", world.petitions.now)
    before = repr(world.petitions.changes)
    transitions.finish.start_failed(world.petitions, *FIRST, "no", world.petitions.now)
    assert repr(world.petitions.changes) == before


# --- the action -------------------------------------------------------------------------------------------------------


def test_a_process_is_taken_while_it_runs_and_killed_at_once_after(world):
    running(world)
    world.spawn(FIRST, tells=True)
    assert not world.ladders
    world.finish(FIRST, None)
    world.spawn(FIRST, tells=True)
    world.commit()
    assert world.ladders == {FIRST}


def test_put_is_taken_while_it_runs_and_dropped_after(world):
    running(world)
    assert world.put(FIRST, 1)
    world.finish(FIRST, 0)
    assert not world.put(FIRST, 2)
    settle(world)
    assert log(world) == [("value", 1), ("final", 0)]


def test_put_of_another_attempt_is_dropped(world):
    running(world)
    assert not world.put((1, 2), 1)
    assert not world.put((7, 1), 1)


@pytest.mark.parametrize(("value", "outcome"), [(None, Outcome.SUCCEEDED), (0, Outcome.SUCCEEDED), (3, Outcome.FAILED)])
def test_finish_ends_it_and_keeps_the_slot(world, value, outcome):
    running(world)
    assert world.finish(FIRST, value)
    settle(world)
    assert ended(world) == (outcome, value, None)
    assert row(world).slot_held
    assert row(world).hook_pending
    assert log(world) == [("final", value)]
    assert world.petitions.granted.has(1)
    assert not world.on_finishes
    assert not world.finish(FIRST, 9)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(None, (Outcome.SUCCEEDED, None, None)), ("ValueError: x", (Outcome.FAILED, 1, "ValueError: x"))],
)
def test_return_ends_it_and_frees_the_slot(world, error, expected):
    running(world)
    world.returns(FIRST, error)
    world.commit()
    assert ended(world) == expected
    assert (row(world).hook_pending, row(world).slot_held) == (True, False)
    assert not world.petitions.live
    settle(world)
    assert world.on_finishes == {FIRST: [0]}
    assert not row(world).hook_pending


def test_return_with_processes_keeps_the_slot_until_they_are_swept(world):
    running(world)
    world.spawn(FIRST, tells=False)
    world.returns(FIRST, None)
    settle(world)
    assert ended(world) == (Outcome.SUCCEEDED, None, None)
    assert row(world).slot_held
    assert world.petitions.granted
    assert not world.on_finishes
    world.ladder_done(FIRST, [])
    settle(world)
    assert not row(world).slot_held
    assert world.on_finishes == {FIRST: [0]}


def test_return_that_is_told_twice_changes_nothing(world):
    running(world)
    world.spawn(FIRST, tells=False)
    world.returns(FIRST, None)
    world.commit()
    world.returns(FIRST, "ValueError: x")
    assert not world.petitions.changes
    assert not world.petitions.effects


def test_what_sweeping_cannot_kill_keeps_the_slot_and_is_swept_again(world):
    running(world)
    world.spawn(FIRST, tells=False)
    world.returns(FIRST, None)
    settle(world)
    world.ladder_done(FIRST, [42])
    settle(world)
    assert world.ladders == {FIRST}
    assert world.petitions.granted
    world.ladder_done(FIRST, [])
    settle(world)
    assert not world.petitions.granted


def test_limit_ends_it_timed_out(world):
    running(world)
    world.limit(record(world))
    world.commit()
    assert row(world).state is State.CANCELLING
    assert row(world).outcome is Outcome.TIMED_OUT
    assert world.ladders == {FIRST}
    world.ladder_done(FIRST, [])
    world.returns(FIRST, None)
    settle(world)
    assert ended(world) == (Outcome.TIMED_OUT, 124, "too long")
    assert log(world) == [("notice", "too long\n"), ("final", 124)]


def test_cancel_of_an_action_is_kept_and_ends_its_processes(world):
    running(world)
    world.cancel("a")
    world.commit()
    assert row(world).state is State.CANCELLING
    assert world.ladders == {FIRST}
    assert not world.answers


# --- finished ---------------------------------------------------------------------------------------------------------


def test_finished_returns_frees_the_slot(world):
    running(world)
    world.finish(FIRST, 0)
    world.commit()
    world.returns(FIRST, "ValueError: late")
    world.commit()
    assert ended(world) == (Outcome.SUCCEEDED, 0, None)
    assert (row(world).hook_pending, row(world).slot_held) == (True, False)
    settle(world)
    assert world.on_finishes == {FIRST: [0]}


def test_finished_and_returned_in_one_transaction_holds_no_slot(world):
    running(world)
    world.finish(FIRST, 0)
    world.returns(FIRST, None)
    world.commit()
    assert (row(world).hook_pending, row(world).slot_held) == (True, False)


def test_finished_cancel_kills_what_is_left_and_answers_when_it_is_gone(world):
    running(world)
    world.spawn(FIRST, tells=True)
    world.finish(FIRST, 0)
    world.cancel("a")
    world.cancel("a")
    settle(world)
    assert world.ladders == {FIRST}
    assert not world.answers
    world.ladder_done(FIRST, [])
    settle(world)
    assert world.answers == {1: Outcome.SUCCEEDED, 2: Outcome.SUCCEEDED}
    assert row(world).slot_held, "its thread lives"


def test_finished_cancel_is_answered_where_something_cannot_be_killed(world):
    running(world)
    world.finish(FIRST, 0)
    world.cancel("a")
    settle(world)
    world.ladder_done(FIRST, [42])
    settle(world)
    assert world.answers == {1: Outcome.SUCCEEDED}


def test_finished_returns_while_what_is_left_is_being_ended(world):
    running(world)
    world.finish(FIRST, 0)
    world.cancel("a")
    settle(world)
    world.returns(FIRST, None)
    settle(world)
    assert row(world).slot_held
    world.ladder_done(FIRST, [])
    settle(world)
    assert not row(world).slot_held
    assert world.answers == {1: Outcome.SUCCEEDED}


# --- cancelling -------------------------------------------------------------------------------------------------------


def cancelling(world, **plan):
    running(world, **plan)
    world.cancel("a")
    world.commit()
    assert row(world).state is State.CANCELLING


def test_cancelling_finish_and_put_are_ignored(world):
    cancelling(world)
    assert not world.finish(FIRST, 0)
    assert not world.put(FIRST, 1)


def test_cancelling_thread_back_and_no_process_ends_it(world):
    cancelling(world)
    world.ladder_done(FIRST, [])
    world.commit()
    assert row(world).state is State.CANCELLING
    world.returns(FIRST, None)
    settle(world)
    assert ended(world) == CANCELLED
    assert world.answers == {1: Outcome.CANCELLED}
    assert world.on_finishes == {FIRST: [0]}
    assert not world.petitions.granted


def test_cancelling_no_process_after_the_thread_is_back_ends_it(world):
    cancelling(world)
    world.returns(FIRST, None)
    world.commit()
    assert row(world).state is State.CANCELLING
    world.ladder_done(FIRST, [])
    settle(world)
    assert ended(world) == CANCELLED


def test_cancelling_thread_back_with_new_processes_ends_those_first(world):
    cancelling(world)
    world.ladder_done(FIRST, [])
    world.actions[FIRST].told = True
    world.returns(FIRST, None)
    world.commit()
    assert row(world).state is State.CANCELLING
    assert world.ladders == {FIRST}


def test_cancelling_by_several_all_are_answered(world):
    cancelling(world)
    world.cancel("a")
    world.cancel("a")
    world.returns(FIRST, None)
    world.ladder_done(FIRST, [])
    settle(world)
    assert world.answers == dict.fromkeys((1, 2, 3), Outcome.CANCELLED)


def test_cancelling_and_the_thread_stays_it_is_abandoned_with_id_and_slot(world):
    cancelling(world)
    world.abandon(FIRST)
    assert record(world).state is State.CANCELLING, "its processes are not gone"
    world.ladder_done(FIRST, [])
    world.abandon(FIRST)
    settle(world)
    assert ended(world) == CANCELLED
    assert world.answers == {1: Outcome.CANCELLED}
    assert row(world).slot_held
    assert world.petitions.granted.has(1)
    assert not world.on_finishes
    submitted(world, token=OTHER)
    assert world.verdicts[2] == "duplicate"
    world.returns(FIRST, None)
    settle(world)
    assert not world.petitions.granted
    assert world.on_finishes == {FIRST: [0]}


def test_abandoned_after_the_thread_is_back_changes_nothing(world):
    cancelling(world)
    world.returns(FIRST, None)
    world.abandon(FIRST)
    assert record(world).state is State.CANCELLING


def test_cancelling_what_cannot_be_killed_ends_it_broken_and_keeps_the_slot(world):
    cancelling(world)
    world.spawn(FIRST, tells=True)
    world.returns(FIRST, None)
    world.ladder_done(FIRST, [42, 43])
    settle(world)
    assert ended(world) == (Outcome.BROKEN, 1, "cannot be killed: process 42, 43")
    assert world.answers == {1: Outcome.BROKEN}
    assert row(world).slot_held
    assert world.ladders == {FIRST}, "swept again, until it is gone"
    assert not world.on_finishes
    world.ladder_done(FIRST, [])
    settle(world)
    assert not row(world).slot_held
    assert world.on_finishes == {FIRST: [0]}


def test_a_report_of_processes_nobody_asked_for_changes_nothing(world):
    running(world)
    transitions.finish.processes_gone(world.petitions, *FIRST, [42], world.petitions.now)
    transitions.finish.processes_gone(world.petitions, *FIRST, [], world.petitions.now)
    assert record(world).state is State.STARTING
    assert not world.petitions.effects


# --- ended ------------------------------------------------------------------------------------------------------------


def test_ended_on_finish_comes_back_and_is_not_owed(world):
    submitted(world, Plan(on_start=False))
    assert not row(world).hook_pending


def test_ended_anything_leaves_the_row_as_it_is(world):
    running(world)
    world.returns(FIRST, None)
    settle(world)
    before = row(world)
    transitions.finish.returned(world.petitions, *FIRST, "late", world.petitions.now, processes=True)
    transitions.finish.finish(world.petitions, *FIRST, 7, world.petitions.now)
    transitions.finish.action_going(world.petitions, *FIRST)
    transitions.finish.start_failed(world.petitions, *FIRST, "late", world.petitions.now)
    transitions.finish.processes_gone(world.petitions, *FIRST, [1], world.petitions.now)
    transitions.finish.abandon(world.petitions, *FIRST, world.petitions.now)
    settle(world)
    assert row(world) == before
    assert world.petitions.dropped_events == 6


def test_reports_of_an_attempt_that_is_not_the_current_one_change_nothing(world):
    running(world)
    before = row(world)
    for attempt in (0, 2):
        transitions.finish.returned(world.petitions, 1, attempt, None, world.petitions.now, processes=False)
        transitions.finish.processes_gone(world.petitions, 1, attempt, [], world.petitions.now)
        assert not transitions.finish.finish(world.petitions, 1, attempt, 0, world.petitions.now)
    settle(world)
    assert row(world) == before


# --- stop of the service ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "state"), [(OnInterrupt.RERUN, State.QUEUED), (OnInterrupt.ASK, State.HELD)])
def test_stopped_it_waits_again_by_its_policy_after_on_finish(world, policy, state):
    running(world, on_interrupt=policy)
    world.stop()
    world.commit()
    assert row(world).state is State.CANCELLING
    world.ladder_done(FIRST, [])
    world.returns(FIRST, None)
    world.commit()
    assert row(world).state is State.CANCELLING, "its on_finish is owed"
    assert not world.petitions.granted
    settle(world)
    assert (row(world).state, row(world).attempt, row(world).hook_pending) == (state, 1, False)
    assert world.on_finishes == {FIRST: [0]}
    assert log(world) == []
    world.restart(crashed=False)
    settle(world)
    assert world.on_finishes == {FIRST: [0]}
    assert world.on_starts[1, 2] == (state is State.QUEUED)


def test_stopped_it_ends_interrupted_by_its_policy(world):
    running(world)
    world.stop()
    world.commit()
    world.ladder_done(FIRST, [])
    world.returns(FIRST, None)
    settle(world)
    assert ended(world) == (Outcome.INTERRUPTED, 75, BY_SHUTDOWN)


def test_stopped_before_on_start_was_called_it_waits_again_at_once(world):
    in_on_start(world, on_interrupt=OnInterrupt.RERUN)
    world.stop()
    settle(world)
    assert row(world).state is State.QUEUED
    assert not world.on_starts
    assert not world.on_finishes
    assert len(world.petitions.waiting) == 1


def test_stopped_its_start_fails_in_the_same_transaction(world):
    in_on_start(world, on_interrupt=OnInterrupt.RERUN)
    world.stop()
    transitions.finish.start_failed(
        world.petitions, *FIRST, "cancelled before it started", world.petitions.now, called=False
    )
    world.commit()
    assert row(world).state is State.QUEUED


def test_stopped_and_its_thread_stays_the_next_start_decides(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.stop()
    world.commit()
    world.ladder_done(FIRST, [])
    world.abandon(FIRST)
    settle(world)
    assert row(world).state is State.CANCELLING
    world.restart()
    assert row(world).state is State.QUEUED


def test_stopped_and_then_cancelled_it_does_not_wait_again(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.stop()
    world.commit()
    world.cancel("a")
    world.commit()
    assert row(world).outcome is Outcome.CANCELLED, "the cancel is kept"
    world.ladder_done(FIRST, [])
    world.returns(FIRST, None)
    settle(world)
    assert ended(world) == CANCELLED
    assert world.answers == {1: Outcome.CANCELLED}


def test_stopped_and_cancelled_while_its_on_finish_is_owed_it_does_not_wait_again(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.stop()
    world.commit()
    world.ladder_done(FIRST, [])
    world.returns(FIRST, None)
    world.commit()
    world.cancel("a")
    world.commit()
    assert ended(world) == CANCELLED
    assert row(world).hook_pending
    settle(world)
    assert world.on_finishes == {FIRST: [0]}
    assert not row(world).hook_pending
    assert not world.petitions.live


def test_stopped_twice_changes_nothing(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.stop()
    stopped = Cancellation(Outcome.INTERRUPTED, 75, None, requeue=State.QUEUED)
    transitions.cancel.cancel(world.petitions, record(world), stopped, world.petitions.now)
    assert record(world).cancellation is not stopped


def test_stopped_with_what_cannot_be_killed_it_does_not_wait_again(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.spawn(FIRST, tells=True)
    world.stop()
    world.commit()
    world.ladder_done(FIRST, [42])
    settle(world)
    assert ended(world)[0] is Outcome.BROKEN


# --- crash ------------------------------------------------------------------------------------------------------------


def test_crash_while_converting_leaves_nothing(world):
    world.submit(Plan(), "a", TOKEN)
    world.restart()
    assert not world.store.all_rows()
    assert not world.petitions.live


def test_crash_of_queued_leaves_it_queued(world):
    queued(world)
    before = row(world)
    world.restart()
    assert row(world) == before
    assert len(world.petitions.waiting) == 1


@pytest.mark.parametrize("finished", [True, False], ids=["its on_finish is back", "its on_finish is owed"])
def test_what_is_held_runs_again_when_a_person_says_so(world, finished):
    running(world, on_interrupt=OnInterrupt.ASK)
    world.restart()
    if finished:
        settle(world)
    assert transitions.hold.release(world.petitions, world.find("a"), world.petitions.now)
    settle(world)
    assert (row(world).state, row(world).attempt, row(world).hook_pending) == (State.STARTING, 2, False)
    assert world.on_starts[1, 2] == 1
    assert world.on_finishes == {FIRST: [1]}
    assert not transitions.hold.release(world.petitions, record(world), world.petitions.now)


def test_what_is_released_waits_again_also_after_a_crash(world):
    running(world, on_interrupt=OnInterrupt.ASK)
    world.restart()
    settle(world)
    assert transitions.hold.release(world.petitions, world.find("a"), world.petitions.now)
    world.commit()
    world.restart()
    settle(world)
    assert (row(world).state, row(world).attempt) == (State.STARTING, 2)


def test_crash_of_held_leaves_it_held_and_it_can_be_cancelled(world):
    running(world, on_interrupt=OnInterrupt.ASK)
    world.restart()
    settle(world)
    world.restart()
    settle(world)
    assert row(world).state is State.HELD
    assert world.on_finishes == {FIRST: [1]}
    world.cancel("a")
    settle(world)
    assert ended(world) == CANCELLED
    assert not row(world).hook_pending


@pytest.mark.parametrize("phase", [in_on_start, running])
@pytest.mark.parametrize("policy", OnInterrupt)
def test_crash_of_starting_goes_by_its_policy(world, phase, policy):
    phase(world, on_interrupt=policy)
    world.restart()
    wanted = {OnInterrupt.FAIL: State.ENDED, OnInterrupt.RERUN: State.QUEUED, OnInterrupt.ASK: State.HELD}
    assert (row(world).state, row(world).attempt, row(world).hook_pending) == (wanted[policy], 1, True)
    if policy is OnInterrupt.FAIL:
        assert ended(world) == (Outcome.INTERRUPTED, 75, "interrupted: the service ended while it ran")
    settle(world)
    assert world.on_finishes == {FIRST: [1]}
    assert not row(world).hook_pending
    assert world.on_starts[1, 2] == (policy is OnInterrupt.RERUN)


def test_crash_again_before_on_finish_it_is_still_owed(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.restart()
    world.restart()
    world.flags.clear()
    settle(world)
    assert world.on_finishes == {FIRST: [2]}


def test_crash_and_cancelled_before_on_finish_came_back_it_is_still_owed(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.restart()
    world.cancel("a")
    world.commit()
    assert ended(world) == CANCELLED
    assert row(world).hook_pending
    settle(world)
    assert not row(world).hook_pending
    assert world.on_finishes == {FIRST: [1]}


def test_crash_and_started_again_before_on_finish_came_back(world):
    running(world, on_interrupt=OnInterrupt.RERUN)
    world.restart()
    again = world.find("a")
    again.petition = world.plans[TOKEN]
    transitions.start.start(world.petitions, again, world.petitions.now)
    world.commit()
    transitions.finish.hook_done(world.petitions, 1, world.petitions.now)
    world.commit()
    assert (row(world).state, row(world).attempt, row(world).hook_pending) == (State.STARTING, 2, False)


@pytest.mark.parametrize("how", ["cancel", "limit"])
def test_crash_of_cancelling_ends_it_as_was_decided(world, how):
    running(world, on_interrupt=OnInterrupt.RERUN)
    if how == "cancel":
        world.cancel("a")
    else:
        world.limit(record(world))
    world.commit()
    world.restart()
    assert ended(world) == (CANCELLED if how == "cancel" else (Outcome.TIMED_OUT, 124, "too long"))


@pytest.mark.parametrize("policy", OnInterrupt)
def test_crash_of_stopped_goes_by_its_policy(world, policy):
    running(world, on_interrupt=policy)
    world.stop()
    world.commit()
    world.restart()
    wanted = {OnInterrupt.FAIL: State.ENDED, OnInterrupt.RERUN: State.QUEUED, OnInterrupt.ASK: State.HELD}
    assert row(world).state is wanted[policy]
    if policy is OnInterrupt.FAIL:
        assert ended(world) == (Outcome.INTERRUPTED, 75, BY_SHUTDOWN)


def test_crash_of_finished_leaves_its_outcome_and_frees_the_slot(world):
    running(world)
    world.finish(FIRST, 0)
    world.commit()
    world.restart()
    assert ended(world) == (Outcome.SUCCEEDED, 0, None)
    assert not row(world).slot_held
    assert log(world) == [("final", 0)]
    settle(world)
    assert world.on_finishes == {FIRST: [1]}


def test_crash_before_the_transaction_is_as_if_nothing_happened(world):
    queued(world)
    world.flags.add("x")
    world.petitions.note_change()
    world.dispatch()
    world.hook_step()
    world.restart()
    assert (row(world).state, row(world).attempt) == (State.QUEUED, 0)


# --- recovery ---------------------------------------------------------------------------------------------------------


def test_recovery_that_cannot_convert_ends_it_broken_and_the_others_go_on(world):
    submitted(world, Plan(flag="x", converts_again=False))
    submitted(world, Plan(flag="x"), identity="b", token=OTHER)
    world.restart()
    world.flags.add("x")
    settle(world)
    assert ended(world) == (Outcome.BROKEN, 1, "no petition any more")
    assert row(world, 2).state is State.STARTING


def test_recovery_submit_of_a_known_token_is_answered_from_the_row(world):
    queued(world)
    world.restart()
    submitted(world)
    assert world.verdicts[2] == "known"


def test_recovery_submit_of_the_same_id_is_refused(world):
    queued(world)
    world.restart()
    submitted(world, token=OTHER)
    assert world.verdicts[2] == "duplicate"


# --- far from the head ------------------------------------------------------------------------------------------------


def test_a_petition_that_is_queued_far_from_the_head_is_a_key_only_once_it_is_kept():
    world = Miniature(most_ready=1)
    for number, token in enumerate((TOKEN, OTHER)):
        world.submit(Plan(flag="x"), number, token)
    world.dispatch()
    while world.visit is not None:
        world.hook_step()
    assert world.find("1") is record(world, 2), "its row is not kept: nobody could bring it back"
    world.commit()
    world.petitions.unload(world.petitions.waiting.spill())
    world.commit()
    assert world.petitions.live["1"] == (0, 2, "1")
    assert 2 not in world.petitions.records
    found = world.find("1")
    assert found is record(world, 2)
    assert found.petition is None


def test_a_petition_that_came_back_to_the_head_is_not_cooled():
    petitions = Petitions(most_ready=1)
    records = []
    for number in range(2):
        seq = petitions.take_seq()
        records.append(Record(seq, b"%016d" % seq, number, "m", "o", b"%016d" % seq, b"", 0.0))
        transitions.submit.receive(petitions, records[-1])
        transitions.submit.accept(petitions, records[-1], petitions.now, start=False, new_channel=True)
    transitions.start.start(petitions, records[0], petitions.now)
    assert petitions.waiting.refill() == [records[1].place]
    petitions.take()
    petitions.take()
    assert petitions.records[2] is records[1]
    assert petitions.live["1"] is records[1]


def test_warming_what_is_warm_keeps_the_record_that_is_known(world):
    queued(world)
    known = record(world)
    world.petitions.load(Record(1, TOKEN, "a", "m", "o", TOKEN, None, 0.0))
    assert record(world) is known


def test_a_record_names_itself_without_its_extras(world):
    world.submit(Plan(flag="x"), "a", TOKEN)
    assert repr(record(world)) == "<petition 'a' seq=1 attempt=0 QUEUED CONVERTING>"
