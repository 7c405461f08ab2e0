"""What was forgotten is not in the database's file any more: it may have been a secret."""

from __future__ import annotations

import pytest

from orcha._core.changes import Changes
from orcha._core.state import State
from orcha._store.sqlite import SqliteStore
from support.changes import accept, append, end, name, petition, step, steps

SECRET = b"the-password-is-1234"


@pytest.mark.parametrize("size", [100, 60_000])
def test_what_is_forgotten_leaves_no_byte_in_the_database(tmp_path, size):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    store = SqliteStore(folder)
    for seq in range(1, 40):
        secret = SECRET * (size // len(SECRET)) if seq % 3 == 0 else b"nothing"
        store.commit(accept(petition(seq, extras=secret)))
        store.commit(append(name(seq), 0, secret, 1))
        store.commit(steps(step(seq, State.STARTING, to_attempt=1)))
        store.commit(steps(end(seq, attempt=1)))
    store.close()
    assert SECRET in (folder / "orcha.db").read_bytes()
    store = SqliteStore(folder)
    store.commit(Changes(deleted=[seq for seq in range(1, 40) if seq % 3 == 0]))
    assert len(store.page(states=1 << State.ENDED, limit=100)) == 26
    store.close()
    for path in folder.glob("orcha.db*"):
        assert SECRET not in path.read_bytes(), path
