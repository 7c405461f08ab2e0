"""Checksums of an attempt's raw output, in a file beside it: output that the disk has changed is not passed on.

Each block of 64 KiB of each stream has a CRC-32 (ISO 3309), written by the process that writes the output, as soon as
the block is full. The last block has its checksum once the attempt's output is whole. Nobody waits for checksums.

Where the oldest output was dropped, the file begins with a hole: blocks within the hole are not compared. The block in
which the hole ends is compared once the output is whole: then that block has the checksum of what is left.
"""

from __future__ import annotations

import os
import struct
from zlib import crc32

BLOCK_BYTES = 64 << 10
"""Bytes of output that one checksum is for."""
_HEADER = struct.Struct("!7sB")
_MAGIC = b"orcasum"
_SUM = struct.Struct("!I")
_STREAM_COUNT = 2


class Checksums:
    """Writes the checksums of one attempt's output."""

    def __init__(self, descriptor: int, raw: list[int]) -> None:
        """Take the file, new and empty, and the descriptors of the raw files by stream."""
        self._descriptor = descriptor
        self._raw = raw
        self._done = [0] * (_STREAM_COUNT + 1)
        """Blocks that are summed, by stream."""
        os.pwrite(descriptor, _HEADER.pack(_MAGIC, 0), 0)

    def grow(self, stream: int, size: int) -> None:
        """Sum the blocks that are full, now that a stream has `size` bytes."""
        while self._done[stream] < size // BLOCK_BYTES:
            self._sum(stream)

    def finish(self, sizes: list[int], holes: list[int]) -> None:
        """Sum what is left, and say that all is summed.

        Args:
            sizes: the bytes that were written, by stream.
            holes: where the hole at the file's beginning ends, by stream; 0 where there is none.
        """
        for stream in range(1, _STREAM_COUNT + 1):
            self.grow(stream, sizes[stream])
            if holes[stream] % BLOCK_BYTES:
                self._write(stream, holes[stream] // BLOCK_BYTES)
            if sizes[stream] % BLOCK_BYTES:
                self._sum(stream)
        os.pwrite(self._descriptor, _HEADER.pack(_MAGIC, 1), 0)

    def _sum(self, stream: int) -> None:
        self._write(stream, self._done[stream])
        self._done[stream] += 1

    def _write(self, stream: int, block: int) -> None:
        data = os.pread(self._raw[stream], BLOCK_BYTES, block * BLOCK_BYTES)
        os.pwrite(self._descriptor, _SUM.pack(crc32(data)), _place(stream, block))


def holds(sums: int, raw: int, stream: int, offset: int, data: bytes) -> bool:
    """Tell whether a piece of output, just read from a raw file, is what was written; True where nobody knows."""
    header = os.pread(sums, _HEADER.size, 0)
    is_whole = header == _HEADER.pack(_MAGIC, 1)
    if not is_whole and header != _HEADER.pack(_MAGIC, 0):
        return True
    first, end = offset // BLOCK_BYTES, -(-(offset + len(data)) // BLOCK_BYTES)
    known = os.pread(sums, (end - first) * _STREAM_COUNT * _SUM.size, _place(stream, first))
    for block in range(first, end):
        place = (block - first) * _STREAM_COUNT * _SUM.size
        noted = known[place : place + _SUM.size]
        if not is_whole and len(noted) == noted.count(0):
            continue
        begin = block * BLOCK_BYTES - offset
        whole = data[begin : begin + BLOCK_BYTES] if begin >= 0 else b""
        if len(whole) < BLOCK_BYTES:
            whole = os.pread(raw, BLOCK_BYTES, block * BLOCK_BYTES)
        if noted != _SUM.pack(crc32(whole)) and (is_whole or not _begins_in_hole(raw, block)):
            return False
    return True


def _begins_in_hole(raw: int, block: int) -> bool:
    """Return whether a block's beginning was dropped; asked after the block was read, since the file may change."""
    return os.lseek(raw, block * BLOCK_BYTES, os.SEEK_DATA) > block * BLOCK_BYTES


def _place(stream: int, block: int) -> int:
    return _HEADER.size + (block * _STREAM_COUNT + stream - 1) * _SUM.size
