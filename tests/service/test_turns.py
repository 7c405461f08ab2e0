"""Whoever brings an event where nothing else goes on is the engine for a moment; else the engine's own thread is."""

from __future__ import annotations

import threading

import pytest

from orcha._service.timers import Timers
from orcha._service.turns import FEW_EVENTS, Turns
from support.waiting import wait_for


class Visits:
    """Nothing to ask."""

    chooses = go_on = False
    are_urgent = True
    note = staticmethod(lambda: None)

    def collect(self):
        """Do nothing."""

    def dispatch(self):
        self.note()


class Engine:
    """Notes who does what."""

    def __init__(self):
        self.machine = self
        self.now = 0.0
        self.visits = Visits()
        self.commands = self
        self.managers = self
        self.are_ours = False
        self.timers = Timers()
        self.has_a_queue = False
        self.has_news = False
        self.dirty = False
        self.flushes = 0
        self.done = []
        self.errors = []
        self.expected = []
        self.turns = Turns(self)

    def note(self, what):
        self.done.append((what, threading.current_thread().name))
        self.dirty = True

    def has_work(self):
        return self.dirty

    def commit(self):
        self.dirty = False
        self.done.append(("commit", threading.current_thread().name))

    def flush(self):
        assert not self.dirty, "a reply leaves before what it says is kept"
        self.flushes += 1

    def count(self):
        """Do nothing."""

    def settle(self):
        """Do nothing."""

    def say_failed(self, error):
        self.errors.append(error)


@pytest.fixture
def engine():
    it = Engine()
    it.turns.start()
    yield it
    it.turns.halt()
    it.turns.inbox.ring()
    assert it.turns.stopped.wait(20)
    assert it.errors == it.expected


HERE, THERE = "MainThread", "orcha-engine"


def test_where_nothing_else_goes_on_this_thread_does_it_all(engine):
    engine.turns.take(engine.note, 1, may_commit=True)
    assert engine.done == [(1, HERE), ("commit", HERE)]


def test_the_engine_s_thread_waits_for_the_disk_where_this_one_may_not(engine):
    engine.turns.take(engine.note, 1, may_commit=False)
    assert engine.done[0] == (1, HERE)
    wait_for(lambda: engine.done[1:] == [("commit", THERE)])


def test_what_changes_nothing_is_answered_by_the_thread_that_may_not_wait_for_the_disk():
    engine = Engine()  # its thread does not run: nobody else could
    engine.turns.take(list, may_commit=False)
    assert engine.flushes == 1


def test_an_answer_that_lies_there_goes_out_only_with_what_it_says_kept():
    engine = Engine()
    engine.turns.inbox.put((engine.note, 1))
    engine.turns.take(list, may_commit=False)
    assert engine.done == [(1, HERE)]
    assert engine.flushes == 0
    engine.turns.start()
    wait_for(lambda: engine.flushes)
    assert engine.done[1:] == [("commit", THERE)]
    engine.turns.halt()
    engine.turns.inbox.ring()
    assert engine.turns.stopped.wait(20)


def test_who_does_not_get_the_turn_leaves_it_to_the_engine_s_thread_in_order(engine):
    with engine.turns.inbox.turn:
        for number in range(3):
            engine.turns.take(engine.note, number, may_commit=True)
        assert engine.done == []
    wait_for(lambda: engine.done[3:] == [("commit", THERE)])
    assert engine.done[:3] == [(number, THERE) for number in range(3)]


def test_where_petitions_wait_the_engine_s_thread_gathers_what_starts_in_place_of_what_ends(engine):
    engine.has_a_queue = True
    engine.turns.take(engine.note, 1, may_commit=True, ends=True)
    wait_for(lambda: engine.done == [(1, THERE), ("commit", THERE)])


def test_what_comes_is_done_here_though_petitions_wait_that_have_said_no(engine):
    engine.has_a_queue = True
    engine.turns.take(engine.note, 1, may_commit=True)
    assert engine.done == [(1, HERE), ("commit", HERE)]


@pytest.mark.parametrize("are_urgent", [True, False])
def test_those_that_wait_are_asked_before_the_disk_is_waited_for_where_one_may_start(engine, are_urgent):
    engine.visits.are_urgent = are_urgent
    engine.visits.note = lambda: engine.done.append("asked")
    engine.turns.take(engine.note, 1, may_commit=True)
    asked = [position for position, what in enumerate(engine.done) if what == "asked"]
    assert asked
    assert (asked[0] < engine.done.index(("commit", HERE))) is are_urgent


def test_where_nothing_is_to_be_kept_they_are_asked_at_once(engine):
    engine.visits.are_urgent = False
    engine.visits.note = lambda: engine.done.append("asked")
    engine.turns.take(list, may_commit=True)
    assert engine.done == ["asked"]


def test_where_those_that_wait_are_to_be_asked_the_engine_s_thread_does_it(engine):
    engine.has_news = True
    engine.turns.take(engine.note, 1, may_commit=True)
    wait_for(lambda: engine.done == [(1, THERE), ("commit", THERE)])


def test_what_has_come_since_is_kept_in_the_same_transaction(engine):
    later = [2]

    def more():
        if later:
            engine.note(later.pop())
            return True
        return False

    engine.turns.take(engine.note, 1, may_commit=True, more=more)
    assert engine.done == [(1, HERE), (2, HERE), ("commit", HERE)]


def test_where_much_has_come_the_engine_s_thread_does_it():
    engine = Engine()  # its thread does not run: what it has not taken lies there
    for number in range(FEW_EVENTS):
        engine.turns.inbox.put((engine.note, number))
    engine.turns.take(engine.note, FEW_EVENTS, may_commit=True)
    assert len(engine.turns.inbox) == FEW_EVENTS + 1
    assert engine.done == []


def test_a_time_that_is_due_earlier_than_before_is_kept_by_the_engine_s_thread(engine):
    due = threading.Event()
    engine.turns.take(engine.timers.at, 0.0, due.set, may_commit=True)
    assert due.wait(20)


def test_who_is_told_to_stop_the_engine_as_the_engine_has_its_thread_end(engine):
    engine.turns.take(engine.turns.halt, may_commit=True)
    assert engine.turns.stopped.wait(20)


def test_what_fails_on_another_thread_ends_the_engine_too(engine):
    error = RuntimeError("no")
    engine.expected.append(error)

    def fail():
        raise error

    engine.turns.take(fail, may_commit=True)
    assert engine.turns.stopped.wait(20)
    assert engine.turns.failure is error
    engine.turns.take(engine.note, 1, may_commit=True)
    assert engine.done == []
