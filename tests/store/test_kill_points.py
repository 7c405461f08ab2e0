"""A store whose process is killed before any one step of its opening, its use or its closing: the next start goes on.

The steps are counted: a child of the test makes them, and is gone before the step of its number.
"""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import apsw
import pytest

from orcha._store.disk_reserve import Limits
from orcha._store.last_start import this_boot
from orcha._store.sqlite import SqliteStore
from support.changes import ANY_STATE, accept, petition
from support.powercut_vfs import Disk
from support.store_copies import copy_to

STEPS = ("open", "write", "pwrite", "ftruncate", "unlink", "rename", "fsync")
"""Functions of `os` that the store changes files by; what SQLite changes is seen by the VFS."""
KILLED, DONE, FAILED = 9, 0, 1
SMALL = Limits(log=64 << 10, checkpoint=48 << 10, ballast=256 << 10, watermark=64 << 10)
"""Sizes with which no large files are made."""


def seqs(store):
    return {row.seq for row in store.page(states=ANY_STATE, limit=999)}


def start(folder, vfs=None):
    """Open the store as a service does; give it and the number of this start."""
    store = SqliteStore(folder, limits=SMALL, vfs=vfs)
    incarnation, earlier = store.begin(nonce=int.from_bytes(os.urandom(4), "big"), boot_id=this_boot(), uid=0, now=1.0)
    store.forget_incarnations(old.epoch for old in earlier)
    return store, incarnation.epoch


def serve(folder, tell, vfs=None):
    """Be a service: start, accept two petitions, tell each once it is kept, and stop."""
    store, epoch = start(folder, vfs)
    for number in (2 * epoch, 2 * epoch + 1):
        store.commit(accept(petition(number)))
        tell(b"%d\n" % number)
    store.close()


def serve_until(folder, number):
    """Serve in a child that is killed before its step of this number; give how it ended, and what it told."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = FAILED
        try:
            code = _serve_as_child(folder, number, writer)
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        numbers = {int(line) for line in told.read().split()}
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), numbers


def _serve_as_child(folder, number, writer):
    count = itertools.count(1)
    tell = os.write

    def step():
        if next(count) == number:
            os._exit(KILLED)

    def counted(function):
        def call(*args, **kwargs):
            step()
            return function(*args, **kwargs)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    with Disk("counted") as disk:
        disk.before = lambda operation: step() if operation.kind != "read" else None
        serve(folder, lambda text: tell(writer, text), disk.name)
    return DONE


def make_new(folder, _):
    folder.mkdir(mode=0o700)
    return set()


def make_stopped(folder, vfs):
    make_new(folder, vfs)
    told = set()
    serve(folder, lambda text: told.add(int(text)), vfs)
    return told


def make_killed(folder, vfs):
    """Make a folder in which the log holds what was accepted last."""
    told = make_stopped(folder, vfs)
    child = os.fork()
    if not child:
        try:
            start(folder, vfs)[0].commit(accept(petition(1_000)))
        finally:
            os._exit(KILLED)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
    return told | {1_000}


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


@pytest.mark.parametrize("make", [make_new, make_stopped, make_killed], ids=["new", "stopped", "killed"])
def test_killed_before_any_step_the_next_start_has_all_that_was_told(place, make):
    with Disk("unsynced") as disk:
        _kill_at_each_step(place, make, disk.name)


def _kill_at_each_step(place, make, vfs):
    before = make(place / "first", vfs)
    for number in itertools.count(1):
        folder = copy_to(place / "first", place / f"{number}")
        code, told = serve_until(folder, number)
        assert code in {KILLED, DONE}, f"step {number}"
        for _ in range(2):  # the second start finds what an orderly stop has left
            store, _ = start(folder, vfs)
            assert seqs(store) >= before | told, f"step {number}"
            store.close()
        shutil.rmtree(folder)
        if code == DONE:
            break
    assert number > 20, "so few steps were seen that most were not counted"


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
