"""What goes wrong with one client's message, or with the answer to it, is told to that client; the service goes on."""

from __future__ import annotations

import typing

import pytest

from orcha._protocol import messages
from orcha._protocol.frames import MAX_FRAME_BYTES
from orcha._service import verbs
from orcha.exceptions.store import StoreBroken
from service.answers import AnsweringEngine

NUMBER = 7
RAISED = [
    AssertionError(),
    ImportError("it was moved away"),
    KeyError("\ud800"),
    OSError(5, "input/output error"),
    OverflowError("too large"),
    RecursionError(),
    TypeError("x" * (MAX_FRAME_BYTES + 1)),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
]
UNSENDABLE = ["\ud800", "x" * (MAX_FRAME_BYTES + 1), 1 << 70]


opens_files = pytest.mark.may_leave("descriptors")
"""The engine that tests share keeps files open from the first message on that needs them."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Give an engine that all these tests share, each with clients of its own."""
    made = AnsweringEngine(tmp_path_factory.mktemp("engine"))
    made.start()
    yield made
    made.stop()


def sample(kind):
    """Give a message of this kind with a value of each field's type."""
    given = {"request": NUMBER, "items": [messages.Item(bytes(16), "a", b"", None)], "channel": bytes(16)}
    known = {int: 0, bool: False, bytes: bytes(16), str: "a", list: [], dict: {}, float: 1.0}

    def value(name, hint):
        if name in given:
            return given[name]
        if typing.get_origin(hint) is typing.Literal:
            return typing.get_args(hint)[0]
        hint = typing.get_args(hint)[0] if typing.get_args(hint) else hint
        return known[typing.get_origin(hint) or hint]

    hints = typing.get_type_hints(kind)
    return kind(*[value(name, hints[name]) for name in kind.__struct_fields__])


@opens_files
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", verbs.HANDLERS, ids=lambda kind: kind.__name__)
def test_what_a_handler_raises_is_told_to_its_client_alone(engine, monkeypatch, kind, error):
    def fail(*_):
        raise error

    monkeypatch.setitem(verbs.HANDLERS, kind, fail)
    if kind is messages.Ping:
        monkeypatch.setitem(verbs.HANDLERS, messages.Stats, verbs.ping)
    client, other = engine.client(), engine.client()
    message = sample(kind)
    answer = client.ask(message) if hasattr(message, "request") else (client.say(message), client.answer_of(0))[1]
    if isinstance(answer, messages.Submitted):
        assert answer.results[0].verdict == messages.Verdict.REFUSED
        reason = answer.results[0].reason
    else:
        assert isinstance(answer, messages.Error) or answer.verdict == messages.Verdict.RAISED
        reason = answer.reason
    assert type(error).__name__ in reason
    other_answer = other.ask(messages.Stats(1) if kind is messages.Ping else messages.Ping(1))
    assert other_answer.verdict == messages.Verdict.OK
    assert other.got == [other_answer]


@opens_files
@pytest.mark.parametrize("what", UNSENDABLE, ids=["no text", "too long", "too large"])
@pytest.mark.parametrize("kind", verbs.HANDLERS, ids=lambda kind: kind.__name__)
def test_an_answer_that_cannot_be_sent_becomes_one_that_says_so(engine, monkeypatch, kind, what):
    if kind is messages.Ping:
        pytest.skip("it shows that the service goes on")
    text = what if isinstance(what, str) else "a"
    number = what if isinstance(what, int) else 0
    answers = [
        messages.Submitted(NUMBER, [messages.Result(number, messages.Verdict.REFUSED, None, text)]),
        messages.Reply(NUMBER, messages.Verdict.UNKNOWN, None, text),
        messages.Reply(NUMBER, number, b"x" * len(text), None),
        messages.Rows(NUMBER, [{"id": text, "seq": number}]),
        messages.Gone(bytes(16), text),
        messages.Stopping(text),
        messages.Error(text),
        messages.Gap(bytes(16), number),
    ]

    def say_all(engine, peer, _):
        for answer in answers:
            engine.reply(peer, answer)

    monkeypatch.setitem(verbs.HANDLERS, kind, say_all)
    client = engine.client()
    client.say(sample(kind))
    assert engine.client().is_served()
    assert len(client.got) == len(answers)


def test_what_the_store_raises_ends_the_engine(tmp_path, monkeypatch):
    engine = AnsweringEngine(tmp_path)
    engine.start()

    def fail(*_):
        raise StoreBroken("the disk has gone")

    monkeypatch.setitem(verbs.HANDLERS, messages.Ping, fail)
    engine.client().say(messages.Ping(1))
    assert engine.engine.stopped.wait(30)
    assert isinstance(engine.engine.failure, StoreBroken)
    engine.stop()


@opens_files
def test_a_cancel_that_names_nothing_is_refused(engine):
    answer = engine.client().ask(messages.Cancel(NUMBER, None, None))
    assert (answer.verdict, answer.value) == (messages.Verdict.REFUSED, None)
    assert "id" in answer.reason
