"""What every store keeps of attempts: of commands, and of actions that are tried again."""

from __future__ import annotations

import pytest

from orcha._core.changes import AttemptStep, Changes
from orcha._core.state import State
from orcha._store.contract import AttemptRow
from orcha.exceptions.store import FencedError
from support.changes import accept, end, petition, step, steps


def kept(store, *attempts):
    store.commit(Changes(attempts={attempt.seq: attempt for attempt in attempts}))


@pytest.fixture
def started(store):
    """Petitions 1 and 2 are in attempt 1, petition 3 has not started."""
    store.commit(accept(petition(1), petition(2), petition(3)))
    changes = steps(step(1, State.STARTING, to_attempt=1), step(2, State.STARTING, to_attempt=1))
    changes.attempts = {1: AttemptStep(1, 1), 2: AttemptStep(2, 1)}
    store.commit(changes)
    return store


def test_a_start_makes_a_row(started):
    assert started.attempts([1, 2, 3, 4]) == {
        seq: AttemptRow(seq, 1, None, None, None, None, 0, None, 0, 0, None, True) for seq in (1, 2)
    }


def test_everything_comes_back_as_it_was_given(started):
    given = AttemptStep(1, 1, 4711, 1_700_000_000.1234567, "boot", "shim'\"ü", 1 << 40, 1e300, 5, 6, '[{"a": "ü\\n"}]')
    kept(started, given)
    (row,) = started.attempts([1]).values()
    assert tuple(row) == tuple(given)


def test_what_a_step_leaves_out_stays_or_goes(started):
    kept(started, AttemptStep(1, 1, 4711, 1.5, "boot", "shim", 9, 2.5, 3, 4, "[]"))
    kept(started, AttemptStep(1, 1))
    assert started.attempts([1])[1] == AttemptRow(1, 1, None, None, None, None, 0, None, 3, 4, "[]", True)


def test_a_command_of_another_attempt_is_fenced_and_nothing_is_kept(started):
    for wrong in (AttemptStep(1, 2), AttemptStep(3, 1), AttemptStep(9, 1)):
        changes = steps(end(2, attempt=1))
        changes.attempts = {wrong.seq: wrong}
        with pytest.raises(FencedError) as caught:
            started.commit(changes)
        assert caught.value.seqs == (wrong.seq,)
    assert started.rows([2])[0].state is State.STARTING


def test_a_command_goes_with_the_step_of_its_transaction(started):
    changes = steps(step(3, State.STARTING, to_attempt=1), step(1, State.STARTING, attempt=1, to_attempt=2))
    changes.attempts = {3: AttemptStep(3, 1), 1: AttemptStep(1, 1)}
    with pytest.raises(FencedError) as caught:
        started.commit(changes)
    assert caught.value.seqs == (1,)
    changes.attempts[1] = AttemptStep(1, 2)
    started.commit(changes)
    assert [started.attempts([seq])[seq].attempt for seq in (1, 2, 3)] == [2, 1, 1]


def test_a_command_may_be_kept_with_its_petitions_acceptance(store):
    changes = accept(petition(1, state=State.STARTING, attempt=1))
    changes.attempts = {1: AttemptStep(1, 1)}
    store.commit(changes)
    assert store.attempts([1])[1].attempt == 1


def test_those_that_wait_for_a_time_come_in_its_order(started):
    kept(started, AttemptStep(1, 1, due=20.5), AttemptStep(2, 1, due=10.25))
    assert [(row.seq, row.due) for row in started.resting()] == [(2, 10.25), (1, 20.5)]
    kept(started, AttemptStep(2, 1))
    assert [row.seq for row in started.resting()] == [1]


def test_an_attempt_of_the_other_kind_goes_on_with_the_history_and_the_retries(started):
    kept(started, AttemptStep(1, 1, 4711, 1.5, "boot", "shim", 9, None, 3, 4, "[]"))
    kept(started, AttemptStep(1, 1, due=3.5, is_command=False))
    assert started.attempts([1])[1] == AttemptRow(1, 1, None, None, None, None, 0, 3.5, 3, 4, "[]", False)


def test_it_is_kept_with_the_step_of_its_transaction_or_not_at_all(started):
    changes = steps(step(3, State.STARTING, attempt=7, to_attempt=8))
    changes.attempts = {3: AttemptStep(3, 8, due=1.0, retries=1, is_command=False)}
    with pytest.raises(FencedError):
        started.commit(changes)
    assert 3 not in started.attempts([3])


def test_a_command_goes_with_its_petition(started):
    started.commit(steps(end(1, attempt=1)))
    started.commit(Changes(deleted=[1]))
    assert list(started.attempts([1, 2])) == [2]


def test_a_petition_that_is_deleted_waits_for_no_time(started):
    kept(started, AttemptStep(1, 1, due=1.0, is_command=False), AttemptStep(2, 1, due=2.0, is_command=False))
    started.commit(steps(end(1, attempt=1)))
    started.commit(Changes(deleted=[1]))
    assert [row.seq for row in started.resting()] == [2]
