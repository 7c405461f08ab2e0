"""Rows of the state table that random events seldom meet, one test each."""

from __future__ import annotations

import pytest

from orcha._core.effects import Do
from orcha._core.machine import CANCELLED_CODE, INTERRUPTED_CODE, TIMED_OUT_CODE, Machine
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.recover import recover
from orcha._core.state import OnInterrupt, Outcome, State

CANCEL = Cancellation(Outcome.CANCELLED, CANCELLED_CODE, None)
LIMIT = Cancellation(Outcome.TIMED_OUT, TIMED_OUT_CODE, "ran longer than 1 s")
STOP = Cancellation(Outcome.INTERRUPTED, INTERRUPTED_CODE, "stopped", requeue=State.QUEUED)


@pytest.fixture
def machine():
    return Machine()


def received(machine, name="a"):
    seq = machine.take_seq()
    token = b"%016d" % seq
    record = Record(seq, token, name, "m", "o", token, b"x", 1.0)
    assert machine.receive(record) is None
    return record


def waiting(machine, name="a"):
    record = received(machine, name)
    machine.accept(record, start=False, new_channel=True)
    machine.take()
    return record


def running(machine, name="a"):
    record = received(machine, name)
    machine.granted[record.key] = record.seq
    machine.accept(record, start=True, new_channel=True)
    machine.action_going(record.seq, 1)
    machine.take()
    return record


def kinds(machine):
    return [effect.do for effect in machine.effects]


def test_of_two_with_one_id_the_second_is_told_of_the_first(machine):
    first = received(machine)
    assert machine.receive(Record(9, b"", "a", "m", "o", b"", b"", 0.0)) is first


def test_a_cancel_while_it_is_converted_ends_it_on_acceptance(machine):
    record = received(machine)
    machine.cancel(record, CANCEL, "waiter")
    machine.cancel(record, LIMIT)
    machine.accept(record, start=True, new_channel=True)
    assert machine.changes.petitions[0].outcome is Outcome.CANCELLED
    assert kinds(machine) == [Do.ANSWER, Do.ACCEPT]
    assert not machine.live


def test_a_refused_petition_answers_who_cancelled_it(machine):
    record = received(machine)
    machine.cancel(record, CANCEL, "waiter")
    machine.refuse(record, 3, "no")
    assert kinds(machine) == [Do.REFUSE, Do.ANSWER]
    assert not machine.records


def test_a_yes_for_one_that_was_cancelled_meanwhile_frees_its_slot(machine):
    first, second = waiting(machine, "a"), waiting(machine, "b")
    machine.granted |= {"a": first.seq, "b": second.seq}
    machine.cancel(first, CANCEL)
    machine.start_all([first, second])
    assert list(machine.granted) == ["b"]
    assert machine.dropped_events == 1


def test_the_start_of_a_cancelled_petition_that_was_held_calls_no_hook(machine):
    record = received(machine)
    machine.accept(record, start=True, new_channel=True)
    machine.take()
    machine.cancel(record, CANCEL, "waiter")
    machine.start_failed(record.seq, 1, "cancelled", called=False)
    assert kinds(machine) == [Do.ANSWER]
    assert record.outcome is Outcome.CANCELLED


def test_on_start_that_says_no_breaks_it_and_has_on_finish_called(machine):
    record = received(machine)
    machine.accept(record, start=True, new_channel=True)
    machine.take()
    machine.start_failed(record.seq, 1, "on_start answered False")
    machine.start_failed(record.seq, 1, "again")
    assert record.outcome is Outcome.BROKEN
    assert kinds(machine) == [Do.ON_FINISH]


def test_a_cancel_between_on_start_and_the_action_ends_its_processes(machine):
    record = received(machine)
    machine.accept(record, start=True, new_channel=True)
    machine.take()
    machine.cancel(record, CANCEL)
    machine.action_going(record.seq, 1)
    machine.action_going(record.seq, 1)
    assert kinds(machine) == [Do.END_PROCESSES]


def test_finish_after_a_cancel_is_ignored(machine):
    record = running(machine)
    machine.cancel(record, CANCEL)
    machine.cancel(record, LIMIT)
    assert not machine.finish(record.seq, 1, 0)
    machine.returned(record.seq, 1, None, processes=False)
    machine.processes_gone(record.seq, 1, [])
    assert record.outcome is Outcome.CANCELLED
    assert not machine.granted


