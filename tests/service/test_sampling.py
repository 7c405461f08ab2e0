"""When what conditions name is looked at: at once, then by a clock that is handed in, and as often as it may cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from orcha._core.conditions.book import ConditionBook
from orcha._core.conditions.terms import Reading
from orcha._core.conditions.times import LocalTime
from orcha._service.conditions import sampling as module
from orcha._service.conditions.sampling import MAX_PROCESSOR_SHARE, MAX_SECONDS_WITHOUT_A_LOOK, Sampling
from orcha._service.timers import Timers

LOAD = Reading("load", (1,))
NOON = LocalTime(day=1, weekday=0, seconds=12 * 3600)


class Clocked:
    """A sampling with clocks of its own, and what it asked to be looked at."""

    def __init__(self, patch):
        self.now, self.spent, self.cost = 1000.0, 0.0, 0.0
        self.asked = []
        self.parked = set()
        self.changes = 0
        patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now, thread_time=lambda: self.spent))
        patch.setattr(module, "_local_time", lambda: NOON._replace(seconds=NOON.seconds + self.now - 1000))
        self.timers = Timers()
        self.book = ConditionBook({"running": lambda: 3})
        self.sampling = Sampling(self.book, self, self.timers, self.parked.__contains__, self.note_change)

    def ask(self, readings, now):
        assert now == self.now
        self.asked.append(sorted(readings))
        self.spent += self.cost

    def take_spent(self):
        return 0.0

    def note_change(self):
        self.changes += 1

    def park(self, text):
        self.parked.add(text)
        self.book.waits(self.book.read(text))
        self.sampling.look_soon()

    def comes(self, seconds):
        """Let time pass up to what is due."""
        self.now += seconds
        for call in self.timers.take(self.now):
            call()

    @property
    def wait(self):
        return None if self.timers.head is None else pytest.approx(self.timers.head - self.now)


@pytest.fixture
def clocked(monkeypatch):
    return Clocked(monkeypatch)


def test_it_looks_at_once_and_then_once_a_second(clocked):
    clocked.park("load(1) < 4")
    assert clocked.asked == [[LOAD]]
    assert clocked.wait == 1
    clocked.comes(1)
    assert clocked.asked == [[LOAD]] * 2
    clocked.sampling.take({LOAD: 5.0})
    assert clocked.changes == 0
    clocked.sampling.take({LOAD: 3.0})
    assert clocked.changes == 1


def test_looks_that_cost_much_are_further_apart(clocked):
    clocked.cost = 0.1
    clocked.park("load(1) < 4")
    clocked.comes(1)
    assert clocked.wait == 0.1 / MAX_PROCESSOR_SHARE
    clocked.cost = 0.0
    clocked.comes(5)
    clocked.comes(5)
    assert clocked.wait == 1


def test_what_is_new_is_looked_at_soon_and_not_more_often_than_it_may_cost(clocked):
    clocked.cost = 0.001
    clocked.park("load(1) < 4")
    clocked.park("load(5) < 4")
    assert clocked.asked == [[LOAD]]
    assert clocked.wait == 0.02
    clocked.park("load(15) < 4")
    assert clocked.wait == 0.02
    clocked.comes(0.02)
    assert len(clocked.asked[1]) == 3


def test_the_time_of_day_is_taken_when_it_changes_something(clocked):
    clocked.park("hour == 13")
    assert clocked.wait == MAX_SECONDS_WITHOUT_A_LOOK
    clocked.comes(3590)
    assert (clocked.wait, clocked.changes) == (10, 0)
    clocked.comes(10)
    assert clocked.changes == 1
    assert clocked.asked == []


def test_the_time_of_day_comes_before_the_next_look(clocked):
    clocked.park("load(1) < 4 and minute > 0")
    clocked.comes(1)
    clocked.comes(58.5)
    assert clocked.wait == 0.5


def test_what_the_service_knows_needs_no_look(clocked):
    clocked.park("running < 3")
    assert clocked.asked == []
    assert clocked.wait == MAX_SECONDS_WITHOUT_A_LOOK


def test_nothing_is_looked_at_when_nobody_waits(clocked):
    clocked.park("load(1) < 4")
    clocked.parked.clear()
    for _ in range(10):
        clocked.comes(1)
    assert clocked.wait is None
    assert len(clocked.asked) <= 6


def test_how_old_a_value_is_is_known(clocked):
    clocked.park("load(1) < 4")
    reason = clocked.book.reason(clocked.book.read("load(1) < 4"))
    assert clocked.sampling.age_of(reason) is None
    clocked.sampling.take({LOAD: 5.0})
    clocked.now += 2
    assert clocked.sampling.age_of(reason) == 2
    other = clocked.book.reason(clocked.book.read("running < 1"))
    assert clocked.sampling.age_of(other) is None
