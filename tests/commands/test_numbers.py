"""Every number that somebody can give, at its edges: it works as it is meant, or it is refused where it enters."""

from __future__ import annotations

import argparse
import math

import pytest

from orcha._cli import options
from orcha._client.client import Client
from orcha._core.record import Record
from orcha._core.waiting_queue import checked_priority
from orcha._protocol.endpoint import Endpoint
from orcha._service.execution.command_attempt import spec_of
from orcha._service.lifecycle.settings import from_environment
from orcha._supervisor.link import STANDARD_CODEC
from orcha._supervisor.protocol import pack_spec, unpack_spec
from orcha.bin.main import main
from orcha.exceptions import ConfigurationError
from orcha.interfaces import CommandPetition, Message, Policy, Retry
from orcha.lib import CommandManager
from orcha.plugins.embedded.watchdog import WatchdogPlugin

DAY = 86_400
YEARS_10, YEARS_100 = 3650 * DAY, 36_500 * DAY
INF, NAN, HUGE = math.inf, math.nan, 10**5000
DURATIONS = (0.001, 1, 24.9 * DAY, 25 * DAY, YEARS_10, 2**31, YEARS_100)
NO_DURATIONS = (-1, -0.001, 2**63, YEARS_100 + 1, INF, -INF, NAN, HUGE, -HUGE, True, "1", b"1")
COUNTS = (1, 2**31, 2**53)
NO_COUNTS = (-1, 2**63, HUGE, -HUGE, 1.5, INF, NAN, True, "1")

FIELDS = [
    # name, what works, what is refused
    ("timeout", DURATIONS, (0, *NO_DURATIONS)),
    ("queue_timeout", DURATIONS, (0, *NO_DURATIONS)),
    ("expect", DURATIONS, (0, *NO_DURATIONS)),
    ("idle_timeout", DURATIONS, (0, 0.0001, *NO_DURATIONS)),
    ("cpu_timeout", DURATIONS, (0, 0.0001, *NO_DURATIONS)),
    ("grace", (0, *DURATIONS), NO_DURATIONS),
    ("drain", (0, *DURATIONS), NO_DURATIONS),
    ("memory", COUNTS, (0, *NO_COUNTS)),
    ("pids", COUNTS, (0, *NO_COUNTS)),
    ("cpu_share", COUNTS, (0, *NO_COUNTS)),
    ("output_limit", (0, *COUNTS), NO_COUNTS),
    ("umask", (0, 0o777), (-1, 0o1000, *NO_COUNTS)),
    ("stop_signal", (1, 2, 15), (0, -1, 65, 2**31, *NO_COUNTS)),
    ("tty", ([0, 0], [24, 80], [65_535, 65_535]), ([-1, 1], [1, 65_536], [1, HUGE], [1.0, 1], [1], 5, "24x80")),
    ("priority", (0, -1, 2**31, 2**63, -HUGE, HUGE, INF, -INF, 1.5), (NAN, "1")),
    (
        "needs",
        ({"a": 1}, {"a": 2**53}, {"a": 1.5}),
        ({"a": 0}, {"a": -1}, {"a": 2**53 + 1}, {"a": HUGE}, {"a": 1e-9}, {"a": NAN}),
    ),
]
RETRY = [
    ("times", (0, 1, 1_000_000), (-1, 1_000_001, *NO_COUNTS)),
    ("codes", ([0], [255]), ([-1], [256], [HUGE], [1.5])),
    ("signals", ([0], [255]), ([-1], [256], [HUGE], [1.5])),
    ("delay", (0, *DURATIONS), NO_DURATIONS),
    ("longest", (0, *DURATIONS), NO_DURATIONS),
    ("factor", (1, 2.5, 2**31), (0, 0.5, *NO_DURATIONS)),
    ("jitter", (0, 0.5, 1), (1.1, *NO_DURATIONS)),
]


def each(table, position):
    return [
        pytest.param(name, value, id=f"{name}-{number}-{shown(value)}")
        for name, *many in table
        for number, value in enumerate(many[position])
    ]


def shown(value):
    try:
        return str(value)[:40]
    except ValueError:  # it has more digits than are written out
        return "huge"


def converted(**extras):
    message = Message("m", {"argv": ["true"], "queue": None} | extras)
    return CommandManager(most=1).convert_to_petition(message)


