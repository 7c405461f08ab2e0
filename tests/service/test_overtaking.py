"""What ends while conditions are asked lets nobody overtake who was asked before it ended."""

from __future__ import annotations

import threading

import pytest

from orcha.interfaces import Petition
from support.engine import Asked, EngineUnderTest
from support.waiting import wait_for


class OneAtOnce:
    """Lets one run at a time; the condition of one that is `late` answers, once, when the one that runs has ended."""

    def __init__(self):
        self.started = []
        self.late = None
        self.goes_on = threading.Event()
        self.granted = {}
        self.asked = []

    def convert_to_petition(self, m):
        petition = Petition(m.id, m.extras["queue"], self.act, self.may_run)
        petition.priority = m.extras.get("priority", 0)
        return petition

    def act(self, _, petition):
        self.started.append(petition.id)
        if petition.id == "runs":
            assert self.goes_on.wait(30)
        petition.finish(0)

    def may_run(self, petition):
        self.asked.append(petition.id)
        if petition.id == self.late:
            self.late = None
            self.goes_on.set()
            wait_for(lambda: not self.granted, what="room")
        return not self.granted and not str(petition.id).startswith("blocked")

    def on_start(self, _):
        return True

    def on_finish(self, _):
        return True


@pytest.fixture
def engine(tmp_path):
    """One runs, and `a` waits."""
    (tmp_path / "output").mkdir()
    under_test = EngineUnderTest(tmp_path, manager=OneAtOnce())
    under_test.manager.granted = under_test.engine.petitions.granted
    under_test.start()
    for number, name in enumerate(("runs", "a")):
        under_test.submit(Asked(bytes([number]) * 16, name), priority=1)
    wait_for(lambda: A.token in under_test.told.accepted, what="a waits")
    yield under_test
    under_test.manager.goes_on.set()
    under_test.stop()


A, B = Asked(bytes([1]) * 16, "a"), Asked(bytes([2]) * 16, "b")


def test_one_that_said_no_is_asked_again_before_a_later_yes_counts(engine):
    engine.submit(B, priority=5)
    wait_for(lambda: "b" in engine.manager.asked, what="b is asked")
    engine.manager.late = "b"
    engine.engine.post(engine.engine.visits.wake)
    engine.settle(A, B)
    assert engine.manager.started == ["runs", "a", "b"]


def test_the_yes_of_one_that_has_just_come_is_not_lost_behind_many_that_are_blocked(engine):
    blocked = [Asked(number.to_bytes(2, "big") * 8, f"blocked-{number}") for number in range(10, 510)]
    engine.submit(*blocked, priority=1)
    wait_for(lambda: blocked[-1].token in engine.told.accepted, what="all wait")
    engine.manager.late = "b"
    engine.submit(B, priority=5)
    engine.settle(A, B)
    assert {"a", "b"} <= set(engine.manager.started)


def test_those_of_which_none_could_start_are_not_urgent_unless_a_built_in_manager_is_served(engine):
    visits = engine.engine.visits
    engine.engine.post(visits.wake)
    wait_for(lambda: not visits.may_find, what="a says no again")
    engine.engine.managers.have_ours = True
    assert visits.may_find
