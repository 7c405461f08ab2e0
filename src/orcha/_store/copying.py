"""A copy of a store's database while the service uses it, and a copy made ready for a service that begins with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import apsw

from orcha._store.disk_reserve import Limits
from orcha._store.last_start import Witness
from orcha._store.migrating import migrate, refuse_newer, sync_file
from orcha._store.opening import APPLICATION, connect, naming, open_at_rest, refuse_network
from orcha._store.store_files import StoreFiles
from orcha.exceptions.store import StoreBroken, StoreDamaged

PAGES_AT_ONCE = 1_024
"""Pages that are copied between two reports of progress."""
RESTORED_BOOT = "restored"
"""Stands for the boot of the earlier starts in a restored database: no process of this machine belongs to them."""


def copy_database(folder: Path, target: Path, progress: Callable[[int], None], *, served: bool) -> int:
    """Copy a store's database into a new file as the database is at one moment; give the count of its petitions.

    Where a service uses the store, SQLite's online backup reads within one transaction: commits go on meanwhile, and
    the copy has none of them. Where none does, and `served` is False, the caller holds the lock of the endpoint.

    Args:
        folder: where the store is.
        target: the file that is made.
        progress: is told how many bytes were copied since the last call.
        served: whether a service uses the store.

    Raises:
        StoreFull: there is no room for the copy.
        StoreBroken: the store is not in order, or is none.

    """
    files = StoreFiles(folder)
    try:
        files.check()
        if not files.exists(files.database):
            raise StoreBroken(f"there is no {files.database}, so there is nothing to back up")
        if not served and not files.exists(files.clean):
            raise StoreBroken(
                f"the last service of {folder} was not stopped in good order, and its last changes are in a log that"
                " only a service reads: start the service, and back up then"
            )
    finally:
        files.close()
    with naming(target):
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        with (
            contextlib.closing(_source(files.real / files.database.name, served=served)) as source,
            contextlib.closing(apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)) as copy,
        ):
            copy.execute("PRAGMA synchronous = OFF")  # who puts the copy to its place syncs that
            copy.execute("PRAGMA journal_mode = OFF")
            source.execute("BEGIN")
            refuse_newer(source, files.database)  # the first look begins the transaction that all steps read in
            page = int(source.pragma("page_size"))
            with copy.backup("main", source, "main") as backup:
                left, done = 0, False
                while not done:
                    done = backup.step(PAGES_AT_ONCE)
                    left = left or backup.page_count
                    progress((left - backup.remaining) * page)
                    left = backup.remaining
            source.execute("COMMIT")
        with contextlib.closing(_checked(target)) as copy:
            return int(copy.execute("SELECT count(*) FROM petition").get)


def _source(database: Path, *, served: bool) -> apsw.Connection:
    """Open a store's database for reading; where no service uses it, SQLite makes no file beside it."""
    return connect(database, Limits(), reading=True) if served else open_at_rest(database)


def refuse_living(folder: Path) -> None:
    """Raise StoreBroken where a folder holds a store, or a part of one, already."""
    for name in ("orcha.db", "orcha.db-wal", "orcha.db.new", "orcha.db.clean"):
        if os.path.lexists(folder / name):
            raise StoreBroken(
                f"{folder} has a state already ({name}): restore with another ORCHA_HOME, or move {folder} away first"
            )
    output = folder / "output"
    if output.is_dir() and any(output.iterdir()):
        raise StoreBroken(f"{output} has output of an earlier state: move {folder} away first")


def make_ready(database: Path) -> None:
    """Make a copied database ready for a service that begins with it.

    The processes that earlier starts left are not of this store: the service from which the copy was made may live
    beside it, on the same machine. So the earlier starts and their commands are noted as those of another boot, after
    which nobody looks for their processes, nor kills them.

    Raises:
        StoreDamaged: it is no whole database of Orcha.
        StoreBroken: it is of a newer Orcha.
        StoreFull: there is no room.

    """
    with naming(database), contextlib.closing(_checked(database)) as connection:
        refuse_newer(connection, database)
        connection.pragma("journal_mode", "delete")
        migrate(connection, database)
        with connection:
            connection.execute("UPDATE incarnation SET boot_id = ?", (RESTORED_BOOT,))
            connection.execute("UPDATE attempt SET boot_id = ? WHERE boot_id IS NOT NULL", (RESTORED_BOOT,))
        connection.pragma("journal_mode", "wal")
    sync_file(database)


def put_in_place(folder: Path, made: Path) -> bool:
    """Put a ready database and its output, in the folder `made`, into the folder of an endpoint, the database last.

    Returns whether something was known there of a store that is gone: from now on that is forgotten.

    Raises:
        StoreError: the folder cannot be used.

    """
    refuse_network(folder)
    witness = Witness(folder)
    noted = (witness.path, folder.with_name(f"{folder.name}.last-commit"))
    was_there = os.path.lexists(witness.path)
    output = folder / "output"
    if output.exists():
        output.rmdir()
    (made / "output").rename(output)
    for path in noted:
        path.unlink(missing_ok=True)
    sync_file(folder.parent)
    files = StoreFiles(folder)
    try:
        files.mark(files.clean)
        (made / "orcha.db").rename(files.database)
        files.sync_folder()
    finally:
        files.close()
    return was_there


def _checked(database: Path) -> apsw.Connection:
    """Open a copy of a database that nobody uses, and check it."""
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    connection = apsw.Connection(os.path.realpath(database), flags=flags)
    try:
        problem = _problem(connection)
    except BaseException:
        connection.close()
        raise
    if problem:
        connection.close()
        raise StoreDamaged(f"{database} {problem}")
    return connection


def _problem(connection: apsw.Connection) -> str:
    """Say what is wrong with a database, nothing where all is well."""
    if connection.pragma("application_id") != APPLICATION:
        return "is no database of Orcha"
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    return "" if found == ["ok"] else f"is damaged: {'; '.join(found)}"
