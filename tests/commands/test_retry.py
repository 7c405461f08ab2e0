"""Commands that fail are tried again as their petition says, durably."""

from __future__ import annotations

import json

import pytest

from commands.fake_commands import ended, output, started
from orcha._core.state import Outcome, State
from orcha.interfaces import Retry
from support.commands import COMMANDS, everything, run
from support.waiting import wait_for


def retry(**fields):
    return {"times": 2, "delay": 0.0, "jitter": 0.0, **fields}


def test_a_failed_attempt_is_followed_by_another_on_the_same_channel(engine):
    asked = engine.run(retry=retry())
    for attempt in (1, 2, 3):
        spec = engine.wait_for_spec(attempt)
        assert spec.env["ORCHA_ATTEMPT"] == str(attempt)
        engine.commands.tell(started(spec))
        engine.commands.tell(output(spec, b"%d" % attempt))
        engine.commands.tell(ended(spec, 9, last_chunk=1))
    engine.settle(asked)
    assert engine.values(asked) == [(1, b"1"), (1, b"2"), (1, b"3"), 9]
    assert engine.row(asked).outcome is Outcome.FAILED
    wait_for(lambda: len(engine.manager.hooks) == 6, what="three starts and three ends")
    assert engine.manager.hooks == [("start", "a"), ("finish", "a")] * 3
    history = json.loads(engine.store.attempts([1])[1].history)
    assert [(one["attempt"], one["code"]) for one in history] == [(1, 9), (2, 9), (3, 9)]


def test_a_policy_may_say_so_in_place_of_the_field(engine):
    asked = engine.run(policy={"retry": retry(times=1, output="busy")})
    spec = engine.wait_for_spec()
    engine.commands.tell(output(spec, b"busy"))
    engine.commands.tell(ended(spec, 9, last_chunk=1))
    engine.commands.tell(ended(engine.wait_for_spec(2), 9))
    engine.settle(asked)
    assert engine.values(asked) == [(1, b"busy"), 9]
    assert engine.row(asked).attempt == 2
    kept = engine.store.attempts([1])[1]
    assert (kept.retries, kept.is_command, [one["attempt"] for one in json.loads(kept.history)]) == (1, True, [1, 2])


@pytest.mark.parametrize("fields", [{"times": 2}, {"times": 3}], ids=["the same", "another"])
def test_both_may_say_so_where_they_agree(engine, fields):
    asked = engine.run(retry=retry(), policy={"retry": retry(**fields)})
    if fields == {"times": 2}:
        engine.commands.tell(ended(engine.wait_for_spec()))
    engine.settle(asked)
    if fields == {"times": 3}:
        _, reason = engine.told.refused[asked.token]
        assert "retry is given twice, and differs" in reason


def test_a_success_is_not_tried_again(engine):
    asked = engine.run(retry=retry())
    engine.commands.tell(ended(engine.wait_for_spec()))
    engine.settle(asked)
    assert engine.values(asked) == [0]


def test_one_that_waits_for_its_time_can_be_cancelled(engine):
    asked = engine.run(retry=retry(delay=3600.0))
    engine.commands.tell(ended(engine.wait_for_spec(), 9))
    wait_for(lambda: engine.row(asked).state is State.QUEUED, what="QUEUED")
    engine.cancel(asked)
    engine.settle(asked)
    assert engine.values(asked) == [130]
    assert engine.told.cancelled == {asked.token: "cancelled"}


