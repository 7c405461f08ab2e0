"""Identifies processes beyond their pid, which may belong to another process a moment later.

Sources: proc_pid_stat(5), pidfd_open(2), pidfd_send_signal(2).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from orcha._processes.system import read_small
from orcha.utils.named_tuple import NamedTuple

NO_SUCH_PROCESS = frozenset({errno.ESRCH, errno.ENOENT, errno.EINVAL})
"""Errors of pidfd_open for a pid that has ended, or that is a thread's and no process's."""
UNSEEN = -1
"""In place of a start time: the process runs, but /proc does not show it to this user (proc(5), hidepid)."""


class Identity(NamedTuple):
    """One process of this boot, told apart from a later process with the same pid.

    Example::

        identity = identify(process.pid)
        ...
        if identity is not None:
            signal_exactly(identity, signal.SIGTERM)
    """

    pid: int
    start_time: int
    """Clock ticks between boot and its start (field 22 of /proc/PID/stat); UNSEEN where /proc does not show it."""


class Stat(NamedTuple):
    """Some fields of /proc/PID/stat."""

    state: str
    parent: int
    threads: int
    start_time: int

    @property
    def is_dead(self) -> bool:
        """Whether no thread of the process runs: a first thread that ended before others is a zombie too."""
        return self.state in "ZXx" and self.threads <= 1

    @property
    def is_stopped(self) -> bool:
        """Whether a signal or a debugger has stopped the process."""
        return self.state in "Tt"


def since_boot() -> float:
    """Return the seconds since the system's start as in /proc: nobody sets that clock, and it never sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the identifier of this boot (random(4)); "" where the system has none.

    Pids, start times and tags mean nothing in another boot.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - pathlib starts slowly
            return file.read().strip()
    except OSError:
        return ""


def read_stat(pid: int) -> Stat | None:
    """Read a process's state, parent, number of threads and start time; None where there is no such process.

    Raises OSError where that cannot be known, for example where no descriptor is free.
    """
    try:
        text = read_small(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    return Stat(chr(fields[0][0]), int(fields[1]), int(fields[17]), int(fields[19]))


def identify(pid: int) -> Identity | None:
    """Return the identity of the process that has this pid now; None where there is none, or only a zombie."""
    stat = read_stat(pid)
    return None if stat is None or stat.is_dead else Identity(pid, stat.start_time)


def is_alive(identity: Identity) -> bool:
    """Return whether exactly this process runs; a zombie does not. Of an unseen process only the pid is compared."""
    if identity.start_time == UNSEEN:
        return runs_unseen(identity.pid)
    stat = read_stat(identity.pid)
    return stat is not None and stat.start_time == identity.start_time and not stat.is_dead


def runs_unseen(pid: int) -> bool:
    """Return whether a process that /proc hides runs with this pid; raises OSError as :func:`open_pidfd_of` does."""
    descriptor = None if read_stat(pid) is not None else open_pidfd_of(pid)
    if descriptor is None:
        return False
    try:
        return not has_ended(descriptor)
    finally:
        os.close(descriptor)


def has_ended(descriptor: int) -> bool:
    """Return whether the process of a pidfd has ended, reaped or not."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


def open_pidfd_of(pid: int) -> int | None:
    """Open a pidfd on the process that has this pid now; the caller closes it.

    The pidfd becomes readable when the process ends. None where there is no such process. Raises OSError where the
    system has no pidfds, or no descriptor is free.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in NO_SUCH_PROCESS:
            return None
        raise


def open_pidfd(identity: Identity) -> int | None:
    """Open a pidfd on exactly this process, as :func:`open_pidfd_of` does; None where the process has ended already."""
    descriptor = open_pidfd_of(identity.pid)
    if descriptor is None or is_alive(identity):
        return descriptor
    os.close(descriptor)
    return None


def signal_exactly(identity: Identity, number: int) -> bool:
    """Send a signal to exactly this process, through a pidfd and in no other way.

    False where the process has ended. Raises PermissionError where the process belongs to another user.
    """
    descriptor = open_pidfd(identity)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
