"""Checksums of pages over a power cut: a flipped bit is told, and what the cut itself left is never refused."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NamedTuple

import pytest

from orcha._core.changes import Append
from orcha._store import page_sums
from orcha._store.disk_reserve import Limits
from orcha._store.last_start import this_boot
from orcha._store.sqlite import SqliteStore
from orcha.exceptions.store import StoreBroken, StoreError
from support.changes import accept, name, petition
from support.powercut_vfs import PAGE, Disk, Operation, restore
from support.store_copies import own_copy

LIMITS = Limits(log=96 << 10, checkpoint=64 << 10, ballast=64 << 10, watermark=1 << 10)
"""Small, so that the log is moved into the file many times."""
COMMITS = 45
CUTS = 40
"""A run; there are two."""


class Cut(NamedTuple):
    """A power cut."""

    images: dict[str, bytes]
    promised: int
    """Number of the last commit that was answered durably."""
    place: str
    """What was about to happen to which file."""


class Sums:
    """The file of the checksums, seen by the test's disk although SQLite does not write the file."""

    def __init__(self, disk: Disk, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have writes and syncs of that file go by the disk."""
        self._disk = disk
        self._path = str(store._page_sums._path)
        self._descriptor = store._page_sums._descriptor
        self._write, self._sync = os.pwrite, os.fdatasync
        disk.note_file(self._path)
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        monkeypatch.setattr(os, "fdatasync", self.fdatasync)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        if descriptor == self._descriptor:
            self._disk.announce(Operation("write", self._path, offset, len(data)))
            self._disk.contents[self._path].note("write", offset, bytes(data))
        return self._write(descriptor, data, offset)

    def fdatasync(self, descriptor: int) -> None:
        if descriptor == self._descriptor:
            self._disk.announce(Operation("sync", self._path, 0, 0))
            self._disk.contents[self._path].sync()
        self._sync(descriptor)


def begun(folder: Path, nonce: int, boot: str, vfs: str | None = None) -> SqliteStore:
    store = SqliteStore(folder, limits=LIMITS, vfs=vfs)
    store.begin(nonce=nonce, boot_id=boot, uid=0, now=1.0)
    return store


def cuts_of(folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch, *, syncs_sums: bool = True) -> list[Cut]:
    """Give a power cut before each write and each sync, some of them with a part of what was not synced."""
    source, cuts, promised = random.Random(seed), [], 0
    with Disk(f"sums-cut-{seed}") as disk, monkeypatch.context() as patched:
        store = begun(folder, 7, "before-the-power-cut", disk.name)
        sums = Sums(disk, store, patched)
        disk.settle()
        if not syncs_sums:
            patched.setattr(os, "fdatasync", lambda descriptor: None)

        def cut(operation: Operation) -> None:
            if operation.kind != "read":
                place = f"{operation.kind} {Path(operation.path).name} {operation.offset}"
                cuts.extend(Cut(disk.cut(each), promised, place) for each in (None, source))

        disk.before = cut
        for seq in range(1, COMMITS + 1):
            changes = accept(petition(seq, extras=source.randbytes(source.choice([10, 900, 9000]))))
            changes.appends = [Append(name(seq), 0, 1, b"output" * 50)]
            durable = source.random() < 0.6
            store.commit(changes, durable=durable)
            promised = seq if durable else promised
        disk.before = None
        assert {Path(path).name for path in disk.contents} == {"orcha.db", "orcha.db-wal", "orcha.db.sums"}
        assert any("orcha.db.sums" in cut.place for cut in cuts)
        del sums
        patched.undo()
        store.close()
        disk.contents.clear()
    near = [each for each in cuts if "-wal" not in each.place or each.place.endswith(" 0")]
    return source.sample(near, min(CUTS, len(near)))


def after(cut: Cut, folder: Path, target: Path) -> Path:
    """Make the folder that the machine finds when it has power again."""
    restore(cut.images, target)
    told = Path(f"{folder}.last-start").read_text()
    Path(f"{target}.last-start").write_text(told.replace("stopped 1", "stopped 0"))
    own_copy(target)
    return target


def kept(folder: Path) -> int:
    store = SqliteStore(folder, limits=LIMITS)
    try:
        store.begin(nonce=8, boot_id=this_boot(), uid=0, now=2.0)
        return store.next_seq() - 1
    finally:
        store.close()


def start_after_each(cuts: list[Cut], folder: Path, tmp_path: Path) -> None:
    for number, cut in enumerate(cuts):
        kept(after(cut, folder, tmp_path / f"after-{number}"))


def outside_the_log(cut: Cut) -> list[int]:
    """Give the pages, without the first one, that no frame of the log has."""
    log, size = cut.images["orcha.db-wal"], 24 + PAGE
    frames = [log[place : place + 24] for place in range(32, len(log) - size + 1, size)]
    in_log = {int.from_bytes(frame[:4], "big") for frame in frames if frame[8:16] == log[16:24]}
    return [page for page in range(2, len(cut.images["orcha.db"]) // PAGE + 1) if page not in in_log]


def flip_outside_the_log(cut: Cut, folder: Path, source: random.Random) -> bool:
    """Flip a bit of a page that no frame of the log has; tell whether there is one."""
    pages = outside_the_log(cut)
    if not pages:
        return False
    content = bytearray(cut.images["orcha.db"])
    content[(source.choice(pages) - 1) * PAGE + source.randrange(PAGE)] ^= 1 << source.randrange(8)
    (folder / "orcha.db").write_bytes(content)
    return True


@pytest.mark.parametrize("seed", [1, 2])
def test_what_a_power_cut_leaves_is_taken_and_a_bit_flipped_afterwards_is_told(folder, tmp_path, monkeypatch, seed):
    source, flipped = random.Random(seed), 0
    for number, cut in enumerate(cuts_of(folder, seed, monkeypatch)):
        assert kept(after(cut, folder, tmp_path / f"after-{number}")) >= cut.promised, cut.place
        damaged = after(cut, folder, tmp_path / f"damaged-{number}")
        if flip_outside_the_log(cut, damaged, source):
            flipped += 1
            with pytest.raises(StoreError) as told:
                kept(damaged)
            assert told.value.exit_code == 78, cut.place
    assert flipped > CUTS // 3


def test_the_cure_of_a_refusal_after_a_power_cut_lets_the_store_start(folder, tmp_path, monkeypatch):
    cut = max(cuts_of(folder, 3, monkeypatch), key=lambda each: each.promised)
    damaged = after(cut, folder, tmp_path / "damaged")
    content = bytearray(cut.images["orcha.db"])
    starts = [(page - 1) * PAGE for page in outside_the_log(cut)]
    place = next(found for start in starts if (found := content.find(b"output" * 20, start, start + PAGE)) >= 0)
    content[place] ^= 1  # of a value: SQLite's own check sees nothing
    (damaged / "orcha.db").write_bytes(content)
    told = rf"orcha\.db is not what the service left: .* remove {damaged}/orcha\.db\.sums$"
    with pytest.raises(StoreBroken, match=told):
        kept(damaged)
    (damaged / "orcha.db.sums").unlink()
    assert kept(damaged) >= cut.promised


def test_the_harness_catches_checksums_that_are_not_synced_where_the_log_names_no_round(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(page_sums.PageSums, "_log_round", lambda self: 1)
    monkeypatch.setattr(page_sums, "_LOG_ROUNDS", 1)
    cuts = cuts_of(folder, 4, monkeypatch, syncs_sums=False)
    with pytest.raises(StoreBroken, match="is not what the service left"):
        start_after_each(cuts, folder, tmp_path)
