"""What owners used before is kept: over a stop, a crash and a change of the half-life."""

from __future__ import annotations

import json

import pytest

from orcha._core.changes import Changes
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.record import Record
from orcha._core.state import State
from orcha._protocol.messages import Show, Stats
from orcha._service.hooks.past_checkpoints import CHECKPOINT_SECONDS, PastCheckpoints
from orcha._service.timers import Timers
from orcha._store.memory import MemoryStore
from support.asking import asking
from support.waiting import wait_for

KIND = "used before"
HALF_LIFE = 1_000.0


class Kept:
    """A service's past, and the store that it is kept in, at times that a test says."""

    def __init__(self, store, wall=0.0):
        self.petitions, self.store, self.timers = Petitions(), store, Timers()
        self.at(wall)
        self.past = PastCheckpoints(self.petitions, store, self.timers)

    def at(self, wall):
        self.petitions.now = Moment(wall, wall)

    def runs(self, owner, started):
        record = Record(self.petitions.take_seq(), b"", "", "m", owner, b"", b"", 0.0)
        record.key, record.started, record.state = str(record.seq), started, State.RUNNING
        self.petitions.hold(record)
        return record

    def keep(self):
        """Commit what is to be kept; give the owners of whom anything is."""
        changes = self.petitions.take_changes()
        if changes:
            self.store.commit(Changes(decided=changes.decided))
        return {owner for kind, owner in changes.decided if kind == KIND}

    def used(self):
        return {owner: round(used[""]) for owner, used in self.petitions.granted.used_before().items()}


@pytest.fixture
def store():
    return MemoryStore()


def test_what_was_used_is_kept_and_decays_while_the_service_is_away(store):
    kept = Kept(store)
    kept.past.checkpoint()
    kept.past.found([])
    kept.past.weigh(HALF_LIFE)
    kept.past.weigh(HALF_LIFE)
    kept.past.checkpoint()
    ran = kept.runs("ann", 0.0)
    kept.at(100.0)
    kept.petitions.release(ran)
    kept.past.checkpoint()
    before = kept.used()["ann"]
    assert 90 <= before < 100
    assert kept.keep() == {"ann"}
    kept.at(200.0)
    kept.past.checkpoint()
    assert kept.keep() == set(), "it has only decayed"
    later = Kept(store, 100.0 + HALF_LIFE)
    later.past.weigh(HALF_LIFE)
    later.runs("bob", None)
    assert later.used() == {"ann": round(before / 2)}
    back = Kept(store, 5.0)
    back.past.weigh(HALF_LIFE)
    back.runs("bob", None)
    assert back.used() == {"ann": before}, "a clock that was set back takes nothing away"


def test_what_makes_no_difference_any_more_is_forgotten(store):
    kept = Kept(store)
    kept.past.weigh(HALF_LIFE)
    ran = kept.runs("ann", 0.0)
    kept.at(100.0)
    kept.petitions.release(ran)
    kept.past.checkpoint()
    assert kept.keep() == {"ann"}
    kept.at(100.0 + 40 * HALF_LIFE)
    kept.past.checkpoint()
    assert kept.keep() == {"ann"}
    assert store.decided(KIND) == {}


def test_of_a_command_that_lives_on_the_time_without_the_service_counts(store):
    kept = Kept(store)
    kept.past.weigh(HALF_LIFE)
    kept.runs("ann", 0.0)
    kept.at(50.0)
    kept.past.checkpoint()
    kept.keep()
    later = Kept(store, 90.0)
    later.past.weigh(HALF_LIFE)
    later.past.found([])
    records = [later.runs("ann", 0.0), later.runs("bob", 60.0), later.runs("cleo", None)]
    later.petitions.ungrant(later.runs("dan", 0.0))
    later.past.found([*records, Record(9, b"", "", "m", "dan", b"", b"", 0.0)])
    window_of = later.used()
    assert window_of["ann"] == pytest.approx(88, abs=3)
    assert window_of["bob"] == pytest.approx(30, abs=1)
    assert "cleo" not in window_of


def test_a_checkpoint_comes_now_and_then_as_long_as_this_half_life_holds(store):
    kept = Kept(store)
    kept.past.weigh(HALF_LIFE)
    kept.runs("ann", 0.0)
    kept.at(30.0)
    (first,) = kept.timers.take(float("inf"))
    first()
    assert kept.keep() == {"ann"}
    assert len(kept.timers) == 1
    kept.past.weigh(2 * HALF_LIFE)
    kept.at(60.0)
    old, new = kept.timers.take(float("inf"))
    old()
    assert (kept.keep(), len(kept.timers)) == (set(), 0)
    new()
    assert (kept.keep(), len(kept.timers)) == ({"ann"}, 1)
    kept.past.weigh(None)
    (last,) = kept.timers.take(float("inf"))
    last()
    assert kept.used() == {}
    assert list(store.decided(KIND)) == ["ann"], "it stays, for a service that lets the past count again"
    assert CHECKPOINT_SECONDS <= 60


def test_who_used_much_before_a_restart_comes_later_and_why_says_so(tmp_path):
    with asking(tmp_path, past_half_life=HALF_LIFE) as asked:
        asked.submit(asked.user, "ran")
        asked.wait_for("ran", "succeeded")
        asked.engine.post(asked.engine.petitions.fairness.add_past, "uid:7", None, 720.0)
    with asking(tmp_path, past_half_life=HALF_LIFE, slots={"rig": 1}) as asked:
        kept = asked.engine.store.decided(KIND)
        assert json.loads(kept["uid:7"])["used"][""] > 500
        asked.submit(asked.owner, "holds", group="rig", holds=True)
        asked.wait_for("holds", "running")
        asked.submit(asked.user, "mine", group="rig")
        asked.submit(asked.stranger, "of another", group="rig")

        def first():
            shown = asked.value(asked.ask(asked.owner, Show, "mine"))
            return next((reason for reason in shown["blocked"] if reason["kind"] == "owner_first"), None)

        reason = wait_for(first, what="it comes after the petition of another owner")
        fair = asked.value(asked.ask(asked.owner, Stats))["fair"]
        asked.manager.free("holds")
        assert 0 < float(reason["used"].removesuffix(" slot-hours")) <= 0.2
        assert (fair["half_life"], fair["used"]["uid:7"][""] > 500) == (HALF_LIFE, True)
        asked.wait_for("mine", "succeeded")
        assert asked.manager.order == ["holds", "of another", "mine"]
