"""The folder of the output's files; a bounded number of them is held open."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from pathlib import Path

from orcha.utils.private import make_folder, open_in

MAX_OPEN_FILES = 64
"""The most files that are held open: many channels must not use up the process's descriptors."""
_TRASH = "trash."


class Folder:
    """Opens files by name and never through a link, so that nobody but the folder's owner decides what is opened."""

    def __init__(self, path: Path, *, open_at_once: int = MAX_OPEN_FILES) -> None:
        """Make the folder where it is missing; finish deletions that the last process has begun."""
        self.path = path
        self._descriptor = make_folder(str(path))
        self._open: OrderedDict[str, int] = OrderedDict()
        self._open_at_once = open_at_once
        self._dirty = False
        for name in self.names():
            if name.startswith(_TRASH):
                os.unlink(name, dir_fd=self._descriptor)

    def names(self) -> list[str]:
        """Return the names of all files."""
        return os.listdir(self._descriptor)  # noqa: PTH208 - a descriptor has no path that could be swapped

    def open(self, name: str, flags: int) -> int:
        """Return a file's descriptor, which this object keeps; the least used one is closed where too many are open.

        Raises:
            OSError: it cannot be opened.
        """
        descriptor = self._open.get(name)
        if descriptor is not None:
            self._open.move_to_end(name)
            return descriptor
        while len(self._open) >= self._open_at_once:
            os.close(self._open.popitem(last=False)[1])
        descriptor = open_in(self._descriptor, name, flags)
        self._open[name] = descriptor
        if flags & os.O_CREAT:
            self._dirty = True
        return descriptor

    def delete(self, name: str) -> None:
        """Delete a file: rename it first, since the unlink frees its blocks and may take a while."""
        descriptor = self._open.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)
        trash = f"{_TRASH}{name}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, trash, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            os.unlink(trash, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Make the files' names durable."""
        if self._dirty:
            os.fsync(self._descriptor)
            self._dirty = False

    def close(self) -> None:
        """Close all files; may be called again."""
        while self._open:
            os.close(self._open.popitem()[1])
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
