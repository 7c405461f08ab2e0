"""What the store does when the disk fails, fills up or was tampered with."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from orcha._core.changes import Changes
from orcha._core.state import State
from orcha._store import opening
from orcha._store.disk_reserve import Limits
from orcha._store.sqlite import SqliteStore
from orcha.exceptions import OrchaError
from orcha.exceptions.store import StoreBroken, StoreError, StoreFull
from support.changes import ANY_STATE, MANAGER, accept, append, end, name, petition, steps
from support.powercut_vfs import Disk, io_error

DATABASE = "orcha.db"


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Disk("faulty") as disk:
        yield disk
        disk.before = None


def failing(kind, error, *, suffix=""):
    def fail(operation):
        if operation.kind == kind and operation.path.endswith(suffix):
            raise error

    return fail


def seqs(store):
    return [row.seq for row in store.page(states=ANY_STATE, limit=99)]


def commit_until_it_raises(store, error, *, size, first=1):
    """Accept petitions one after another; give the number of the last that was kept."""
    for number in range(first, first + 10_000):
        try:
            store.commit(accept(petition(number, extras=bytes(size))))
        except error:
            return number - 1
    raise AssertionError(f"no {error.__name__}")


# --- the disk fails --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fail",
    [
        failing("sync", io_error(apsw.SQLITE_IOERR_FSYNC)),
        failing("write", io_error(apsw.SQLITE_IOERR_WRITE)),
        lambda operation: 100 if operation.kind == "write" else None,
    ],
    ids=["sync", "write", "short write"],
)
def test_after_an_io_error_nothing_is_tried_and_the_next_start_verifies(open_store, disk, folder, fail):
    store = open_store(disk.name)
    store.commit(accept(petition(1)))
    disk.before = fail
    with pytest.raises(StoreBroken, match=str(folder / DATABASE)):
        store.commit(accept(petition(2)))
    tried = []
    disk.before = tried.append
    for attempt in (
        lambda: store.commit(accept(petition(3))),
        lambda: store.rows([1]),
        lambda: store.page(states=ANY_STATE, limit=1),
        lambda: store.tokens([name(1)]),
        lambda: list(store.waiting(MANAGER)),
        store.next_seq,
    ):
        with pytest.raises(StoreBroken):
            attempt()
    assert tried == []
    store.close()
    assert [operation for operation in tried if operation.kind != "read"] == []
    assert (folder / "orcha.db.damaged").exists()
    again = open_store()
    assert seqs(again) in ([1], [2, 1])
    assert not (folder / "orcha.db.damaged").exists()


def test_a_failing_checkpoint_breaks_the_store(open_store, disk):
    store = open_store(disk.name)
    disk.before = failing("sync", io_error(apsw.SQLITE_IOERR_FSYNC), suffix=DATABASE)
    kept = commit_until_it_raises(store, StoreBroken, size=5000)
    assert 1 < kept < 100


def test_damage_found_while_reading_breaks_the_store_and_is_refused_at_the_next_start(open_store, folder, monkeypatch):
    store = open_store()
    store.commit(accept(*(petition(seq, extras=bytes(1000)) for seq in range(1, 200))))
    store.close()
    damage_a_page(folder)
    monkeypatch.setattr(opening, "CHECK_SECONDS", -1.0)
    monkeypatch.setattr(opening, "CHECK_STEPS", 1)
    store = open_store()
    with pytest.raises(StoreBroken, match="malformed"):
        seqs(store)
    with pytest.raises(StoreBroken):
        store.commit(accept(petition(999)))
    store.close()
    with pytest.raises(StoreBroken, match=r"orcha\.db is damaged"):
        open_store()


def test_damage_found_while_opening_is_refused_and_leaves_nothing_open(open_store, folder, monkeypatch):
    open_store().close()
    damage_a_page(folder, "tombstone_until")
    monkeypatch.setattr(opening, "CHECK_SECONDS", -1.0)
    monkeypatch.setattr(opening, "CHECK_STEPS", 1)
    with pytest.raises(StoreBroken, match="malformed"):
        open_store()
    assert (folder / "orcha.db.damaged").exists()


def damage_a_page(folder, table="petition"):
    """Overwrite the page with which a table or an index begins."""
    path = folder / DATABASE
    connection = apsw.Connection(str(path))
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).get
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096 * (page - 1) : 4096 * (page - 1) + 8] = b"\xff" * 8
    path.write_bytes(content)
    (folder / "orcha.db.clean").write_bytes(b"")  # as a person says who goes on with what is there


# --- the disk is full ------------------------------------------------------------------------------------------------


class FullDisk:
    """Lets nothing be written while the reserve is there (or at all), as a full disk does."""

    def __init__(self, folder: Path, *, for_good: bool = False, error: Exception | None = None) -> None:
        self._ballast = folder / "ballast"
        self._for_good = for_good
        self._error = error or apsw.FullError()

    def __call__(self, operation):
        if operation.kind == "write" and (self._for_good or self._ballast.exists()):
            raise self._error


def test_on_a_full_disk_the_reserve_lets_ends_be_recorded(open_store, disk, folder):
    store = open_store(disk.name)
    store.commit(accept(petition(1)))
    assert store.space()
    disk.before = FullDisk(folder)
    changes = steps(end(1))
    changes.appends = append(name(1), 0, b"final").appends
    store.commit(changes)
    assert store.rows([1])[0].state == State.ENDED
    assert not (folder / "ballast").exists()


@pytest.mark.parametrize("error", [apsw.FullError(), io_error(apsw.SQLITE_IOERR_WRITE)], ids=["full", "quota"])
def test_with_no_reserve_left_a_full_disk_refuses_and_heals(open_store, disk, folder, error):
    store = open_store(disk.name)
    store.commit(accept(petition(1)))
    disk.errno = errno.EDQUOT
    disk.before = FullDisk(folder, for_good=True, error=error)
    for changes in (accept(petition(2)), steps(end(1)), Changes(tombstones=[(name(9), 1.0)])):
        with pytest.raises(StoreFull):
            store.commit(changes)
    assert seqs(store) == [1]
    assert store.rows([1])[0].state == State.QUEUED
    disk.before = None
    store.commit(accept(petition(2)))
    assert store.space()
    assert (folder / "ballast").stat().st_size == 256 << 10


def test_a_checkpoint_without_room_does_not_fail_the_commit_that_asked_for_it(open_store, disk, folder):
    store = open_store(disk.name)
    disk.before = failing("write", apsw.FullError(), suffix=DATABASE)
    for number in range(1, 61):
        store.commit(accept(petition(number, extras=bytes(5000))))
    assert not (folder / "ballast").exists()
    disk.before = None
    for number in range(61, 181):
        store.commit(accept(petition(number, extras=bytes(5000))))
    assert (folder / DATABASE).stat().st_size > 150 * 5000
    assert len(store.page(states=ANY_STATE, limit=999)) == 180


def test_room_is_watched_and_the_reserve_made_whole_again(open_store, folder, monkeypatch):
    store = open_store()
    assert store.space()
    real = os.statvfs(folder)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result([*real[:4], 1, *real[5:]]))
    assert not store.space()
    store._space.release()
    assert not store.space()
    assert not (folder / "ballast").exists()
    monkeypatch.undo()
    assert store.space()
    assert (folder / "ballast").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 12 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", mount], check=False, capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"mounting is not possible here: {done.stderr.decode()}")
    yield mount
    subprocess.run(["umount", mount], check=True)


@pytest.mark.parametrize(
    "room",
    [
        [f"size=64m,nr_inodes={files}" for files in range(2, 16)],
        [f"size={size}k" for size in (4, 16, 64, 256, 1024, 2048, 4096)],
    ],
    ids=["files", "bytes"],
)
def test_a_start_without_room_is_told_as_what_may_go_well_later(tmp_path, room):
    """Whatever it is that has no room: after the code of a lasting fault systemd would not start the service again."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mount, codes = tmp_path / "small", []
    mount.mkdir()
    for options in room:
        command = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", mount]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode != 0:
            pytest.skip(f"mounting is not possible here: {done.stderr.decode()}")
        try:
            folder = mount / "kept"
            folder.mkdir(mode=0o700)
            SqliteStore(folder).close()
        except OrchaError as error:
            codes.append((options, error.exit_code))
        except OSError as error:  # of the folder itself
            assert error.errno == errno.ENOSPC  # noqa: PT017 - there may be no error at all
        finally:
            subprocess.run(["umount", mount], check=True)
    assert codes
    assert [each for each in codes if each[1] != StoreFull.exit_code] == []