@pytest.mark.parametrize(("name", "value"), each(FIELDS, 0))
def test_what_works_goes_to_the_shim_as_it_is(name, value):
    petition = converted(**{name: value})
    record = Record(1, bytes(16), "m", "a:b", "u", bytes(16), None, 0.0)
    record.petition, record.timeout = petition, petition.policy.timeout
    spec = spec_of(record)
    checked_priority(petition.priority)
    arrived = unpack_spec(STANDARD_CODEC.decode(STANDARD_CODEC.encode(pack_spec(spec))))
    assert arrived == spec
    if name in spec._fields and name != "tty":
        assert getattr(arrived, name) == value


@pytest.mark.parametrize(("name", "value"), each(FIELDS, 1))
def test_what_does_not_is_refused_by_its_name(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        checked_priority(converted(**{name: value}).priority)


@pytest.mark.parametrize(("name", "value"), each(RETRY, 0))
def test_a_retry_takes_what_works(name, value):
    petition = converted(retry={"times": 3} | {name: value})
    assert getattr(petition.retry, name) == value


@pytest.mark.parametrize(("name", "value"), each(RETRY, 1))
def test_a_retry_refuses_the_rest_by_its_name(name, value):
    with pytest.raises((ValueError, TypeError), match=rf"retry\.{name}"):
        converted(retry={"times": 3} | {name: value})


def test_a_plugin_s_policy_is_refused_where_it_is_made():
    for value in (0, *NO_DURATIONS):
        with pytest.raises((ValueError, TypeError), match="timeout"):
            Policy(timeout=value)


def test_a_plugin_s_command_is_refused_by_its_check():
    for value in NO_DURATIONS:
        petition = CommandPetition("m", None, condition=lambda _: True, argv=["true"], grace=value)
        with pytest.raises((ValueError, TypeError), match="grace"):
            petition.check()


def test_the_pauses_of_a_million_retries_stay_numbers():
    from orcha._core.retry import pause

    retry = Retry(times=1_000_000, delay=YEARS_100, factor=2.0**31, longest=YEARS_100)
    assert all(pause(retry, number, 0.5) == YEARS_100 for number in (1, 2, 34, 1_000_000))
    assert pause(Retry(times=9, delay=0, factor=2.0**31), 1_000_000, 0.5) == 0


ZEROS = [("duration_from_zero", text, 0.0) for text in ("0", "0s", "0ms", "0.0", " 0 ")]


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        *ZEROS,
        *((name, "1ms", 0.001) for name in ("duration", "duration_from_zero")),
        *((name, "24.9d", 24.9 * DAY) for name in ("duration", "duration_from_zero")),
        *((name, "25d", 25 * DAY) for name in ("duration", "duration_from_zero")),
        ("duration", "720h", 30 * DAY),
        ("duration", "3650d", YEARS_10),
        ("duration", "36500d", YEARS_100),
        ("duration", str(2**31), 2**31),
        ("size", "1", 1),
        ("size", str(2**31), 2**31),
        ("size", "4194303T", 4_194_303 << 40),
        ("count", "1", 1),
        ("count", str(2**53), 2**53),
        ("not_negative", "0", 0),
        ("number", "-0", 0),
        ("number", str(2**53), 2**53),
        ("number", str(-(2**53)), -(2**53)),
        ("number", "inf", INF),
        ("number", "9" * 5000, INF),
        ("number", "1.5", 1.5),
        ("factor", "1", 1.0),
        ("amount", f"gpu={2**53}", ("gpu", 2**53)),
    ],
)
def test_an_option_reads(read, text, value):
    assert getattr(options, read)(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((name, text) for name in ("duration", "duration_from_zero") for text in ("", " ", "-1", "x", "1e5", "nan")),
        *((name, text) for name in ("duration", "duration_from_zero") for text in ("inf", "36501d", "9" * 5000, "²")),
        *(("duration", text) for text in ("0", "0s", "0.0")),
        *(("size", text) for text in ("", "0", "-1", "nan", "inf", str(2**63), "4194304T", "9" * 5000, "x")),
        *(("count", text) for text in ("", "0", "-1", "1.5", "nan", "inf", str(2**63), "9" * 5000, "x", "²", "1_0")),
        *(("not_negative", text) for text in ("", "-1", "1.5", "nan", str(2**63), "9" * 5000, "x", "--1")),
        *(("number", text) for text in ("", "nan", "x", "0x1", str(2**70), str(-(2**70)))),
        *(("factor", text) for text in ("", "0", "0.5", "-1", "nan", "inf", "x", "9" * 5000)),
        *(
            ("amount", text)
            for text in ("gpu", "gpu=", "gpu=0", "gpu=00", "gpu=-1", f"gpu={2**63}", "gpu=" + "9" * 5000)
        ),
        *(("signal_number", text) for text in ("", "0", "-1", "65", "9" * 5000, "x")),
    ],
)
def test_an_option_refuses_with_its_words_and_in_one_line(read, text):
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        getattr(options, read)(text)
    assert len(str(refused.value)) < 200


