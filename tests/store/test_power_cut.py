"""What a power cut leaves: every commit that was answered durably, and a prefix of the others."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from orcha._core.changes import Append, Changes, NewChannel
from orcha._core.state import State
from orcha._store.contract import Row
from orcha._store.disk_reserve import Limits
from orcha._store.memory import MemoryStore
from orcha._store.sqlite import SqliteStore
from orcha.exceptions.store import StoreBroken
from support.changes import ANY_STATE, accept, end, name, petition, step
from support.powercut_vfs import Disk, Operation, restore

LIMITS = Limits(log=96 << 10, checkpoint=64 << 10, ballast=64 << 10, watermark=1 << 10)
"""Small, so that a run sees many checkpoints and restarts of the log."""
COMMITS = 150
CUTS = 100
"""A run; there are two."""


class Cut(NamedTuple):
    """A power cut: what it left, and what had been promised."""

    images: dict[str, bytes]
    promised: int
    """Number of the last commit that was answered durably."""


def workload(source: random.Random) -> Iterator[tuple[Changes, bool]]:
    """Give changes, each of which accepts one petition, and whether they are durable."""
    live: list[int] = []
    for number in range(1, COMMITS + 1):
        changes = accept(petition(number, extras=source.randbytes(source.choice([10, 10, 3000]))))
        changes.appends = [Append(name(number), 0, 1, source.randbytes(50))]
        for seq in source.sample(live, min(len(live), source.randrange(3))):
            changes.transitions[seq] = end(seq, attempt=1)
            changes.appends.append(Append(name(seq), 1, 1, b"final"))
            live.remove(seq)
        if source.random() < 0.5:
            live.append(number)
            changes.transitions[number] = step(number, State.STARTING, to_attempt=1)
        yield changes, source.random() < 0.5


def state(store: SqliteStore | MemoryStore) -> tuple[list[Row], list[list[tuple[int, int, bytes]]]]:
    rows = store.page(states=ANY_STATE, limit=COMMITS)
    return rows, [store.records(row.channel, 0, 1 << 20) for row in rows]


def run(
    folder: Path,
    seed: int,
    *,
    sabotage: Callable[[SqliteStore], None] = lambda store: None,
    answer_before_commit: bool = False,
) -> Iterator[Cut]:
    """Run the workload; give power cuts at random moments of it."""
    source = random.Random(seed)
    cuts: list[Cut] = []
    promised = 0
    with Disk(f"power-cut-{seed}") as disk:
        store = SqliteStore(folder, limits=LIMITS, vfs=disk.name)
        disk.settle()
        sabotage(store)

        def cut_by_chance(operation: Operation) -> None:
            if operation.kind != "read" and source.random() < 0.1:
                cuts.append(Cut(disk.cut(source if source.random() < 0.7 else None), promised))

        disk.before = cut_by_chance
        for number, (changes, durable) in enumerate(workload(random.Random(seed)), 1):
            if answer_before_commit and durable:
                promised = number
            store.commit(changes, durable=durable)
            if durable:
                promised = number
            if source.random() < 0.2:
                cuts.append(Cut(disk.cut(source), promised))
        disk.before = None
        store.close()
        disk.contents.clear()
    assert len(cuts) >= CUTS
    yield from source.sample(cuts, CUTS)


def check(cuts: Iterator[Cut], tmp_path: Path, seed: int) -> None:
    """Open what each cut left, and compare it with the first commits of the same workload in memory."""
    changes = [changes for changes, _ in workload(random.Random(seed))]
    expected = []
    memory = MemoryStore()
    for one in [Changes(), *changes]:
        memory.commit(one)
        expected.append(state(memory))
    for number, cut in enumerate(cuts):
        folder = tmp_path / f"after-{number}"
        restore(cut.images, folder)
        store = SqliteStore(folder, limits=LIMITS)
        try:
            assert store._connection.execute("PRAGMA integrity_check").get == "ok"
            kept = store.next_seq() - 1
            assert kept >= cut.promised, f"{cut.promised} commits were promised, {kept} are there"
            assert state(store) == expected[kept]
            store.commit(accept(petition(1000)))
        finally:
            store.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_promised_survives_a_power_cut(folder, tmp_path, seed):
    check(run(folder, seed), tmp_path, seed)


def without_syncing(store: SqliteStore) -> None:
    store._connection.pragma("synchronous", "OFF")
    store._synchronous = lambda *, full: None


def without_full_syncing(store: SqliteStore) -> None:
    store._connection.pragma("synchronous", "NORMAL")
    store._synchronous = lambda *, full: None


@pytest.mark.parametrize("sabotage", [without_syncing, without_full_syncing])
def test_the_harness_catches_a_store_that_does_not_sync(folder, tmp_path, sabotage):
    with pytest.raises((AssertionError, StoreBroken), match=r"promised|damaged|malformed"):
        check(run(folder, 7, sabotage=sabotage), tmp_path, 7)


def test_the_harness_catches_an_answer_before_its_commit(folder, tmp_path):
    with pytest.raises(AssertionError, match="promised"):
        check(run(folder, 4, answer_before_commit=True), tmp_path, 4)


def test_the_fsync_of_a_durable_commit_covers_those_before_it_that_had_none(folder, tmp_path):
    with Disk("covered") as disk:
        store = SqliteStore(folder, limits=LIMITS, vfs=disk.name)
        disk.settle()
        syncs = []
        disk.before = lambda operation: syncs.append(operation) if operation.kind == "sync" else None
        store.commit(accept(petition(1)), durable=False)
        store.commit(accept(petition(2)), durable=False)
        before = len(syncs)
        unsynced = disk.cut()
        store.commit(accept(petition(3)))
        assert len(syncs) == before + 1
        synced = disk.cut()
        store.commit(accept(petition(4)), durable=False)
        assert len(syncs) == before + 1
        disk.before = None
        store.close()
        disk.contents.clear()
    for number, (images, expected) in enumerate([(unsynced, []), (synced, [3, 2, 1])]):
        restore(images, tmp_path / f"after-{number}")
        store = SqliteStore(tmp_path / f"after-{number}", limits=LIMITS)
        assert [row.seq for row in store.page(states=ANY_STATE, limit=9)] == expected
        store.close()


def test_a_shared_channel_survives_with_those_who_name_it(folder, tmp_path):
    images = []
    with Disk("sharing") as disk:
        store = SqliteStore(folder, limits=LIMITS, vfs=disk.name)
        disk.settle()
        first = accept(petition(1, channel=name(50)))
        first.channels = [NewChannel(name(50), "uid:0", own=False)]
        store.commit(first)
        images.append(disk.cut())
        store.commit(Changes(petitions=[petition(2, channel=name(50))]))
        images.append(disk.cut())
        store.close()
        disk.contents.clear()
    for image, seqs in itertools.zip_longest(images, [[1], [1, 2]]):
        folder = tmp_path / f"with-{len(seqs)}"
        restore(image, folder)
        store = SqliteStore(folder, limits=LIMITS)
        changes = Changes(deleted=seqs)
        changes.transitions = {seq: end(seq) for seq in seqs}
        assert store.commit(changes) == [name(50)]
        store.close()
