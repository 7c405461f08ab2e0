"""A reserve of room on the disk: it is given up when the disk is full, so that ends can still be recorded."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import NamedTuple

from orcha.utils.private import open_in

RESERVE_FILE = "ballast"
"""Name of the file that holds the reserve."""


NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Errors of a disk that is full, and of a quota that is used up."""


def is_full(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder's file system has no room for a block, or for a file: statvfs(3)."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return False
    return not state.f_bavail or bool(state.f_files and not state.f_favail)


class Limits(NamedTuple):
    """Sizes in bytes."""

    log: int = 8 << 20
    """What the write-ahead log is extended to at once: while it grows, a commit takes twice as long."""
    checkpoint: int = 6 << 20
    """Written since the last checkpoint: time for the next."""
    ballast: int = 16 << 20
    """The reserve: at least twice the log, since a checkpoint may have to write that much before anything is freed."""
    watermark: int = 32 << 20
    """Free bytes below which no new petition should be taken."""
    cache: int = 16 << 20
    """Pages of the database held in memory."""


class DiskReserve:
    """The file system of the store, and the reserve that is kept there."""

    def __init__(self, folder: int, limits: Limits) -> None:
        """Reserve what is not reserved yet, if there is room, in an open folder."""
        self._folder = folder
        self._limits = limits
        self.has_ballast = False
        self.is_enough()

    def is_enough(self) -> bool:
        """Tell whether there is room for new petitions, and the reserve is whole; reserves it again where it can."""
        try:
            state = os.statvfs(self._folder)
        except OSError:
            return False
        free = state.f_bavail * state.f_frsize
        if not self.has_ballast and (self._reserved() or free >= self._limits.ballast + self._limits.watermark):
            self.has_ballast = self._reserve()
        return self.has_ballast and free >= self._limits.watermark

    def _reserved(self) -> bool:
        try:
            found = os.stat(RESERVE_FILE, dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        return found.st_blocks * 512 >= self._limits.ballast

    def _reserve(self) -> bool:
        try:
            descriptor = open_in(self._folder, RESERVE_FILE, os.O_RDWR | os.O_CREAT)
            try:
                os.posix_fallocate(descriptor, 0, self._limits.ballast)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                self.release()
            return False
        return True

    def release(self) -> bool:
        """Give the reserve up; tell whether there was any."""
        had = self.has_ballast
        self.has_ballast = False
        with contextlib.suppress(OSError):  # a file system that is full and read-only: the caller's next write says so
            os.unlink(RESERVE_FILE, dir_fd=self._folder)
        return had
