"""A bit of the database's file that was changed behind a killed service is told, wherever it stands."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
from contextlib import closing

import pytest

from orcha._core.changes import Append
from orcha._core.state import State
from orcha._store import log_index, page_sums
from orcha._store.disk_reserve import Limits
from orcha._store.last_start import this_boot
from orcha._store.sqlite import SqliteStore
from orcha._store.store_files import StoreFiles
from orcha.exceptions.store import StoreBroken, StoreDamaged, StoreError
from support.changes import accept, name, petition, step, steps
from support.store_copies import copy_to

COUNT = 40
PAGE = 4096
LIMITS = Limits(log=96 << 10, checkpoint=64 << 10, ballast=64 << 10, watermark=1 << 10)
"""Small, so that the log is moved into the file many times."""


def begun(folder, nonce, **more):
    store = SqliteStore(folder, limits=LIMITS)
    try:
        store.begin(nonce=nonce, boot_id=this_boot(), uid=0, now=1.0, **more)
    except BaseException:
        store.close()
        raise
    return store


def kept(folder, nonce=99):
    """Give how many petitions a start finds."""
    store = begun(folder, nonce)
    try:
        return len(store.page(states=0b1111110, limit=1000))
    finally:
        store.close()


def commits(store, first, last):
    for seq in range(first, last + 1):
        changes = accept(petition(seq, extras=os.urandom(900), priority=seq))
        changes.appends = [Append(name(seq), 0, 1, b"output" * 50)]
        store.commit(changes, durable=bool(seq % 3))
        yield seq


@pytest.fixture
def killed(tmp_path):
    """Give the folder of a store that was stopped once, and then killed when its log had been moved several times."""
    running = tmp_path / "running"
    running.mkdir(mode=0o700)
    store = begun(running, 1)
    list(commits(store, 1, COUNT))
    store.close()
    store = begun(running, 2)
    list(commits(store, COUNT + 1, 2 * COUNT + 3))
    folder = copy_to(running, tmp_path / "killed")
    store.close()
    return folder


def frames_of_log(folder):
    """Give the page of each frame."""
    descriptor = os.open(folder / "orcha.db-shm", os.O_RDONLY)
    try:
        frames = log_index.parse(os.pread(descriptor, log_index.INDEX_BYTES, 0)).frames
        pages = log_index.pages(descriptor, frames)
    finally:
        os.close(descriptor)
    log = (folder / "orcha.db-wal").read_bytes()
    for frame, page in enumerate(pages):
        place = log_index.place_of_page(frame, PAGE) - 24
        assert int.from_bytes(log[place : place + 4], "big") == page
    return pages


def pages_in_log(folder):
    return frozenset(frames_of_log(folder))


def flip(folder, page, source):
    with (folder / "orcha.db").open("r+b") as database:
        place = (page - 1) * PAGE + source.randrange(PAGE)
        database.seek(place)
        byte = database.read(1)[0]
        database.seek(place)
        database.write(bytes([byte ^ 1 << source.randrange(8)]))


def change_file(folder, statement):
    """Change a value in the database's file, behind the log."""
    other = shutil.copy(folder / "orcha.db", folder.with_name("other.db"))
    with closing(sqlite3.connect(other)) as database:
        database.execute(statement)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(other, folder / "orcha.db")


def test_what_a_killed_service_left_is_taken_as_it_is(killed):
    assert 0 < len(pages_in_log(killed)) < (killed / "orcha.db").stat().st_size // PAGE
    for nonce in (5, 6):
        assert kept(killed, nonce) == 2 * COUNT + 3


def test_a_flipped_bit_of_any_page_is_told(killed, tmp_path):
    """Also of a page that the log replaces: SQLite may have read the page before, and written it anew."""
    source = random.Random(1)
    for page in range(2, (killed / "orcha.db").stat().st_size // PAGE + 1):
        damaged = copy_to(killed, tmp_path / f"page-{page}")
        flip(damaged, page, source)
        for _ in "12":  # the first refusal must not make the second start forget
            with pytest.raises(StoreError, match=r"orcha\.db"):
                kept(damaged)


def test_after_a_crash_of_the_system_a_page_that_the_log_replaces_is_not_compared(killed):
    beside = killed.with_name(f"{killed.name}.last-start")
    beside.write_text(beside.read_text().replace(this_boot(), "another-boot"))
    flip(killed, max(pages_in_log(killed)), random.Random(1))
    assert kept(killed) == 2 * COUNT + 3


def test_killed_while_the_log_is_moved_the_next_start_takes_a_page_as_it_is_in_the_log(killed):
    log, frames = (killed / "orcha.db-wal").read_bytes(), {}
    for frame, page in enumerate(frames_of_log(killed)):
        frames.setdefault(page, []).append(log_index.place_of_page(frame, PAGE))
    moved = sorted(frames)[: len(frames) // 2]
    assert any(len(frames[page]) > 1 for page in moved)
    with (killed / "orcha.db").open("r+b") as database:
        for page in moved:
            database.seek((page - 1) * PAGE)
            database.write(log[frames[page][0] :][:PAGE])  # readers let only a part of the log be moved
    assert kept(killed) == 2 * COUNT + 3


def test_a_bit_that_changes_while_the_service_runs_is_told_before_its_page_is_written_anew(killed):
    store = begun(killed, 3)
    (page,) = store._connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'petition'").fetchone()
    changed = page if page in pages_in_log(killed) else max(pages_in_log(killed))
    flip(killed, changed, random.Random(1))
    with pytest.raises(StoreDamaged, match=rf"orcha\.db was changed while .* page {changed} first.* remove .*\.sums$"):
        list(commits(store, 2 * COUNT + 4, 3 * COUNT))
    store.close()
    for _ in "12":
        with pytest.raises(StoreError, match=r"orcha\.db"):
            kept(killed)
    (killed / "orcha.db.sums").unlink()
    assert kept(killed) >= 2 * COUNT + 3


def test_a_page_that_readers_keep_in_the_log_is_compared_once(killed):
    store = begun(killed, 3)
    reading = store._connect_reader()
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM petition").fetchall()
    list(commits(store, 2 * COUNT + 4, 3 * COUNT))  # moved in parts: what stands in the file then was never noted
    reading.close()
    list(commits(store, 3 * COUNT + 1, 4 * COUNT))
    crashed = copy_to(killed, killed.with_name("crashed"))
    store.close()
    assert kept(crashed) == 4 * COUNT


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE petition SET state = 6, ended = 1.0 WHERE seq = 1",
        "UPDATE petition SET priority = 5.5 WHERE seq = 1",
        "UPDATE petition SET attempt = 1 WHERE seq = 1",
        "UPDATE record SET data = x'00' WHERE channel = (SELECT channel FROM petition WHERE seq = 1)",
        "UPDATE petition SET on_interrupt = 2 WHERE seq = 1",
    ],
)
def test_another_value_is_told_and_going_on_with_it_is_a_choice(killed, change):
    change_file(killed, change)
    for _ in "12":
        with pytest.raises(
            StoreBroken,
            match=rf"orcha\.db is not what the service left: \d+ of its pages .* remove {killed}/orcha\.db\.sums$",
        ) as told:
            kept(killed)
    assert told.value.exit_code == 78
    (killed / "orcha.db.sums").unlink()
    assert kept(killed) == 2 * COUNT + 3


