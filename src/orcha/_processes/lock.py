"""One service at a time serves an endpoint.

The lock is a record lock (fcntl(2)) on a file that is never unlinked. A forked child does not have it, so a service
that was killed leaves it free, whatever of it still runs; flock(2) would be held by every child. Such a lock ends when
the process closes *any* descriptor of the file: it is opened once and by nothing else.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from orcha.exceptions import ConfigurationError, EndpointInUseError
from orcha.utils.lock_holders import EXIT_WAIT_SECONDS, described, take
from orcha.utils.private import check_folder, open_file

LOCK_FILE = "lock"


class AlreadyServingError(EndpointInUseError):
    """Another service serves this endpoint. Exit code 69, as for every endpoint in use."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        """Name the folder of the endpoint, and the process where it is known."""
        self.folder = folder
        self.pid = pid
        super().__init__(
            f"another service ({described(pid)}) serves this endpoint already: its folder is {folder}; orcha stop ends"
            " it, and another --port, given before the command, is another endpoint"
        )


class UnsafeFolderError(ConfigurationError):
    """The folder of the endpoint is another user's, or open to others. Exit code 78."""


class EndpointLock:
    """The right to serve one endpoint, held until :meth:`release` or the end of the process.

    A process that was killed and still has it is waited for, some seconds at most.

    Raises :class:`AlreadyServingError` when another process has it, :class:`UnsafeFolderError` when the folder can be
    changed or read by others, UnsafeStateError when something in it is not as a service leaves it, OSError when it
    cannot be made.

    Example::

        lock = EndpointLock(folder)
        ...
        lock.release()
    """

    def __init__(self, folder: Path, *, patience: float = EXIT_WAIT_SECONDS) -> None:
        """Make the folder (0700) where it is missing, look at what lies in it, and take its lock."""
        make_private_folder(folder)
        self.folder = folder
        check_folder(str(folder))
        self.descriptor = open_file(f"{folder}/{LOCK_FILE}", os.O_RDWR | os.O_CREAT)
        try:
            holder = take(self.descriptor, patience)
        except OSError:
            self.release()
            raise
        if holder is not None:
            self.release()
            raise AlreadyServingError(folder, holder or None)
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give it up; the file stays. May be called again."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user may enter (0700), or check the folder that is there.

    Raises :class:`UnsafeFolderError` with the cure when it belongs to another user or is open to group or others.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    problem = owner_problem(found, os.geteuid(), str(folder)) or mode_problem(found, str(folder))
    if problem is not None:
        raise UnsafeFolderError(problem)


def owner_problem(found: os.stat_result, uid: int, folder: str) -> str | None:
    """Say that the folder of an endpoint is no folder, or another user's, with the cure; None where all is well."""
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no folder: remove it, or set ORCHA_HOME to another place"
    if found.st_uid != uid:
        return f"{folder} belongs to user {found.st_uid}: remove it, or set ORCHA_HOME to a folder of your own"
    return None


def mode_problem(found: os.stat_result, folder: str) -> str | None:
    """Say that other users may enter the folder of an endpoint, with the cure; None where all is well."""
    return f"{folder} is open to other users: chmod 700 {folder}" if found.st_mode & 0o077 else None
