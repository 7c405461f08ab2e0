"""``orcha ps``: what it asks the service for, and how it shows the answer."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import subprocess
import sys
import time

import pytest

from orcha._cli import connection, ps, render
from orcha._core.state import State
from orcha.exceptions import OrchaConnectionError
from orcha.interfaces import Message
from orcha.lib import ClientManager
from support.waiting import wait_for

BASE = {
    "seq": 1,
    "id": "m1",
    "state": "queued",
    "priority": 5,
    "manager": "m:M",
    "owner": "me",
    "attempt": 0,
    "submitted": 0.0,
    "started": None,
    "ended": None,
    "outcome": None,
    "code": None,
    "reason": None,
    "why": None,
}


class Service:
    """Answers as the client does: newest first, below a sequence, at most so many."""

    def __init__(self, rows):
        self.kept = sorted(rows, key=lambda row: -row["seq"])
        self.asked = []

    def rows(self, states, limit, before=None, id=None):  # noqa: A002 - as the client calls it
        self.asked.append((states, limit, before))
        assert limit <= 1_000
        found = [row for row in self.kept if states >> State[row["state"].upper()] & 1]
        return [row for row in found if before is None or row["seq"] < before][:limit]


@pytest.fixture
def show(monkeypatch, capsys):
    """Give a function that runs `orcha ps` on these rows, and gives what it printed."""

    def run(rows, *arguments):
        service = Service([BASE | row for row in rows])
        monkeypatch.setattr(connection, "connected", lambda: contextlib.nullcontext(service))
        parser = argparse.ArgumentParser()
        ps.create_parser(parser)
        assert ps.run(parser.parse_args(arguments)) == 0
        run.service = service
        return capsys.readouterr()

    return run


def test_shows_what_waits_and_runs_and_why(show, monkeypatch):
    monkeypatch.setattr(render, "now", lambda: 1_000.0)
    rows = [
        {"seq": 1, "id": "b", "priority": 7, "submitted": 990, "why": "1 wait before it"},
        {"seq": 2, "id": "a", "priority": float("-inf"), "submitted": 400, "why": "waiting for rig 3"},
        {"seq": 3, "id": "c", "state": "starting", "started": 999.5},
        {"seq": 4, "id": "gone", "state": "ended", "outcome": "failed"},
    ]
    assert show(rows).out.splitlines() == [
        "ID  STATE    PRIORITY  SINCE   WHY",
        "c   running  5         now",
        "a   queued   -inf      10 min  waiting for rig 3",
        "b   queued   7         10 s    1 wait before it",
    ]


def test_all_shows_how_the_others_ended(show):
    rows = [
        {"seq": 1, "id": "a", "state": "ended", "outcome": "failed", "code": 3, "ended": time.time()},
        {
            "seq": 2,
            "id": "b",
            "state": "ended",
            "outcome": "timed_out",
            "code": 124,
            "ended": 1.0,
            "reason": "too long",
        },
    ]
    assert show(rows).out == "nothing waits or runs\n"
    first, second = show(rows, "--all").out.splitlines()[1:]
    assert first.split() == ["a", "failed", "(3)", "5", "now"]
    assert second.split()[:3] == ["b", "timed", "out"]
    assert second.endswith("too long")


def test_state_asks_for_that_state_only(show):
    rows = [{"seq": 1, "id": "a"}, {"seq": 2, "id": "b", "state": "held"}, {"seq": 3, "id": "c", "state": "running"}]
    assert names(show(rows, "--state", "held", "--state", "running")) == ["c", "b"]
    assert show.service.asked[0][0] == 1 << State.HELD | 1 << State.STARTING | 1 << State.RUNNING


def test_the_states_it_names_are_the_services(show):
    show([])
    live = {State.QUEUED, State.HELD, State.STARTING, State.RUNNING, State.CANCELLING}
    assert show.service.asked[0][0] == sum(1 << state for state in live)
    show([], "--all")
    assert {states for states, _, _ in show.service.asked} == {sum(1 << state for state in live), 1 << State.ENDED}


def names(printed):
    return [line.split()[0] for line in printed.out.splitlines()[1:]]


def test_limit_says_how_many_more_there_are(show):
    rows = [{"seq": seq, "id": str(seq)} for seq in range(1, 6)]
    printed = show(rows, "--limit", "3")
    assert names(printed) == ["1", "2", "3"]
    assert printed.err == "orcha: 2 left out: orcha ps --limit N\n"
    assert show(rows, "--limit", "5").err == ""
    assert show(rows, "--limit", "4").err == "orcha: 1 left out: orcha ps --limit N\n"


def test_what_runs_and_what_is_next_is_shown_however_much_waits(show):
    """The service gives the newest first; those are the last ones to run."""
    rows = [{"seq": seq, "id": f"s{seq}"} for seq in range(3, 2_503)]
    rows += [{"seq": 1, "id": "s1", "state": "running"}, {"seq": 2, "id": "s2", "state": "cancelling"}]
    rows[2_000]["priority"] = -1
    printed = show(rows)
    assert names(printed) == ["s2", "s1", rows[2_000]["id"], *(f"s{seq}" for seq in range(3, 100))]
    assert printed.err == "orcha: 2402 left out: orcha ps --limit N\n"


def test_for_programs_all_that_waits_and_runs_is_given(show):
    rows = [{"seq": seq, "id": str(seq)} for seq in range(1, 2_501)]
    printed = show(rows, "--json")
    assert [row["seq"] for row in json.loads(printed.out)] == list(range(1, 2_501))
    assert printed.err == ""
    printed = show(rows, "--json", "--limit", "2")
    assert [row["seq"] for row in json.loads(printed.out)] == [1, 2]
    assert printed.err == "orcha: 2498 left out: orcha ps --limit N\n"


def test_of_what_has_ended_the_newest_are_shown_after_all_others(show):
    rows = [{"seq": seq, "id": str(seq), "state": "ended", "outcome": "succeeded"} for seq in range(2, 2_000)]
    rows += [{"seq": 1, "id": "1"}]
    printed = show(rows, "--all", "--limit", "3")
    assert names(printed) == ["1", "1998", "1999"]
    assert printed.err == "orcha: at least 1 left out: orcha ps --limit N\n"
    assert [limit for _, limit, _ in show.service.asked][-1] == 3
    printed = show(rows, "--all", "--json")
    assert [row["seq"] for row in json.loads(printed.out)] == [1, *range(1_900, 2_000)]
    assert "at least 1 left out" in printed.err


def test_what_ends_while_it_is_listed_is_shown_once():
    answers = [[{"seq": 2, "state": "queued", "priority": 0}], [], [{"seq": 2, "state": "ended"}], []]
    found = ps.listing(lambda *_: answers.pop(0), ["queued", "ended"], 5)
    assert found == ([{"seq": 2, "state": "ended"}], 0, False)


def test_a_long_list_is_asked_for_in_pages(show):
    rows = [{"seq": seq, "id": str(seq)} for seq in range(1, 2_501)]
    assert len(json.loads(show(rows, "--limit", "10000", "--json").out)) == 2_500
    assert [limit for _, limit, _ in show.service.asked] == [1_000] * 4


def test_json_is_for_programs(show):
    rows = [{"id": "ü\n\x1b", "priority": float("inf"), "submitted": 0.5, "state": "starting", "started": 1.25}]
    (row,) = json.loads(show(rows, "--json").out)
    assert row == BASE | rows[0] | {
        "priority": "inf",
        "submitted": "1970-01-01T00:00:00.500000+00:00",
        "started": "1970-01-01T00:00:01.250000+00:00",
    }
    assert json.loads(show([], "--json").out) == []


def test_nothing_in_a_petition_reaches_the_terminal_as_a_command(show):
    printed = show([{"id": "a\x1b[2J\nb", "why": "\x07bell"}]).out
    assert "a\\x1b[2J\\nb" in printed
    assert "\\x07bell" in printed
    assert "\x1b" not in printed


def test_on_a_terminal_it_is_a_table(monkeypatch):
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal, open(ours, "rb", buffering=0) as screen:  # noqa: PTH123
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setenv("COLUMNS", "60")
        render.table(("ID", "WHY"), [("a", "[b]no markup[/b] " + "long " * 20)])
        monkeypatch.undo()
        text = os.read(screen.fileno(), 65536).decode()
    assert "[b]no markup[/b]" in text
    assert len(text.splitlines()) > 2


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_is_above_zero(limit):
    parser = argparse.ArgumentParser(exit_on_error=True)
    ps.create_parser(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--limit", limit])


def test_without_a_service_it_is_a_connection_error(free_port, orcha_home, monkeypatch):
    monkeypatch.setattr("orcha.properties.port", free_port)
    with pytest.raises(OrchaConnectionError), connection.connected():
        pytest.fail("there is no service")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "now"), (-5, "now"), (1, "1 s"), (60, "1 min"), (7_300, "2 h"), (2e5, "2 d")]
)
def test_ages_are_as_people_say_them(seconds, text):
    assert render.age(seconds) == text


def test_shows_what_a_real_service_has(serve, gate):
    service = serve()
    client = ClientManager(service.address, service.port)
    assert client.connect()
    queue = client.manager.Queue()
    client.send(Message("held up", {"queue": queue, "gate": str(gate.path), "lines": ["x"]}))

    def orcha(*arguments):
        command = [sys.executable, "-P", "-m", "orcha", "--port", str(service.port), "ps", *arguments]
        return subprocess.run(command, env=service.environment, capture_output=True, text=True, check=True).stdout

    running = wait_for(lambda: [row for row in json.loads(orcha("--json")) if row["state"] in {"starting", "running"}])
    assert [row["id"] for row in running] == ["held up"]
    assert orcha("--state", "queued") == "no petitions\n"
    gate.open()
    assert [queue.get(), queue.get()] == ["x", None]
    assert orcha() == "nothing waits or runs\n"
    assert "held up  succeeded" in orcha("--all")
    client.shutdown()
