"""Opening a database file with care: what is damaged, foreign, newer or on a network is refused, never replaced."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import apsw

from orcha._store import last_commit, log_index
from orcha._store.birth import birth_of
from orcha._store.disk_reserve import NO_ROOM, DiskReserve, Limits, is_full
from orcha._store.file_system import file_system_kind
from orcha._store.last_start import this_boot
from orcha._store.migrating import empty_database, migrate, refuse_newer
from orcha._store.page_sums import PageSums
from orcha._store.store_files import StoreFiles
from orcha.exceptions.store import StoreBroken, StoreDamaged, StoreError, StoreFull, no_room
from orcha.utils.private import open_in

APPLICATION = 0x4F726368
"""`Orch`: SQLite's application_id of the file."""
CHECK_SECONDS = 0.5
"""What the check at every start may take; after damage it takes as long as it takes."""
CHECK_STEPS = 10_000
"""Steps of SQLite's between two looks at the clock."""
_NETWORK = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFE534D42: "SMB 2",
    0xFF534D42: "CIFS",
    0x01021997: "9p",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
}
"""statfs(2): what f_type says of file systems whose locks and fsync other machines have a say in."""


def open_database(
    files: StoreFiles, limits: Limits, space: DiskReserve, vfs: str | None = None
) -> tuple[apsw.Connection, PageSums]:
    """Give a connection to the folder's database, made where there is none, verified and of the current schema.

    With it come the checksums of the pages of the database's file, to be closed after the connection.

    Raises:
        StoreBroken: what is there is not whole, not Orcha's, or of a newer Orcha; or it lies on a network.
        StoreFull: there is no room even for a start, and no reserve.
        StoreError: the folder cannot be used.
    """
    _refuse_old_sqlite()
    try:
        refuse_network(files.folder)
        files.check()
        if not files.exists(files.database):
            files.witness.refuse_anew(files.database)
            _create(files)
        look_at_header(files)
        committed = _prepare_log(files)
        sums = PageSums(files)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StoreFull(no_room(error.filename or files.database)) from error
        place = error.filename or files.folder
        raise StoreError(
            f"{place} cannot be used: {error.strerror}: see whose it is and who may write there"
        ) from error
    try:
        with naming(files.database):
            connection = connect(files.real / files.database.name, limits, vfs=vfs)
            try:
                files.check_in_place()
                _compare_log(connection, files, committed)
                _verify(connection, files)
                _compare_start(connection, files)
                refuse_newer(connection, files.database)
                _compare_file(files, sums)
                migrate(connection, files.real / files.database.name)
                _extend_log(connection, files, limits, space)
            except BaseException:
                connection.close()
                sums.close()
                raise
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StoreFull(no_room(error.filename or files.database)) from error
        raise StoreBroken(f"{files.database} cannot be used: {error}") from error
    return connection, sums


@contextlib.contextmanager
def naming(database: Path) -> Iterator[None]:
    """Have the errors of SQLite name the file, and say what they mean for a store.

    Raises:
        StoreFull: there is no room.
        StoreDamaged: the file is damaged, or no database.
        StoreBroken: the file cannot be used for another reason.

    """
    try:
        yield
    except apsw.FullError as error:
        raise StoreFull(no_room(database)) from error
    except apsw.CantOpenError as error:  # SQLite does not say that a file could not be made for want of room
        if is_full(database.parent):
            raise StoreFull(no_room(database)) from error
        raise StoreBroken(f"{database} cannot be used: {error}") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StoreDamaged(f"{database} cannot be used: {error}") from error
    except apsw.Error as error:
        raise StoreBroken(f"{database} cannot be used: {error}") from error


