"""Looking at a store's database without changing anything, also while a service uses the database."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import apsw

from orcha._store.disk_reserve import Limits
from orcha._store.migrating import refuse_newer
from orcha._store.opening import connect, look_at_header, naming, open_at_rest, refuse_damaged
from orcha._store.store_files import StoreFiles
from orcha.exceptions.store import StoreBroken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EXAMINE_SECONDS = 2.0
"""Seconds that SQLite's check may take; a database that is not through by then counts as whole."""
MAX_COPIED_BYTES = 256 << 20
"""A larger database that a crash has left is not looked at: the next start does that."""
_LOOK_STEPS = 10_000


def examine(folder: Path, is_served: Callable[[], bool]) -> None:
    """Raise StoreBroken where a start would refuse the database; do nothing where there is none.

    A service that starts meanwhile changes the files: then what was found is not raised. A database that a crash has
    left is read as a copy: SQLite would prepare the files of its log, from which a start tells what was committed.

    Raises:
        StoreBroken: the database is missing, or of a newer Orcha.
        StoreDamaged: it is damaged, or not Orcha's.
        StoreError, OSError: the folder cannot be read.
    """
    files = StoreFiles(folder)
    served = is_served()
    try:
        if not files.exists(files.database):
            files.witness.refuse_anew(files.database)
            return
        if served:
            _check(files, connect(files.real / files.database.name, Limits(), reading=True))
            return
        look_at_header(files)
        if files.exists(files.clean):
            _check(files, open_at_rest(files.real / files.database.name))
        else:
            _check_copy(files)
    except apsw.BusyError:
        return
    except (StoreBroken, apsw.Error):
        if is_served() != served:
            return
        with naming(files.database):
            raise
    finally:
        files.close()


def _check_copy(files: StoreFiles) -> None:
    """Check a copy of the database with its log."""
    if sum(files.size(path) or 0 for path in (files.database, files.log)) > MAX_COPIED_BYTES:
        return
    with tempfile.TemporaryDirectory(prefix="orcha-doctor-") as folder:
        for path in (files.database, files.log):
            if files.exists(path):
                shutil.copyfile(files.real / path.name, Path(folder, path.name), follow_symlinks=False)
        _check(files, apsw.Connection(str(Path(folder, files.database.name))))


def _check(files: StoreFiles, connection: apsw.Connection) -> None:
    deadline = time.monotonic() + EXAMINE_SECONDS
    try:
        refuse_newer(connection, files.database)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _LOOK_STEPS)
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
        except apsw.InterruptError:
            found = ["ok"]
        refuse_damaged(files, found)
    finally:
        connection.close()
