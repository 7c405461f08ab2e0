"""What becomes of commands when the service comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import support.engine
from commands.fake_commands import FakeCommands, ended, output, started
from orcha._core.state import Outcome, State
from orcha._store.sqlite import SqliteStore
from orcha._supervisor.contract import CommandLost, CommandNotStarted, FoundAttempt
from support.changes import ANY_STATE
from support.waiting import wait_for


def found(spec, phase="running", **fields):
    return FoundAttempt(spec.seq, spec.attempt, spec.channel, phase, "shim-1", **fields)


def running(engine, *pieces, **fields):
    """Start a command that has written these pieces."""
    asked = engine.run(**fields)
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    if pieces:
        engine.commands.tell(output(spec, *pieces))
        engine.wait_for_call("took", spec.seq, spec.attempt, len(pieces))
    wait_for(lambda: engine.row(asked).state is State.RUNNING, what="RUNNING")
    return asked, spec


def all_of(engine, asked):
    """Follow its channel from the start, to the final value."""
    engine.follow(asked)
    wait_for(lambda: engine.values(asked)[-1:] and isinstance(engine.values(asked)[-1], int), what="the final value")
    return engine.values(asked)


def test_a_command_that_lives_goes_on_after_the_last_chunk_that_was_kept(engine):
    asked, spec = running(engine, b"a", b"b")
    later = engine.again(found(spec))
    later.wait_for_call("resume", 1, 1, 2)
    assert later.row(asked).state is State.RUNNING
    later.commands.tell(output(spec, b"b", b"c", first=2))
    later.commands.tell(ended(spec, 4, last_chunk=3))
    assert all_of(later, asked) == [(1, b"a"), (1, b"b"), (1, b"c"), 4]
    wait_for(lambda: later.manager.hooks == [("finish", "a")], what="on_finish, and no second on_start")


def test_one_that_was_handed_over_when_the_service_died_is_taken_too(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    assert engine.row(asked).state is State.STARTING
    later = engine.again(found(spec, "waiting"))
    later.wait_for_call("resume", 1, 1, 0)
    later.commands.tell(started(spec))
    later.commands.tell(ended(spec))
    assert all_of(later, asked) == [0]
    assert not later.commands.specs


def test_one_that_was_never_executed_is_queued_again_and_starts_as_the_next_attempt(engine):
    asked = engine.run()
    engine.wait_for_spec()
    later = engine.again()
    spec = later.wait_for_spec(2)
    later.commands.tell(ended(spec))
    assert all_of(later, asked) == [0]
    history = json.loads(later.store.attempts([1])[1].history)
    assert [(one["attempt"], one["why"]) for one in history] == [(1, "lost"), (2, None)]
    assert history[0]["executed"] is False


def test_however_often_the_service_dies_before_a_start_it_is_tried_again(engine):
    asked = engine.run()
    engine.wait_for_spec()
    later = engine
    for attempt in range(2, 7):
        later = later.again()
        later.wait_for_spec(attempt)
    later.commands.tell(ended(later.wait_for_spec(6)))
    assert all_of(later, asked) == [0]


def test_three_that_were_never_executed_in_a_row_are_enough(engine):
    asked = engine.run()
    for attempt in (1, 2, 3):
        engine.wait_for_spec(attempt)
        engine.commands.tell(CommandLost(1, attempt, executed=False))
    values = all_of(engine, asked)
    assert "could not be executed" in values[0]
    assert engine.row(asked).outcome is Outcome.BROKEN
    assert len(engine.commands.specs) == 3


@pytest.mark.parametrize(
    ("policy", "outcome", "attempts"),
    [("fail", Outcome.INTERRUPTED, 1), ("rerun", Outcome.SUCCEEDED, 2)],
)
def test_one_that_is_lost_goes_by_its_policy(engine, policy, outcome, attempts):
    asked, spec = running(engine, b"a", policy={"on_interrupt": policy})
    later = engine.again(found(spec, "lost"))
    later.wait_for_call("forget", 1, 1)
    if policy == "rerun":
        later.commands.tell(ended(later.wait_for_spec(2)))
    values = all_of(later, asked)
    assert values[0] == (1, b"a")
    assert later.row(asked).outcome is outcome
    assert later.row(asked).attempt == attempts


def test_one_whose_shim_failed_while_the_service_was_away_is_told_with_the_error(engine):
    asked, spec = running(engine, b"a")
    later = engine.again(found(spec, "lost")._replace(failure="OverflowError: too long"))
    reason = "interrupted: what watched over the command failed: OverflowError: too long\n"
    assert all_of(later, asked) == [(1, b"a"), reason, 75]


def test_one_that_is_lost_waits_for_a_decision_where_that_is_its_policy(engine):
    asked, _ = running(engine, policy={"on_interrupt": "ask"})
    later = engine.again()
    assert later.row(asked).state is State.HELD


def test_the_end_that_a_dead_shim_saw_is_its_end(engine):
    asked, spec = running(engine, b"a", policy={"on_interrupt": "rerun"})
    later = engine.again(found(spec, "lost", ended=ended(spec, 3)))
    assert all_of(later, asked) == [(1, b"a"), 3]
    later.wait_for_call("forget", 1, 1)
    assert not later.commands.specs


def test_after_a_reboot_nobody_knows_whether_a_start_was_executed(engine):
    asked = engine.run()
    engine.wait_for_spec()
    later = engine.again(rebooted=True)
    assert all_of(later, asked)[-1] == 75
    assert later.row(asked).outcome is Outcome.INTERRUPTED


def test_a_cancel_that_was_kept_goes_on(engine):
    asked, spec = running(engine)
    engine.cancel(asked)
    engine.wait_for_call("cancel", 1, 1, "cancelled")
    later = engine.again(found(spec))
    later.wait_for_call("cancel", 1, 1, "cancelled")
    later.wait_for_call("resume", 1, 1, 0)
    later.commands.tell(ended(spec, None, signal=2, why="cancelled", signals=[(1.0, 2, "cancelled")]))
    assert all_of(later, asked) == [130]


def test_a_cancel_of_what_is_lost_has_worked(engine):
    asked, _ = running(engine)
    engine.cancel(asked)
    engine.wait_for_call("cancel", 1, 1, "cancelled")
    later = engine.again()
    assert all_of(later, asked) == [130]


def test_what_the_store_does_not_know_is_killed_and_what_is_over_forgotten(engine):
    asked, spec = running(engine)
    engine.commands.tell(ended(spec))
    engine.settle(asked)
    unknown = spec._replace(seq=77)
    later = engine.again(found(spec, "ended"), found(unknown), found(spec._replace(attempt=2)))
    later.wait_for_call("forget", 1, 1)
    later.wait_for_call("discard", 77, 1)
    later.wait_for_call("discard", 1, 2)
    assert all_of(later, asked) == [0]


def test_one_whose_petition_cannot_be_made_again_ends_all_the_same(engine):
    asked, spec = running(engine, b"a")
    later = engine.again(found(spec), converts=False)
    later.wait_for_call("resume", 1, 1, 1)
    later.commands.tell(ended(spec, 3, last_chunk=1))
    assert all_of(later, asked) == [(1, b"a"), 3]
    wait_for(lambda: not later.row(asked).hook_pending, what="that nothing is owed any more")
    assert later.manager.hooks == []


def test_one_that_was_not_executed_and_cannot_be_made_again_ends_with_why(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    later = engine.again(found(spec, "ended"), converts=False)
    later.wait_for_call("resume", 1, 1, 0)
    later.commands.tell(CommandNotStarted(1, 1, 127, "cannot execute 'foo': No such file or directory"))
    assert all_of(later, asked) == ["cannot execute 'foo': No such file or directory\n", 127]


def test_one_that_is_lost_before_its_petition_is_made_again_runs_again(engine):
    asked, spec = running(engine, b"a", policy={"on_interrupt": "rerun"})
    later = engine.again(found(spec), early=(CommandLost(1, 1, True),))
    later.commands.tell(ended(later.wait_for_spec(2), 0))
    assert all_of(later, asked) == [(1, b"a"), 0]
    wait_for(lambda: later.manager.hooks.count(("finish", "a")) == 2, what="two ends")


def test_a_command_of_a_manager_that_does_not_run_here_now_is_let_be(engine, monkeypatch):
    asked, spec = running(engine, b"a")
    ours = support.engine.MANAGER
    monkeypatch.setattr("support.engine.MANAGER", "tests:Other")
    other = engine.again(found(spec))
    other.settle_engine()
    assert [call[0] for call in other.commands.calls] == []
    assert other.row(asked).state is State.RUNNING
    monkeypatch.setattr("support.engine.MANAGER", ours)
    back = other.again(found(spec))
    back.wait_for_call("resume", 1, 1, 1)
    back.commands.tell(ended(spec, 0, last_chunk=1))
    assert all_of(back, asked) == [(1, b"a"), 0]


def test_output_that_was_not_kept_when_the_service_died_is_not_doubled(engine, monkeypatch):
    pieces = [bytes([65 + number]) * 10_000 for number in range(10)]
    asked, spec = running(engine, *pieces)

    def dies(*_, **__):
        raise RuntimeError("the service dies here")

    with monkeypatch.context() as patched:
        patched.setattr(engine.store, "commit", dies)
        engine.commands.tell(output(spec, b"once", first=11))
        assert engine.engine.stopped.wait(30)
    later = engine.again(found(spec))
    later.wait_for_call("resume", 1, 1, 10)
    later.commands.tell(output(spec, b"once", first=11))
    later.commands.tell(ended(spec, 0, last_chunk=11))
    assert all_of(later, asked) == [*((1, piece) for piece in pieces), (1, b"once"), 0]


def test_one_whose_start_was_told_and_not_kept_is_known_to_run(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    later = engine.again(found(spec, pid=99, start_time=5.5, boot_id="boot"))
    wait_for(lambda: later.row(asked).state is State.RUNNING, what="RUNNING")
    row = later.store.attempts([1])[1]
    assert (row.pid, row.start_time, row.boot_id, row.shim) == (99, 5.5, "boot", "shim-1")
    later.commands.tell(ended(spec))
    assert all_of(later, asked) == [0]


@pytest.mark.parametrize(
    ("policy", "outcome", "attempts"),
    [("fail", Outcome.INTERRUPTED, 1), ("rerun", Outcome.SUCCEEDED, 2)],
)
def test_one_of_which_nothing_proves_that_it_was_not_executed_goes_by_its_policy(engine, policy, outcome, attempts):
    asked = engine.run(policy={"on_interrupt": policy})
    engine.wait_for_spec()
    later = engine.again(unproven=True)
    if policy == "rerun":
        later.commands.tell(ended(later.wait_for_spec(2)))
    all_of(later, asked)
    assert later.row(asked).outcome is outcome
    assert later.row(asked).attempt == attempts
    history = json.loads(later.store.attempts([1])[1].history)
    assert history[0]["executed"] is True


CLAIMED = Path(__file__).parents[1] / "store" / "fixtures" / "claimed.db"
"""A database in which an older Orcha, of schema 6, claimed a command that waits: it may have been executed."""


@pytest.fixture
def claimed(folder, open_engine):
    """Give a function that starts an engine on that database."""
    shutil.copy(CLAIMED, folder / "orcha.db")
    (folder / "orcha.db.clean").touch()
    return open_engine


def only_row(engine):
    return engine.store.page(states=ANY_STATE, limit=2)[0]


def ended_row(engine):
    return wait_for(lambda: (row := only_row(engine)).state is State.ENDED and row, what="its end")


def test_one_that_was_claimed_and_may_have_run_does_not_run_again(claimed):
    row = ended_row(claimed(unproven=True))
    assert (row.outcome, row.attempt) == (Outcome.INTERRUPTED, 1)


def test_one_that_was_claimed_and_runs_goes_on(claimed):
    spec = SimpleNamespace(seq=1, attempt=1, channel=b"\0\0\0\0\0\x01".ljust(16, b"\0"))
    engine = claimed(found=(found(spec, pid=99, start_time=5.5, boot_id="boot"),))
    wait_for(lambda: only_row(engine).state is State.RUNNING, what="RUNNING")
    engine.commands.tell(ended(spec))
    row = ended_row(engine)
    assert (row.outcome, row.attempt) == (Outcome.SUCCEEDED, 1)
    assert engine.commands.specs == []


def test_one_that_was_claimed_and_was_not_executed_runs_as_its_next_attempt(claimed):
    engine = claimed()
    spec = engine.wait_for_spec(2)
    engine.commands.tell(ended(spec))
    row = ended_row(engine)
    assert (row.outcome, row.attempt) == (Outcome.SUCCEEDED, 2)
    history = json.loads(engine.store.attempts([1])[1].history)
    assert [(one["attempt"], one["executed"]) for one in history[:1]] == [(1, False)]


def test_nothing_is_forgotten_or_killed_before_what_was_found_out_is_kept(engine, monkeypatch):
    _, spec = running(engine)
    unknown = spec._replace(seq=77)
    made = []

    def make(on_events):
        made.append(FakeCommands(on_events))
        return made[-1]

    kept, commit = [], SqliteStore.commit

    def keep(store, changes, **named):
        kept.append(list(made[0].calls))
        return commit(store, changes, **named)

    engine.stop()
    there = (found(spec, "lost"), found(unknown), found(unknown._replace(attempt=2), "ended"))
    monkeypatch.setattr(SqliteStore, "commit", keep)
    later = engine.open_another(make, found=there)
    for verb, key in (("forget", (spec.seq, 1)), ("discard", (77, 1)), ("forget", (77, 2))):
        later.wait_for_call(verb, *key)
    assert kept[0] == []
