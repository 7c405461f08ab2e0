"""What gathers for the hook thread while a hook hangs, and what the engine's thread does meanwhile."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from orcha._core import transitions
from orcha._core.record import Record
from orcha._protocol.messages import Submit
from orcha._service.execution.action_threads import ActionPool, ActionRun
from orcha.interfaces import Petition
from support.asking import GateManager, asking, item
from support.waiting import wait_for


class HangingManager(GateManager):
    """Reads no message whose id is `hangs` before it is let."""

    def __init__(self):
        super().__init__()
        self.read = []
        self.may_read = threading.Event()

    def convert_to_petition(self, m):
        self.read.append(m.id)
        if m.id == "hangs":
            self.may_read.wait(30)
        return super().convert_to_petition(m)


@contextmanager
def hanging(*, deadline):
    """Give an engine whose hook hangs, and is given up after so many seconds."""
    manager = HangingManager()
    with asking(manager=manager, hook_deadline=deadline) as asked:
        asked.submit(asked.user, "kept", waits=True)
        asked.send(asked.user, Submit, None, 0, [item("hangs")])
        wait_for(lambda: manager.read == ["kept", "hangs"], what="the hook hangs")
        try:
            yield asked
        finally:
            manager.may_read.set()


def as_engine(asked, call):
    """Have a call made on the engine's thread; give what it gave."""
    given = []
    asked.engine.post(lambda: given.append(call()))
    return wait_for(lambda: given, what="the engine's turn")[0]


def test_what_has_gathered_while_a_hook_hung_is_called_after_it_is_given_up():
    with hanging(deadline=1.0) as asked:
        engine = asked.engine

        def make_again():
            kept = engine.petitions.live["kept"]
            transitions.retry.take_message(kept, engine.store.rows([kept.seq])[0].extras)
            engine.visits.convert_again(kept)
            return True

        as_engine(asked, make_again)
        wait_for(lambda: asked.manager.read == ["kept", "hangs", "kept"], what="the other message is read again")


def test_a_round_that_is_due_while_a_hook_runs_keeps_no_thread_awake():
    with hanging(deadline=600.0) as asked:
        engine = asked.engine

        def is_due():
            engine.visits.selection._arm(time.monotonic() - 1.0)
            engine.visits._arm()
            before = len(engine.timers)
            for call in engine.timers.take(time.monotonic()):
                call()
            return before, len(engine.timers.take(time.monotonic()))

        before, at_once = as_engine(asked, is_due)
        assert before > 0
        assert at_once == 0, "the timer would be due again and again until the hook returns"


def test_what_a_hook_that_comes_back_after_the_stop_starts_is_not_called():
    called = []
    petition = Petition("late", None, lambda *_: called.append("action"), lambda _: True)
    pool = ActionPool(lambda *_: called.append("ended"))
    assert pool.stop() == []
    for _ in "12":
        pool.go(ActionRun(None, Record(1, b"", "late", "", "", b"", None, 0.0)), petition)
    wait_for(lambda: not pool._threads, what="the end of every thread")
    assert not called


def test_calls_are_handed_over_where_no_visit_is_under_way_and_no_hook_that_was_given_up_is_waited_for():
    with asking() as asked:
        visits = asked.engine.visits

        def free():
            found = [visits.is_free]
            for name, value in (("under_way", object()), ("_stopped_by", 7)):
                before = getattr(visits, name)
                setattr(visits, name, value)
                found.append(visits.is_free)
                setattr(visits, name, before)
            return [*found, visits.is_free]

        assert as_engine(asked, free) == [True, False, False, True]
