"""Whoever brings an event where nothing else goes on is the engine for a moment; else the engine's own thread is."""

from __future__ import annotations

import threading
from functools import partial
from types import SimpleNamespace

import pytest

from orcha._core.petitions import Petitions
from orcha._service.batch import Batch, Listeners
from orcha._service.mailbox import MAX_EVENTS_OF_ANOTHER_THREAD, Mailbox
from orcha._service.timers import Timers
from support.waiting import wait_for


class Visits:
    """Nothing to ask, unless a test says so."""

    has_calls = may_find = is_choosing = is_free = are_inline = are_news = False
    under_way = None

    def __init__(self):
        self.note = lambda: None

    def collect(self):
        """Do nothing."""

    def dispatch(self):
        self.note()


class Parts:
    """What a batch touches; notes who keeps a transaction."""

    dirty = delivery = ()
    scarce = False
    unkept = SimpleNamespace(attempts=())
    frames = ("a reply",)
    pace = SimpleNamespace(sent=False)

    def __init__(self):
        self.petitions = Petitions()
        self.petitions.may_have_waiting = True  # what `visits` say of those that wait is asked
        self.visits = Visits()
        self.timers = Timers()
        self.mailbox = Mailbox(self.timers)
        self.waiting = []
        self.flushes = 0
        self.done = []
        self.errors = []
        self.expected = []
        self.batch_is_over = threading.Event()
        heard = (lambda _: None, lambda *_: None, lambda: None, lambda: None, lambda _: None)
        listeners = Listeners(*heard, self.errors.append)
        shims = SimpleNamespace(executor=SimpleNamespace(settle=self.batch_is_over.set))
        self.mailbox.serve(Batch(self.petitions, self.mailbox, self.visits, self, self, self, shims, {}, listeners))

    def note(self, what):
        self.done.append((what, threading.current_thread().name))
        self.petitions.changes.tombstones.append((b"token", 1.0))

    # --- channels, transaction and outbox -----------------------------------------------------------------------

    def flush(self, changes):
        """Do nothing."""

    def deliver(self):
        """Do nothing."""

    def look_for_room(self):
        """Do nothing."""

    def flags_wait(self, _):
        return False

    def let_flags_wait(self, _):
        """Do nothing."""

    def keep(self, _, effects):
        self.done.append(("commit", threading.current_thread().name))
        return effects

    def send(self):
        assert not self.petitions.changes, "a reply leaves before what it says is kept"
        self.flushes += 1

    def send_to_all(self, _):
        """Do nothing."""


@pytest.fixture
def engine():
    it = Parts()
    it.mailbox.start()
    assert it.batch_is_over.wait(20)
    with it.mailbox.turn:  # the engine's thread has made its first batch, and sleeps
        pass
    yield it
    it.mailbox.halt()
    it.mailbox.wake()
    assert it.mailbox.stopped.wait(20)
    assert it.errors == it.expected


HERE, THERE = "MainThread", "orcha-engine"


@pytest.mark.parametrize("there_is", [None, "a call", "a visit", "one waits", "one to preempt", "one lent"])
def test_a_batch_goes_to_the_visits_only_where_there_may_be_something_for_them(there_is):
    it, noted = Parts(), []
    it.visits.note = lambda: noted.append(there_is)
    it.visits.has_calls = there_is == "a call"
    it.visits.under_way = object() if there_is == "a visit" else None
    it.petitions.may_have_waiting = there_is == "one waits"
    it.petitions.preemptible = {1: object()} if there_is == "one to preempt" else {}
    it.petitions.lent = {1: object()} if there_is == "one lent" else {}
    it.mailbox._work.make()
    assert noted == ([] if there_is is None else [there_is])


def test_before_the_engine_s_thread_is_started_no_other_thread_takes_the_turn():
    it = Parts()
    it.mailbox.run_or_post(it.note, 1, may_keep=True)
    assert it.done == []
    it.mailbox.start()
    assert it.batch_is_over.wait(20)
    assert it.done == [(1, "orcha-engine"), ("commit", "orcha-engine")]
    it.mailbox.halt()
    it.mailbox.wake()
    assert it.mailbox.stopped.wait(20)


def test_where_nothing_else_goes_on_this_thread_does_it_all(engine):
    engine.mailbox.run_or_post(engine.note, 1, may_keep=True)
    assert engine.done == [(1, HERE), ("commit", HERE)]


def test_the_engine_s_thread_waits_for_the_disk_where_this_one_may_not(engine):
    engine.mailbox.run_or_post(engine.note, 1, may_keep=False)
    assert engine.done[0] == (1, HERE)
    wait_for(lambda: engine.done[1:] == [("commit", THERE)])


def test_what_changes_nothing_is_answered_by_the_thread_that_may_not_wait_for_the_disk(engine):
    before, handlers = engine.flushes, []
    engine.mailbox.run_or_post(lambda: handlers.append(threading.current_thread().name), may_keep=False)
    assert (handlers, engine.flushes) == ([HERE], before + 1)


