"""The final value of an action that is over at once wakes nobody; of an action that goes on, it is told in a moment."""

from __future__ import annotations

import threading
from dataclasses import replace
from queue import SimpleQueue

import pytest

from orcha._service import transaction
from orcha._service.hooks import hook_thread as hooks
from orcha._service.hooks.hook_thread import Hooks, HookThreadState
from orcha.interfaces import Petition
from support.engine import Asked, EngineUnderTest
from support.waiting import wait_for

ONE = Asked(bytes([1]) * 16, "1")


class GoesOn:
    """Its petition gives its value when that need wake nobody, notes whether it did, and goes on until it may end."""

    def __init__(self):
        self.hooks = None
        self.rang = []
        self.missed = threading.Event()
        self.finished, self.goes_on = threading.Event(), threading.Event()
        self.woke = None

    def convert_to_petition(self, m):
        return Petition(m.id, m.extras["queue"], self.act, lambda _: True)

    def act(self, _, petition):
        wait_for(lambda: self.hooks.looks_again or self.missed.is_set(), what="the hook thread's promise to look")
        petition.finish(7)
        self.woke = threading.current_thread() in self.rang
        self.finished.set()
        assert self.goes_on.wait(600)

    def on_start(self, _):
        return True

    def on_finish(self, _):
        return True


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Give a function that starts the petition; the hook thread looks after so many seconds, and nobody else does."""
    started = []

    def it(seconds):
        monkeypatch.setattr(hooks, "FINAL_VALUE_WAIT_SECONDS", seconds)
        monkeypatch.setattr(transaction, "FLAGS_WAIT_SECONDS", 3600.0)
        (tmp_path / "output").mkdir()
        under_test = EngineUnderTest(tmp_path, manager=GoesOn())
        started.append(under_test)
        under_test.manager.hooks = its = under_test.engine.hook_state
        mailbox, rang = under_test.engine.mailbox, under_test.manager.rang
        wake = mailbox.wake
        monkeypatch.setattr(mailbox, "wake", lambda: (rang.append(threading.current_thread()), wake()))
        look = its.look
        monkeypatch.setattr(its, "look", lambda: (under_test.manager.missed.set(), look()))
        under_test.engine.settings = replace(under_test.engine.settings, hook_deadline=3600.0)  # its timer wakes, too
        under_test.start()
        under_test.submit(ONE)
        return under_test

    yield it
    for under_test in started:
        under_test.manager.goes_on.set()
        under_test.stop()


def test_it_is_told_in_a_moment_though_the_action_goes_on(start):
    engine = start(0.2)
    wait_for(lambda: engine.told.finals.get(ONE.token) == 7, what="the value")
    assert not engine.manager.goes_on.is_set()


def test_it_is_told_with_the_end_of_the_action(start):
    engine = start(3600.0)
    assert engine.manager.finished.wait(30)
    assert not engine.manager.woke
    engine.manager.goes_on.set()
    wait_for(lambda: engine.told.finals.get(ONE.token) == 7, what="the value")


@pytest.mark.parametrize("comes", [True, False])
def test_nothing_is_promised_any_more_when_it_looks(monkeypatch, comes):
    """A thread puts its value first, and asks afterwards: a value between the two is rung for, or seen."""
    monkeypatch.setattr(hooks, "FINAL_VALUE_WAIT_SECONDS", 3600.0 if comes else 0.0)
    seen, inbox = [], SimpleQueue()
    threads = HookThreadState(lambda: seen.append(threads.looks_again) or inbox.put(None))
    it = Hooks(None, None, None, None, None, threads)
    if comes:
        inbox.put("a visit")
    assert it._next(inbox) == ("a visit" if comes else None)
    assert seen == [False]
