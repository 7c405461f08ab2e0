"""The database that is moved or removed while it is used: what the kernel notes is seen by the next commit."""

from __future__ import annotations

import os

import pytest

from orcha._core.changes import Changes
from orcha._store import folder_watch
from orcha._store.folder_watch import FolderWatch
from orcha.exceptions.store import StoreBroken


@pytest.fixture
def opened(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def watch(opened):
    watch = FolderWatch(opened)
    yield watch
    watch.close()


def seen(watch):
    """Look once, as a commit that finds the database in its place."""
    unchanged = watch.is_unchanged()
    watch.trust()
    return unchanged


def _remove(path):
    path.unlink()


def _move_away(path):
    path.rename(path.with_name("elsewhere"))


def _put_another_in_its_place(path):
    path.with_name("another").write_text("another")
    path.with_name("another").rename(path)


@pytest.mark.parametrize("change", [_remove, _move_away, _put_another_in_its_place])
def test_each_way_to_lose_a_file_is_noted_once(watch, tmp_path, change):
    path = tmp_path / "file"
    path.write_text("file")
    assert [seen(watch), seen(watch), seen(watch)] == [False, True, True]
    change(path)
    assert [seen(watch), seen(watch)] == [False, True]


def test_what_was_noted_counts_until_somebody_has_looked(watch, tmp_path):
    path = tmp_path / "file"
    path.write_text("file")
    seen(watch)
    path.unlink()
    assert [watch.is_unchanged(), watch.is_unchanged()] == [False, False]  # nobody has found the file in its place


def test_where_the_kernel_watches_nothing_each_look_is_by_name(opened, monkeypatch):
    monkeypatch.setattr(folder_watch, "_watch", lambda _: -1)
    watch = FolderWatch(opened)
    assert [seen(watch), seen(watch)] == [False, False]
    watch.close()


@pytest.mark.parametrize("kind", [0x65735546, OSError("no such folder")], ids=["FUSE", "nobody knows"])
def test_where_a_program_may_change_files_unheard_nothing_is_watched(opened, monkeypatch, kind):
    def give(_):
        if isinstance(kind, OSError):
            raise kind
        return kind

    monkeypatch.setattr(folder_watch, "file_system_kind", give)
    watch = FolderWatch(opened)
    assert [seen(watch), seen(watch)] == [False, False]
    watch.close()


def test_a_closed_watch_knows_nothing(watch):
    seen(watch)
    watch.close()
    assert [seen(watch), seen(watch)] == [False, False]


@pytest.mark.parametrize("change", [_remove, _move_away, _put_another_in_its_place])
@pytest.mark.parametrize("is_watched", [True, False])
def test_a_commit_after_the_database_was_lost_is_refused(open_store, tmp_path, monkeypatch, change, is_watched):
    if not is_watched:
        monkeypatch.setattr(folder_watch, "_watch", lambda _: -1)
    store = open_store()
    store.begin(nonce=1, boot_id="boot", uid=0, now=1.0)
    for until in (10.0, 11.0):
        store.commit(_something(until))
    (database,) = tmp_path.rglob("orcha.db")
    change(database)
    with pytest.raises(StoreBroken, match="while the service used it"):
        store.commit(_something(12.0))


def _something(until):
    changes = Changes()
    changes.tombstones.append((bytes(16), until))
    return changes
