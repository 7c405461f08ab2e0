"""How far a store's log had come at its last commit, noted outside of its folder: the file `<folder>.last-commit`.

After a crash the folder alone cannot tell that somebody put back a copy of it that was made while the service ran: such
a copy is whole. So the header of the log's index, which counts the commits, is copied to this file after each commit.

The file is never fsynced: what a killed process wrote there stays, and after a crash of the system it means nothing, as
the index of the log. Like the index it is written as shared memory (mmap(2)): where the processor's caches are cold, as
after each wait for the disk, pwrite(2) takes 20 us, and this 3 us.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from orcha._store import log_index
from orcha.exceptions.store import StoreBroken
from orcha.utils.private import FILE, UnsafeStateError, check, open_in

if TYPE_CHECKING:
    from orcha._store.log_index import Written
    from orcha._store.store_files import StoreFiles

SUFFIX = ".last-commit"
_HEAD = struct.Struct("=8sQ")
_MAGIC = b"orchaLC1"
_HEADER = slice(0, log_index.HEADER_BYTES)
"""Where the header stands in the log's index."""
_COPY = slice(_HEAD.size, _HEAD.size + log_index.HEADER_BYTES)
"""Where the header is copied to."""


def path_of(folder: Path) -> Path:
    """Give the file of a store's folder."""
    return folder.with_name(folder.name + SUFFIX)


def read(folder: Path, nonce: int) -> Written | None:
    """Give how far the log had come in the start of this nonce; None where nobody noted that.

    Raises:
        StoreBroken: what stands there is no file, or is not this user's alone to write.
    """
    path = path_of(folder)
    try:
        above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        check(above, path.name, FILE, str(path.parent))
        descriptor = open_in(above, path.name, os.O_RDONLY)
    except UnsafeStateError as error:
        raise StoreBroken(str(error)) from None
    except OSError:
        return None
    finally:
        os.close(above)
    try:
        content = os.read(descriptor, _HEAD.size + log_index.HEADER_BYTES)
    finally:
        os.close(descriptor)
    if len(content) < _HEAD.size or _HEAD.unpack_from(content) != (_MAGIC, nonce):
        return None
    return log_index.parse(content[_HEAD.size :])


def forget(folder: Path) -> None:
    """Take the note away: the log that it tells of is not there any more."""
    with contextlib.suppress(OSError):
        path_of(folder).unlink()


class LastCommit:
    """Notes how far the log has come, for one start of the service; where that cannot be noted, it does nothing."""

    def __init__(self, files: StoreFiles, nonce: int) -> None:
        """Open both files, while the log's index is in use, and note where the log is now."""
        self._descriptor = self._source = -1
        self._index: mmap.mmap | None = None
        self._note: mmap.mmap | None = None
        try:
            # The index is closed after SQLite has closed it: that would drop SQLite's locks on it (fcntl(2)).
            self._source = open_in(files.descriptor, files.index.name, os.O_RDONLY)
            self._index = mmap.mmap(self._source, log_index.HEADER_BYTES, access=mmap.ACCESS_READ)
            self._descriptor = _made_anew(path_of(files.folder))
            content = _HEAD.pack(_MAGIC, nonce) + self._index[_HEADER]
            if os.pwrite(self._descriptor, content, 0) == len(content):  # now it has its room on the disk
                self._note = mmap.mmap(self._descriptor, len(content))
            else:
                self.end()
        except (OSError, ValueError):
            self.end()

    def note(self) -> None:
        """Note where the log is: called after each commit, on the thread that made it."""
        if self._note is not None and self._index is not None:
            self._note[_COPY] = self._index[_HEADER]

    def end(self) -> None:
        """Note nothing any more, and leave no note that would be older than the log."""
        self._index = self._note = None
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)

    def __del__(self) -> None:
        """Close both files with a store that nobody closes."""
        self.close()

    def close(self) -> None:
        """Close both files; called when the database is closed."""
        self._index = self._note = None
        for descriptor in (self._descriptor, self._source):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._source = -1


def _made_anew(path: Path) -> int:
    above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=above)
        return open_in(above, path.name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    finally:
        os.close(above)
