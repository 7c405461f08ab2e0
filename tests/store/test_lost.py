"""State that was lost, replaced or damaged between two starts is told: nobody gets less than was kept in silence."""

from __future__ import annotations

import os
import random
import shutil
import struct
from pathlib import Path

import pytest

from orcha._store import log_index, opening
from orcha._store.disk_reserve import Limits
from orcha._store.last_start import this_boot
from orcha._store.sqlite import SqliteStore
from orcha.exceptions.store import StoreBroken, StoreError
from support.changes import accept, petition
from support.store_copies import copy_to

LOG = "orcha.db-wal"
HEADER, FRAME = 32, 24 + 4096
COUNT = 20


def begun(folder, nonce):
    """Give a store as a service starts it."""
    store = SqliteStore(folder)
    try:
        _, earlier = store.begin(nonce=nonce, boot_id=this_boot(), uid=0, now=1.0)
        store.forget_incarnations(old.epoch for old in earlier)
    except BaseException:
        store.close()
        raise
    return store


@pytest.fixture
def folder(tmp_path):
    """Give the folder of a store whose process was killed with what COUNT commits kept; it had two starts."""
    running = tmp_path / "running"
    running.mkdir(mode=0o700)
    begun(running, 1).close()
    store = begun(running, 2)
    for seq in range(1, COUNT + 1):
        store.commit(accept(petition(seq)), durable=bool(seq % 2))
    killed = copy_to(running, tmp_path / "killed")
    store.close()
    return killed


def kept(folder):
    """Give how many petitions a start finds."""
    store = begun(folder, 3)
    try:
        return sum(len(store.page(states=0b1111110, limit=100)) for _ in "1")
    finally:
        store.close()


def committed(folder):
    """Give how many frames of the log were committed."""
    return log_index.parse((folder / "orcha.db-shm").read_bytes()[: log_index.INDEX_BYTES]).frames


def test_what_is_as_it_was_left_is_whole(folder):
    assert committed(folder) > COUNT
    assert kept(folder) == COUNT
    assert not (folder / "orcha.db.frames").exists()
    assert kept(folder) == COUNT


@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_bit_of_the_log_loses_nothing_in_silence(folder, tmp_path, seed):
    source = random.Random(seed)
    end = HEADER + committed(folder) * FRAME
    places = [source.randrange(0, end) for _ in range(7)] + [source.randrange(0, HEADER) if seed % 2 else end - 1]
    for number, place in enumerate(places):
        damaged = copy_to(folder, tmp_path / f"flipped-{number}")
        with (damaged / LOG).open("r+b") as log:
            log.seek(place)
            byte = log.read(1)[0]
            log.seek(place)
            log.write(bytes([byte ^ 1 << source.randrange(8)]))
        for _ in "12":  # the first refusal must not make the second start forget
            with pytest.raises(StoreBroken, match=rf"{damaged / LOG} is damaged: \d+ of {committed(folder)} pages"):
                kept(damaged)


@pytest.mark.parametrize(
    "damage",
    [
        lambda log: log.write_bytes(os.urandom(log.stat().st_size)),
        lambda log: log.write_bytes(bytes(log.stat().st_size)),
        lambda log: log.write_bytes(b"garbage"),
        lambda log: os.truncate(log, HEADER + 5 * FRAME + 100),
        lambda log: os.truncate(log, 16),
    ],
    ids=["random bytes", "zeros", "a few bytes", "cut", "cut within its header"],
)
def test_another_log_is_told_and_going_on_without_it_is_a_choice(folder, damage):
    damage(folder / LOG)
    for _ in "12":
        with pytest.raises(
            StoreBroken, match=f"without them, remove {folder}/orcha.db.frames and {folder}.last"
        ) as told:
            kept(folder)
    assert told.value.exit_code == 78
    (folder / "orcha.db.frames").unlink()
    Path(f"{folder}.last-start").unlink()
    assert kept(folder) < COUNT


