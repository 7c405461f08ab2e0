"""The waiting queue beside a sorted list."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orcha._core import lot as lots
from orcha._core import waiting_queue as core
from orcha._core.lot import Lot
from orcha._core.waiting_queue import WaitingQueue

PRIORITIES = st.one_of(st.integers(-2, 2), st.sampled_from([0.5, -0.5, math.inf, -math.inf, 2**63 - 1]))
WHICH = st.integers(0, 1000)


class QueueBesideAList(RuleBasedStateMachine):
    """Whatever is done to the queue is done to a list of all keys; `ready` and `spilled` share it out."""

    @initialize(limit=st.integers(1, 12), spilled=st.lists(PRIORITIES, max_size=20))
    def begin(self, limit, spilled):
        self.limit = limit
        self.queue = WaitingQueue(limit)
        self.seq = 0
        self.spilled = sorted(self.key(priority) for priority in spilled)
        self.ready = []
        self.queue.load(self.spilled)

    def key(self, priority):
        self.seq += 1
        return (priority, self.seq, str(self.seq))

    @rule(priority=PRIORITIES)
    def add(self, priority):
        key = self.key(priority)
        if self.queue.add(key):
            self.ready = sorted([*self.ready, key])
        else:
            self.spilled = sorted([*self.spilled, key])

    def take_out(self, key):
        (self.ready if key in self.ready else self.spilled).remove(key)

    @rule(which=WHICH)
    @precondition(lambda self: self.ready)
    def remove_ready(self, which):
        key = self.ready[which % len(self.ready)]
        self.queue.remove(key)
        self.take_out(key)

    @rule(which=WHICH)
    @precondition(lambda self: self.spilled)
    def remove_spilled(self, which):
        key = self.spilled[which % len(self.spilled)]
        self.queue.remove(key)
        self.take_out(key)

    @rule(count=st.integers(0, 6))
    def remove_first(self, count):
        keys = self.ready[:count]
        self.queue.remove_all(keys)
        del self.ready[: len(keys)]

    @rule(chosen=st.lists(st.integers(0, 30), unique=True, max_size=6))
    def remove_several(self, chosen):
        everything = self.ready + self.spilled
        keys = [everything[at] for at in sorted(chosen) if at < len(everything)]
        self.queue.remove_all(keys)
        for key in keys:
            self.take_out(key)

    @rule()
    def refill(self):
        moved = self.queue.refill()
        assert moved == self.spilled[: max(0, self.limit - len(self.ready))]
        self.ready += moved
        del self.spilled[: len(moved)]

    @rule()
    def spill(self):
        moved = self.queue.spill()
        too_many = len(self.ready) > self.limit + self.limit // 10
        assert moved == (self.ready[self.limit :] if too_many else [])
        if moved:
            del self.ready[self.limit :]
            self.spilled = moved + self.spilled

    @rule(count=st.integers(0, 30), start=st.integers(0, 10))
    def head(self, count, start):
        assert self.queue.head(count, start) == self.ready[start : start + count]

    @invariant()
    def agrees(self):
        if not hasattr(self, "queue"):
            return
        assert (len(self.queue), self.queue.ready, self.queue.spilled) == (
            len(self.ready) + len(self.spilled), len(self.ready), len(self.spilled),
        )  # fmt: skip
        assert self.queue.head(1000) == self.ready
        assert self.ready + self.spilled == sorted(self.ready + self.spilled), (
            "a spilled key belongs among the ready ones"
        )
        for place, key in enumerate(self.ready):
            assert self.queue.place(key) == place
            assert self.queue.is_ready(key)
        assert not any(map(self.queue.is_ready, self.spilled))
        if len(self.ready) <= self.limit // 2 and self.spilled:
            assert self.queue.wants_refill()

    def teardown(self):
        if not hasattr(self, "queue"):
            return
        out = []
        while self.ready or self.spilled:
            self.refill()
            self.queue.remove_all(self.queue.head(1000))
            out += self.ready
            self.ready = []
        self.queue.refill()
        assert (len(self.queue), self.queue.ready, self.queue.spilled) == (0, 0, 0)
        assert not self.queue.wants_refill()


QueueBesideAList.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None, database=None)
test_queue_beside_a_list = QueueBesideAList.TestCase


def keys(*priorities):
    return [(priority, seq, str(seq)) for seq, priority in enumerate(priorities, 1)]


def test_equal_priorities_keep_the_order_in_which_they_came():
    queue = WaitingQueue()
    for key in reversed(keys(0, 0, 0)):
        queue.add(key)
    assert queue.head(3) == keys(0, 0, 0)


def test_infinite_priorities_are_first_and_last():
    queue = WaitingQueue()
    for key in keys(math.inf, 0, -math.inf):
        assert queue.add(key)
    assert [key[0] for key in queue.head(3)] == [-math.inf, 0, math.inf]


def test_a_key_that_belongs_before_the_last_ready_one_is_ready_even_beyond_the_limit():
    queue = WaitingQueue(most_ready=2)
    for key in keys(5, 6, 7, 1):
        queue.add(key)
    assert [key[0] for key in queue.head(9)] == [1, 5, 6]


def test_a_key_that_left_while_it_was_spilled_is_skipped_when_its_turn_comes():
    queue = WaitingQueue(most_ready=1)
    first, second, third = keys(0, 0, 0)
    queue.load([first, second, third])
    queue.remove(second)
    assert queue.refill() == [first]
    queue.remove(first)
    assert queue.refill() == [third]


@pytest.mark.parametrize("most_ready", [1, 2, 10])
def test_ready_ones_are_spilled_only_beyond_a_tenth_of_slack(most_ready):
    queue = WaitingQueue(most_ready)
    for key in reversed(keys(*range(most_ready + most_ready // 10))):
        queue.add(key)
    assert queue.spill() == []
    queue.add((-1, 99, "99"))
    assert len(queue.spill()) == most_ready // 10 + 1
    assert (queue.ready, len(queue)) == (most_ready, most_ready + most_ready // 10 + 1)


def test_the_ready_keys_before_a_key_are_counted_and_given():
    queue = WaitingQueue()
    keys = [(0, seq, str(seq)) for seq in range(1, 5)]
    for key in keys:
        queue.add(key)
    assert queue.index(keys[2]) == 2
    assert queue.before(keys[2], 1) == keys[:1]
    assert queue.before(keys[2], 9) == keys[:2]


def test_a_queue_of_one_owner_has_no_other_owner():
    queue = WaitingQueue()
    queue.add((0, 1, "1"))
    assert queue.heads_of_others((0, 1, "1")) == []
    assert queue.firsts(1) == ([(0, 1, "1")], frozenset())


# --- keys that move -----------------------------------------------------------------------------------------------


def test_keys_that_leave_the_heap_are_dropped_from_it_before_they_reach_its_top(monkeypatch):
    monkeypatch.setattr(core, "MIN_REMOVED_KEYS_TO_DROP", 2)
    queue = WaitingQueue(1)
    all_keys = keys(1, 2, 3, 4, 5, 6, 7)
    for key in all_keys:
        queue.add(key)
    for round_number in range(50):  # a petition gains priority again and again while many are before it
        queue.remove((7 - round_number / 100, 7, "7"))
        queue.add((7 - (round_number + 1) / 100, 7, "7"))
    assert len(queue._spilled) <= 3 * 6
    assert (len(queue), queue.refill()) == (7, [])
    queue.remove(all_keys[0])
    assert [queue.refill(), len(queue)] == [[all_keys[1]], 6]


def test_a_ready_key_that_passes_none_stays_where_it_is():
    queue = WaitingQueue(3)
    first, second, third, spilled = keys(1, 2, 3, 4)
    for key in (first, second, third, spilled):
        queue.add(key)
    assert queue.stay(second, (1, 2, "2"))
    assert queue.head(9) == [first, (1, 2, "2"), third]
    assert not queue.stay(third, (1, 0, "0")), "it would pass another one"
    assert not queue.stay(third, (5, 3, "3")), "it may come after a spilled one"
    assert not queue.stay(spilled, (3, 4, "4")), "it is not ready"
    assert not queue.stay((2, 9, "9"), (1, 9, "9")), "it does not wait"
    assert queue.head(9) == [first, (1, 2, "2"), third]


def test_a_lot_beside_a_list(monkeypatch):
    monkeypatch.setattr(lots, "MIN_TAKEN_KEYS_TO_DROP", 2)
    lot, (first, second, third, fourth) = Lot(), keys(1, 2, 3, 4)
    for key in (second, first, fourth, third):
        lot.add(key)
    assert (list(lot), len(lot), lot.place(third)) == ([first, second, third, fourth], 4, 2)
    assert lot.take(1) == [first]
    assert (list(lot), len(lot), lot.place(third)) == ([second, third, fourth], 3, 1)
    lot.add(first)
    lot.remove(third)
    assert lot.first(2) == [first, second]
    lot.move(fourth, (2, 4, "4"))
    assert list(lot) == [first, second, (2, 4, "4")]
    lot.move((2, 4, "4"), (0, 4, "4"))
    assert list(lot) == [(0, 4, "4"), first, second]
    lot.move((0, 4, "4"), (9, 4, "4"))
    assert list(lot) == [first, second, (9, 4, "4")]
    lot.remove(first)
    assert lot.take(9) == [second, (9, 4, "4")]
    assert (list(lot), len(lot), lot.first(1)) == ([], 0, [])
    lot.add(first)
    assert list(lot) == [first]
