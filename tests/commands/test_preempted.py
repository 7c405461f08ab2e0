"""Commands that were asked to stand still for a more urgent petition, as a later start of the service finds them."""

from __future__ import annotations

import pytest

from commands.fake_commands import started
from orcha._core import transitions
from orcha._core.preempted import PAUSE
from orcha._core.state import State
from orcha._supervisor.contract import FOREIGN, RUNNING, FoundAttempt
from support.waiting import wait_for


@pytest.fixture
def preempted(engine):
    """Give a command that runs, and was asked to give its place; its shim has not told that it stands still."""
    asked = engine.run()
    spec = engine.wait_for_spec()
    engine.commands.tell(started(spec))
    wait_for(lambda: engine.row(asked).state is State.RUNNING, what="RUNNING")
    petitions = engine.engine.petitions

    def give_way():
        record = petitions.records[spec.seq]
        record.preemptible = PAUSE
        transitions.preempt.give_way(petitions, record, "urgent", petitions.now)

    engine.engine.mailbox.post(give_way)
    engine.wait_for_call("stop", spec.seq, spec.attempt)
    return spec


def found_again(engine, spec, phase):
    return engine.again(FoundAttempt(spec.seq, spec.attempt, spec.channel, phase, "shim", 99))


def may_give(engine, seq):
    record = engine.engine.petitions.records[seq]
    record.preemptible = PAUSE
    return engine.engine.preempting._preemption._may_give(record)


def test_a_command_whose_shim_takes_orders_is_asked_again(engine, preempted):
    later = found_again(engine, preempted, RUNNING)
    later.wait_for_call("stop", preempted.seq, preempted.attempt)
    later.settle_engine()
    petitions = later.engine.petitions
    assert set(petitions.preempted) == {preempted.seq}
    petitions.forget_preempted(preempted.seq)
    assert may_give(later, preempted.seq)


def test_a_command_whose_shim_takes_no_orders_keeps_its_place_for_good(engine, preempted):
    later = found_again(engine, preempted, FOREIGN)
    wait_for(lambda: not later.engine.petitions.preempted, what="its place for good")
    later.settle_engine()
    assert not may_give(later, preempted.seq)
    assert not later.commands.made("stop")
