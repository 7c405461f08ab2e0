"""Secrets of commands, between who sends them and the shim that gets them."""

from __future__ import annotations

from typing import Any

import pytest

from orcha._core import secrets as secrets_module
from orcha._core.state import State
from orcha._protocol import messages
from orcha._protocol.messages import GiveSecrets, Retry, Verdict
from orcha.interfaces import Message
from orcha.lib.commands import CommandManager
from support.waiting import wait_for


def refusal(engine, asked):
    return wait_for(lambda: engine.told.refused.get(asked.token), what="it is refused")[1]


def answers(engine, message):
    """Give the verdict and the reason of a request."""
    replies: list[messages.Reply] = []
    take = engine._take

    def note(told: Any) -> None:
        if isinstance(told, messages.Reply) and told.request == message.request:
            replies.append(told)
        take(told)

    engine._take = note
    engine.engine.receive(engine.peer, message)
    wait_for(lambda: replies, what="the answer")
    engine._take = take
    return replies[0].verdict, replies[0].reason or ""


def kept(engine):
    return engine.engine.admission.secrets


def test_a_shim_gets_what_the_client_sent_and_what_the_plugin_has(engine):
    engine.run(secrets={"SENT": None, "OWN": "text", "RAW": b"\xff"}, sent_secrets={"SENT": b"sent"})
    assert engine.wait_for_spec().secrets == {"SENT": b"sent", "OWN": b"text", "RAW": b"\xff"}
    assert "sent" not in repr(kept(engine).kept)


def test_without_secrets_nothing_is_given(engine):
    engine.run()
    assert engine.wait_for_spec().secrets is None
    assert not kept(engine).kept
    assert not kept(engine).lacking


@pytest.mark.parametrize(
    ("named", "sent", "words"),
    [
        ({"A": None}, None, "names the secret A, which did not come with it"),
        ({"A": None}, {"B": b"x"}, "the secret B came with it, and its command names no such secret"),
        ({"A": None}, {"A": b""}, "1 to 65536 bytes, and A has 0"),
        ({"A": None}, {"to ken": b"x"}, "letters, digits and _"),
        ({"A": None}, {f"A{number}": b"x" for number in range(17)}, "at most 16, and 17 are given"),
        ({"A": 7}, None, "and 'A' is int"),
        (["A"], None, "secrets is a dict"),
    ],
)
def test_what_does_not_fit_is_refused_and_forgotten(engine, named, sent, words):
    asked = engine.run(secrets=named, sent_secrets=sent)
    assert words in (refusal(engine, asked) or "")
    engine.settle_engine()
    assert not kept(engine).kept
    assert not kept(engine).lacking


def test_an_owner_may_not_fill_the_memory(engine, monkeypatch):
    monkeypatch.setattr(secrets_module, "MAX_OWNER_SECRET_BYTES", 8)
    first = engine.run("first", secrets={"A": None}, sent_secrets={"A": b"12345"})
    engine.wait_for_spec()
    second = engine.run("second", secrets={"A": None}, sent_secrets={"A": b"1234"})
    assert "at most 8" in (refusal(engine, second) or "")
    assert dict(kept(engine).of(first.token)) == {"A": b"12345"}


def test_an_engine_that_begins_anew_is_given_them_again(engine):
    waits = {"policy": {"after": ["first"]}}
    engine.run("first")
    engine.wait_for_spec()
    asked = engine.run("second", secrets={"A": None}, sent_secrets={"A": b"1"}, **waits)
    wait_for(lambda: asked.token in engine.told.accepted, what="it is accepted")
    first = engine.commands.specs[0]
    again = engine.again()
    record = wait_for(lambda: again.engine.find("second"), what="it is there")
    seq = record.seq
    assert answers(again, GiveSecrets(901, None, None, {"A": b"2"}, bytes(16)))[0] == Verdict.UNKNOWN
    assert answers(again, GiveSecrets(902, "second", None, {"A": b""}))[0] == Verdict.REFUSED
    assert answers(again, GiveSecrets(903, None, None, {"A": b"2"}, asked.token)) == (Verdict.OK, "")
    assert answers(again, GiveSecrets(904, "second", None, {"A": b"3"})) == (Verdict.OK, "")
    assert dict(kept(again).of(asked.token)) == {"A": b"3"}
    assert first.seq != seq
    again.cancel(asked)
    wait_for(lambda: again.row(asked).state is State.ENDED, what="it has ended")
    again.settle_engine()
    assert not kept(again).of(asked.token)
    assert answers(again, GiveSecrets(905, None, None, {"A": b"4"}, asked.token)) == (Verdict.OK, "")
    assert "has ended" in answers(again, GiveSecrets(906, "second", None, {"A": b"4"}))[1]
    assert not kept(again).of(asked.token)
    assert "did not come" in answers(again, Retry(907, b"n" * 16, "second"))[1]
    assert "1 to 65536" in answers(again, Retry(908, b"n" * 16, "second", secrets={"A": b""}))[1]
    assert answers(again, Retry(909, b"n" * 16, "second", secrets={"A": b"5"})) == (Verdict.OK, "")
    assert dict(kept(again).of(b"n" * 16)) == {"A": b"5"}


def test_a_message_that_comes_again_gives_them_again(engine):
    engine.run("first")
    engine.wait_for_spec()
    asked = engine.run("second", secrets={"A": None}, sent_secrets={"A": b"1"}, policy={"after": ["first"]})
    wait_for(lambda: asked.token in engine.told.accepted, what="it is accepted")
    again = engine.again()
    item = messages.Item(asked.token, "second", b"", asked.token)
    again._submits[990] = [asked.token]
    again.engine.receive(again.peer, messages.Submit(990, None, 0, [item], {"A": b"2"}))
    wait_for(lambda: dict(kept(again).of(asked.token)) == {"A": b"2"}, what="they are there")


def test_a_client_checks_them_before_it_sends_anything():
    with pytest.raises(ValueError, match="1 to 65536 bytes, and A has 0"):
        CommandManager(port=1).send(Message("m", {}), secrets={"A": b""})
