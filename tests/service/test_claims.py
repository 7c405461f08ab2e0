"""What is claimed, when, and when claims are taken back; the engine is the test's."""

from __future__ import annotations

import time
import types

import pytest

from orcha._core.changes import Changes, Transition
from orcha._core.effects import Do, Effect
from orcha._core.state import State
from orcha._service import claims
from orcha._service.claims import GATHERED, HOLDS, MOST, SHORT, Claims
from orcha._service.managers import COMMAND_MANAGER


class Machine:
    """Lets everything be claimed that waits."""

    def __init__(self, waiting=3, granted=1):
        self.records = {seq: Petition(seq) for seq in range(1, waiting + 1)}
        self.granted = granted
        self.claimed, self.unclaimed = [], []
        self.waiting = self
        self.effects = []

    def __len__(self):
        return len(self.records)

    def head(self, count):
        return [(0, seq, record.key) for seq, record in self.records.items()][:count]

    def claim(self, record):
        self.claimed.append(record.seq)
        return True

    def unclaim(self, record):
        self.unclaimed.append(record.seq)


class Petition:
    def __init__(self, seq):
        self.seq, self.key, self.attempt, self.manager = seq, f"p{seq}", 0, COMMAND_MANAGER


class Engine:
    """Notes what is started, and when it is to look again."""

    def __init__(self, **options):
        self.machine = Machine(**options)
        self.settings = types.SimpleNamespace(durable=True, claims=True)
        self.channels = types.SimpleNamespace(scarce=False)
        self.granted = types.SimpleNamespace(
            of=lambda name: range(self.machine.granted if name == COMMAND_MANAGER else 0)
        )
        self.draining, self.paused = None, False
        self.turns = types.SimpleNamespace(inbox=[])
        self.timers, self.visits = self, self
        self.due, self.started = [], []
        self.claims = Claims(self)

    def at(self, due, call):
        self.due.append((due, call))

    def start_at_once(self, records):
        self.started += [record.seq for record in records]

    def of(self, manager):
        return range(self.machine.granted if manager == COMMAND_MANAGER else 0)

    def find(self, key):
        return next((record for record in self.machine.records.values() if record.key == key), None)

    def commit(self, *starts, without=()):
        """Keep a transaction, and give what is left to be done after it."""
        self.claims.add()
        for record in starts:
            record.attempt += 1
        records = [self.machine.records[seq] for seq in self.machine.claimed if seq not in without]
        kept = {record.seq: claim_of(record) for record in records}
        left = self.claims.begin([Effect(Do.ON_START, record) for record in starts])
        self.claims.note_kept(Changes(transitions=kept))
        return [effect.record.seq for effect in left]


