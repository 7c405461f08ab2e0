"""The queue of output that is not kept: what it holds, when the command has to wait, and what is dropped."""

from __future__ import annotations

import pytest

from orcha._supervisor import unkept_queue
from orcha._supervisor.unkept_queue import FULL_QUEUE_BYTES, MAX_CHUNK_BYTES, MAX_WAIT_SECONDS, UnkeptQueue

FILLING = FULL_QUEUE_BYTES // MAX_CHUNK_BYTES
"""Chunks that make the queue full."""


@pytest.fixture
def clock(monkeypatch):
    """Give a clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(unkept_queue.time, "monotonic", lambda: now[0])
    return now


def filled() -> UnkeptQueue:
    queue = UnkeptQueue()
    for number in range(1, FILLING + 1):
        assert queue.add(number, 1, b"x" * MAX_CHUNK_BYTES, given=number - 1) == number
    return queue


def pieces(queue, given=0):
    message = queue.give(given)
    return message and message[0]["c"]


def test_small_writes_grow_into_one_chunk_until_it_is_given():
    queue = UnkeptQueue()
    assert queue.add(1, 1, b"ab", given=0) == 1
    assert queue.add(2, 1, b"cd", given=0) == 1
    head, raw = queue.give(0)
    assert (head["c"], raw) == ([[1, 1, 0, 4, True]], b"abcd")
    assert queue.add(2, 1, b"ef", given=1) == 2
    assert queue.add(3, 2, b"gh", given=1) == 3
    assert pieces(queue, 1) == [[2, 1, 4, 2, True], [3, 2, 6, 2, True]]


def test_a_full_queue_makes_the_command_wait_until_something_is_passed_on(clock):
    queue = filled()
    assert queue.is_full
    assert queue.due == clock[0] + MAX_WAIT_SECONDS
    queue.acknowledge(1)
    assert not queue.is_full


def test_a_command_that_has_waited_long_enough_goes_on_and_its_output_is_dropped(clock):
    queue = filled()
    clock[0] += MAX_WAIT_SECONDS
    assert not queue.is_full
    assert queue.add(FILLING + 1, 1, b"lost", given=FILLING) == FILLING + 1
    assert queue.add(FILLING + 2, 2, b"too", given=FILLING) == FILLING + 1
    assert queue.give(FILLING) is None
    queue.finish()
    assert pieces(queue, FILLING) == [[FILLING + 1, 1, FULL_QUEUE_BYTES, 7, False]]


def test_nothing_is_dropped_at_the_end_of_a_command_whose_queue_is_full(clock):
    queue = filled()
    queue.finish()
    assert not queue.is_full
    queue.add(FILLING + 1, 1, b"last", given=FILLING)
    assert pieces(queue, FILLING) == [[FILLING + 1, 1, FULL_QUEUE_BYTES, 4, True]]


@pytest.mark.parametrize("reason", ["nobody reads", "no service"])
def test_the_command_does_not_wait_where(clock, reason):
    queue = filled()
    if reason == "nobody reads":
        queue.read_by(anybody=False)
    else:
        queue.connected = False
    assert not queue.is_full


def test_a_reader_that_comes_gets_what_is_written_from_then_on():
    queue = UnkeptQueue()
    queue.read_by(anybody=False)
    queue.add(1, 1, b"lost", given=0)
    queue.read_by(anybody=True)
    queue.add(2, 1, b"there", given=0)
    head, raw = queue.give(0)
    assert (head["c"], raw) == ([[1, 1, 0, 4, False], [2, 1, 4, 5, True]], b"there")
