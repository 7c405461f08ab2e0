"""A message that is neither kept nor refused yet, and who asks for it once more."""

from __future__ import annotations

import os
import threading

from orcha._protocol import values
from orcha._protocol.messages import Item, Submit, Verdict
from orcha._service.engine import Engine
from support.asking import GateManager, Person, asking
from support.waiting import wait_for


class SlowReader(GateManager):
    """Reads no message before it is let."""

    def __init__(self):
        super().__init__()
        self.may_read = threading.Event()

    def convert_to_petition(self, m):
        assert self.may_read.wait(30)
        return super().convert_to_petition(m)


def test_a_token_in_flight_is_its_user_s_own_whoever_sends_it_too():
    manager, token = SlowReader(), os.urandom(16)
    mine = Item(token, "mine", values.encode({"queue": None}), None)
    with asking(manager=manager) as asked:
        first = asked.send(asked.user, Submit, None, 0, [mine])
        wait_for(lambda: token in asked.engine.submissions.undecided, what="the engine has the message")
        (denied,) = asked.ask(asked.stranger, Submit, None, 0, [mine._replace(id="theirs")]).results
        assert (denied.verdict, denied.reason) == (Verdict.REFUSED, "this token is somebody else's")
        again = asked.send(asked.user, Submit, None, 0, [mine])
        manager.may_read.set()
        (accepted,), (known,) = (asked.answer(asked.user, number).results for number in (first, again))
        assert (accepted.verdict, known.verdict) == (Verdict.ACCEPTED, Verdict.KNOWN)
        assert accepted.channel == known.channel == token
        assert list(asked.rows()) == ["mine"]


def test_a_message_that_comes_while_the_service_starts_is_answered(monkeypatch):
    """The server takes connections before the engine's threads run: a client that was away may be there at once."""
    person, start = Person("submitter", "uid:7"), Engine.start

    def start_late(engine):
        engine.receive(
            person, Submit(1, None, 0, [Item(os.urandom(16), "early", values.encode({"queue": None}), None)])
        )
        start(engine)

    monkeypatch.setattr(Engine, "start", start_late)
    with asking() as asked:
        (submitted,) = wait_for(lambda: list(person.heard), what="an answer")
        assert [result.verdict for result in submitted.results] == [Verdict.ACCEPTED]
        asked.wait_for("early", "succeeded")