def test_processes_that_come_after_the_ladder_are_ended_too(machine):
    record = running(machine)
    machine.cancel(record, CANCEL)
    machine.processes_gone(record.seq, 1, [])
    machine.returned(record.seq, 1, None, processes=True)
    machine.returned(record.seq, 1, None, processes=True)
    assert kinds(machine) == [Do.END_PROCESSES, Do.END_PROCESSES]
    machine.processes_gone(record.seq, 1, [])
    assert record.outcome is Outcome.CANCELLED


def test_a_thread_that_does_not_return_is_abandoned_and_keeps_slot_and_id(machine):
    record = running(machine)
    machine.abandon(record.seq, 1)
    machine.cancel(record, CANCEL)
    machine.abandon(record.seq, 1)
    machine.processes_gone(record.seq, 1, [])
    machine.abandon(record.seq, 1)
    assert record.outcome is Outcome.CANCELLED
    assert machine.changes.transitions[record.seq].slot_held
    assert machine.live
    machine.returned(record.seq, 1, None, processes=False)
    assert not machine.live


def test_what_cannot_be_killed_ends_the_wait_as_broken_and_names_it(machine):
    record = running(machine)
    machine.cancel(record, CANCEL)
    machine.processes_gone(record.seq, 1, [7, 8])
    assert (record.outcome, record.reason) == (Outcome.BROKEN, "cannot be killed: process 7, 8")
    machine.processes_gone(record.seq, 1, [7])
    machine.returned(record.seq, 1, None, processes=False)
    assert machine.live
    machine.processes_gone(record.seq, 1, [])
    assert not machine.live


def test_a_cancel_of_one_that_has_finished_is_answered_when_nothing_of_it_is_left(machine):
    record = running(machine)
    assert machine.finish(record.seq, 1, 3)
    machine.cancel(record, CANCEL, "first")
    machine.cancel(record, CANCEL, "second")
    assert kinds(machine) == [Do.END_PROCESSES]
    machine.processes_gone(record.seq, 1, [])
    assert kinds(machine) == [Do.END_PROCESSES, Do.ANSWER, Do.ANSWER]
    machine.returned(record.seq, 1, None, processes=True)
    machine.processes_gone(record.seq, 1, [])
    assert (record.outcome, record.code) == (Outcome.FAILED, 3)


@pytest.mark.parametrize(("error", "outcome"), [(None, Outcome.SUCCEEDED), ("ValueError: x", Outcome.FAILED)])
def test_an_action_that_ends_without_finish_gets_a_final_value(machine, error, outcome):
    record = running(machine)
    machine.returned(record.seq, 1, error, processes=False)
    assert (record.outcome, machine.finals[0].line) == (outcome, error and error + "\n")


def test_a_stop_has_it_wait_again_when_on_finish_came_back(machine):
    record = running(machine)
    machine.cancel(record, STOP)
    machine.cancel(record, STOP)
    machine.processes_gone(record.seq, 1, [])
    machine.abandon(record.seq, 1)
    machine.returned(record.seq, 1, None, processes=False)
    machine.hook_done(record.seq)
    assert record.state is State.QUEUED
    assert machine.waiting.head(1) == [record.place]


def test_a_cancel_keeps_one_that_is_to_wait_again_from_it(machine):
    record = running(machine)
    machine.cancel(record, STOP)
    machine.cancel(record, CANCEL)
    machine.processes_gone(record.seq, 1, [])
    machine.returned(record.seq, 1, None, processes=False)
    assert record.outcome is Outcome.CANCELLED


def test_also_while_its_on_finish_is_under_way(machine):
    record = running(machine)
    machine.cancel(record, STOP)
    machine.processes_gone(record.seq, 1, [])
    machine.returned(record.seq, 1, None, processes=False)
    machine.cancel(record, CANCEL, "waiter")
    assert record.outcome is Outcome.CANCELLED
    machine.hook_done(record.seq)
    assert machine.changes.flags[record.seq] == (False, False)


