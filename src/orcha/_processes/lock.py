"""One service at a time serves an endpoint.

The lock is a record lock (fcntl(2)) on a file that is never unlinked. A forked child does not have it, so a service
that was killed leaves it free, whatever of it still runs; flock(2) would be held by every child. Such a lock ends when
the process closes *any* descriptor of the file: it is opened once and by nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from orcha.exceptions import ConfigurationError, EndpointInUseError

NAME = "lock"


class AlreadyServingError(EndpointInUseError):
    """Another service serves this endpoint. Exit code 69, as for every endpoint in use."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        """Name the folder of the endpoint, and the process where it is known."""
        self.folder = folder
        self.pid = pid
        whose = "another service" if pid is None else f"another service (pid {pid})"
        super().__init__(f"{whose} serves this endpoint already: its folder is {folder}")


class UnsafeFolderError(ConfigurationError):
    """The folder of the endpoint is another user's, or open to others. Exit code 78."""


class EndpointLock:
    """The right to serve one endpoint, held until :meth:`release` or the end of the process.

    Raises :class:`AlreadyServingError` when another process has it, :class:`UnsafeFolderError` when the folder can be
    changed or read by others, OSError when it cannot be made.

    Example::

        lock = EndpointLock(folder)
        ...
        lock.release()
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder (0700) where it is missing, and take its lock."""
        make_private_folder(folder)
        self.folder = folder
        self.descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            self.release()
            raise AlreadyServingError(folder, holder) from None
        except OSError:
            self.release()
            raise
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give it up; the file stays. May be called again."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _holder(self) -> int | None:
        """Read who has it, for the message alone."""
        text = os.pread(self.descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else None


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user may enter (0700), or check the one that is there.

    Raises :class:`UnsafeFolderError` with the cure when it belongs to another user or is open to group or others.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeFolderError(f"{folder} is no folder: remove it, or set ORCHA_HOME to another place")
    if found.st_uid != os.geteuid():
        raise UnsafeFolderError(
            f"{folder} belongs to user {found.st_uid}: remove it, or set ORCHA_HOME to a folder of your own"
        )
    if found.st_mode & 0o077:
        raise UnsafeFolderError(f"{folder} is open to other users: chmod 700 {folder}")