def test_an_answer_that_lies_there_goes_out_only_with_what_it_says_kept(engine):
    before, at_commit, keep = engine.flushes, [], engine.keep

    def noting(changes, effects):
        at_commit.append(engine.flushes)
        return keep(changes, effects)

    engine.keep = noting
    engine.mailbox.post_without_waking(engine.note, 1)
    engine.mailbox.run_or_post(list, may_keep=False)
    assert engine.done[0] == (1, HERE)
    wait_for(lambda: engine.flushes > before)
    assert engine.done[1:] == [("commit", THERE)]
    assert at_commit == [before]


def test_who_does_not_get_the_turn_leaves_it_to_the_engine_s_thread_in_order(engine):
    with engine.mailbox.turn:
        for number in range(3):
            engine.mailbox.run_or_post(engine.note, number, may_keep=True)
        assert engine.done == []
    wait_for(lambda: engine.done[3:] == [("commit", THERE)])
    assert engine.done[:3] == [(number, THERE) for number in range(3)]


def test_who_looks_for_more_waits_for_the_turn(engine):
    call = partial(engine.mailbox.run_or_post, engine.note, 1, may_keep=True, more=lambda: False)
    reader = threading.Thread(target=call, name="reader")
    with engine.mailbox.turn:
        reader.start()
        wait_for(lambda: len(engine.mailbox) == 1)
    reader.join(20)
    assert engine.done == [(1, "reader"), ("commit", "reader")]


def test_where_petitions_wait_the_engine_s_thread_gathers_what_starts_in_place_of_what_ends(engine):
    engine.visits.may_find = True
    engine.mailbox.run_or_post(engine.note, 1, may_keep=True, ends=True)
    wait_for(lambda: engine.done == [(1, THERE), ("commit", THERE)])


def test_what_comes_is_done_here_though_petitions_wait_that_have_said_no(engine):
    engine.visits.may_find = True
    engine.mailbox.run_or_post(engine.note, 1, may_keep=True)
    assert engine.done == [(1, HERE), ("commit", HERE)]


@pytest.mark.parametrize("are_urgent", [True, False])
def test_those_that_wait_are_asked_before_the_disk_is_waited_for_where_one_may_start(engine, are_urgent):
    engine.visits.may_find = are_urgent
    engine.visits.note = lambda: engine.done.append("asked")
    engine.mailbox.run_or_post(engine.note, 1, may_keep=True)
    asked = [position for position, what in enumerate(engine.done) if what == "asked"]
    assert asked
    assert (asked[0] < engine.done.index(("commit", HERE))) is are_urgent


def test_where_nothing_is_to_be_kept_they_are_asked_at_once(engine):
    engine.visits.note = lambda: engine.done.append("asked")
    engine.mailbox.run_or_post(list, may_keep=True)
    assert engine.done == ["asked"]


def test_where_those_that_wait_are_to_be_asked_the_engine_s_thread_does_it(engine):
    engine.visits.are_news = True
    engine.mailbox.run_or_post(engine.note, 1, may_keep=True)
    wait_for(lambda: engine.done == [(1, THERE), ("commit", THERE)])


def test_what_has_come_since_is_kept_in_the_same_transaction(engine):
    later = [2]

    def more():
        if later:
            engine.note(later.pop())
            return True
        return False

    engine.mailbox.run_or_post(engine.note, 1, may_keep=True, more=more)
    assert engine.done == [(1, HERE), (2, HERE), ("commit", HERE)]


def test_where_much_has_come_the_engine_s_thread_does_it():
    engine = Parts()  # its thread does not run: what it has not taken lies there
    for number in range(MAX_EVENTS_OF_ANOTHER_THREAD):
        engine.mailbox.post(engine.note, number)
    engine.mailbox.run_or_post(engine.note, MAX_EVENTS_OF_ANOTHER_THREAD, may_keep=True)
    assert len(engine.mailbox) == MAX_EVENTS_OF_ANOTHER_THREAD + 1
    assert engine.done == []


def test_a_time_that_is_due_earlier_than_before_is_kept_by_the_engine_s_thread(engine):
    due = threading.Event()
    engine.mailbox.run_or_post(engine.timers.at, 0.0, due.set, may_keep=True)
    assert due.wait(20)


def test_who_is_told_to_stop_the_engine_as_the_engine_has_its_thread_end(engine):
    engine.mailbox.run_or_post(engine.mailbox.halt, may_keep=True)
    assert engine.mailbox.stopped.wait(20)


def test_what_fails_on_another_thread_ends_the_engine_too(engine):
    error = RuntimeError("no")
    engine.expected.append(error)

    def fail():
        raise error

    engine.mailbox.run_or_post(fail, may_keep=True)
    assert engine.mailbox.stopped.wait(20)
    assert engine.mailbox.failure is error
    engine.mailbox.run_or_post(engine.note, 1, may_keep=True)
    assert engine.done == []
