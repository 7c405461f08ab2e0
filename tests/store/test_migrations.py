"""Databases of every schema there was are brought forward; those of schemas to come are refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import apsw
import pytest

from orcha._store import migrating, opening
from orcha._store.memory import MemoryStore
from orcha.exceptions.store import StoreBroken, StoreError
from support.changes import ANY_STATE, MANAGER, accept, name, petition

FIXTURES = Path(__file__).parent / "fixtures"
DATABASE = "orcha.db"
COMMANDS_SINCE = 2
"""The first schema that keeps commands."""
RETRIES_SINCE = 1 + next(number for number, step in enumerate(migrating.migrations()) if "CREATE TABLE retry" in step)
"""The first schema that keeps retries of actions."""
DEPENDENCIES_SINCE = 11
"""The first schema that keeps what petitions wait for."""
EXPECTED_SINCE = 13
"""The first schema that keeps how long petitions will probably take."""
SCHEDULES_SINCE = 14
"""The first schema that keeps schedules and their firings."""
ARRAYS_SINCE = 1 + next(number for number, step in enumerate(migrating.migrations()) if "CREATE TABLE array" in step)
"""The first schema that keeps arrays."""
ALTERATIONS_SINCE = 1 + next(
    number for number, step in enumerate(migrating.migrations()) if "CREATE TABLE alteration" in step
)
"""The first schema that keeps what people changed of petitions."""
SLOTS_SINCE = 7
"""The first schema that keeps slots of groups."""


def filled_memory():
    specification = importlib.util.spec_from_file_location("make", FIXTURES / "make.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    store = MemoryStore()
    module.fill(store)
    return store


def left_by_schema(number, folder):
    """Put the database of a schema into the folder, as a stop in good order left it."""
    shutil.copy(FIXTURES / f"schema-{number}.db", folder / DATABASE)
    (folder / "orcha.db.clean").touch()


def version(folder):
    header = (folder / DATABASE).read_bytes()[:100]
    return int.from_bytes(header[60:64], "big")


def test_every_schema_there_was_has_a_fixture():
    assert len(list(FIXTURES.glob("schema-*.db"))) == len(migrating.migrations())


@pytest.mark.parametrize("number", range(1, len(migrating.migrations()) + 1))
def test_what_an_older_orcha_kept_is_all_there(open_store, folder, number):
    left_by_schema(number, folder)
    store, expected = open_store(), filled_memory()
    for ask in (
        lambda store: store.page(states=ANY_STATE, limit=99),
        lambda store: store.records(name(2), 0, 99),
        lambda store: store.channel(name(2)),
        lambda store: store.channel(name(5)),
        lambda store: store.channel(name(100)),
        lambda store: store.all_tombstones(1.0),
        lambda store: store.unfinished(MANAGER),
        lambda store: store.next_seq(),
        lambda store: store.begin(nonce=2, boot_id="boot", uid=1, now=2.0),
    ):
        assert ask(store) == ask(expected)
    kept = [seq for seq, since in ((2, RETRIES_SINCE), (3, COMMANDS_SINCE)) if number >= since]
    assert store.attempts([1, 2, 3]) == expected.attempts(kept)
    assert store.resting() == [row for row in expected.resting() if row.seq in kept]
    assert store.slots() == (expected.slots() if number >= SLOTS_SINCE else {})
    assert store.dependencies([6]) == (expected.dependencies([6]) if number >= DEPENDENCIES_SINCE else [])
    assert store.expected([5, 6]) == (expected.expected([6]) if number >= EXPECTED_SINCE else {})
    assert store.schedules() == (expected.schedules() if number >= SCHEDULES_SINCE else [])
    assert store.firings("nightly", 9) == (expected.firings("nightly", 9) if number >= SCHEDULES_SINCE else [])
    knows_arrays = number >= ARRAYS_SINCE
    assert store.live_arrays() == (expected.live_arrays() if knows_arrays else [])
    assert store.array_ends(6) == (expected.array_ends(6) if knows_arrays else b"")
    assert store.alterations(3) == (expected.alterations(3) if number >= ALTERATIONS_SINCE else [])
    store.commit(accept(petition(7)))
    store.close()
    assert version(folder) == len(migrating.migrations())


def test_a_newer_schema_is_refused_and_left_as_it_is(open_store, folder):
    open_store().close()
    connection = apsw.Connection(str(folder / DATABASE))
    connection.pragma("user_version", 999)
    connection.close()
    left = (folder / DATABASE).read_bytes()
    with pytest.raises(StoreBroken, match="schema 999, from a newer Orcha") as caught:
        open_store()
    assert str(folder / DATABASE) in str(caught.value)
    assert (folder / DATABASE).read_bytes() == left


def schema(connection):
    objects = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").get
    pragmas = (
        "application_id",
        "user_version",
        "page_size",
        "encoding",
        "auto_vacuum",
        "journal_mode",
        "integrity_check",
    )
    return objects, [connection.pragma(name) for name in pragmas]


def test_a_new_database_has_the_schema_that_migrations_make_one_after_another(open_store, folder):
    open_store().close()
    at_once, step_by_step = apsw.Connection(str(folder / DATABASE)), apsw.Connection(str(folder / "step by step"))
    step_by_step.pragma("application_id", opening.APPLICATION)
    migrating.migrate(step_by_step, folder / "step by step")
    step_by_step.pragma("journal_mode", "wal")
    assert schema(at_once) == schema(step_by_step)
    at_once.close()
    step_by_step.close()


def test_a_new_database_that_cannot_be_made_leaves_none_and_the_next_start_makes_it(
    open_store, folder, one_more, monkeypatch
):
    one_more("CREATE TABLE first (x ANY); SELECT no_such_function();")
    with pytest.raises(StoreError, match="no_such_function"):
        open_store()
    assert not (folder / DATABASE).exists()
    known = migrating.migrations()[:-1]
    monkeypatch.setattr(migrating, "migrations", lambda: known)
    store = open_store()
    assert not store._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'first'").get


@pytest.mark.parametrize(("last", "is_command"), [(2, True), (4, False)])
def test_attempts_of_both_kinds_of_one_petition_have_one_history(open_store, folder, last, is_command):
    """Schema 9 kept attempts of commands apart from retries of actions; petition 3 was a command in attempt 2."""
    left_by_schema(9, folder)
    connection = apsw.Connection(str(folder / DATABASE))
    connection.execute("UPDATE petition SET attempt = ?1 WHERE seq = 3", (last,))
    of_commands, of_actions = (
        '[{"attempt": 2, "why": "lost"}]',
        '[{"attempt": 1, "code": 4}, {"attempt": 3, "code": 5}]',
    )
    connection.execute("UPDATE command SET attempt = 2, due = NULL, history = ?1 WHERE seq = 3", (of_commands,))
    connection.execute("INSERT INTO retry (seq, due, retries, history) VALUES (3, 99.5, 2, ?1)", (of_actions,))
    connection.close()
    row = open_store().attempts([3])[3]
    assert [(one["attempt"], one.get("code")) for one in json.loads(row.history)] == [(1, 4), (2, None), (3, 5)]
    assert (row.due, row.retries, row.losses, row.is_command) == (99.5, 3, 2, is_command)


@pytest.fixture
def one_more(monkeypatch):
    """Add a migration to the real ones."""

    def add(*more):
        steps = [*migrating.migrations(), *more]
        monkeypatch.setattr(migrating, "migrations", lambda: steps)
        return len(steps)

    return add


def test_a_migration_keeps_a_copy_of_what_was_before(open_store, folder, one_more):
    store = open_store()
    before = len(migrating.migrations())
    store.commit(accept(petition(1)))
    store.close()
    now = one_more("ALTER TABLE petition ADD COLUMN colour TEXT; UPDATE petition SET colour = 'red';")
    open_store().close()
    assert version(folder) == now
    copy = folder / f"{DATABASE}.schema-{before}"
    assert copy.stat().st_mode & 0o777 == 0o600
    connection = apsw.Connection(str(copy))
    assert connection.pragma("user_version") == before
    assert connection.execute("SELECT count(*) FROM petition").get == 1
    connection.close()
    open_store().close()
    assert sorted(path.name for path in folder.glob("*.schema-*")) == [copy.name]


def test_a_migration_that_stops_half_way_leaves_the_schema_before_it(open_store, folder, one_more, monkeypatch):
    store = open_store()
    before = len(migrating.migrations())
    store.commit(accept(petition(1)))
    store.close()
    one_more("CREATE TABLE first (x ANY);", "CREATE TABLE second (x ANY); SELECT no_such_function();")
    with pytest.raises(StoreBroken, match="no_such_function"):
        open_store()
    known = migrating.migrations()[:-1]
    monkeypatch.setattr(migrating, "migrations", lambda: known)
    store = open_store()
    tables = {row[0] for row in store._connection.execute("SELECT name FROM sqlite_schema")}
    assert "first" in tables
    assert "second" not in tables
    assert store._connection.pragma("user_version") == before + 1
    assert [row.seq for row in store.rows([1])] == [1]