def claim_of(record):
    step = (record.seq, record.attempt, 1 << State.QUEUED, State.QUEUED, record.attempt, 0.0)
    return Transition(*step, slot_held=True)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Have no verdict depend on how fast this machine is."""
    monkeypatch.setattr(claims, "GATHERS", 3600.0)


@pytest.fixture
def engine():
    """Six of seven waiting petitions are claimed, since one runs, and it has ended soon."""
    it = Engine(waiting=7)
    it.claims.note_end(SHORT)
    assert it.commit() == []
    assert it.machine.claimed == [1, 2, 3, 4, 5, 6]
    return it


def test_where_commands_take_their_time_nothing_is_claimed():
    engine = Engine()
    engine.claims.note_end(SHORT * 2)
    engine.commit()
    assert engine.machine.claimed == []


@pytest.mark.parametrize(
    ("whose", "name", "value"),
    [
        ("settings", "durable", False),
        ("settings", "claims", False),
        ("channels", "scarce", True),
        (None, "draining", "the service is stopping"),
        (None, "paused", True),
    ],
)
def test_nothing_is_claimed_where_that_is_of_no_use(whose, name, value):
    engine = Engine()
    setattr(engine if whose is None else getattr(engine, whose), name, value)
    engine.claims.note_end(0)
    engine.commit()
    assert engine.machine.claimed == []


def test_a_plugin_s_petitions_are_not_claimed():
    engine = Engine()
    engine.machine.records[1].manager = "alpha:AlphaManager"
    engine.claims.note_end(0)
    engine.commit()
    assert engine.machine.claimed == [2, 3]


def test_no_more_are_claimed_than_a_power_cut_may_leave_in_doubt():
    engine = Engine(waiting=MOST + 5, granted=MOST + 5)
    engine.claims.note_end(0)
    engine.commit()
    assert len(engine.machine.claimed) == MOST


def test_one_that_is_claimed_starts_at_once_and_others_wait_for_their_transaction(engine):
    first, last = engine.machine.records[1], engine.machine.records[7]
    assert engine.commit(first, last) == [7]
    assert engine.started == [1]


def test_one_whose_claim_was_not_kept_waits_for_its_transaction():
    engine = Engine()
    engine.claims.note_end(0)
    engine.commit(without=(1,))
    assert engine.commit(engine.machine.records[1]) == [1]


def test_a_claim_is_good_for_one_attempt(engine):
    first = engine.machine.records[1]
    engine.commit(first)
    assert engine.commit(first) == [1]
    second = engine.machine.records[2]
    second.attempt = 7
    assert engine.commit(second) == [2]


def test_those_that_are_claimed_are_not_claimed_again(engine):
    engine.claims.note_end(0)
    engine.commit()
    assert engine.machine.claimed == [1, 2, 3, 4, 5, 6]


def test_claims_are_taken_back_when_nothing_has_come_of_them(engine, monkeypatch):
    assert len(engine.due) == 1
    due, look = engine.due.pop()
    monkeypatch.setattr("time.monotonic", lambda: due - HOLDS / 2)
    look()
    assert engine.machine.unclaimed == []
    again, look = engine.due.pop()
    assert again == due
    del engine.machine.records[2]
    monkeypatch.setattr("time.monotonic", lambda: due)
    look()
    assert engine.machine.unclaimed == [1, 3, 4, 5, 6]
    assert not engine.claims.are_kept
    assert engine.due == []


def test_a_stop_takes_all_back(engine):
    engine.claims.take_back()
    assert engine.machine.unclaimed == [1, 2, 3, 4, 5, 6]
    assert engine.commit(engine.machine.records[1]) == [1]


def start(engine, record):
    """Have a record's start be about to be kept."""
    record.attempt += 1
    engine.machine.effects = [Effect(Do.ON_START, record)]


def test_where_what_comes_next_has_begun_a_transaction_waits_for_another_end(engine):
    first = engine.machine.records[1]
    engine.claims.note_end(SHORT)
    start(engine, first)
    assert engine.claims.gather()
    assert engine.started == [1]
    assert engine.machine.effects == []


def test_a_transaction_waits_for_no_more_ends_than_shims_can_be_spared(engine):
    engine.machine.granted = 9
    for _ in range(GATHERED - 1):
        engine.claims.note_end(SHORT)
        assert engine.claims.gather()
    engine.claims.note_end(SHORT)
    assert not engine.claims.gather()
    engine.commit()
    assert not engine.claims.gather(), "nothing has ended since"


@pytest.mark.parametrize("reason", ["long", "unclaimed", "other events", "a start", "it has waited"])
def test_a_transaction_does_not_wait_where(engine, reason, monkeypatch):
    engine.claims.note_end(SHORT * 2 if reason == "long" else 0)
    if reason == "unclaimed":
        engine.claims.take_back()
    if reason == "other events":
        engine.turns.inbox.append(1)
    if reason == "a start":
        start(engine, engine.machine.records[7])
    if reason == "it has waited":
        over = time.monotonic() + claims.GATHERS
        monkeypatch.setattr("time.monotonic", lambda: over)
    assert not engine.claims.gather()
