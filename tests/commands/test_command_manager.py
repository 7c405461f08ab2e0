"""What the built-in manager makes of a message, and what it says of one that is wrong."""

from __future__ import annotations

import json
import os
import signal

import pytest

from orcha._core.record import Record
from orcha._service.execution.command_attempt import spec_of
from orcha._supervisor.link import STANDARD_CODEC
from orcha._supervisor.protocol import pack_spec, to_bytes, unpack_spec
from orcha.exceptions import ConfigurationError
from orcha.interfaces import CommandPetition, Message, Retry
from orcha.lib import CommandManager, commands


def converted(**extras):
    return CommandManager(most=1).convert_to_petition(Message("m1", {"argv": ["true"], "queue": None} | extras))


def test_a_message_becomes_a_command_with_defaults():
    petition = converted()
    assert isinstance(petition, CommandPetition)
    assert (petition.id, petition.argv, petition.cwd, petition.env) == ("m1", ["true"], "/", None)
    assert (petition.stop_signal, petition.grace, petition.output_limit) == (signal.SIGINT, 5.0, 1 << 30)
    assert petition.policy.on_interrupt == "fail"
    assert petition.retry is None


def test_everything_a_message_holds_is_taken():
    petition = converted(
        argv=[b"\xff", "a"], cwd="/tmp", env={"A": "b"}, umask=0o22, priority=-3, stdin=True, tty=[24, 80], timeout=5.5,
        idle_timeout=1, queue_timeout=9, cpu_timeout=2, memory=1 << 20, pids=3, cpu_share=50, stop_signal=15, grace=0.5,
        output_limit=10, output_policy="kill", on_interrupt="rerun", retry={"times": 2, "codes": [75]}, group="g",
        once="k", if_exists="attach", label="l",
    )  # fmt: skip
    assert petition.argv == [b"\xff", "a"]
    assert (petition.priority, petition.umask, petition.tty, petition.stdin) == (-3, 0o22, (24, 80), True)
    assert (petition.policy.timeout, petition.policy.queue_timeout) == (5.5, 9)
    assert petition.policy.on_interrupt == "rerun"
    assert petition.retry == Retry(times=2, codes=[75])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"argv": []}, "argv is empty"),
        ({"argv": "true"}, "argv is a list"),
        ({"argv": ["a\0b"]}, r"argv\[0\] holds a NUL"),
        ({"argv": ["a", 1]}, r"argv\[1\] is a str"),
        ({"argv": [""]}, r"argv\[0\] is empty"),
        ({"argv": ["a\ud800"]}, r"argv\[0\] holds a lone surrogate"),
        ({"cwd": "tmp"}, "cwd is an absolute path"),
        ({"cwd": b"tmp"}, "cwd is an absolute path"),
        ({"cwd": b"/t\0p"}, "cwd is an absolute path"),
        ({"cwd": "/\ud800"}, "cwd holds a lone surrogate"),
        ({"cwd": 1}, "cwd is an absolute path"),
        ({"env": {"A=": "b"}}, "env: 'A='"),
        ({"env": {"A": 1}}, "env holds str"),
        ({"env": {b"A=": "b"}}, "env: b'A='"),
        ({"env": {"A": b"\0"}}, "env: 'A'"),
        ({"env": {"A": "\ud800"}}, "env holds a lone surrogate"),
        ({"umask": 0o1000}, "umask is at least 0 and at most 511"),
        ({"tty": [1]}, "tty is"),
        ({"merge": 1}, "merge is True or False"),
        ({"stop_signal": 99}, "stop_signal is the number of a signal"),
        ({"grace": -1}, "grace is a finite number"),
        ({"timeout": 0}, "timeout is a finite number"),
        ({"idle_timeout": "1"}, "idle_timeout is a number"),
        ({"memory": 0}, "memory is at least 1"),
        ({"output_policy": "keep"}, "output_policy is one of"),
        ({"on_interrupt": "maybe"}, "on_interrupt is one of"),
        ({"retry": {}}, "retry has no times"),
        ({"retry": 3}, "retry is a dict"),
        ({"retry": {"times": 1, "when": 2}}, "retry has no 'when'"),
        ({"retry": {"times": 1, "jitter": 2}}, "retry.jitter is between"),
        ({"retry": {"times": 1, "output": "("}}, "retry.output is no regular expression"),
        ({"retry": {"times": True}}, "retry.times is an int"),
        ({"retry": {"times": 1, "codes": [256]}}, "retry.codes is at least 0"),
        ({"arguments": []}, "a command has no field 'arguments'"),
    ],
)
def test_what_is_wrong_is_named(wrong, named):
    with pytest.raises((TypeError, ValueError), match=named):
        converted(**wrong)


def test_bytes_and_what_stands_for_them_are_the_same():
    petition = converted(argv=["a\udcff"], cwd=b"/\xff", env={"A\udcfe": b"\xff", b"B": "\udcff"})
    record = Record(1, b"t" * 16, "m1", "commands", "me", b"c" * 16, None, 0.0)
    record.petition = petition
    spec = unpack_spec(json.loads(STANDARD_CODEC.encode(pack_spec(spec_of(record)))))
    assert [to_bytes(one) for one in (*spec.argv, spec.cwd)] == [b"a\xff", b"/\xff"]
    given = {to_bytes(name): to_bytes(value) for name, value in spec.env.items()}
    assert given == {b"A\xfe": b"\xff", b"B": b"\xff", b"ORCHA_ID": b"m1", b"ORCHA_ATTEMPT": b"0"}


def test_a_message_without_argv_is_told_so():
    with pytest.raises(ValueError, match="argv is missing"):
        CommandManager(most=1).convert_to_petition(Message("m1", {}))


def test_as_many_run_as_the_environment_says(monkeypatch):
    assert CommandManager().most == len(os.sched_getaffinity(0))
    monkeypatch.setenv("ORCHA_COMMANDS", "7")
    assert CommandManager().most == 7
    monkeypatch.setenv("ORCHA_COMMANDS", "0")
    with pytest.raises(ConfigurationError, match="ORCHA_COMMANDS"):
        CommandManager()


WRONG = (
    5,
    "x",
    b"\xff",
    [1],
    [None],
    {"a": 1},
    {1: "x"},
    "\ud800",
    1.5,
    float("nan"),
    True,
    -1,
    1 << 70,
    "\0",
    {b"a": b"b"},
)
FIELDS = sorted(commands._COMMAND_FIELDS | commands._POLICY_FIELDS | {"label", "retry"})
RETRY_FIELDS = ("times", "codes", "signals", "delay", "factor", "longest", "output", "timeout")


@pytest.mark.parametrize("name", FIELDS + [f"retry.{name}" for name in RETRY_FIELDS])
def test_whatever_a_field_holds_a_refusal_names_the_field(name):
    refusals = []
    for value in WRONG:
        given = {"retry": {"times": 1, name[6:]: value}} if name.startswith("retry.") else {name: value}
        try:
            converted(**given)
        except (ValueError, TypeError) as error:
            refusals.append(str(error))
    assert [each for each in refusals if name not in each or "object" in each or "unhashable" in each] == []
