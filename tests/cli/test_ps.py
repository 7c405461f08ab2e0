"""``orcha ps``: what it asks the service for, and how it shows the answer."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import pwd
import re
import string
import subprocess
import sys
import termios
import time

import pytest

from orcha._cli import connection, layout, ps, render
from orcha._cli.layout import Column
from orcha._core.state import State
from orcha._protocol.messages import Rows
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

    def __init__(self, rows, paused):
        self.kept = sorted(rows, key=lambda row: -row["seq"])
        self.paused = paused
        self.asked = []

    def page(self, states, limit, before=None, id=None):  # noqa: A002 - as the client calls it
        self.asked.append((states, limit, before))
        assert limit <= 1_000
        found = [row for row in self.kept if states >> State[row["state"].upper()] & 1]
        found = [row for row in found if before is None or row["seq"] < before][:limit]
        return Rows(1, found, self.paused)


@pytest.fixture
def show(monkeypatch, capsys):
    """Give a function that runs `orcha ps` on these rows, and gives what it printed."""

    def run(rows, *arguments, paused=()):
        service = Service([BASE | row for row in rows], list(paused))
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
        {"seq": 4, "id": "c", "state": "starting", "started": 999.5},
        {"seq": 3, "id": "d", "state": "running", "started": 999.75},
        {"seq": 5, "id": "gone", "state": "ended", "outcome": "failed"},
    ]
    assert show(rows).out.splitlines() == [
        "ID  STATE     PRIORITY  USER  ELAPSED  COMMAND  WHY",
        "d   running   5         me    0 s      [M]",
        "c   starting  5         me    0 s      [M]",
        "a   queued    -inf      me    10 min   [M]      waiting for rig 3",
        "b   queued    7         me    10 s     [M]      1 wait before it",
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
    assert first.split() == ["a", "failed", "(3)", "5", "me", "-", "now", "[M]"]
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
    assert row.pop("elapsed") > 0
    assert row == BASE | rows[0] | {
        "user": None,
        "priority": "inf",
        "submitted": "1970-01-01T00:00:00.500000+00:00",
        "started": "1970-01-01T00:00:01.250000+00:00",
        "after": [],
        "needs": {},
    }
    assert json.loads(show([], "--json").out) == []


def test_nothing_in_a_petition_reaches_the_terminal_as_a_command(show):
    printed = show([{"id": "a\x1b[2J\nb", "why": "\x07bell"}]).out
    assert "a\\x1b[2J\\nb" in printed
    assert "\\x07bell" in printed
    assert "\x1b" not in printed


FULL = {
    "id": "make-k3x9qz",
    "state": "running",
    "owner": f"uid:{os.getuid()}",
    "group": "nightly",
    "label": "frame 7 of 9",
    "command": "make -j4 all " + "OPTION=1 " * 10 + "install",
    "started": 10.0,
    "why": "its group nightly is paused",
}


@pytest.fixture
def on_terminal(monkeypatch, show):
    """Give a function that shows these rows on a terminal of so many columns, and gives its lines."""

    def run(rows, columns, *arguments):
        monkeypatch.setattr(render, "now", lambda: 4_000.0)
        monkeypatch.setattr(render, "is_terminal", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        return show(rows, *arguments).out.splitlines()

    return run


def test_the_table_has_command_label_user_and_elapsed_time(show, monkeypatch):
    monkeypatch.setattr(render, "now", lambda: 4_000.0)
    title, line = show([FULL]).out.splitlines()
    assert title.split() == ["ID", "STATE", "PRIORITY", "GROUP", "ELAPSED", "LABEL", "COMMAND", "WHY"]
    user = pwd.getpwuid(os.getuid()).pw_name
    words = ["make-k3x9qz", "running", "5", "nightly", "1 h 6 min", "frame 7 of 9"]
    assert re.split(" {2,}", line)[:6] == words
    assert "make -j4 all OPTION=1 OPTION" in line
    assert "…" in line
    assert "OPTION=1 install" in line
    row = json.loads(show([FULL], "--json").out)[0]
    assert row | FULL | {"started": 0, "elapsed": 3990, "user": user} == row | {"started": 0}


def test_users_are_named_where_there_are_petitions_of_another_one(show):
    other = FULL | {"seq": 2, "owner": "uid:4000000001", "user": "uid 4000000001"}
    titles = show([FULL]).out.splitlines()[0].split()
    assert "USER" not in titles
    title, *lines = show([FULL, other, other | {"seq": 3, "user": "ben"}]).out.splitlines()
    place = title.index("USER")
    me = pwd.getpwuid(os.getuid()).pw_name
    assert [line[place:].split()[0] for line in lines] == [me, "uid:4000000001", "ben"]


def test_a_narrow_terminal_gives_up_columns_in_their_order(on_terminal):
    order = ["PRIORITY", "ENDED", "USER", "GROUP", "LABEL", "WHY", "COMMAND", "ELAPSED"]
    rows = [
        FULL,
        FULL | {"seq": 2, "owner": "key:laptop", "state": "ended", "outcome": "failed", "code": 3, "ended": 3_000.0},
    ]
    before = set()
    for columns in range(200, 19, -1):
        lines = on_terminal(rows, columns, "--all")
        given_up = {title for title in order if title not in lines[0].split()}
        assert given_up == set(order[: len(given_up)])
        assert given_up >= before
        assert max(map(len, lines)) <= columns
        assert len(lines) == len(rows) + 1
        assert all(line.startswith("make-k3x9qz  ") for line in lines[1:]) or columns < 24
        before = given_up
    assert before == set(order)


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 132])
@pytest.mark.parametrize("length", [1, 20, 36, 37, 100])
def test_no_id_is_cut_without_a_sign_and_no_span_is_cut(on_terminal, columns, length):
    identity = "".join(string.ascii_letters[place % 52] for place in range(length))
    line = on_terminal([FULL | {"id": identity}], columns)[1]
    shown = line.split()[0]
    assert shown == identity or (
        "…" in shown and identity.startswith(shown.partition("…")[0]) and identity.endswith(shown.partition("…")[2])
    )
    if length <= 20 or (length <= 36 and columns >= 60):
        assert shown == identity
    assert ("1 h 6 min" in line) == ("ELAPSED" in on_terminal([FULL | {"id": identity}], columns)[0])
    assert len(line) <= columns


def test_wide_letters_are_counted_as_wide(on_terminal):
    lines = on_terminal([FULL | {"label": "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 40}], 80)
    assert layout.width_of(lines[1]) <= 80
    assert "…" in lines[1]


def test_a_table_on_a_terminal_needs_no_escape_sequences(monkeypatch):
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal, open(ours, "rb", buffering=0) as screen:  # noqa: PTH123
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.delenv("COLUMNS", raising=False)
        termios.tcsetwinsize(theirs, (24, 30))
        render.table((Column("ID"), Column("WHY", 5)), [("a", "[b]no markup[/b] " + "long " * 20)])
        monkeypatch.undo()
        text = os.read(screen.fileno(), 65536).decode()
    assert text == "ID  WHY\r\na   [b]no markup[/b] long lon…\r\n"


# --- states and pauses -----------------------------------------------------------------------------------------------


OUTCOMES = ["succeeded", "failed", "cancelled", "timed_out", "interrupted", "rejected", "broken"]
ENDED = [
    {"seq": seq, "id": outcome, "state": "ended", "outcome": outcome, "code": 3, "ended": 1.0}
    for seq, outcome in enumerate(OUTCOMES, 20)
]
EVERY_STATE = [
    {"seq": 1, "id": "queued"},
    {"seq": 2, "id": "held", "state": "held"},
    {"seq": 3, "id": "starting", "state": "starting", "started": 1.0},
    {"seq": 4, "id": "running", "state": "running", "started": 1.0},
    {"seq": 5, "id": "paused", "state": "running", "started": 1.0, "paused": True},
    {"seq": 6, "id": "cancelling", "state": "cancelling", "started": 1.0},
    *ENDED,
]


def test_every_word_of_the_table_is_a_state_to_ask_for(show):
    table = [re.split(" {2,}", line)[:2] for line in show(EVERY_STATE, "--all").out.splitlines()[1:]]
    assert len(table) == len(EVERY_STATE)
    for shown in {state for _, state in table}:
        word = shown.partition(" (")[0]
        expected = [identity for identity, state in table if state == shown]
        for written in (word, word.upper(), word.replace(" ", "_"), word.replace(" ", "-")):
            assert names(show(EVERY_STATE, "--state", written)) == expected, written
    assert names(show(EVERY_STATE, "--state", "ended")) == OUTCOMES
    assert names(show(EVERY_STATE, "--state", "failed", "--state", "held")) == ["held", "failed"]


def test_an_outcome_is_looked_for_among_all_that_ended(show):
    rows = [{"seq": seq, "id": f"s{seq}", "state": "ended", "outcome": "succeeded"} for seq in range(1, 3_000)]
    rows[5]["outcome"] = "failed"
    rows[7]["outcome"] = "failed"
    printed = show(rows, "--state", "failed", "--limit", "1")
    assert names(printed) == ["s8"]
    assert "at least 1 left out" in printed.err


def test_a_word_that_is_no_state_is_refused_with_those_that_are(capsys):
    parser = argparse.ArgumentParser()
    ps.create_parser(parser)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--state", "done\x1b[2J"])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert "\x1b" not in error
    for word in ("queued", "running", "paused", "failed", "timed out", "ended"):
        assert word in error


def test_it_says_what_is_paused(show):
    everything = "everything is paused, nothing starts: orcha resume --all"
    group = "group a b is paused, nothing of it starts: orcha resume --group 'a b'"
    assert show([], paused=["all"]).out.splitlines() == ["nothing waits or runs", everything]
    assert show([{"id": "x"}], paused=["all", "group:a b"]).out.splitlines()[2:] == [everything, group]
    printed = show([{"id": "x"}], "--json", paused=["all", "group:a b"])
    assert [row["id"] for row in json.loads(printed.out)] == ["x"]
    assert printed.err.splitlines() == [f"orcha: {everything}", f"orcha: {group}"]


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