def test_a_stop_before_its_on_start_was_called_has_it_wait_again_at_once(machine):
    record = received(machine)
    machine.accept(record, start=True, new_channel=True)
    machine.take()
    machine.cancel(record, STOP)
    machine.start_failed(record.seq, 1, "cancelled", called=False)
    assert (record.state, record.phase) == (State.QUEUED, Phase.WAITING)


def test_a_condition_that_breaks_ends_it_once(machine):
    record = waiting(machine)
    machine.break_(record, "condition: ValueError")
    machine.break_(record, "again")
    assert (record.outcome, machine.dropped_events) == (Outcome.BROKEN, 1)


def test_words_of_an_attempt_that_is_not_the_current_one_change_nothing(machine):
    record = running(machine)
    for call in (machine.action_going, machine.abandon):
        call(record.seq, 2)
    machine.start_failed(record.seq, 2, "no")
    machine.returned(record.seq, 2, None, processes=True)
    machine.processes_gone(record.seq, 2, [1])
    assert not machine.finish(record.seq, 2, 0)
    assert not machine.changes
    assert machine.dropped_events == 6
    assert record.state is State.STARTING


def test_what_was_not_kept_is_taken_back(machine):
    kept, lost, started = received(machine, "a"), received(machine, "b"), received(machine, "c")
    machine.cancel(lost, CANCEL, "waiter")
    lost.cancellation = None
    for record in (kept, lost, started):
        machine.accept(record, start=record is started, new_channel=True)
    changes, effects, _ = machine.take()
    due = machine.take_back(changes, effects, {lost.token, started.token}, 4, "full")
    assert [new.seq for new in changes.petitions] == [kept.seq]
    assert [(effect.do, effect.record) for effect in due] == [
        (Do.ACCEPT, kept),
        (Do.REFUSE, lost),
        (Do.ANSWER, lost),
        (Do.REFUSE, started),
    ]
    assert list(machine.live) == ["a"]


def test_a_petition_names_itself_but_not_what_it_holds(machine):
    assert repr(received(machine)) == "<petition 'a' seq=1 attempt=0 QUEUED CONVERTING>"


@pytest.mark.parametrize(
    ("state", "policy", "outcome", "after"),
    [
        (State.QUEUED, OnInterrupt.FAIL, None, None),
        (State.STARTING, OnInterrupt.FAIL, None, (State.ENDED, Outcome.INTERRUPTED, 75)),
        (State.RUNNING, OnInterrupt.RERUN, None, (State.QUEUED, None, None)),
        (State.STARTING, OnInterrupt.ASK, None, (State.HELD, None, None)),
        (State.CANCELLING, OnInterrupt.RERUN, Outcome.CANCELLED, (State.ENDED, Outcome.CANCELLED, 130)),
        (State.CANCELLING, OnInterrupt.RERUN, Outcome.INTERRUPTED, (State.QUEUED, None, None)),
    ],
)
def test_after_a_crash_each_is_in_a_known_place(state, policy, outcome, after):
    found = recover(state, policy, outcome, None, None)
    assert (found and found[:3]) == after


def test_a_stop_may_have_it_held(machine):
    record = running(machine)
    machine.cancel(record, Cancellation(Outcome.INTERRUPTED, INTERRUPTED_CODE, "stopped", requeue=State.HELD))
    machine.processes_gone(record.seq, 1, [])
    machine.returned(record.seq, 1, None, processes=False)
    machine.hook_done(record.seq)
    assert record.state is State.HELD
    assert not len(machine.waiting)


def test_an_on_finish_owed_from_before_does_not_touch_the_next_attempt(machine):
    record = waiting(machine)
    machine.owing[record.seq] = record
    machine.granted["a"] = record.seq
    assert machine.start(record)
    machine.take()
    machine.hook_done(record.seq)
    assert not machine.changes
    assert not machine.owing


def test_a_late_yes_for_one_that_runs_changes_nothing(machine):
    record = running(machine)
    assert not machine.start(record)
    assert machine.granted == {"a": record.seq}


def test_a_record_that_is_there_is_not_replaced_by_its_row(machine):
    record = waiting(machine)
    machine.warm(Record(record.seq, b"", "a", "m", "o", b"", b"", 0.0))
    assert machine.records[record.seq] is record
