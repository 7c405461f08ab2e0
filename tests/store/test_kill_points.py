"""A store whose process is killed before any step of its opening, its use or its closing: the next start goes on."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path

import apsw
import pytest

from store.kill_at_each_step import seqs, start
from support import warm
from support.changes import accept, petition

PROGRAM = Path(__file__).with_name("kill_at_each_step.py")


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch):
    """Let nothing wait for the disk: a kill takes nothing away that was written."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def place(tmp_path):
    """Give a folder in memory where there can be one: a kill loses nothing there, and a disk is slower."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.parametrize("made", ["new", "stopped", "killed"])
def test_killed_before_any_step_the_next_start_has_all_that_was_told(place, made):
    done = warm.run(
        [sys.executable, PROGRAM, made, str(place)],
        env=os.environ | {"PYTHONPATH": str(PROGRAM.parents[1])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_store_that_is_left_without_being_closed_is_as_after_a_kill(folder):
    store, _ = start(folder)
    store.commit(accept(petition(7)))
    store._files.close()
    del store
    gc.collect()
    store, _ = start(folder)
    assert seqs(store) == {7}
    store.close()


def test_a_log_that_could_not_be_emptied_at_the_close_stays_and_is_taken_up_again(folder, monkeypatch):
    store, _ = start(folder)
    other = apsw.Connection(str(folder / "orcha.db"), flags=apsw.SQLITE_OPEN_READONLY)
    other.execute("BEGIN; SELECT count(*) FROM petition")
    store.commit(accept(petition(7)))
    in_order = store._close_in_order

    def close_in_order():
        in_order()
        other.close()  # a moment later, so that the connection is the last one when it is closed

    monkeypatch.setattr(store, "_close_in_order", close_in_order)
    store.close()
    assert not (folder / "orcha.db.clean").exists()
    store, _ = start(folder)
    assert seqs(store) == {7}
    store.close()


def test_where_the_last_start_cannot_be_noted_the_next_ones_do_not_miss_it(folder):
    start(folder)[0].close()
    in_the_way = folder.with_name(f"{folder.name}.last-start.new")
    in_the_way.mkdir()
    start(folder)[0].close()
    start(folder)[0].close()
    in_the_way.rmdir()
    _, epoch = started = start(folder)
    started[0].close()
    assert f"epoch {epoch}\n" in folder.with_name(f"{folder.name}.last-start").read_text()