def fill_up(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - the loop ends by it
    return filler


def test_a_really_full_disk_keeps_every_end_and_heals_without_a_restart(small_disk):
    limits = Limits(log=1 << 20, checkpoint=768 << 10, ballast=3 << 20, watermark=1 << 20)
    store = SqliteStore(small_disk, limits=limits)
    try:
        store.commit(accept(*(petition(seq, extras=bytes(500)) for seq in range(1, 501))))
        assert store.space()
        filler = fill_up(small_disk)
        assert not store.space()
        for seq in range(1, 501):
            changes = steps(end(seq))
            changes.appends = append(name(seq), 0, b"f" * 500).appends
            store.commit(changes)
        assert not store.space()
        refused = commit_until_it_raises(store, StoreFull, size=100_000, first=501) + 1
        filler.unlink()
        assert store.space()
        store.commit(accept(petition(refused)))
    finally:
        store.close()
    store = SqliteStore(small_disk, limits=limits)
    assert {row.state for row in store.rows(range(1, 501))} == {State.ENDED}
    assert [row.seq for row in store.rows([refused])] == [refused]
    assert store._connection.execute("PRAGMA integrity_check").get == "ok"
    store.close()


# --- what was found is not what was left -----------------------------------------------------------------------------


def closed_store(open_store) -> None:
    store = open_store()
    store.commit(accept(*(petition(seq, extras=bytes(1000)) for seq in range(1, 200))))
    store.close()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "not a SQLite database"),
        (lambda path: path.write_bytes(b"\0" * path.stat().st_size), "not a SQLite database"),
        (lambda path: os.truncate(path, path.stat().st_size // 4096 // 2 * 4096), "cut short"),
        (lambda path: os.truncate(path, path.stat().st_size - 1), "cut short"),
        (lambda path: path.write_bytes(b"#!/bin/sh\necho somebody's script\n" * 10), "not a SQLite database"),
        (lambda path: damage_a_page(path.parent), "damaged|malformed"),
        (lambda path: path.unlink(), "is missing"),
    ],
    ids=["empty", "50 bytes", "zeros", "half", "one byte less", "foreign", "bits", "missing"],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(open_store, folder, damage, message):
    closed_store(open_store)
    path = folder / DATABASE
    damage(path)
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(StoreBroken, match=message) as caught:
        open_store()
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.exists() else None) == left