def test_the_log_of_an_earlier_moment_is_told(folder, tmp_path):
    other = tmp_path / "running"
    store = begun(other, 9)
    shutil.copy(other / LOG, folder / LOG)
    store.close()
    with pytest.raises(StoreBroken, match="is damaged: 0 of"):
        kept(folder)


def test_after_a_reboot_the_end_of_the_log_may_be_torn(folder):
    beside = Path(f"{folder}.last-start")
    beside.write_text(beside.read_text().replace(this_boot(), "another-boot"))
    os.truncate(folder / LOG, HEADER + committed(folder) * FRAME - 1)
    assert kept(folder) == COUNT - 1


@pytest.mark.parametrize("name", ["orcha.db", "folder"])
def test_what_was_removed_is_told_until_somebody_says_begin_anew(folder, name):
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    if name == "orcha.db":
        (folder / "output").mkdir()
    for _ in "12":
        with pytest.raises(StoreBroken, match="is missing, though a service has kept its state in") as told:
            begun(folder, 3)
        assert f"to begin anew with nothing waiting, remove {folder}.last-start" in str(told.value)
    Path(f"{folder}.last-start").unlink()
    assert kept(folder) == 0


@pytest.mark.parametrize("last", [2, 3])
def test_an_older_copy_or_another_store_in_its_place_is_told(folder, tmp_path, last):
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    for number in range(last - 1):
        begun(other, 100 + number).close()
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    what = "is older than the last start" if last == 2 else "is not that of the last start"
    with pytest.raises(StoreBroken, match=f"orcha.db {what}.*: what was accepted since then is not in it"):
        begun(folder, 3)
    Path(f"{folder}.last-start").unlink()
    assert kept(folder) == 0


@pytest.mark.parametrize("with_index", [True, False])
def test_a_copy_made_while_the_service_ran_is_told_after_its_orderly_stop(folder, tmp_path, with_index):
    store = begun(folder, 3)
    store.commit(accept(petition(COUNT + 1)))
    copy = shutil.copytree(folder, tmp_path / "copy")
    store.commit(accept(petition(COUNT + 2)))
    store.close()
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    if not with_index:
        (folder / "orcha.db-shm").unlink()
    for _ in "12":
        with pytest.raises(StoreBroken, match=f"orcha.db is older than the last stop.*; .* remove {folder}.last-start"):
            kept(folder)
    Path(f"{folder}.last-start").unlink()
    assert kept(folder) == COUNT + 1


@pytest.mark.parametrize("with_all", [True, False], ids=["with the files beside it", "after a crash of the system"])
def test_a_copy_made_while_the_service_ran_is_told_wherever_its_files_were_made_anew(folder, tmp_path, with_all):
    if "born" not in Path(f"{folder}.last-start").read_text():
        pytest.skip("the file system does not note when a file was made")
    store = begun(folder, 3)
    store.commit(accept(petition(COUNT + 1)))
    copy = copy_to(folder, tmp_path / "copy")
    store.commit(accept(petition(COUNT + 2)))
    crashed = copy_to(folder, tmp_path / "crashed")
    store.close()
    beside = Path(f"{crashed}.last-start")
    if with_all:
        for suffix in ("last-start", "last-commit"):
            shutil.copy(f"{folder}.{suffix}", f"{crashed}.{suffix}")
        beside.write_text(beside.read_text().replace("stopped 1", "stopped 0"))
    else:
        beside.write_text(beside.read_text().replace(this_boot(), "another-boot"))
    shutil.rmtree(crashed)
    shutil.copytree(copy, crashed)
    for _ in "12":
        with pytest.raises(StoreBroken, match=f"orcha.db is a copy of the file that .*; .* remove {crashed}.last"):
            kept(crashed)
    beside.unlink()
    assert kept(crashed) == COUNT + 1