VARIABLES = (
    *("ORCHA_HOOK_DEADLINE", "ORCHA_STOP_GRACE", "ORCHA_ABANDON_AFTER", "ORCHA_KEEP_AGE", "ORCHA_KEEP_COUNT"),
    *("ORCHA_KEEP_LEAST", "ORCHA_SHIM_SILENCE"),
)


def settings():
    return from_environment(Endpoint("127.0.0.1", 1), key=None, look_ahead=None, on_hook_timeout="replace")


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_takes_what_works_and_names_itself_where_it_does_not(monkeypatch, name):
    for text in ("0.001", str(25 * DAY), str(2**31), str(YEARS_100)):
        monkeypatch.setenv(name, text)
        settings()
    for text in ("-1", "nan", "inf", str(2**63), "9" * 5000, "x", ""):
        monkeypatch.setenv(name, text)
        with pytest.raises(ConfigurationError, match=f"^{name} is .* set it to a number"):
            settings()


@pytest.mark.parametrize("name", ["ORCHA_SLOTS", "ORCHA_RESOURCES"])
def test_so_do_those_that_hold_several(monkeypatch, name):
    monkeypatch.setenv(name, f"a=0,b={10**9}")
    settings()
    for text in ("a=-1", f"a={2**63}", "a=" + "9" * 5000, "a=1.5", "a=nan", "a=²"):
        monkeypatch.setenv(name, text)
        with pytest.raises(ConfigurationError, match=name):
            settings()


def test_so_does_how_many_commands_run(monkeypatch):
    for text in ("1", "999999999"):
        monkeypatch.setenv("ORCHA_COMMANDS", text)
        assert CommandManager().most == int(text)
    for text in ("0", "-1", "1.5", "nan", str(2**63), "9" * 5000, "²", ""):
        monkeypatch.setenv("ORCHA_COMMANDS", text)
        with pytest.raises(ConfigurationError, match="ORCHA_COMMANDS"):
            CommandManager()


def test_so_does_the_time_a_client_waits(monkeypatch):
    for text in ("0", "0.001", str(25 * DAY), str(YEARS_100)):
        monkeypatch.setenv("ORCHA_RECONNECT", text)
        Client(Endpoint("127.0.0.1", 1), None).close()
    for text in ("-1", "nan", "inf", str(2**63), "9" * 5000, "x"):
        monkeypatch.setenv("ORCHA_RECONNECT", text)
        with pytest.raises(ConfigurationError, match="ORCHA_RECONNECT"):
            Client(Endpoint("127.0.0.1", 1), None)


@pytest.mark.parametrize("text", ["-1", "65536", str(2**63), "9" * 5000, "nan", "x", "²"])
def test_a_port_is_refused_by_its_name(capsys, monkeypatch, text):
    monkeypatch.setattr("sys.argv", ["orcha", "--port", text, "ps"])
    with pytest.raises(SystemExit):
        main()
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["-1", "nan", "inf", str(2**63), "9" * 5000, "x"])
def test_the_watchdog_s_time_is_refused_by_its_name(capsys, text):
    parser = argparse.ArgumentParser()
    WatchdogPlugin.create_parser(WatchdogPlugin.__new__(WatchdogPlugin), parser)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--timeout={text}"])
    assert "--timeout" in capsys.readouterr().err
    assert parser.parse_args(["--timeout", str(25 * DAY)]).timeout == 25 * DAY