def test_what_waits_for_its_time_waits_on_after_a_restart(engine):
    asked = engine.run(retry=retry(delay=3600.0, longest=3600.0))
    engine.commands.tell(ended(engine.wait_for_spec(), 9))
    wait_for(lambda: engine.manager.hooks[-1] == ("finish", "a") and not engine.row(asked).hook_pending, what="its end")
    later = engine.again()
    (kept,) = later.store.resting()
    assert kept.seq == 1
    assert kept.retries == 1
    assert later.engine.petitions.records[1].why.text().startswith("attempt 1 ended with 9: it is tried again at ")
    assert not later.engine.petitions.waiting
    later.cancel(asked)
    wait_for(lambda: later.row(asked).state is State.ENDED, what="its end")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"signal": 15, "why": "timeout"}, 124),
        ({"code": 0, "why": "idle"}, 124),
        ({"signal": 9, "why": "cpu"}, 124),
        ({"signal": 9, "why": "memory"}, 137),
        ({"code": 0, "why": "memory"}, 1),
        ({"code": 3, "why": "output"}, 3),
        ({"signal": 9}, 137),
    ],
)
def test_after_a_restart_it_is_told_by_the_same_code_what_it_waits_after(engine, end, code):
    asked = engine.run(retry=retry(delay=3600.0, longest=3600.0))
    engine.commands.tell(ended(engine.wait_for_spec(), end.pop("code", None), **end))
    wait_for(lambda: engine.row(asked).state is State.QUEUED, what="QUEUED")
    before = engine.engine.petitions.records[1].why
    assert before.text().startswith(f"attempt 1 ended with {code}: ")
    after = engine.again().engine.petitions.records[1].why
    assert (after.attempt, after.code) == (before.attempt, before.code)


def test_its_time_comes_after_a_restart(engine):
    asked = engine.run(retry=retry(delay=0.5))
    engine.commands.tell(ended(engine.wait_for_spec(), 9))
    wait_for(lambda: engine.row(asked).state is State.QUEUED, what="QUEUED")
    later = engine.again()
    later.commands.tell(ended(later.wait_for_spec(2)))
    wait_for(lambda: later.row(asked).outcome is Outcome.SUCCEEDED, what="success")
    assert later.row(asked).attempt == 2


def test_output_decides_where_a_pattern_is_given(engine):
    asked = engine.run(retry=retry(output="try again|busy"))
    spec = engine.wait_for_spec()
    engine.commands.tell(output(spec, b"the line is bu"))
    engine.commands.tell(output(spec, b"sy\n", first=2))
    engine.commands.tell(ended(spec, 1, last_chunk=2))
    spec = engine.wait_for_spec(2)
    engine.commands.tell(output(spec, b"no\n"))
    engine.commands.tell(ended(spec, 1, last_chunk=1))
    engine.settle(asked)
    assert engine.values(asked)[-1] == 1


def test_a_time_limit_can_be_tried_again(engine):
    asked = engine.run(retry=retry(timeout=True), policy={"timeout": 5})
    spec = engine.wait_for_spec()
    engine.commands.tell(ended(spec, None, signal=15, why="timeout", signals=[(1.0, 15, "timeout")]))
    engine.commands.tell(ended(engine.wait_for_spec(2)))
    engine.settle(asked)
    assert engine.values(asked) == [0]


def test_a_real_command_finds_its_attempt_and_id_in_its_environment(serve, connect):
    client = connect(serve(COMMANDS))
    script = 'echo "$ORCHA_ID $ORCHA_ATTEMPT"; [ "$ORCHA_ATTEMPT" = 3 ]'
    result = everything(run(client, "m1", "sh", "-c", script, retry={"times": 5, "delay": 0.01}))
    assert (result.out, result.code) == (b"m1 1\nm1 2\nm1 3\n", 0)


def test_it_is_only_tried_so_often_over_restarts(engine):
    asked = engine.run(retry=retry(times=1))
    engine.commands.tell(ended(engine.wait_for_spec(), 9))
    engine.wait_for_spec(2)
    later = engine.again(*[])
    spec = later.wait_for_spec(3)  # attempt 2 was never executed
    later.commands.tell(ended(spec, 9))
    wait_for(lambda: later.row(asked).state is State.ENDED, what="its end")
    assert Retry(times=1).times == later.store.attempts([1])[1].retries
