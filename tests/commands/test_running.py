"""A command from its message to its final value."""

from __future__ import annotations

import pytest

from commands.fake_commands import RealProcesses, ended, output, started
from orcha._core.record import Record
from orcha._core.state import Outcome, State
from orcha._protocol import messages
from orcha._supervisor.contract import CommandNotStarted
from support.waiting import wait_for


def test_what_a_command_prints_arrives_and_then_its_code(open_engine):
    engine = open_engine(RealProcesses)
    asked = engine.run(argv=["echo", "hi"])
    engine.settle(asked)
    assert engine.values(asked) == [(1, b"hi\n"), 0]
    assert engine.row(asked).outcome is Outcome.SUCCEEDED
    wait_for(lambda: ("finish", "a") in engine.manager.hooks, what="on_finish")
    assert engine.manager.hooks == [("start", "a"), ("finish", "a")]


def test_the_attempt_and_its_fields_reach_those_who_execute_it(engine):
    asked = engine.run(
        "job", argv=["a", b"\xff"], cwd="/tmp", env={"A": "b"}, umask=0o77, tty=(24, 80), stdin=True, stop_signal=15,
        grace=1.5, idle_timeout=2, memory=1 << 20, warn=[10, 4], policy={"timeout": 9},
    )  # fmt: skip
    spec = engine.wait_for_spec()
    assert (spec.seq, spec.attempt, spec.channel) == (1, 1, asked.token)
    assert (spec.argv, spec.cwd, spec.umask, spec.tty, spec.stdin) == (("a", b"\xff"), "/tmp", 0o77, (24, 80), "pipe")
    assert spec.env == {"A": "b", "ORCHA_ID": "job", "ORCHA_ATTEMPT": "1"}
    assert (spec.stop_signal, spec.grace, spec.timeout, spec.idle_timeout, spec.memory) == (15, 1.5, 9, 2, 1 << 20)
    assert (spec.warn_signal, spec.warn_seconds) == (10, 4.0)


def test_its_start_is_durable_before_it_is_handed_over_and_it_runs_once_it_is_said_to(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    assert engine.row(asked).state is State.STARTING
    engine.commands.tell(started(spec))
    wait_for(lambda: engine.row(asked).state is State.RUNNING, what="RUNNING")
    engine.commands.tell(ended(spec, 3))
    engine.settle(asked)
    assert engine.values(asked) == [3]
    assert (engine.row(asked).outcome, engine.row(asked).code) == (Outcome.FAILED, 3)


def test_output_is_acknowledged_when_it_is_kept_and_the_end_is_forgotten_then(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.commands.tell(output(spec, b"a", b"b"))
    engine.wait_for_call("took", 1, 1, 2)
    engine.commands.tell(output(spec, b"b", b"c", first=2, stream=2))  # a piece comes twice where its took was lost
    engine.wait_for_call("took", 1, 1, 3)
    assert not engine.commands.made("forget")
    engine.commands.tell(ended(spec, last_chunk=3))
    engine.wait_for_call("forget", 1, 1)
    engine.settle(asked)
    assert engine.values(asked) == [(1, b"a"), (1, b"b"), (2, b"c"), 0]


def test_a_command_that_cannot_be_executed_says_why(engine):
    asked = engine.run()
    engine.wait_for_spec()
    engine.commands.tell(CommandNotStarted(1, 1, 127, "cannot execute 'foo': No such file or directory"))
    engine.settle(asked)
    assert engine.values(asked) == ["cannot execute 'foo': No such file or directory\n", 127]
    assert engine.row(asked).outcome is Outcome.BROKEN


def test_a_signal_is_told_as_shells_do(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(ended(spec, None, signal=11))
    engine.settle(asked)
    assert engine.values(asked) == [139]


def test_what_comes_of_an_attempt_that_is_over_is_discarded(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(ended(spec))
    engine.settle(asked)
    engine.commands.tell(output(spec, b"late"))
    engine.wait_for_call("discard", 1, 1)
    assert engine.values(asked) == [0]


def test_a_cancel_climbs_the_ladder_and_is_answered_when_nothing_lives(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.cancel(asked)
    engine.wait_for_call("cancel", 1, 1, "cancelled")
    assert engine.row(asked).state is State.CANCELLING
    assert not engine.told.cancelled
    engine.commands.tell(output(spec, b"bye"))
    engine.commands.tell(ended(spec, None, signal=2, why="cancelled", signals=[(1.0, 2, "cancelled")], last_chunk=1))
    engine.settle(asked)
    assert engine.values(asked) == [(1, b"bye"), 130]
    assert engine.told.cancelled == {asked.token: "cancelled"}


def test_a_command_that_ended_before_the_first_signal_ended_by_itself(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.cancel(asked)
    engine.wait_for_call("cancel", 1, 1, "cancelled")
    engine.commands.tell(ended(spec, 0))
    engine.settle(asked)
    assert engine.values(asked) == [0]
    assert engine.told.cancelled == {asked.token: "succeeded"}


def test_a_limit_is_told_as_such(engine):
    asked = engine.run(policy={"timeout": 5})
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.commands.tell(ended(spec, None, signal=2, why="timeout", signals=[(1.0, 2, "timeout")]))
    engine.settle(asked)
    assert engine.values(asked) == ["ran longer than 5 s\n", 124]
    assert engine.row(asked).outcome is Outcome.TIMED_OUT


@pytest.fixture
def without_hooks(monkeypatch):
    """Treat commands as commands of the built-in manager."""
    monkeypatch.setattr(Record, "has_hooks", property(lambda record: not record.command))


@pytest.mark.usefixtures("without_hooks")
def test_a_command_of_the_built_in_manager_starts_and_ends_without_calls_of_hooks(engine):
    asked = engine.run(retry={"times": 1, "delay": 0.0})
    engine.commands.tell(ended(engine.wait_for_spec(), 1))
    engine.commands.tell(ended(engine.wait_for_spec(2)))
    engine.settle(asked)
    assert engine.values(asked)[-1] == 0
    assert engine.manager.hooks == []
    assert not engine.row(asked).hook_pending


@pytest.mark.usefixtures("without_hooks")
def test_a_command_of_the_built_in_manager_that_is_cancelled_while_its_start_is_kept_is_not_executed(
    engine, monkeypatch
):
    keep = engine.store.commit
    asked = None

    def cancel_with_the_start(changes, **options):
        if any(step.state is State.STARTING for step in changes.transitions.values()):
            monkeypatch.setattr(engine.store, "commit", keep)
            engine.engine._on_message(engine.peer, messages.Cancel(7, asked.token, None))
        return keep(changes, **options)

    engine.manager.blocked = {"a"}
    asked = engine.run()
    wait_for(lambda: asked.token in engine.told.accepted, what="it waits")
    monkeypatch.setattr(engine.store, "commit", cancel_with_the_start)
    engine.manager.blocked = set()
    engine.engine.post(engine.engine.visits.wake)
    engine.settle(asked)
    assert engine.values(asked) == [130]
    assert not engine.commands or not engine.commands.specs