def open_at_rest(database: Path) -> apsw.Connection:
    """Open a database that nobody writes, for reading: SQLite then makes no file beside it."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOFOLLOW
    return apsw.Connection(f"{database.as_uri()}?immutable=1", flags=flags)


def connect(database: Path, limits: Limits, *, vfs: str | None = None, reading: bool = False) -> apsw.Connection:
    """Give a connection with the settings that all connections have."""
    flags = apsw.SQLITE_OPEN_READONLY if reading else apsw.SQLITE_OPEN_READWRITE
    flags |= apsw.SQLITE_OPEN_NOFOLLOW
    connection = apsw.Connection(str(database), flags=flags, vfs=vfs, statementcachesize=200)
    # The last connection that is closed, or collected as garbage, empties the log: that is for an orderly stop alone.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(5000)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    settings = {
        "cell_size_check": 1,
        "mmap_size": 0,
        "temp_store": 2,
        "cache_size": -(limits.cache >> 10),
        "wal_autocheckpoint": 0,
        "journal_size_limit": limits.log,
        "synchronous": 2,
        "secure_delete": 1,
    }
    for name, value in settings.items():
        connection.execute(f"PRAGMA {name} = {value}")
    if not reading:
        connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, _pointer_to_one())
    return connection


def refuse_network(folder: Path) -> None:
    """Refuse a file system of other machines: their locks and fsync do not keep what a store promises."""
    if sys.platform != "linux":
        return
    kind = file_system_kind(folder)
    if kind in _NETWORK:
        raise StoreBroken(
            f"{folder} lies on a network file system ({_NETWORK[kind]}), which does not keep what a store promises: "
            "point ORCHA_HOME at a local disk"
        )


def _pointer_to_one() -> int:
    return ctypes.addressof(_ONE)


_ONE = ctypes.c_int(1)


def _refuse_old_sqlite() -> None:
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if version < (3, 51, 3):
        warnings.warn(
            f"SQLite {apsw.sqlite_lib_version()} can lose commits when its write-ahead log starts over; "
            "3.51.3 and later do not: upgrade apsw",
            RuntimeWarning,
            stacklevel=4,
        )


def _create(files: StoreFiles) -> None:
    """Make the database under another name first, so that an empty one is never a half-made one."""
    if not files.exists(files.new):
        for path in (files.log, files.clean, files.damaged):
            if files.exists(path):
                raise StoreBroken(
                    f"{files.database} is missing, but {path.name} is there: put it back, or move all away"
                )
    files.remove(files.clean.name)
    for suffix in ("", "-journal", "-wal", "-shm"):
        files.remove(f"{files.new.name}{suffix}")
    descriptor = open_in(files.descriptor, files.new.name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        left = memoryview(empty_database(APPLICATION))
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except apsw.Error as error:
        raise StoreError(
            f"{files.database} cannot be made: {error}: install Orcha anew, or see what takes the memory"
        ) from error
    finally:
        os.close(descriptor)
    files.mark(files.clean)
    os.rename(files.new.name, files.database.name, src_dir_fd=files.descriptor, dst_dir_fd=files.descriptor)
    files.sync_folder()


def look_at_header(files: StoreFiles) -> None:
    """Refuse what is not a whole SQLite database of Orcha's, before SQLite makes something of it.

    Reading the file by another descriptor is safe only while no connection of this process has it open: closing the
    descriptor drops the process's locks on it.
    """
    database = files.database
    descriptor = open_in(files.descriptor, database.name, os.O_RDONLY)
    try:
        header = os.read(descriptor, 100)
        found = os.fstat(descriptor)
        born = birth_of(descriptor)
    finally:
        os.close(descriptor)
    size = found.st_size
    files.remember(found, born)
    if not header:
        raise StoreDamaged(f"{database} is empty, which a store never is: put a copy of it back, or move it away")
    if len(header) < 100 or not header.startswith(b"SQLite format 3\x00"):
        raise StoreDamaged(f"{database} is not a SQLite database, or its beginning is damaged")
    if int.from_bytes(header[68:72], "big") != APPLICATION:
        raise StoreDamaged(f"{database} is a SQLite database, but not one of Orcha's")
    clean = files.exists(files.clean)
    pages = int.from_bytes(header[28:32], "big") * (int.from_bytes(header[16:18], "big") or 65536)
    if clean and size < pages:
        raise StoreDamaged(f"{database} is cut short: {size} bytes of {pages}")
    if not clean and not files.size(files.log):
        raise StoreBroken(
            f"{files.log} is missing or empty, though the service was not stopped in good order: the last changes were "
            f"in it. Put it back; or go on without them by making an empty file {files.clean} and removing"
            f" {files.witness.path}"
        )
    if not clean:
        files.witness.refuse_older_than_stop(database)
        files.witness.refuse_copy(database, born)


def _prepare_log(files: StoreFiles) -> int:
    """Take note of how much was committed to the log, before SQLite forgets what it cannot read; give the frames.

    After a stop in good order the database alone holds everything: what is in the log is not looked at. After a reboot
    nobody knows: the end of the log may be torn, and it was told to nobody.

    Raises:
        StoreBroken: the log differs from what was written.
    """
    if files.exists(files.clean):
        files.remove(files.frames.name)
        last_commit.forget(files.folder)
        if files.size(files.log):
            descriptor = open_in(files.descriptor, files.log.name, os.O_WRONLY | os.O_TRUNC)
            os.close(descriptor)
        return 0
    written = _noted(files)
    header = files.read(files.log, log_index.LOG_HEADER_BYTES)
    last = files.witness.read()
    if last is not None and last.boot_id and last.boot_id == this_boot():
        counted = log_index.parse(files.read(files.index, log_index.INDEX_BYTES))
        written = max((one for one in (written, counted) if one is not None), default=None)
        told = last_commit.read(files.folder, last.nonce)
        if told is not None and not log_index.has_started_over(header, told):
            is_more = written is None or written.salts != told.salts or written.frames < told.frames
            written = told if is_more else written
    if written is None or not written.frames:
        return 0
    files.mark(files.frames, f"{written.frames} {written.salts.hex()}\n")
    if not log_index.belongs(header, written):
        files.remove(files.index.name)  # from here on the note alone says it; removing the note lets the service start
        raise _log_damaged(files, 0, written.frames)
    return written.frames


def _compare_file(files: StoreFiles, sums: PageSums) -> None:
    """Refuse a file of the database that is not what the last stop, or a killed process, left."""
    if not files.exists(files.clean):
        sums.refuse_changed()
        return
    left = files.read(files.clean, 64).decode("ascii", "replace").strip()
    if left and left != sums.fingerprint:
        raise StoreBroken(
            f"{files.database} is not what it was when the service stopped, so somebody or the disk has changed it. Put"
            f" a copy of it back; or, to go on with what is there, make {files.clean} an empty file"
        )


def _noted(files: StoreFiles) -> log_index.Written | None:
    """Give what a start that was refused, or killed, has noted."""
    frames, _, salts = files.read(files.frames, 64).decode("ascii", "replace").partition(" ")
    try:
        return log_index.Written(int(frames), bytes.fromhex(salts))
    except ValueError:
        return None


def _compare_log(connection: apsw.Connection, files: StoreFiles, committed: int) -> None:
    """Refuse a log if SQLite reads less of it than was committed; the note stays until all of the log was read."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    found = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)[0] if committed else 0
    if found < committed:
        raise _log_damaged(files, found, committed)
    files.remove(files.frames.name)