def test_where_the_file_system_does_not_note_when_a_file_was_made_a_copy_is_taken(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "birth_of", lambda _: None)
    store = begun(folder, 3)
    killed = tmp_path / "again"
    shutil.copytree(folder, killed)
    shutil.copy(f"{folder}.last-start", f"{killed}.last-start")
    store.close()
    assert "born" not in Path(f"{killed}.last-start").read_text()
    assert kept(killed) == COUNT


def test_a_note_of_an_earlier_orcha_says_nothing_of_stops(folder):
    beside = Path(f"{folder}.last-start")
    beside.write_text("".join(line for line in beside.read_text().splitlines(True) if not line.startswith("stopped")))
    assert kept(folder) == COUNT
    assert kept(folder) == COUNT


def test_where_a_start_cannot_be_noted_beside_the_folder_it_is_refused_and_changes_nothing(folder, monkeypatch):
    assert kept(folder) == COUNT
    real = os.open

    def refusing(path, flags, *arguments, **keywords):
        if flags & os.O_RDWR and str(path).endswith(".last-start"):
            raise OSError(30, "Read-only file system")
        return real(path, flags, *arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refusing)
        with pytest.raises(StoreBroken, match=f"{folder}.last-start cannot be written: Read-only file system"):
            kept(folder)
    assert kept(folder) == COUNT


@pytest.mark.parametrize("content", [b"", b"x", b"\n\n\n", os.urandom(500), b"a\nepoch x\nnonce 1\nboot b\n"])
def test_what_stands_beside_the_folder_is_told_where_it_is_damaged(folder, content):
    beside = Path(f"{folder}.last-start")
    beside.write_bytes(content)
    with pytest.raises(StoreBroken, match=f"{beside} is damaged: look whether .* remove {beside}"):
        kept(folder)
    beside.unlink()
    assert kept(folder) == COUNT


@pytest.mark.timeout(30)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_stands_beside_the_folder_is_a_file(folder, make):
    beside = Path(f"{folder}.last-start")
    beside.unlink()
    make(beside)
    with pytest.raises(StoreError, match=f"{beside} is .* where a file belongs"):
        kept(folder)


def test_without_a_place_beside_the_folder_a_store_is_used_all_the_same(tmp_path, monkeypatch):
    real = os.open

    def refusing(path, flags, *arguments, **keywords):
        if flags & os.O_CREAT and str(path).endswith(".last-start.new"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refusing)
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    store = begun(folder, 1)
    store.commit(accept(petition(1)))
    store.close()
    assert kept(folder) == 1
    assert not Path(f"{folder}.last-start").exists()


def test_after_a_stop_in_good_order_no_log_is_read(folder):
    assert kept(folder) == COUNT
    shutil.copy(folder.with_name("running") / LOG, folder / LOG)
    (folder / LOG).write_bytes(os.urandom(100_000))
    assert kept(folder) == COUNT


def test_an_index_that_does_not_hold_says_nothing():
    assert log_index.parse(b"") is None
    assert log_index.parse(bytes(log_index.INDEX_BYTES)) is None
    body = struct.pack("=IIIBBHII2I8s", 3_007_000, 0, 1, 1, 0, 4096, 7, 3, 0, 0, b"saltsalt")
    header = body + struct.pack("=2I", *log_index._checksum(body))
    assert log_index.parse(header * 2) == (7, b"saltsalt")
    assert log_index.parse(header + bytes(48)) == (7, b"saltsalt")
    assert log_index.parse(bytes(48) + header) == (7, b"saltsalt")
    body = struct.pack("=IIIBBHII2I8s", 3_007_000, 0, 2, 1, 0, 4096, 0, 3, 0, 0, b"new salt")
    restarted = body + struct.pack("=2I", *log_index._checksum(body))
    assert log_index.parse(header + restarted) == (0, b"new salt")


