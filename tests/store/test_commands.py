"""What every store keeps of commands."""

from __future__ import annotations

import pytest

from orcha._core.changes import Changes, CommandStep
from orcha._core.state import State
from orcha._store.contract import CommandRow
from orcha.exceptions.store import FencedError
from support.changes import accept, end, petition, step, steps


def kept(store, *commands):
    store.commit(Changes(commands={command.seq: command for command in commands}))


@pytest.fixture
def started(store):
    """Petitions 1 and 2 are in attempt 1, petition 3 has not started."""
    store.commit(accept(petition(1), petition(2), petition(3)))
    changes = steps(step(1, State.STARTING, to_attempt=1), step(2, State.STARTING, to_attempt=1))
    changes.commands = {1: CommandStep(1, 1), 2: CommandStep(2, 1)}
    store.commit(changes)
    return store


def test_a_start_makes_a_row(started):
    assert started.commands([1, 2, 3, 4]) == {
        seq: CommandRow(seq, 1, None, None, None, None, 0, None, 0, 0, None) for seq in (1, 2)
    }


def test_everything_comes_back_as_it_was_given(started):
    given = CommandStep(1, 1, 4711, 1_700_000_000.1234567, "boot", "shim'\"ü", 1 << 40, 1e300, 5, 6, '[{"a": "ü\\n"}]')
    kept(started, given)
    (row,) = started.commands([1]).values()
    assert tuple(row) == tuple(given)


def test_what_a_step_leaves_out_stays_or_goes(started):
    kept(started, CommandStep(1, 1, 4711, 1.5, "boot", "shim", 9, 2.5, 3, 4, "[]"))
    kept(started, CommandStep(1, 1))
    assert started.commands([1])[1] == CommandRow(1, 1, None, None, None, None, 0, None, 3, 4, "[]")


def test_a_command_of_another_attempt_is_fenced_and_nothing_is_kept(started):
    for wrong in (CommandStep(1, 2), CommandStep(3, 1), CommandStep(9, 1)):
        changes = steps(end(2, attempt=1))
        changes.commands = {wrong.seq: wrong}
        with pytest.raises(FencedError) as caught:
            started.commit(changes)
        assert caught.value.seqs == (wrong.seq,)
    assert started.rows([2])[0].state is State.STARTING


def test_a_command_goes_with_the_step_of_its_transaction(started):
    changes = steps(step(3, State.STARTING, to_attempt=1), step(1, State.STARTING, attempt=1, to_attempt=2))
    changes.commands = {3: CommandStep(3, 1), 1: CommandStep(1, 1)}
    with pytest.raises(FencedError) as caught:
        started.commit(changes)
    assert caught.value.seqs == (1,)
    changes.commands[1] = CommandStep(1, 2)
    started.commit(changes)
    assert [started.commands([seq])[seq].attempt for seq in (1, 2, 3)] == [2, 1, 1]


def test_a_command_may_be_kept_with_its_petitions_acceptance(store):
    changes = accept(petition(1, state=State.STARTING, attempt=1))
    changes.commands = {1: CommandStep(1, 1)}
    store.commit(changes)
    assert store.commands([1])[1].attempt == 1


def test_those_that_wait_for_a_time_come_in_its_order(started):
    kept(started, CommandStep(1, 1, due=20.5), CommandStep(2, 1, due=10.25))
    assert [(row.seq, row.due) for row in started.resting()] == [(2, 10.25), (1, 20.5)]
    kept(started, CommandStep(2, 1))
    assert [row.seq for row in started.resting()] == [1]


def test_a_command_goes_with_its_petition(started):
    started.commit(steps(end(1, attempt=1)))
    started.commit(Changes(deleted=[1]))
    assert list(started.commands([1, 2])) == [2]