def test_another_programs_database_is_refused(open_store, folder):
    connection = apsw.Connection(str(folder / DATABASE))
    connection.execute("CREATE TABLE letters (content TEXT)")
    connection.close()
    with pytest.raises(StoreBroken, match="not one of Orcha's"):
        open_store()


def crashed_copy(folder: Path, tmp_path: Path) -> Path:
    """Give a copy of the folder as it stands, as a killed process leaves it."""
    return Path(shutil.copytree(folder, tmp_path / "crashed", ignore=shutil.ignore_patterns("*-shm")))


@pytest.mark.parametrize("damage", [lambda log: log.unlink(), lambda log: os.truncate(log, 0)], ids=["gone", "empty"])
def test_a_log_that_is_missing_after_a_crash_is_told_never_ignored(open_store, folder, tmp_path, damage):
    store = open_store()
    store.commit(accept(petition(1)))
    crashed = crashed_copy(folder, tmp_path)
    damage(crashed / "orcha.db-wal")
    with pytest.raises(StoreBroken, match="the last changes were in it"):
        SqliteStore(crashed)
    (crashed / "orcha.db.clean").touch()
    without = SqliteStore(crashed)
    assert seqs(without) == []
    without.close()


def test_after_a_stop_in_good_order_the_database_file_alone_holds_everything(open_store, folder):
    closed_store(open_store)
    for suffix in ("-wal", "-shm"):
        Path(f"{folder / DATABASE}{suffix}").unlink()
    assert len(seqs(open_store())) == 99


def test_a_killed_stores_commits_are_all_there(open_store, folder, tmp_path):
    store = open_store()
    store.commit(accept(petition(1)))
    store.commit(accept(petition(2)), durable=False)
    again = SqliteStore(crashed_copy(folder, tmp_path))
    assert seqs(again) == [2, 1]
    again.close()


def test_a_stop_at_any_moment_of_opening_and_closing_leaves_a_store_that_opens(open_store, folder, tmp_path, disk):
    copies = []

    def copy(operation):
        if operation.kind != "read":
            target = tmp_path / f"copy-{len(copies)}"
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*-shm"))
            copies.append((target, kept))

    kept: list[int] = []
    open_store().close()
    disk.before = copy
    for seq in range(1, 4):
        store = open_store(disk.name)
        disk.before = None
        store.commit(accept(petition(seq)))
        kept = [seq, *kept]
        disk.before = copy
        store.close()
    disk.before = None
    copies.append((Path(shutil.copytree(folder, tmp_path / "last")), kept))
    assert len(copies) > 10
    for target, expected in copies:
        again = SqliteStore(target)
        assert seqs(again) == expected
        again.close()