def run_of(folder, *, log):
    """Give the commits of a run, whose log starts over when it is as large as this."""
    store = SqliteStore(folder, limits=Limits(log=log, checkpoint=log // 2))
    try:
        store.begin(nonce=4, boot_id=this_boot(), uid=0, now=1.0)
        for seq in range(COUNT + 1, COUNT + 31):
            store.commit(accept(petition(seq, extras=bytes(2000))), durable=bool(seq % 2))
            yield seq
    finally:
        store.close()


def copies_of(folder, *, log):
    """Give copies of the folder after each commit of a run, by the commit, and what stands beside it after the last."""
    copies = {seq: copy_to(folder, folder.with_name(f"copy-{seq}")) for seq in run_of(folder, log=log)}
    last = Path(f"{folder}.last-commit").read_bytes()
    for copy in copies.values():
        Path(f"{copy}.last-commit").write_bytes(last)
    return copies


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("log", [8 << 20, 64 << 10], ids=["one log", "a log that starts over"])
def test_a_copy_made_while_the_service_ran_is_told_after_a_crash(folder, log, with_index):
    copies = copies_of(folder, log=log)
    for seq, copy in copies.items():
        if not with_index:
            (copy / "orcha.db-shm").unlink()
        if seq == max(copies):
            assert kept(copy) == seq
            continue
        for _ in "12":
            with pytest.raises(StoreBroken, match=f"It may be a copy of an earlier moment.*remove .* {copy}.last"):
                kept(copy)


def test_going_on_with_such_a_copy_is_a_choice(folder):
    copy = copies_of(folder, log=8 << 20)[COUNT + 1]
    with pytest.raises(StoreBroken):
        kept(copy)
    (copy / "orcha.db.frames").unlink()
    Path(f"{copy}.last-start").unlink()
    assert kept(copy) == COUNT + 1


@pytest.mark.parametrize("log", [8 << 20, 64 << 10], ids=["one log", "a log that starts over"])
def test_a_commit_that_was_not_noted_yet_is_no_loss(folder, tmp_path, log):
    beside = Path(f"{folder}.last-commit")
    before = None
    for seq in run_of(folder, log=log):
        copy = copy_to(folder, tmp_path / f"copy-{seq}")
        if before is not None:
            Path(f"{copy}.last-commit").write_bytes(before)
        assert kept(copy) == seq
        before = beside.read_bytes()


def test_a_note_of_a_log_that_was_cut_at_a_stop_says_nothing(folder):
    for _ in run_of(folder, log=8 << 20):
        pass
    assert Path(f"{folder}.last-commit").exists()
    store = SqliteStore(folder)  # it is in use, and the start is not recorded yet
    killed = copy_to(folder, folder.with_name("killed-early"))
    beside = Path(f"{folder}.last-commit")
    assert not beside.exists()
    store.close()
    assert kept(killed) == COUNT + 30


@pytest.fixture
def stopped(folder):
    """Give the folder of a store that was closed in good order."""
    assert kept(folder) == COUNT
    return folder


@pytest.mark.parametrize("seed", range(10))
def test_a_flipped_bit_of_the_database_is_told_after_a_stop(stopped, seed):
    database = stopped / "orcha.db"
    content = bytearray(database.read_bytes())
    source = random.Random(seed)
    content[source.randrange(len(content))] ^= 1 << source.randrange(8)
    database.write_bytes(content)
    for _ in "12":
        with pytest.raises(StoreError, match=r"orcha\.db"):
            kept(stopped)


def test_an_earlier_copy_made_while_the_service_ran_is_told_and_going_on_with_it_is_a_choice(stopped):
    store = begun(stopped, 4)
    store._connection.wal_checkpoint()
    shutil.copy(stopped / "orcha.db", stopped.parent / "copy")
    store.commit(accept(petition(COUNT + 1)))
    store.close()
    shutil.copy(stopped.parent / "copy", stopped / "orcha.db")
    for _ in "12":
        with pytest.raises(
            StoreBroken, match=r"is not what it was when the service stopped.*orcha\.db\.clean an empty file"
        ):
            kept(stopped)
    (stopped / "orcha.db.clean").write_bytes(b"")
    assert kept(stopped) == COUNT
