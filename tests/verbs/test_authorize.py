"""A manager may deny what the roles allow; whatever goes wrong when it is asked denies, too."""

from __future__ import annotations

import os
import threading

import pytest

from orcha._protocol import values
from orcha._protocol.messages import (
    Cancel,
    Pause,
    Ping,
    Priority,
    Remove,
    Resume,
    Retry,
    Select,
    Set,
    Signal,
    Submit,
    Verdict,
)
from support.asking import GateManager, Person, asking, item
from support.waiting import DEADLINE, wait_for

CHANGES = {
    "cancel": lambda name: (Cancel, None, name),
    "set": lambda name: (Set, name, None, values.encode({"priority": 3})),
    "priority": lambda name: (Priority, name, None, 3),
    "pause": lambda name: (Pause, name),
    "resume": lambda name: (Resume, name),
    "rm": lambda name: (Remove, name),
    "retry": lambda name: (Retry, os.urandom(16), name),
    "signal": lambda name: (Signal, name, None, 10),
}


class Asking(GateManager):
    """Is asked, and answers as the test says."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.threads = set()
        self.answer = lambda *_: True

    def authorize(self, identity, verb, petition):
        self.asked.append((identity, verb, None if petition is None else petition.id))
        self.threads.add(threading.current_thread().name)
        return self.answer(identity, verb, petition)


@pytest.fixture
def asked():
    with asking(manager=Asking()) as asked:
        yield asked


@pytest.mark.parametrize("verb", CHANGES)
def test_what_the_manager_denies_is_not_done_and_what_it_allows_is_as_ever(asked, verb):
    asked.submit(asked.user, "it", waits=True)
    kind, *arguments = CHANGES[verb]("it")
    asked.manager.answer = lambda *_: False
    before = asked.rows()["it"]
    denied = asked.ask(asked.user, kind, *arguments)
    assert (denied.verdict, denied.reason) == (
        Verdict.DENIED,
        f"'it': {verb} is denied: its plugin does not allow it",
    )
    assert asked.rows()["it"] | {"asked_ago": before["asked_ago"]} == before
    assert asked.ask(asked.owner, kind, *arguments).verdict != Verdict.DENIED
    assert asked.manager.asked == [("uid:7", "submit", "it"), ("uid:7", verb, "it")]
    assert len(asked.manager.threads) == 1
    assert not any("engine" in name for name in asked.manager.threads)


def test_a_cancel_by_token_is_asked_as_one_by_id(asked):
    token = os.urandom(16)
    asked.submit(asked.user, "it", token, waits=True)
    asked.manager.answer = lambda *_: False
    assert asked.ask(asked.user, Cancel, token, None).verdict == Verdict.DENIED
    asked.manager.answer = lambda *_: True
    assert asked.ask(asked.user, Cancel, token, None).verdict == Verdict.OK
    assert [verb for _, verb, _ in asked.manager.asked] == ["submit", "cancel", "cancel"]


def test_a_retry_with_secrets_is_asked_as_one_without(asked):
    asked.submit(asked.user, "it", waits=True)
    asked.manager.answer = lambda *_: False
    denied = asked.ask(asked.user, Retry, os.urandom(16), "it", secrets={"A": b"x"})
    assert (denied.verdict, denied.reason) == (
        Verdict.DENIED,
        "'it': retry is denied: its plugin does not allow it",
    )
    assert asked.manager.asked == [("uid:7", "submit", "it"), ("uid:7", "retry", "it")]
    asked.manager.asked.clear()
    assert "somebody else's" in asked.ask(Person("operator", "uid:9"), Retry, os.urandom(16), "it", secrets={}).reason
    assert asked.manager.asked == []


def test_what_the_roles_deny_is_not_asked(asked):
    asked.submit(asked.user, "it", waits=True)
    asked.manager.asked.clear()
    for person in (asked.stranger, Person("viewer", "uid:7"), asked.attempt):
        assert asked.ask(person, Cancel, None, "it").verdict == Verdict.DENIED
    assert asked.manager.asked == []
    assert asked.ask(Person("operator", "uid:9"), Cancel, None, "it").verdict == Verdict.OK
    assert asked.manager.asked == [("uid:9", "cancel", "it")]


def test_a_call_that_raises_denies_and_is_named(asked):
    asked.submit(asked.user, "it", waits=True)

    def fail(*_):
        raise LookupError("the directory is down")

    asked.manager.answer = fail
    denied = asked.ask(asked.user, Cancel, None, "it")
    assert denied.verdict == Verdict.DENIED
    assert "authorize of it failed" in denied.reason
    assert "the directory is down" in denied.reason
    refused = asked.submit(asked.user, "another", waits=True)
    assert refused.verdict == Verdict.REFUSED
    assert "authorize of 'another' failed" in refused.reason


def test_a_call_that_does_not_return_denies_and_others_go_on():
    with asking(manager=Asking(), hook_deadline=1.0) as asked:
        asked.submit(asked.user, "it", waits=True)
        hangs = threading.Event()
        asked.manager.answer = lambda *_: hangs.wait(DEADLINE)
        try:
            denied = asked.ask(asked.user, Cancel, None, "it")
            assert denied.verdict == Verdict.DENIED
            assert "the plugin took longer than 1 s to answer" in denied.reason
        finally:
            hangs.set()
        asked.manager.answer = lambda *_: True
        assert asked.ask(asked.user, Cancel, None, "it").verdict == Verdict.OK


def test_another_petition_that_has_got_the_id_meanwhile_is_left_alone():
    with asking(manager=Asking()) as asked:
        asked.submit(asked.user, "it", waits=True)
        goes_on = threading.Event()
        asked.manager.answer = lambda _, verb, __: verb == "submit" or goes_on.wait(DEADLINE)
        number = asked.send(asked.user, Cancel, None, "it")
        wait_for(lambda: asked.manager.asked[-1][1] == "cancel", what="the manager is asked about the cancel")
        assert asked.ask(asked.owner, Cancel, None, "it").verdict == Verdict.OK
        asked.send(asked.user, Submit, None, 0, [item("it", waits=True)])
        asked.ask(asked.user, Ping)
        goes_on.set()
        answer = asked.answer(asked.user, number)
        assert (answer.verdict, answer.reason) == (Verdict.BUSY, "'it' is another petition by now: try again")
        asked.wait_for("it", "queued")


def test_a_message_that_the_manager_denies_is_refused(asked):
    asked.manager.answer = lambda identity, verb, petition: petition.id != "no"
    refused = asked.submit(asked.user, "no", waits=True)
    assert refused.verdict == Verdict.REFUSED
    assert "does not let" in refused.reason
    assert asked.submit(asked.user, "yes", waits=True).verdict == Verdict.ACCEPTED
    assert [*asked.rows()] == ["yes"]


def test_a_selector_leaves_out_what_a_manager_decides_one_by_one(asked):
    asked.submit(asked.user, "it", waits=True)
    told = asked.value(asked.ask(asked.user, Select, "cancel", ["*"]))
    assert [identity for identity, _ in told["refused"]] == ["it"]
    assert "name it by its id" in told["refused"][0][1]
    assert asked.value(asked.ask(asked.owner, Select, "cancel", ["*"]))["refused"] == []
