"""One file of a channel's log, with an index of where records begin."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator

from orcha._output.blocks import BLOCK_HEADER, MAGIC, Block, header, length_at, scan
from orcha._output.folder import Folder
from orcha.exceptions.store import StoreBroken, StoreFull, no_room

_INDEX_SPACING_BYTES = 64 << 10
"""The distance between two entries of the index in memory."""


class Segment:
    """A file of consecutive blocks; the first block begins with the record `first`."""

    __slots__ = ("_folder", "_index", "_recovered", "channel", "dirty", "end", "first", "size")

    def __init__(self, folder: Folder, channel: bytes, first: int) -> None:
        """Name the file; nothing is opened yet."""
        self._folder = folder
        self._index: list[tuple[int, int]] = []
        self._recovered = False
        self.channel = channel
        self.first = first
        self.end = first
        """Index of the record after the last one; known after `recover`."""
        self.size = 0
        """Bytes of whole blocks and the magic; known after `recover`."""
        self.dirty = False

    @property
    def name(self) -> str:
        """The file's name, which sorts by channel, then by first record."""
        return f"{self.channel.hex()}.{self.first:016x}"

    def create(self) -> None:
        """Create the file, which must not exist."""
        descriptor = self._open(os.O_CREAT | os.O_EXCL)
        self._recovered = True
        self._write(descriptor, [MAGIC], 0)
        self.size = len(MAGIC)
        self.dirty = True

    def recover(self) -> None:
        """Find the last whole block, once, and cut off the rest of the file."""
        if self._recovered:
            return
        descriptor = self._open()
        information = os.fstat(descriptor)
        if not stat.S_ISREG(information.st_mode):
            raise StoreBroken(f"{self._path} is not a file")
        content = os.pread(descriptor, information.st_size, 0)
        self.size = len(MAGIC)
        if content.startswith(MAGIC):
            for block in scan(self.channel, content[len(MAGIC) :], len(MAGIC)):
                self._note(block.first, block.count, block.offset, block.end)
        elif not MAGIC.startswith(content[: len(MAGIC)]) and content.strip(b"\0"):
            raise StoreBroken(f"{self._path} is not a log of this Orcha")
        else:
            self._write(descriptor, [MAGIC], 0)
        if information.st_size > self.size:
            self._truncate(descriptor, self.size)
        self._recovered = True

    def append(self, first: int, count: int, data: bytes) -> None:
        """Write a block at the end; where that fails, nothing of the block stays.

        Raises:
            StoreFull: there is no room on the disk.
            StoreBroken: the disk failed.
        """
        self.recover()
        descriptor = self._open()
        end = self.size + BLOCK_HEADER.size + len(data)
        self._write(descriptor, [header(self.channel, first, count, data), data], self.size)
        self._note(first, count, self.size, end)
        self.dirty = True

    def _note(self, first: int, count: int, offset: int, end: int) -> None:
        if not self._index or offset - self._index[-1][1] >= _INDEX_SPACING_BYTES:
            self._index.append((first, offset))
        self.size = end
        self.end = first + count

    def cut(self, first: int) -> None:
        """Remove the block that holds `first`, and all later blocks."""
        self.recover()
        for block in self.blocks(first):
            descriptor = self._open()
            self._truncate(descriptor, block.offset)
            self.size = block.offset
            self.end = block.first
            self._index = [entry for entry in self._index if entry[1] < block.offset]
            return

    def blocks(self, index: int) -> Iterator[Block]:
        """Yield the block that holds `index`, and later blocks."""
        self.recover()
        place = bisect_right(self._index, index, key=_first) - 1
        offset = self._index[max(place, 0)][1] if self._index else self.size
        while offset < self.size:
            found = self._read(offset)
            if not found:
                return
            yield from (block for block in found if block.first + block.count > index)
            offset = found[-1].end

    def _read(self, offset: int) -> list[Block]:
        descriptor = self._open()
        content = os.pread(descriptor, min(_INDEX_SPACING_BYTES, self.size - offset), offset)
        wanted = length_at(content)
        if wanted > len(content):
            content = os.pread(descriptor, wanted, offset)
        return list(scan(self.channel, content, offset))

    def sync(self) -> None:
        """Make it durable."""
        if self.dirty:
            try:
                os.fdatasync(self._open())
            except OSError as error:
                raise self._failed(error) from error
            self.dirty = False

    def _open(self, flags: int = 0) -> int:
        try:
            return self._folder.open(self.name, os.O_RDWR | flags)
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, descriptor: int, parts: list[bytes], offset: int) -> None:
        """Write all parts, or remove what was written of them."""
        position = offset
        remaining = b"".join(parts) if len(parts) > 1 else parts[0]
        try:
            while remaining:
                written = os.pwrite(descriptor, remaining, position)
                position += written
                remaining = remaining[written:]
        except OSError as error:
            with contextlib.suppress(OSError):  # the rest has no valid header, and is cut at recovery
                os.ftruncate(descriptor, offset)
            raise self._failed(error) from error

    def _truncate(self, descriptor: int, size: int) -> None:
        try:
            os.ftruncate(descriptor, size)
        except OSError as error:
            raise self._failed(error) from error
        self.dirty = True

    def _failed(self, error: OSError) -> StoreFull | StoreBroken:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return StoreFull(no_room(self._path))
        return StoreBroken(f"{self._path} cannot be used: {error.strerror}")

    @property
    def _path(self) -> str:
        return str(self._folder.path / self.name)


def _first(entry: tuple[int, int]) -> int:
    return entry[0]
