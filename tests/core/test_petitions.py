"""What gathers for the next transaction, and how it is handed out."""

from __future__ import annotations

import pytest

from orcha._core import transitions
from orcha._core.changes import AttemptStep, Changes, NewFiring
from orcha._core.effects import Do
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.record import Record
from orcha._core.retry import Ended, Tries
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha.interfaces import Retry
from orcha.interfaces.built_in import COMMAND_MANAGER, LEASE_MANAGER

NOW = Moment(wall=7.0, steady=3.0)
FAIL, RERUN, ASK = OnInterrupt


@pytest.fixture
def petitions():
    return Petitions()


@pytest.fixture
def record(petitions):
    """Give a petition whose start has been kept."""
    made = Record(petitions.take_seq(), b"t" * 16, "a", "m", "o", b"c" * 16, b"extras", 0.0)
    transitions.submit.receive(petitions, made)
    transitions.submit.accept(petitions, made, NOW, start=True, new_channel=False)
    petitions.take()
    return made


def test_what_people_decide_is_kept_with_the_next_transaction(petitions):
    petitions.keep_pause("group:rig", paused=True)
    petitions.keep_slots({"rig": 2})
    petitions.keep_tombstone(b"t" * 16, 60.0)
    petitions.forget_ended([4, 5])
    changes, effects, finals = petitions.take()
    assert changes == Changes(
        pauses={"group:rig": True}, slots={"rig": 2}, tombstones=[(b"t" * 16, 60.0)], deleted=[4, 5]
    )
    assert (effects, finals) == ([], [])
    assert not petitions.take()[0]


def test_schedules_their_firings_and_decisions_are_kept_with_the_next_transaction(petitions):
    firing = NewFiring("nightly", 60.0, 61.0, note="it was missed")
    petitions.keep_schedule("gone", None)
    petitions.keep_firing(firing)
    petitions.keep_decided("device", "gpu:0", "drained")
    changes = petitions.take_changes()
    assert changes == Changes(schedules={"gone": None}, firings=[firing], decided={("device", "gpu:0"): "drained"})
    assert changes.declares
    assert not petitions.changes.declares


@pytest.mark.parametrize(("policy", "state"), [(FAIL, None), (RERUN, State.QUEUED), (ASK, State.HELD)])
def test_the_end_of_the_service_interrupts_what_runs_as_its_policy_says(petitions, record, policy, state):
    record.on_interrupt = policy
    transitions.cancel.interrupt(petitions, record, "the service ended", NOW)
    assert record.state is State.CANCELLING
    decided = record.cancellation
    assert (decided.outcome, decided.code, decided.reason) == (Outcome.INTERRUPTED, 75, "the service ended")
    assert decided.requeue is state


@pytest.mark.parametrize("state", [State.ENDED, State.QUEUED, State.STARTING, State.CANCELLING])
def test_what_an_action_left_and_nothing_can_kill_keeps_the_place_of_its_petition(petitions, state):
    left = Record(petitions.take_seq(), b"t" * 16, "a", "m", "o", b"c" * 16, b"extras", 0.0)
    left.state, left.attempt, left.outcome, left.code = state, 1, Outcome.CANCELLED, 130
    transitions.command.adopt_left(petitions, left, (17,), "died", NOW, hook_owed=True)
    assert (left.state, left.survivors) == (State.ENDED, (17,))
    assert left.key in petitions.granted
    assert transitions.command.gone(petitions, left.seq, left.attempt)
    assert left.survivors == ()
    assert left.key not in petitions.granted


def test_a_message_waits_for_those_who_are_named_beside_it(petitions):
    made = Record(petitions.take_seq(), b"t" * 16, "a", "m", "o", b"c" * 16, b"extras", 0.0)
    assert transitions.submit.receive(petitions, made, after={"b": True}) is None
    assert made.after == {"b": True}


@pytest.mark.parametrize("slot_held", [True, False])
@pytest.mark.parametrize("hook_pending", [True, False])
def test_what_ended_before_a_restart_owes_its_hook_and_gives_its_slot_back(petitions, slot_held, hook_pending):
    ended = Record(7, b"t" * 16, "a", "m", "o", b"c" * 16, b"extras", 0.0)
    ended.state = State.ENDED
    assert (
        transitions.recover.recovered(petitions, ended, NOW, hook_pending=hook_pending, slot_held=slot_held)
        is hook_pending
    )
    assert petitions.changes.flags == ({7: (hook_pending, False)} if slot_held else {})