def test_an_older_file_beside_the_newer_log_is_told(killed, tmp_path):
    store = begun(killed, 3)
    before = shutil.copy(killed / "orcha.db", tmp_path / "before.db")
    list(commits(store, 2 * COUNT + 4, 3 * COUNT))
    again = copy_to(killed, tmp_path / "again")
    store.close()
    shutil.copy(before, again / "orcha.db")
    with pytest.raises(StoreError, match=r"orcha\.db"):
        kept(again)


def test_killed_after_any_commit_it_goes_on(killed, tmp_path):
    store = begun(killed, 3)
    copies = {seq: copy_to(killed, tmp_path / f"copy-{seq}") for seq in commits(store, 2 * COUNT + 4, 3 * COUNT)}
    store.close()
    for seq, copy in copies.items():
        assert kept(copy) == seq
        again = begun(copy, 100)
        again.commit(steps(step(1, State.STARTING, to_attempt=1)))
        again.close()


def test_killed_while_a_start_has_not_noted_itself_the_next_one_compares_what_holds(killed, tmp_path):
    store = SqliteStore(killed, limits=LIMITS)
    early = copy_to(killed, tmp_path / "early")
    assert (early / "orcha.db.sums").exists()
    store._checkpoint()  # as where the disk was full
    late = copy_to(killed, tmp_path / "late")
    assert not (late / "orcha.db.sums").exists()
    store.close()
    assert kept(early) == kept(late) == 2 * COUNT + 3


@pytest.mark.parametrize("gone", ["another start", "a later round", "no checksums", "others", "cut"])
def test_where_the_checksums_say_nothing_nothing_is_refused(killed, gone):
    sums = killed / "orcha.db.sums"
    if gone == "a later round":
        content = (killed / "orcha.db-wal").read_bytes()
        salt = (int.from_bytes(content[16:20], "big") - 2) % (1 << 32)  # the checksums are of a log two rounds before
        head = page_sums._head(2, PAGE, salt)
        sums.write_bytes(head + sums.read_bytes()[len(head) :])
    elif gone == "another start":
        content = sums.read_bytes()
        store = begun(killed, 3)
        again = copy_to(killed, killed.with_name("again"))
        store.close()
        (again / "orcha.db.sums").write_bytes(content)  # an older build was started, and left them as they were
        killed, sums = again, again / "orcha.db.sums"
    elif gone == "no checksums":
        sums.unlink()
    elif gone == "others":
        sums.write_bytes(os.urandom(3000))
    else:
        sums.write_bytes(b"orcha")
    change_file(killed, "UPDATE petition SET priority = 5.5 WHERE seq = 1")
    assert kept(killed) == 2 * COUNT + 3


def test_without_room_for_checksums_the_store_goes_on_and_compares_nothing(killed, monkeypatch):
    store = begun(killed, 3)
    real = os.pwrite
    descriptor = store._page_sums._descriptor

    def full(target, *arguments):
        if target == descriptor:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(target, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        list(commits(store, 2 * COUNT + 4, 3 * COUNT))
    assert not (killed / "orcha.db.sums").exists()
    list(commits(store, 3 * COUNT + 1, 4 * COUNT))
    crashed = copy_to(killed, killed.with_name("crashed"))
    store.close()
    assert kept(crashed) == 4 * COUNT


def test_a_page_is_summed_as_large_as_the_file_says(tmp_path):
    folder = tmp_path / "large"
    folder.mkdir(mode=0o700)
    for size in (512, 65536):
        (folder / "orcha.db").unlink(missing_ok=True)
        with closing(sqlite3.connect(folder / "orcha.db")) as database:
            database.execute(f"PRAGMA page_size = {size}")
            database.execute("CREATE TABLE t (a)")
            database.commit()
        files = StoreFiles(folder)
        sums = page_sums.PageSums(files)
        assert len(sums._sums) == 2
        assert sums.fingerprint == files.fingerprint()
        files.close()
