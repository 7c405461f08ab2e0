"""How the ends of commands are told, the rare ones too."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from commands.fake_commands import FakeCommands, ended, output, started
from orcha._core.retry import SIZE_LIMITS, TIME_LIMITS
from orcha._core.state import Outcome, State
from orcha._service.execution import command_attempt
from orcha._service.execution.command_reports import CommandReports
from orcha._service.execution.starts_ahead import StartsAhead
from orcha._supervisor.contract import CommandEnded, CommandLost, ResourceUsage
from support.waiting import wait_for


@pytest.mark.parametrize(
    ("end", "lines", "outcome", "code"),
    [
        ({"code": 0}, [], Outcome.SUCCEEDED, 0),
        ({"code": None, "signal": 9}, [], Outcome.FAILED, 137),
        ({"code": None, "signal": 15, "why": "timeout"}, ["ran longer than 9 s\n"], Outcome.TIMED_OUT, 124),
        ({"code": 0, "why": "idle"}, ["wrote nothing for 2.5 s\n"], Outcome.TIMED_OUT, 124),
        ({"code": 1, "why": "cpu"}, ["used more processor time than it may\n"], Outcome.TIMED_OUT, 124),
        (
            {"code": None, "signal": 9, "why": "memory", "usage": ResourceUsage(peak=300 << 20)},
            ["out of memory: it used 300 MiB\n"],
            Outcome.FAILED,
            137,
        ),
        ({"code": 0, "why": "output"}, ["it wrote more than its output limit\n"], Outcome.FAILED, 1),
        (
            {"code": 0, "why": "shutdown"},
            ["interrupted: the service was stopped while it ran\n"],
            Outcome.INTERRUPTED,
            75,
        ),
        ({"code": None, "signal": 2, "why": "cancelled"}, [], Outcome.CANCELLED, 130),
        ({"code": 0, "survivors": [42]}, [], Outcome.SUCCEEDED, 0),
    ],
)
def test_the_end_is_told_with_its_reason_and_code(engine, end, lines, outcome, code):
    asked = engine.run(policy={"timeout": 9}, idle_timeout=2.5)
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.commands.tell(ended(spec, end.pop("code"), **end))
    engine.settle(asked)
    assert engine.values(asked) == [*lines, code]
    assert engine.row(asked).outcome is outcome


@pytest.mark.parametrize(
    ("end", "outcome", "code"),
    [
        ({"code": 3}, Outcome.SUCCEEDED, 3),
        ({"code": 0}, Outcome.FAILED, 0),
        ({"code": 5}, Outcome.FAILED, 5),
        ({"code": None, "signal": 9}, Outcome.FAILED, 137),
    ],
)
def test_the_codes_that_count_as_success_are_the_petitions(engine, end, outcome, code):
    asked = engine.run(ok_codes=[3, 137], policy={"retry": {"times": 1, "codes": [3]}})
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    engine.commands.tell(ended(spec, end.pop("code"), **end))
    engine.settle(asked)
    assert (engine.row(asked).outcome, engine.row(asked).code) == (outcome, code)
    assert engine.values(asked)[-1] == code


def test_a_command_that_cannot_be_handed_over_ends_with_why(open_engine):
    def broken(on_events):
        commands = FakeCommands(on_events)

        def start(spec):
            raise OSError(24, "Too many open files")

        commands.start = start
        return commands

    engine = open_engine(broken)
    asked = engine.run()
    engine.settle(asked)
    assert engine.values(asked) == ["its start failed: [Errno 24] Too many open files (OSError)\n", 125]


@pytest.mark.parametrize("executed", [True, False])
def test_one_that_is_lost_while_the_service_runs(engine, executed):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(CommandLost(1, 1, executed))
    engine.wait_for_call("forget", 1, 1)
    if not executed:
        engine.commands.tell(ended(engine.wait_for_spec(2)))
    engine.settle(asked)
    assert engine.values(asked)[-1] == (75 if executed else 0)
    assert spec.attempt == 1


def test_what_an_error_of_ours_ended_is_told_with_that_error(engine):
    asked = engine.run()
    engine.wait_for_spec()
    engine.commands.tell(CommandLost(1, 1, True, failure="OverflowError: too long"))
    engine.settle(asked)
    reason = "interrupted: what watched over the command failed: OverflowError: too long\n"
    assert engine.values(asked) == [reason, 75]


def test_one_whose_end_a_dying_shim_saw_ends_so(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(output(spec, b"a"))
    engine.commands.tell(CommandLost(1, 1, True, ended(spec, 3)))
    engine.settle(asked)
    assert engine.values(asked) == [(1, b"a"), 3]


def test_losses_are_forgotten_once_an_attempt_was_executed(engine):
    asked = engine.run(retry={"times": 9, "delay": 0.0})
    for attempt in (1, 2):
        engine.wait_for_spec(attempt)
        engine.commands.tell(CommandLost(1, attempt, False))
    spec = engine.wait_for_spec(3)
    engine.commands.tell(ended(spec, 1))
    for attempt in (4, 5):
        engine.wait_for_spec(attempt)
        engine.commands.tell(CommandLost(1, attempt, False))
    engine.commands.tell(ended(engine.wait_for_spec(6), 0))
    engine.settle(asked)
    assert engine.values(asked) == [0]


def test_a_command_that_has_ended_when_its_start_is_told_is_kept_with_its_first_process(engine):
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec, 4712), ended(spec, 3))
    engine.settle(asked)
    (kept,) = json.loads(engine.engine.store.attempts([1])[1].history)
    assert (kept["pid"], kept["code"], engine.row(asked).code) == (4712, 3, 3)


def test_a_second_cancel_kills_at_once_and_signals_go_where_they_should(engine):
    asked = engine.run(stdin=True, tty=(24, 80))
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    wait_for(lambda: engine.row(asked).state is State.RUNNING, what="RUNNING")
    runner, record = engine.engine.commands, engine.engine.petitions.records[1]
    runner.signal(record, 19)
    engine.engine.shims.write(record, 0, b"x")
    engine.engine.shims.close_stdin(record, 1)
    runner.resize(record, 30, 90)
    runner.hurry(record)
    for call in (("signal", 1, 1, 19), ("write", 1, 1, 0, b"x"), ("close_stdin", 1, 1, 1), ("resize", 1, 1, 30, 90)):
        engine.wait_for_call(*call)
    engine.wait_for_call("kill", 1, 1, "cancelled at once")


def test_when_the_engine_fails_commands_go_on(engine):
    asked = engine.run()
    engine.commands.tell(started(engine.wait_for_spec()))
    wait_for(lambda: engine.row(asked).state is State.RUNNING, what="RUNNING")
    engine.engine.post(lambda: 1 / 0)
    assert engine.engine.stopped.wait(30)
    engine.engine.commands.close(failed=engine.engine.failure is not None)
    assert engine.commands.closed is True


def test_what_is_kept_of_an_attempt_may_hold_what_is_no_text():
    attempt = command_attempt.Attempt(SimpleNamespace(seq=1, attempt=2, started=3.0, retry=None), None)
    (kept,) = json.loads(attempt.note_end(4.0, {"failure": "caf\udce9"}))
    assert kept == {"attempt": 2, "pid": None, "started": 3.0, "ended": 4.0, "failure": "caf\udce9"}


def test_each_limit_that_has_words_has_a_final_value():
    assert set(command_attempt._LIMITS) == TIME_LIMITS
    assert {"memory", *command_attempt._FAILED} == SIZE_LIMITS


class OneBatch:
    """A mailbox that has one batch made at once."""

    def __init__(self):
        self.batch = []

    def run_or_post(self, handler, *args, may_keep, ends, more):
        assert may_keep
        assert ends
        handler(*args)
        while more():
            self.batch.append("asked")  # what starts in the place of what ended


@pytest.mark.parametrize(
    ("seconds", "waiting", "are_there", "batch"),
    [
        (0.001, ["c"], False, [1, 2, "asked", 3, "asked"]),
        (1.0, ["c"], False, [1]),
        (0.001, [], False, [1]),
        (1.0, ["c"], True, [1, 2, "asked"]),
    ],
    ids=["short", "long", "nobody waits", "what has come is asked for once"],
)
def test_one_batch_takes_the_ends_that_have_come_and_of_short_commands_those_that_come(
    seconds, waiting, are_there, batch
):
    first, *later = (
        CommandEnded(seq, 1, 0, None, None, [], ResourceUsage(wall=seconds), 0, 0, []) for seq in (1, 2, 3)
    )

    def more(timeout, age):
        comes = are_there or (timeout > 0 and age > 0)
        return [later.pop(0)] if comes and later else []

    mailbox = OneBatch()
    shims = SimpleNamespace(executor=SimpleNamespace(more=more))
    running = SimpleNamespace(live=lambda event: (event.seq, None))
    ends = SimpleNamespace(ended=lambda seq, *_: mailbox.batch.append(seq), not_started=None)
    others = SimpleNamespace(take=None, wrote=None, lost=None, gone=None)
    ahead = StartsAhead(SimpleNamespace(ahead={}, granted=()), None, None, None)
    CommandReports(shims, mailbox, running, SimpleNamespace(waiting=waiting), others, ends, others, others, ahead)
    shims.on_events([first])
    assert mailbox.batch == batch