def test_changes_are_handed_out_without_the_effects(petitions, record):
    transitions.finish.finish(petitions, 1, 1, 0, NOW)
    transitions.finish.returned(petitions, 1, 1, None, NOW, processes=False)
    changes = petitions.take_changes()
    assert changes.transitions[1].state is State.ENDED
    assert not petitions.changes
    assert [effect.record for effect in petitions.effects] == [record]


@pytest.mark.parametrize("steps", [True, False])
def test_flags_wait_for_the_next_transaction_and_running_commands_with_them(petitions, record, steps):
    record.command = True
    transitions.command.running(petitions, 1, 1, NOW)
    petitions.keep_attempt(AttemptStep(1, 1, pid=9))
    transitions.finish.hook_done(petitions, 5, NOW)
    changes = petitions.take_changes()
    step, command = changes.transitions[1], changes.attempts[1]
    petitions.postpone(changes, steps=steps)
    assert petitions.changes.flags == {5: (False, False)}
    assert petitions.changes.transitions == ({1: step} if steps else {})
    assert petitions.changes.attempts == ({1: command} if steps else {})
    assert changes == (Changes() if steps else Changes(transitions={1: step}, attempts={1: command}))


@pytest.mark.parametrize(("manager", "is_owed"), [("m", True), (COMMAND_MANAGER, False), (LEASE_MANAGER, False)])
def test_the_end_of_a_command_whose_hooks_do_nothing_is_kept_as_one_step(petitions, record, manager, is_owed):
    record.command, record.manager = True, manager
    transitions.command.ended(petitions, 1, 1, CommandEnd(Outcome.SUCCEEDED, 0), NOW)
    changes, effects, _ = petitions.take()
    assert changes.transitions[1].hook_pending is is_owed
    assert [effect.do for effect in effects] == [Do.ON_FINISH] * is_owed
    assert not changes.flags


def test_a_petition_is_found_by_its_token_and_the_first_record_of_a_token_stays(petitions, record):
    again = Record(petitions.take_seq(), record.token, "b", "m", "o", b"d" * 16, None, 0.0)
    petitions.enter(again)
    petitions.forget(again)
    assert petitions.of_token(record.token) is record
    petitions.forget(record)
    assert petitions.of_token(record.token) is None


def test_who_has_a_slot_already_takes_its_id_beside_it(petitions, record):
    petitions.forget(record)
    petitions.granted.take(record)
    petitions.hold(record)
    assert petitions.live == {record.key: record}
    assert len(petitions.granted) == 1


def test_once_a_start_is_kept_its_message_is_needed_no_more(record):
    tries = Tries(Retry(times=1))
    transitions.start.started(record, tries, run := object())
    assert (record.extras, record.tries, record.run) == (None, tries, run)
    transitions.retry.take_message(record, b"again")
    assert record.extras == b"again"


def test_how_often_a_command_was_tried_before_counts_where_it_is_taken_over(record):
    failed = Ended(Outcome.FAILED, 3)
    assert transitions.retry.next_due(record, failed, NOW) is None
    transitions.retry.take_tries(record, Tries(Retry(times=2, delay=10, factor=2, jitter=0), 1))
    assert transitions.retry.next_due(record, failed, NOW) == NOW.wall + 20
    transitions.retry.take_tries(record, Tries(Retry(times=2), 2))
    assert transitions.retry.next_due(record, failed, NOW) is None


def test_what_must_not_run_again_is_not_interrupted_into_another_attempt(record):
    record.on_interrupt = OnInterrupt.RERUN
    transitions.command.never_again(record)
    assert record.on_interrupt is OnInterrupt.FAIL


@pytest.mark.parametrize("name", Changes.__annotations__)
def test_whatever_may_come_alone_is_kept(name):
    alone = Changes()
    assert not alone
    assert not getattr(alone, name)
    assert not alone
    setattr(alone, name, {1: True})
    assert alone


def test_changes_are_compared_by_what_there_is_to_keep():
    first, second = Changes(slots={}, deleted=[4]), Changes(slots={}, deleted=[4], pauses={})
    assert first == second
    assert repr(first) == "Changes(deleted=[4], slots={})"
    assert first != Changes(deleted=[4])
    assert first != "deleted"
