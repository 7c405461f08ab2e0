"""Bringing a database forward, step by step, never back."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import apsw

from orcha.exceptions.store import StoreNewer

_MIGRATIONS = Path(__file__).with_name("migrations")
_READ_AND_WRITE_VERSIONS = slice(18, 20)
"""Where the header of a database says that it has a write-ahead log: https://sqlite.org/fileformat2.html, 1.3.3."""
_WAL_VERSIONS = b"\x02\x02"


@cache
def migrations() -> tuple[str, ...]:
    """Give the steps from an empty database to the current schema, in order."""
    steps = sorted(name for name in os.listdir(_MIGRATIONS) if re.fullmatch(r"\d{4}_\w+\.sql", name))  # noqa: PTH208 - a service's start sorts no paths
    return tuple((_MIGRATIONS / name).read_text("utf-8") for name in steps)


def refuse_newer(connection: apsw.Connection, database: Path) -> None:
    """Raise StoreNewer where the schema is newer than all that this Orcha knows."""
    newest, version = len(migrations()), int(connection.pragma("user_version"))
    if version > newest:
        raise StoreNewer(
            f"{database} has schema {version}, from a newer Orcha; this one knows schemas up to {newest}: "
            "start the newer Orcha, or give this one another folder"
        )


def migrate(connection: apsw.Connection, database: Path) -> None:
    """Bring the schema forward, each step in a transaction of its own; what holds petitions is copied before.

    The copy `orcha.db.schema-N` is what an older Orcha can go back to; nobody but a person deletes it.
    """
    steps = migrations()
    version = int(connection.pragma("user_version"))
    if 0 < version < len(steps):
        _copy(connection, Path(f"{database}.schema-{version}"))
    for number, step in enumerate(steps[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(step)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def empty_database(application: int) -> bytes:
    """Give what the file of a database holds that has the current schema, this application id, and no rows.

    It is made in memory: a file with a transaction a step would cost two syncs each and more processor time.
    """
    return _made_by(tuple(migrations()), application)


@cache
def _made_by(steps: tuple[str, ...], application: int) -> bytes:
    connection = apsw.Connection(":memory:")
    try:
        connection.execute(f"PRAGMA application_id = {application}")
        connection.execute("BEGIN")
        for step in steps:
            connection.execute(step)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
        made = bytearray(connection.serialize("main"))
    finally:
        connection.close()
    made[_READ_AND_WRITE_VERSIONS] = _WAL_VERSIONS
    return bytes(made)


def _copy(connection: apsw.Connection, target: Path) -> None:
    unfinished = Path(f"{target}.new")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection.execute("VACUUM INTO ?", (str(unfinished),))
    sync_file(unfinished)
    unfinished.rename(target)
    sync_file(target.parent)


def sync_file(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
