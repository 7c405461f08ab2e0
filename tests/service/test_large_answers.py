"""Answers are as long as a frame at most, however many petitions there are, and however much each of them holds."""

from __future__ import annotations

import threading

import pytest

from orcha._client.attempt_channel import MAX_VALUE_BYTES
from orcha._protocol import messages, values
from orcha._protocol.frames import MAX_FRAME_BYTES
from orcha.exceptions import ConditionFailed
from orcha.interfaces import CommandPetition, Petition
from service.answers import AnsweringEngine
from support.waiting import wait_for

WIDE = "\U0001f600" * 10_000
LONG = "x" * (MAX_FRAME_BYTES + 1)
ALMOST = MAX_FRAME_BYTES - 2_048


class Large:
    """A manager whose petitions hold much, where their extras say."""

    def __init__(self):
        self.runs = threading.Event()
        self.may_end = threading.Event()

    def convert_to_petition(self, m):
        """Make a petition."""
        kind = m.extras["kind"]
        if kind == "command":
            fields = m.extras["fields"]
            made = CommandPetition(m.id, None, condition=lambda _: False, **fields)
            made.label = {"odd": object(), "long": LONG}
            return made
        action = self.stay if kind == "stays" else lambda *_: None
        condition = (lambda _: ConditionFailed(WIDE)) if kind == "waits" else lambda _: True
        if kind == "fails":
            action = _fail
        return Petition(m.id, m.extras.get("queue"), action, condition)

    def on_start(self, _):
        """Agree."""

    def on_finish(self, _):
        """Agree."""

    def stay(self, *_):
        """Run until it may end."""
        self.runs.set()
        self.may_end.wait()


def _fail(*_):
    raise ValueError(WIDE)


@pytest.fixture
def engine(tmp_path):
    made = AnsweringEngine(tmp_path, manager=Large())
    made.start()
    yield made
    made.stop()


def test_many_rows_with_long_reasons_come_in_several_answers(engine):
    client = engine.client()
    names = [f"p{number}" for number in range(1_300)]
    items = [
        messages.Item((number + 1).to_bytes(16, "big"), name, values.encode({"kind": "fails"}), None)
        for number, name in enumerate(names)
    ]
    client.say(messages.Submit(next(engine.numbers), None, 0, items))
    wait_for(lambda: len(client.rows()) == len(names) and all(row["reason"] for row in client.rows()), interval=0.2)
    rows = client.rows()
    assert [row["id"] for row in rows] == names[::-1]
    assert all(0 < len(row["reason"]) <= 2_000 for row in rows)


def test_what_waits_with_a_long_reason_is_shown(engine):
    client = engine.client()
    for number in range(3):
        client.submit(f"p{number}", {"kind": "waits"})
    wait_for(lambda: all(row["why"].startswith("\U0001f600") for row in client.rows()))
    assert client.ask(messages.Show(next(engine.numbers), "p1")).verdict == messages.Verdict.OK


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": ["x" * ALMOST]},
        {"argv": ["x" * 77] * (ALMOST // 79)},
        {"argv": ["\U0001f600" * (ALMOST // 4)]},
        {"argv": [b"\xff" * ALMOST]},
        {"argv": ["true"], "env": {"x" * ALMOST: "y"}},
        {"argv": ["true"], "env": {f"{number:077}": "" for number in range(ALMOST // 80)}},
        {"argv": ["true"], "cwd": "/" + "x" * ALMOST},
    ],
    ids=["long argument", "many arguments", "wide", "bytes", "long name", "many names", "folder"],
)
def test_one_that_holds_much_is_shown_with_what_is_too_long_cut(engine, fields):
    client = engine.client()
    client.submit("large", {"kind": "command", "fields": fields})
    answer = client.ask(messages.Cancel(next(engine.numbers), None, "large", "because " + "\U0001f600" * 1_000_000))
    assert answer.verdict == messages.Verdict.OK
    answer = client.ask(messages.Show(next(engine.numbers), "large"))
    assert answer.verdict == messages.Verdict.OK, answer.reason
    known = values.decode(answer.value)
    assert (known["id"], known["outcome"]) == ("large", "cancelled")
    assert "because" in known["reason"]
    assert len(client.rows()) == 1


def test_a_message_of_the_largest_size_is_listed_and_shown_while_it_waits(engine):
    client = engine.client()
    for number in range(5):
        client.submit(f"p{number}", {"kind": "command", "fields": {"argv": ["x" * ALMOST]}})
    answer = client.ask(messages.Show(next(engine.numbers), "p3"))
    known = values.decode(answer.value)
    assert known["cut"] is True
    assert known["command"]["argv"][0].startswith("xxx")
    assert [row["id"] for row in client.rows()] == ["p4", "p3", "p2", "p1", "p0"]


def test_values_that_are_kept_together_come_in_frames_that_can_be_read(engine):
    client = engine.client()
    identity = bytes(15) + b"\2"
    item = messages.Item(identity, "a", values.encode({"kind": "stays", "queue": _Channel(identity)}), identity)
    submitted = client.ask(messages.Submit(next(engine.numbers), None, 1 << 30, [item]))
    submitted.results[0] = submitted.results[0]._replace(channel=identity)
    wait_for(engine.manager.runs.is_set)
    (row,) = client.rows()
    with engine.engine.mailbox.turn:  # so that all four are of one batch
        for number in range(4):
            value = values.encode(bytes([number]) * (MAX_VALUE_BYTES - 100))
            client.say(messages.Put(0, identity, row["seq"], 1, bytes([number]) * 8, 1, [value]))
    engine.manager.may_end.set()
    *got, final = client.final(submitted)
    assert final is None
    assert sorted((value[0], len(value)) for value in got) == [(each, MAX_VALUE_BYTES - 100) for each in range(4)]


class _Channel:
    def __init__(self, identity):
        self.__orcha_channel__ = identity
