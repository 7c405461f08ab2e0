"""Cleans up after dead shims: ends their processes, removes their cgroups, and reads their black boxes."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
from typing import NamedTuple

from orcha._processes.identity import Identity, boot_id, open_pidfd, read_stat
from orcha._processes.sweep import outlast, sweep
from orcha._processes.tag import exactly, ordinal_of, read_tag, tag_of
from orcha._supervisor import black_box as boxes
from orcha._supervisor import secret_files, shim_failures
from orcha._supervisor.cgroups import CgroupPlaces
from orcha._supervisor.contract import LOST, CommandEnded, FoundAttempt, ResourceUsage
from orcha.utils.private import unlink
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orcha.utils.threads import OnDeath

KILLED_SHIM_SECONDS = 5.0
"""How long the end of a killed shim is waited for."""
_SWEEP_SECONDS = 5.0
_START_TOLERANCE_SECONDS = 2.0
"""The most by which a start as the shim noted it differs from the start in the kernel, which counts ticks."""
_EXECUTED = frozenset({boxes.TAKEN, boxes.STARTED, boxes.ENDED, boxes.DONE})


class DeadShim(NamedTuple):
    """What is known of a dead shim, once its processes have been ended."""

    shim: str
    took: tuple[int, int] | None
    """The attempt that the shim took last, (0, 0) for none; None where its black box is gone or damaged."""
    found: FoundAttempt | None = None
    """The description of that attempt, unless the shim was told to forget it."""
    tag: int = 0
    survivors: tuple[int, ...] = ()
    """Pids of processes that carry the tag and cannot be killed."""
    pid: int = 0
    """The shim's own pid."""


def clean_up(folder: Path, shim: str, report: Callable[[int, str], None], level: int) -> DeadShim:
    """Kill the processes that a shim and its command left; return what the shim was doing.

    After a reboot no process is signalled: pids and tag belong to others by then. The black box stays until
    :func:`forget`.
    """
    path = str(folder / "shims" / f"{shim}.box")
    word = boxes.BlackBox() if boxes.is_blank(path) else boxes.read(path)
    with contextlib.suppress(OSError):
        unlink(f"{folder}/shims/{shim}.sock")
    secret_files.remove(str(folder), shim)
    failure = shim_failures.take(str(folder), shim)
    if failure:
        report(logging.ERROR, f"shim {shim} failed, its traceback is in {folder}/shims/errors: {failure}")
    if word is None:
        return DeadShim(shim, None)
    same_boot = word.boot_id == boot_id()
    survivors: tuple[int, ...] = ()
    if word.nonce and same_boot:
        survivors = _kill(word, shim, report, level)
    found = None if word.phase == boxes.IDLE else _found(word, shim, failure, same_boot=same_boot)
    if found is not None and survivors:
        found = found._replace(survivors=survivors)
    tag = tag_of(word.nonce, word.ordinal) if survivors else 0
    return DeadShim(shim, (word.seq, word.attempt), found, tag, survivors, word.pid)


def _found(word: boxes.BlackBox, shim: str, failure: str, *, same_boot: bool) -> FoundAttempt:
    return FoundAttempt(
        word.seq,
        word.attempt,
        word.channel,
        LOST,
        shim,
        word.leader,
        word.started,
        word.boot_id,
        word.last_chunk,
        word.last_took,
        word.phase in _EXECUTED,
        _end(word),
        same_boot,
        failure,
    )


def end(shim: Identity) -> None:
    """Kill a living shim, and wait until it has ended."""
    descriptor = open_pidfd(shim)
    if descriptor is None:
        return
    try:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)  # readable when it has ended (pidfd_open(2))
        poller.poll(KILLED_SHIM_SECONDS * 1000)
    finally:
        os.close(descriptor)


def sweep_unboxed(leader: int, started: float) -> bool:
    """Kill an attempt and its shim, whose black box and socket were removed; return whether it was found.

    The attempt is known by the pid of its leader, and by when the leader was started (seconds since boot). If the
    process of this pid was started then and carries a tag, that is the tag of the shim and all its descendants.
    """
    tag = read_tag(leader)
    if not ordinal_of(tag) or not _was_started(leader, started):
        return False
    sweep(exactly(tag), deadline=_SWEEP_SECONDS, since=leader)
    return True


def _was_started(pid: int, at: float) -> bool:
    stat = read_stat(pid)
    if stat is None:
        return False
    return abs(stat.start_time / os.sysconf("SC_CLK_TCK") - at) < _START_TOLERANCE_SECONDS


