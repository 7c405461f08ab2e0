"""A store is killed before each step: ``python kill_at_each_step.py new|stopped|killed FOLDER``.

The steps that change files are counted: a child makes them, and is gone before the step of its number. A step that only
opens a file, or waits for the disk, is counted where SQLite has made or removed a file since the step before: else a
kill before it leaves what a kill before the next step leaves. The children are forked from this program, and not from
the process of the tests, which is so large that each fork of it costs as much as the steps.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orcha._store.disk_reserve import Limits
from orcha._store.last_start import this_boot
from orcha._store.sqlite import SqliteStore
from support.changes import ANY_STATE, accept, petition
from support.powercut_vfs import Disk
from support.store_copies import copy_to

CHANGES = ("write", "pwrite", "ftruncate", "unlink", "rename")
"""Functions of `os` that the store changes files by; what SQLite writes is seen by the VFS."""
CREATES = os.O_CREAT | os.O_TRUNC
KILLED, DONE, FAILED = 9, 0, 1
SMALL = Limits(log=64 << 10, checkpoint=48 << 10, ballast=256 << 10, watermark=64 << 10)
"""Sizes with which no large files are made."""


def seqs(store: SqliteStore) -> set[int]:
    """Give the numbers of the petitions that a store has."""
    return {row.seq for row in store.page(states=ANY_STATE, limit=999)}


def start(folder: Path, vfs: str | None = None) -> tuple[SqliteStore, int]:
    """Open the store as a service does; give it and the number of this start."""
    store = SqliteStore(folder, limits=SMALL, vfs=vfs)
    incarnation, earlier = store.begin(nonce=int.from_bytes(os.urandom(4), "big"), boot_id=this_boot(), uid=0, now=1.0)
    store.forget_incarnations(old.epoch for old in earlier)
    return store, incarnation.epoch


def serve(folder: Path, tell: Callable[[bytes], object], vfs: str | None = None) -> None:
    """Be a service: start, accept two petitions, tell each once it is kept, and stop."""
    store, epoch = start(folder, vfs)
    for number in (2 * epoch, 2 * epoch + 1):
        store.commit(accept(petition(number)))
        tell(b"%d\n" % number)
    store.close()


def files_of(folder: Path) -> frozenset[str]:
    """Give the files of a store, each with what tells it from an earlier one of its name."""
    return frozenset(
        f"{root}/{entry.name} {entry.inode()}" for root, _, _ in os.walk(folder) for entry in os.scandir(root)
    )


def serve_until(folder: Path, number: int) -> tuple[int, set[int]]:
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


def _serve_as_child(folder: Path, number: int, writer: int) -> int:
    count = itertools.count(1)
    tell = os.write
    files = frozenset[str]()

    def step(*, changes: bool) -> None:
        nonlocal files
        before, files = files, files_of(folder)
        if (changes or files != before) and next(count) == number:
            os._exit(KILLED)

    def counted(function: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            step(changes=changes(*args))
            return function(*args, **kwargs)

        return call

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name), lambda *_: True))
    for name, changes in (("open", lambda _, flags=0, *__: bool(flags & CREATES)), ("fsync", lambda *_: False)):
        setattr(os, name, counted(getattr(os, name), changes))
    with Disk("counted") as disk:
        disk.before = lambda operation: step(changes=operation.kind != "sync") if operation.kind != "read" else None
        serve(folder, lambda text: tell(writer, text), disk.name)
    return DONE


def make_new(folder: Path, _: str) -> set[int]:
    """Make a folder without a store."""
    folder.mkdir(mode=0o700)
    return set()


def make_stopped(folder: Path, vfs: str) -> set[int]:
    """Make the folder of a service that was stopped in good order."""
    make_new(folder, vfs)
    told: set[int] = set()
    serve(folder, lambda text: told.add(int(text)), vfs)
    return told


def make_killed(folder: Path, vfs: str) -> set[int]:
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


def kill_at_each_step(place: Path, make: Callable[[Path, str], set[int]], vfs: str) -> None:
    """Fail where a start after a kill lacks what was told before it."""
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


if __name__ == "__main__":
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - its type has a name for its argument; a kill takes nothing away that was written
    with Disk("unsynced") as unsynced:
        makers = {"new": make_new, "stopped": make_stopped, "killed": make_killed}
        kill_at_each_step(Path(sys.argv[2]), makers[sys.argv[1]], unsynced.name)
