"""What every store keeps of petitions that are tried again."""

from __future__ import annotations

import pytest

from orcha._core.changes import Changes, RetryStep
from orcha._core.state import State
from orcha._store.contract import RetryRow
from orcha.exceptions.store import FencedError
from support.changes import accept, end, petition, step, steps


def keep(store, *retries):
    store.commit(Changes(retries={retry.seq: retry for retry in retries}))


@pytest.fixture
def three(store):
    store.commit(accept(petition(1), petition(2), petition(3)))
    return store


def test_everything_comes_back_as_it_was_given(three):
    given = RetryStep(1, 1_700_000_000.1234567, 5, '[{"a": "ü\\n"}]')
    keep(three, given)
    assert three.retries([1, 2, 9]) == {1: RetryRow(*given)}


def test_what_a_step_leaves_out_stays_but_for_the_time(three):
    keep(three, RetryStep(1, 1.5, 2, "[]"))
    keep(three, RetryStep(1))
    assert three.retries([1]) == {1: RetryRow(1, None, 2, "[]")}
    keep(three, RetryStep(2, 3.5))
    assert three.retries([2]) == {2: RetryRow(2, 3.5, 0, None)}


def test_those_that_wait_for_a_time_come_in_its_order(three):
    keep(three, RetryStep(1, 20.5), RetryStep(2, 10.25), RetryStep(3))
    assert [(row.seq, row.due) for row in three.retrying()] == [(2, 10.25), (1, 20.5)]
    keep(three, RetryStep(2))
    assert [row.seq for row in three.retrying()] == [1]


def test_it_is_kept_with_the_step_of_its_transaction_or_not_at_all(three):
    changes = steps(step(1, State.STARTING, attempt=7, to_attempt=8))
    changes.retries = {1: RetryStep(1, 1.0, 1)}
    with pytest.raises(FencedError):
        three.commit(changes)
    assert three.retries([1]) == {}


def test_it_goes_with_its_petition(three):
    keep(three, RetryStep(1, 1.0, 1), RetryStep(2, 2.0, 1))
    three.commit(steps(end(1)))
    three.commit(Changes(deleted=[1]))
    assert list(three.retries([1, 2])) == [2]
    assert [row.seq for row in three.retrying()] == [2]