def forget(folder: Path, shim: str) -> None:
    """Remove the black box of a dead shim."""
    with contextlib.suppress(OSError):  # it is gone, or is something that no shim has made
        unlink(f"{folder}/shims/{shim}.box")


def _kill(word: boxes.BlackBox, shim: str, report: Callable[[int, str], None], level: int) -> tuple[int, ...]:
    try:
        swept = sweep(exactly(tag_of(word.nonce, word.ordinal)), deadline=_SWEEP_SECONDS, since=word.pid)
    except OSError as error:
        report(level, f"what shim {shim} left could not be looked for: {error}")
        return ()
    if swept.survivors:
        report(level, f"shim {shim} left processes that cannot be killed: {swept.survivors}")
    CgroupPlaces().remove(shim)
    return swept.survivors


def _end(word: boxes.BlackBox) -> CommandEnded | None:
    """Return the leader's end, where the shim had noted it."""
    if word.phase not in {boxes.ENDED, boxes.DONE}:
        return None
    signalled = os.WIFSIGNALED(word.status)
    return CommandEnded(
        word.seq,
        word.attempt,
        None if signalled else os.WEXITSTATUS(word.status),
        os.WTERMSIG(word.status) if signalled else None,
        word.why or None,
        [],
        ResourceUsage(wall=max(0.0, word.ended - word.started)),
        word.last_chunk if word.phase == boxes.DONE else -1,
        word.dropped,
        [],
    )


class DeadShimCleaner:
    """Cleans up after shims that die while the service runs: each on a thread of its own, since a sweep takes time."""

    def __init__(self, folder: Path, report: Callable[[int, str], None], on_death: OnDeath = ignore_death) -> None:
        """Begin with no dead shim.

        `folder` is the endpoint's. `report` takes level and text of lines for the log; `on_death` is told where a
        thread dies.
        """
        self._folder = folder
        self._report = report
        self._on_death = on_death
        self._threads: set[threading.Thread] = set()
        self.without_thread: list[tuple[DeadShim, Callable[[], None]]] = []
        """Dead shims that survivors outlive and for which no thread waits."""
        self._closed = threading.Event()

    def begin(self, shim: str, done: Callable[[DeadShim], None], gone: Callable[[], None]) -> None:
        """Clean up after a shim: a thread calls `done` with what it found, and `gone` when survivors have ended."""

        def sweep_and_tell() -> None:
            dead = clean_up(self._folder, shim, self._report, logging.ERROR)
            done(dead)
            self._outlast(dead, gone)
            self._threads.discard(threading.current_thread())

        try:
            self._go(sweep_and_tell)
        except NoThreadError as error:
            self._report(logging.ERROR, f"what a shim left is looked for without a thread of its own: {error}")
            dead = clean_up(self._folder, shim, self._report, logging.ERROR)
            done(dead)
            if dead.survivors:
                self.outlast(dead, gone)

    def outlast(self, dead: DeadShim, gone: Callable[[], None]) -> None:
        """Have another thread call `gone` when the survivors of a shim have ended.

        Where no thread can be started now, :meth:`go_on` tries again.
        """

        def wait_and_tell() -> None:
            self._outlast(dead, gone)
            self._threads.discard(threading.current_thread())

        try:
            self._go(wait_and_tell)
        except NoThreadError:
            self.without_thread.append((dead, gone))

    def go_on(self) -> None:
        """Start the threads that could not be started before."""
        waiting, self.without_thread = self.without_thread, []
        for dead, gone in waiting:
            self.outlast(dead, gone)

    def _outlast(self, dead: DeadShim, gone: Callable[[], None]) -> None:
        if dead.survivors and outlast(exactly(dead.tag), self._closed, since=dead.pid):
            gone()

    def _go(self, target: Callable[[], None]) -> None:
        thread = guarded("orcha-commands-sweep", target, self._on_death)
        self._threads.add(thread)
        try:
            start(thread)
        except NoThreadError:
            self._threads.discard(thread)
            raise

    @property
    def are_under_way(self) -> bool:
        """Whether a call to `done` or `gone` is still to come."""
        return bool(self._threads or self.without_thread)

    def join(self) -> None:
        """Wait until the sweeps that have begun are done; survivors are waited for no longer."""
        self._closed.set()
        for thread in list(self._threads):
            thread.join()