def _log_damaged(files: StoreFiles, found: int, committed: int) -> StoreBroken:
    files.mark(files.damaged, "the log is damaged\n")
    return StoreBroken(
        f"{files.log} is damaged: {found} of {committed} pages that were committed to it can be read, and what was"
        f" accepted last is in the others. It may be a copy of an earlier moment. Put the right one back; or, to go on"
        f" without them, remove {files.frames} and {files.witness.path}"
    )


def _compare_start(connection: apsw.Connection, files: StoreFiles) -> None:
    """Refuse a database that does not know the last start."""

    def nonce_of(epoch: int) -> int | None:
        return connection.execute("SELECT nonce FROM incarnation WHERE epoch = ?", (epoch,)).get  # type: ignore[no-any-return]

    if connection.pragma("user_version"):
        newest = connection.execute("SELECT coalesce(max(epoch), 0) FROM incarnation").get
        files.witness.refuse_other(files.database, nonce_of, int(newest))


def _verify(connection: apsw.Connection, files: StoreFiles) -> None:
    """Check the database: a while at every start, wholly after an error."""
    damaged = files.exists(files.damaged)
    deadline = time.monotonic() + CHECK_SECONDS
    if not damaged:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, CHECK_STEPS)
    try:
        check = "integrity_check" if damaged else "quick_check"
        found = [str(row[0]) for row in connection.execute(f"PRAGMA {check}(3)")]
    except apsw.InterruptError:
        found = ["ok"]
    finally:
        connection.set_progress_handler(None)
    refuse_damaged(files, found)
    if damaged:
        files.unmark(files.damaged)


def refuse_damaged(files: StoreFiles, found: list[str]) -> None:
    """Raise StoreDamaged where SQLite's check found anything."""
    if found != ["ok"]:
        lines = [line for each in found for line in each.splitlines()]
        raise StoreDamaged(f"{files.database} is damaged: {'; '.join(lines)}")


def _extend_log(connection: apsw.Connection, files: StoreFiles, limits: Limits, space: DiskReserve) -> None:
    """Give the write-ahead log its size at once, and only then say that the store is in use."""
    touch = "UPDATE used SET seq = seq"
    try:
        connection.execute(touch)
    except apsw.FullError:
        space.release()
        connection.execute(touch)
    # SQLite takes no locks on this file, so closing another descriptor of it harms nothing.
    descriptor = open_in(files.descriptor, files.log.name, os.O_WRONLY)
    try:
        with contextlib.suppress(_NoRoom):
            _fill(descriptor, limits.log)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    files.witness.note_stop(stopped=False)
    files.unmark(files.clean)


class _NoRoom(Exception):  # noqa: N818 - not an error: a log that has to grow is slower, not worse
    """The disk is full."""


def _fill(descriptor: int, size: int) -> None:
    """Write zeros up to a size: blocks that are merely reserved cost a journal entry at their first write."""
    chunk = bytes(1 << 20)
    position = os.fstat(descriptor).st_size
    while position < size:
        try:
            position += os.pwrite(descriptor, chunk[: size - position], position)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise _NoRoom from error
            raise
