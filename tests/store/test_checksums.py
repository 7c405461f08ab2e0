"""What was accepted is executed as it was accepted, or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from orcha._core.changes import Changes
from orcha._core.state import State
from orcha._protocol import values
from orcha._store.checksums import DAMAGED
from orcha._store.sqlite import SqliteStore
from orcha.exceptions.store import StoreDamaged
from support.changes import accept, petition, step, steps

COMMAND = b"rm -rf /tmp/a"


@pytest.fixture
def folder(tmp_path):
    """Give the folder of a closed store that holds one petition with a command."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    store = SqliteStore(folder)
    store.commit(accept(petition(1, extras=COMMAND)))
    store.commit(accept(petition(2, extras=b"")))
    store.close()
    return folder


def rows(folder):
    """Give what is kept, as to somebody who goes on with what is there."""
    (folder / "orcha.db.clean").write_bytes(b"")
    store = SqliteStore(folder)
    try:
        return store.rows([1])
    finally:
        store.close()


def test_what_is_as_it_was_accepted_is_given_also_after_its_steps(folder):
    store = SqliteStore(folder)
    store.commit(Changes(priorities={1: 7}))
    store.commit(steps(step(1, State.STARTING, to_attempt=1)))
    assert [row.extras for row in store.rows([1, 2])] == [COMMAND, b""]
    store.close()


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_of_a_command_is_never_executed(folder, bit):
    database = folder / "orcha.db"
    content = bytearray(database.read_bytes())
    assert content.count(COMMAND) == 1
    content[content.index(COMMAND) + bit] ^= 1 << bit
    database.write_bytes(content)
    assert [row.extras for row in rows(folder)] == [DAMAGED]


@pytest.mark.parametrize("change", ["id = 'other'", "id_is_int = 1 - id_is_int", "manager = 'x:Y'", "owner = 'uid:1'"])
def test_neither_is_a_message_under_another_name_or_owner(folder, change):
    with closing(sqlite3.connect(folder / "orcha.db")) as database:
        database.execute(f"UPDATE petition SET {change} WHERE seq = 1")
        database.commit()
    assert [row.extras for row in rows(folder)] == [DAMAGED]


def test_what_an_older_orcha_has_accepted_has_none(folder):
    with closing(sqlite3.connect(folder / "orcha.db")) as database:
        database.execute("UPDATE petition SET checksum = NULL, extras = x'00' WHERE seq = 1")
        database.commit()
    assert [row.extras for row in rows(folder)] == [b"\0"]


@pytest.mark.parametrize("change", ["token = x'00'", "on_interrupt = 77"])
def test_a_row_that_makes_no_sense_is_told(folder, change):
    with closing(sqlite3.connect(folder / "orcha.db")) as database:
        database.execute(f"UPDATE petition SET {change} WHERE seq = 1")
        database.commit()
    if change.startswith("token"):
        assert [row.extras for row in rows(folder)] == [DAMAGED]
        return
    with pytest.raises(StoreDamaged, match=r"row in orcha\.db is damaged"):
        rows(folder)


def test_what_stands_for_a_damaged_message_is_no_value():
    with pytest.raises(ValueError):
        values.decode(DAMAGED, channel=bytes)