@pytest.mark.parametrize("function", ["rename", "fsync", "close"])
def test_a_stop_at_any_moment_of_the_first_start_leaves_a_store_that_opens(open_store, folder, monkeypatch, function):
    real = getattr(os, function)
    calls = []
    allowed = 0

    def stop(*args, **keywords):
        calls.append(args)
        if len(calls) <= allowed:
            return real(*args, **keywords)
        if function == "close":
            real(*args)
        raise OSError(errno.EIO, "stopped")

    for allowed in range(20):  # noqa: B007 - what `stop` looks at
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, function, stop)
            try:
                SqliteStore(folder).close()
                break
            except StoreError:
                pass
    store = open_store()
    store.commit(accept(petition(1)))
    assert seqs(store) == [1]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(StoreError, match="nowhere"):
        SqliteStore(tmp_path / "nowhere")


def test_a_network_file_system_is_refused(open_store, folder, monkeypatch):
    class Everywhere(dict):
        def __contains__(self, kind):
            return True

        def __getitem__(self, kind):
            return "NFS"

    monkeypatch.setattr(opening, "_NETWORK", Everywhere())
    with pytest.raises(StoreBroken, match="network file system"):
        open_store()
    assert not (folder / DATABASE).exists()


def test_the_kind_of_file_system_is_read_from_the_kernel(tmp_path, monkeypatch):
    kinds = []

    class Asked(dict):
        def __contains__(self, kind):
            kinds.append(kind)
            return False

    monkeypatch.setattr(opening, "_NETWORK", Asked())
    opening.refuse_network(Path("/proc"))
    assert kinds == [0x9FA0]  # PROC_SUPER_MAGIC, statfs(2)


def test_a_sqlite_that_loses_commits_is_warned_of(open_store, monkeypatch):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.warns(RuntimeWarning, match=r"3\.51\.2 can lose commits"):
        open_store()


# --- readers, forks --------------------------------------------------------------------------------------------------


def test_the_log_shrinks_again_after_a_reader_that_held_it(open_store, folder):
    store = open_store()
    log = folder / "orcha.db-wal"
    store.commit(accept(petition(1), petition(2)))
    waiting = store.waiting(MANAGER)
    next(waiting)
    number = 2
    while log.stat().st_size < 1 << 20:
        number += 1
        store.commit(accept(petition(number, extras=bytes(5000))))
        assert number < 2000
    assert [entry.seq for entry in waiting] == [2]
    for extra in range(1, 101):
        store.commit(accept(petition(number + extra, extras=bytes(5000))))
    assert log.stat().st_size <= 64 << 10


def test_the_log_keeps_its_size_under_load(open_store, folder):
    store = open_store()
    for number in range(1, 201):
        store.commit(accept(petition(number, extras=bytes(500))), durable=number % 10 == 0)
    assert (folder / "orcha.db-wal").stat().st_size <= 96 << 10
    assert (folder / DATABASE).stat().st_size > 200 * 400


def test_a_forked_child_forgets_the_store_and_the_parent_goes_on(open_store, folder, tmp_path):
    store = open_store()
    store.commit(accept(petition(1)))
    assert seqs(store) == [1]
    child = os.fork()
    if child == 0:
        try:
            store.forget_in_child()
            try:
                store.rows([1])
                os._exit(1)
            except StoreBroken:
                store.close()
                connection = store._connection
                del store
                os._exit(0 if "closed" not in str(connection) else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.commit(accept(petition(2)))
    assert seqs(store) == [2, 1]
    crashed = SqliteStore(crashed_copy(folder, tmp_path))
    assert seqs(crashed) == [2, 1]
    crashed.close()


def test_a_folder_below_a_symbolic_link_is_as_good_as_any(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder.parent)
    store = SqliteStore(tmp_path / "link" / folder.name)
    store.commit(accept(petition(1)))
    assert seqs(store) == [1]
    store.close()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["orcha.db", "orcha.db-wal", "orcha.db-shm", "orcha.db.clean"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_what_is_no_file_is_told_and_never_waited_for(open_store, folder, name, make):
    closed_store(open_store)
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(StoreBroken, match=f"{folder / name} is .* where a file belongs"):
        open_store()
