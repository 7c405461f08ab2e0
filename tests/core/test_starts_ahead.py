"""Starts that are kept ahead: what a row says of a command that waits, and where each event leads on from there."""

from __future__ import annotations

import pytest

from orcha._core import transitions
from orcha._core.moves import Event
from orcha._core.reasons import ConditionSaidNo
from orcha._core.situations import Situation
from orcha._core.start_log import StartLog, StartRate
from orcha._core.state import OnInterrupt, Outcome, State
from support.situation_walk import LATER, NOW, RETRY, SEQ, TIMED_OUT, Kind, Walker

COMMAND = Kind(command=True, retry=None, on_interrupt=OnInterrupt.FAIL)


def after(*events: Event, kind: Kind = COMMAND) -> Walker:
    """Give a petition to which this has happened; each time the first variant of an event."""
    walker = Walker(kind)
    for event in events:
        next(happens for come, happens in walker.choices() if come is event)()
        walker.keep()
    return walker


def row(walker: Walker) -> tuple[State, int, bool]:
    """Give what is kept: the state, the attempt, and whether that attempt has begun."""
    (kept,) = walker.store.rows([SEQ])
    return kept.state, kept.attempt, kept.started is not None


def test_the_row_says_that_it_starts_and_it_waits_on_in_its_place():
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD)
    assert walker.situation is Situation.AHEAD
    assert row(walker) == (State.STARTING, 1, True)
    assert (walker.record.state, walker.record.attempt) == (State.QUEUED, 0)
    assert walker.petitions.waiting.head(9) == [walker.record.place]
    assert walker.store.attempts([SEQ])[SEQ].is_command


def test_put_back_its_row_is_as_it_was():
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD, Event.PUT_BACK)
    assert walker.situation is Situation.WAITING
    assert row(walker) == (State.QUEUED, 0, False)
    assert walker.store.attempts([SEQ])[SEQ].attempt == 0
    assert row(after(Event.ACCEPTED, Event.PUT_BACK)) == (State.QUEUED, 0, False)


def test_its_start_begins_at_once_and_what_is_kept_then_is_when_it_began():
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD)
    transitions.start.start(walker.petitions, walker.record, LATER)
    assert walker.petitions.take_prompt() == [walker.record]
    assert not walker.petitions.take_prompt()
    assert not walker.petitions.effects
    walker.keep()
    (kept,) = walker.store.rows([SEQ])
    assert (kept.state, kept.attempt, kept.started) == (State.STARTING, 1, LATER.wall)


def test_its_start_and_its_end_may_be_kept_together():
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD)
    transitions.start.start(walker.petitions, walker.record, LATER)
    walker.petitions.take_prompt()
    walker._on_end(transitions.command.CommandEnd(Outcome.SUCCEEDED, 0))
    walker.keep()
    (kept,) = walker.store.rows([SEQ])
    assert (kept.state, kept.attempt, kept.started) == (State.ENDED, 1, LATER.wall)


def test_ended_while_it_waits_it_has_made_no_attempt():
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD, Event.CANCEL)
    assert walker.situation is Situation.ENDED
    assert row(walker) == (State.ENDED, 0, False)
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD)
    transitions.cancel.cancel(walker.petitions, walker.record, TIMED_OUT, LATER)
    walker.keep()
    assert row(walker) == (State.ENDED, 0, False)


def test_what_is_not_kept_yet_leads_on_from_the_row_as_it_is():
    walker = after(Event.ACCEPTED)
    assert transitions.ahead.keep_ahead(walker.petitions, walker.record, NOW)
    transitions.start.start(walker.petitions, walker.record, LATER)
    assert not walker.petitions.prompt
    walker.keep()
    assert row(walker) == (State.STARTING, 1, True)
    assert walker.situation is Situation.STARTING


def test_only_the_first_attempt_of_a_command_that_waits_is_kept_ahead_and_once():
    action = after(Event.ACCEPTED, kind=COMMAND._replace(command=False))
    assert not transitions.ahead.keep_ahead(action.petitions, action.record, NOW)
    running = after(Event.ACCEPTED, Event.YES)
    assert not transitions.ahead.keep_ahead(running.petitions, running.record, NOW)
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD)
    assert not transitions.ahead.keep_ahead(walker.petitions, walker.record, NOW)
    new = Walker(COMMAND)
    new._accept(start=False)
    assert transitions.ahead.keep_ahead(new.petitions, new.record, NOW)
    assert not transitions.ahead.keep_ahead(new.petitions, new.record, NOW)


@pytest.mark.parametrize("retry", [None, RETRY], ids=["fail", "retry"])
def test_where_the_service_dies_it_waits_again_or_goes_by_its_policy(retry):
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD, kind=COMMAND._replace(retry=retry))
    walker._crash(executed=False)
    walker.keep()
    assert row(walker)[:2] == (State.QUEUED, 1)
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD, Event.CRASH, kind=COMMAND._replace(retry=retry))
    assert row(walker)[:2] == (State.ENDED, 1)


@pytest.mark.parametrize("group", [None, "any", "rated"])
def test_a_start_that_a_rate_counts_is_not_kept_ahead(group):
    """It would begin before the transaction that keeps its time, and a restart would let as many start again."""
    walker = after(Event.ACCEPTED)
    walker.petitions.granted.start_logs = {"rated": StartLog(StartRate(1, 60.0))}
    walker.record.group = group
    assert transitions.ahead.keep_ahead(walker.petitions, walker.record, NOW) == (group != "rated")


def test_its_record_stays_in_memory_however_far_behind_it_goes():
    walker = after(Event.ACCEPTED, Event.KEPT_AHEAD)
    petitions, record = walker.petitions, walker.record
    transitions.wait.note_no(record, ConditionSaidNo(None), None)
    transitions.hold.park(petitions, record, "lot")
    petitions.unload([record.place])
    walker.keep()
    assert petitions.live[record.key] is record
    transitions.ahead.put_back(petitions, record, NOW)
    petitions.unload([record.place])
    walker.keep()
    assert petitions.live[record.key] == record.place
