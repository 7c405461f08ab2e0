"""What a power cut leaves of a running engine: everything a client was told, whatever the disk had not synced."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from durability.history import read_kept
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Kind
from orcha._store.sqlite import SqliteStore
from orcha.exceptions.store import StoreBroken
from support.changes import ANY_STATE
from support.engine import LIMITS, MANAGER, EngineUnderTest, Told, random_work
from support.powercut_vfs import Disk, restore

PETITIONS = 250
CUTS = 100
"""A run; there are two."""
pytestmark = [pytest.mark.slow, pytest.mark.once]


class Cut(NamedTuple):
    """A power cut: what it left, and what clients had been told."""

    images: dict[str, bytes]
    told: Told


def replies_first(under_test):
    """The seeded bug: clients are told before the transaction is kept."""
    engine = under_test.engine
    late = []
    keep, send = engine.transaction.keep, engine.outbox._send

    def later(changes, effects):
        late.append(changes)
        return effects

    def send_and_keep(batch):
        send(batch)
        while late:
            keep(late.pop(0), [])

    engine.transaction.keep = later
    engine.outbox._send = send_and_keep


def cuts_of(folder, seed, sabotage=lambda under_test: None):
    """Let an engine work; give power cuts at random moments of it."""
    source = random.Random(seed)
    cuts = []
    with Disk(f"engine-{seed}") as disk:
        under_test = EngineUnderTest(folder, vfs=disk.name)
        disk.settle()
        sabotage(under_test)

        def cut(probability):
            if source.random() < probability:
                cuts.append(Cut(disk.cut(source if source.random() < 0.7 else None), under_test.told.copy()))

        def before(operation):
            if operation.kind != "read":
                cut(0.1)

        disk.before = before
        under_test.before_send = lambda: cut(0.2)
        under_test.start()
        random_work(under_test, random.Random(seed), PETITIONS)
        disk.before = None
        under_test.before_send = lambda: None
        under_test.stop()
        disk.contents.clear()
    assert len(cuts) >= CUTS, len(cuts)
    return source.sample(cuts, CUTS)


def check(cut, folder):
    """Compare what clients had been told with what is there after the cut; then let a new engine recover from it."""
    restore(cut.images, folder)
    kept = read_kept(folder)
    rows = {bytes.fromhex(token): row for token, row in kept.rows.items()}
    lost = cut.told.accepted - rows.keys()
    assert not lost, f"accepted and lost: {len(lost)}"
    for channel, value in cut.told.finals.items():
        records = kept.channels.get(channel, [])
        finals = [values.decode(record.payload) for record in records if record.kind == Kind.FINAL]
        assert finals == [value], f"the final value {value} was sent, kept are {finals}"
        assert len(records) >= cut.told.records[channel]
        assert rows[channel].state is State.ENDED
        assert rows[channel].code == value
    for token, answer in cut.told.cancelled.items():
        row = rows.get(token)
        assert row is None or row.outcome is not None, f"a cancel was answered {answer}, the petition is {row.state}"
        assert row is None or row.outcome.name.lower() == answer
    recovers(folder)


def recovers(folder):
    under_test = EngineUnderTest(folder)
    under_test.store.close()
    under_test.log.close()
    under_test.engine.ending.stop()
    store = SqliteStore(folder, limits=LIMITS)
    try:
        left = [row for row in store.unfinished(MANAGER) if row.state in {State.STARTING, State.CANCELLING}]
        assert not left, f"still thought to run: {left}"
        assert all(row.epoch for row in store.page(states=ANY_STATE, limit=1000))
    finally:
        store.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_clients_were_told_survives_a_power_cut(tmp_path, seed):
    folder = tmp_path / "endpoint"
    folder.mkdir(mode=0o700)
    for number, cut in enumerate(cuts_of(folder, seed)):
        check(cut, tmp_path / f"after-{number}")


def test_the_harness_catches_an_engine_that_replies_before_the_commit(tmp_path):
    folder = tmp_path / "endpoint"
    folder.mkdir(mode=0o700)
    cuts = cuts_of(folder, 3, replies_first)
    caught = 0
    for number, cut in enumerate(cuts):
        try:
            check(cut, tmp_path / f"after-{number}")
        except (AssertionError, StoreBroken):
            caught += 1
    assert caught > CUTS // 20
