"""A message that is neither kept nor refused yet, and who asks for it once more."""

from __future__ import annotations

import os
import threading

import pytest

from orcha._protocol import values
from orcha._protocol.messages import Item, Submit, Verdict
from orcha._service.engine import Engine
from orcha._service.verbs.cancel import BEFORE_IT_CAME
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.lib.commands import CommandManager
from support.asking import GateManager, Person, asking
from support.engine import Asked, EngineUnderTest
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


@pytest.mark.parametrize("fields", [{"array": {"range": [1, 3, 1]}}, {"beside": "train"}], ids=["array", "exec"])
def test_an_array_or_a_command_beside_another_one_that_is_cancelled_before_it_comes_never_runs(tmp_path, fields):
    under_test = EngineUnderTest(tmp_path, manager=CommandManager(), manager_name=COMMAND_MANAGER)
    under_test.start()
    late = Asked(os.urandom(16), "late")
    under_test.cancel(late)
    under_test._submits[7] = [late.token]
    extras = values.encode({"argv": ["true"], "env": {}, "queue": None, **fields})
    under_test.engine.receive(under_test.peer, Submit(7, None, 0, [Item(late.token, late.id, extras, None)]))
    wait_for(lambda: under_test.told.refused or under_test.told.accepted, what="an answer")
    under_test.stop()
    assert under_test.told.refused == {late.token: (Verdict.REFUSED, BEFORE_IT_CAME)}
    assert under_test.told.cancelled == {late.token: "cancelled"}
