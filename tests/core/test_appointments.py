"""A petition that was asked for with a time rests until then."""

from __future__ import annotations

import threading

import pytest

from orcha._core import transitions
from orcha._core.admission import Admission
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.reasons import StartsLater
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.state import Outcome, State

NOW = Moment(1000.0, 5.0)


@pytest.fixture
def petitions():
    return Petitions()


def asked_for(petitions, *, at=None, delay=None):
    """Have a petition accepted that names a time, which came at 900."""
    record = Record(petitions.take_seq(), b"t" * 16, "p", "m", "me", b"", b"", 900.0)
    record.at, record.delay = at, delay
    assert transitions.submit.receive(petitions, record) is None
    blocked = Admission(petitions, lock=threading.Lock()).blocked_by(record)
    assert blocked == StartsLater(record.starts_after), "nobody asks it before it is accepted"
    transitions.submit.accept(petitions, record, NOW, start=False, new_channel=False)
    return record


@pytest.mark.parametrize(
    ("given", "due", "until"), [({"at": 1500.0}, 1500.0, None), ({"delay": 200.0}, 1100.0, NOW.steady + 200.0)]
)
def test_it_rests_until_then_and_that_is_kept(petitions, given, due, until):
    record = asked_for(petitions, **given)
    assert (record.phase, record.state, record.due, record.rests_until) == (Phase.RESTING, State.QUEUED, due, until)
    assert record.why == StartsLater(due)
    assert petitions.changes.attempts[record.seq].due == due
    assert not petitions.waiting
    transitions.retry.time_came(petitions, record.seq, Moment(due, NOW.steady + 300.0))
    assert (record.phase, record.due, record.why) == (Phase.WAITING, None, None)
    assert petitions.waiting.head(9) == [record.place]


@pytest.mark.parametrize("at", [800.0, 950.0, 1000.0])
def test_a_time_that_has_passed_is_now(petitions, at):
    version = petitions.version
    record = asked_for(petitions, at=at)
    assert (record.phase, record.due) == (Phase.WAITING, None)
    assert petitions.version > version, "it is asked, though it was blocked a moment ago"
    assert petitions.changes.attempts == {}
    assert record.starts_after == max(at, 900.0)


def test_before_its_time_it_can_be_cancelled(petitions):
    record = asked_for(petitions, at=1500.0)
    transitions.cancel.cancel(petitions, record, Cancellation(Outcome.CANCELLED, 130, "late"), NOW)
    assert (record.state, petitions.live) == (State.ENDED, {})
    transitions.retry.time_came(petitions, record.seq, NOW)
    assert not petitions.waiting


def test_where_it_is_not_kept_nothing_of_it_is_left(petitions):
    record = asked_for(petitions, at=1500.0)
    changes, effects, _ = petitions.take()
    transitions.submit.take_back(petitions, changes, effects, {record.token}, 4, "full")
    assert (record.state, petitions.live, changes.attempts) == (State.ENDED, {}, {})
