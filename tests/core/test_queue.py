"""The waiting queue beside a sorted list."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orcha._core.queue import WaitingQueue

PRIORITIES = st.one_of(st.integers(-2, 2), st.sampled_from([0.5, -0.5, math.inf, -math.inf, 2**63 - 1]))
WHICH = st.integers(0, 1000)


class QueueBesideAList(RuleBasedStateMachine):
    """Whatever is done to the queue is done to a list of all keys; `hot` and `far` share it out."""

    @initialize(limit=st.integers(1, 12), far=st.lists(PRIORITIES, max_size=20))
    def begin(self, limit, far):
        self.limit = limit
        self.queue = WaitingQueue(limit)
        self.seq = 0
        self.far = sorted(self.key(priority) for priority in far)
        self.hot = []
        self.queue.load(self.far)

    def key(self, priority):
        self.seq += 1
        return (priority, self.seq, str(self.seq))

    @rule(priority=PRIORITIES)
    def add(self, priority):
        key = self.key(priority)
        if self.queue.add(key):
            self.hot = sorted([*self.hot, key])
        else:
            self.far = sorted([*self.far, key])

    def take_out(self, key):
        (self.hot if key in self.hot else self.far).remove(key)

    @rule(which=WHICH)
    @precondition(lambda self: self.hot)
    def remove_hot(self, which):
        key = self.hot[which % len(self.hot)]
        self.queue.remove(key)
        self.take_out(key)

    @rule(which=WHICH)
    @precondition(lambda self: self.far)
    def remove_far(self, which):
        key = self.far[which % len(self.far)]
        self.queue.remove(key)
        self.take_out(key)

    @rule(count=st.integers(0, 6))
    def remove_first(self, count):
        keys = self.hot[:count]
        self.queue.remove_all(keys)
        del self.hot[: len(keys)]

    @rule(chosen=st.lists(st.integers(0, 30), unique=True, max_size=6))
    def remove_several(self, chosen):
        everything = self.hot + self.far
        keys = [everything[at] for at in sorted(chosen) if at < len(everything)]
        self.queue.remove_all(keys)
        for key in keys:
            self.take_out(key)

    @rule()
    def promote(self):
        moved = self.queue.promote()
        assert moved == self.far[: max(0, self.limit - len(self.hot))]
        self.hot += moved
        del self.far[: len(moved)]

    @rule()
    def demote(self):
        moved = self.queue.demote()
        too_many = len(self.hot) > self.limit + self.limit // 10
        assert moved == (self.hot[self.limit :] if too_many else [])
        if moved:
            del self.hot[self.limit :]
            self.far = moved + self.far

    @rule(count=st.integers(0, 30), start=st.integers(0, 10))
    def head(self, count, start):
        assert self.queue.head(count, start) == self.hot[start : start + count]

    @invariant()
    def agrees(self):
        if not hasattr(self, "queue"):
            return
        assert (len(self.queue), self.queue.hot, self.queue.far) == (
            len(self.hot) + len(self.far), len(self.hot), len(self.far),
        )  # fmt: skip
        assert self.queue.head(1000) == self.hot
        assert self.hot + self.far == sorted(self.hot + self.far), "a far key belongs among the hot ones"
        for place, key in enumerate(self.hot):
            assert self.queue.place(key) == place
            assert self.queue.is_hot(key)
        assert not any(map(self.queue.is_hot, self.far))
        if len(self.hot) <= self.limit // 2 and self.far:
            assert self.queue.wants_promotion()

    def teardown(self):
        if not hasattr(self, "queue"):
            return
        out = []
        while self.hot or self.far:
            self.promote()
            self.queue.remove_all(self.queue.head(1000))
            out += self.hot
            self.hot = []
        self.queue.promote()
        assert (len(self.queue), self.queue.hot, self.queue.far) == (0, 0, 0)
        assert not self.queue.wants_promotion()


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


def test_a_key_that_belongs_before_the_last_hot_one_is_hot_even_beyond_the_limit():
    queue = WaitingQueue(hot=2)
    for key in keys(5, 6, 7, 1):
        queue.add(key)
    assert [key[0] for key in queue.head(9)] == [1, 5, 6]


def test_a_key_that_left_from_afar_is_skipped_when_its_turn_comes():
    queue = WaitingQueue(hot=1)
    first, second, third = keys(0, 0, 0)
    queue.load([first, second, third])
    queue.remove(second)
    assert queue.promote() == [first]
    queue.remove(first)
    assert queue.promote() == [third]


@pytest.mark.parametrize("hot", [1, 2, 10])
def test_hot_ones_are_demoted_only_beyond_a_tenth_of_slack(hot):
    queue = WaitingQueue(hot)
    for key in reversed(keys(*range(hot + hot // 10))):
        queue.add(key)
    assert queue.demote() == []
    queue.add((-1, 99, "99"))
    assert len(queue.demote()) == hot // 10 + 1
    assert (queue.hot, len(queue)) == (hot, hot + hot // 10 + 1)


def test_the_hot_keys_before_a_key_are_counted_and_given():
    queue = WaitingQueue()
    keys = [(0, seq, str(seq)) for seq in range(1, 5)]
    for key in keys:
        queue.add(key)
    assert queue.index(keys[2]) == 2
    assert queue.before(keys[2], 1) == keys[:1]
    assert queue.before(keys[2], 9) == keys[:2]
