"""Checksums of an attempt's raw output, in a file beside it: what the disk has changed since is not passed on.

Each block of 64 KiB of each stream has a CRC-32 (ISO 3309), written by who writes the output. They hold from the moment
on at which the attempt's output is whole: until then nothing is compared, and nobody waits for them.
"""

from __future__ import annotations

import os
import struct
from zlib import crc32

BLOCK = 64 << 10
"""Bytes of output that one checksum is for."""
_HEADER = struct.Struct("!7sB")
_MAGIC = b"orcasum"
_SUM = struct.Struct("!I")
_STREAMS = 2


class Sums:
    """Writes the checksums of one attempt."""

    def __init__(self, descriptor: int, raw: list[int]) -> None:
        """Take the file, new and empty, and the descriptors of the raw files by stream."""
        self._descriptor = descriptor
        self._raw = raw
        self._done = [0] * (_STREAMS + 1)
        """Blocks that are summed, by stream."""
        os.pwrite(descriptor, _HEADER.pack(_MAGIC, 0), 0)

    def grow(self, stream: int, size: int) -> None:
        """Sum the blocks that are full, now that a stream has so many bytes."""
        while self._done[stream] < size // BLOCK:
            self._sum(stream, BLOCK)

    def finish(self, sizes: list[int]) -> None:
        """Sum what is left, of these sizes by stream, and say that all is."""
        for stream in range(1, _STREAMS + 1):
            self.grow(stream, sizes[stream])
            if rest := sizes[stream] % BLOCK:
                self._sum(stream, rest)
        os.pwrite(self._descriptor, _HEADER.pack(_MAGIC, 1), 0)

    def _sum(self, stream: int, length: int) -> None:
        block = self._done[stream]
        data = os.pread(self._raw[stream], length, block * BLOCK)
        os.pwrite(self._descriptor, _SUM.pack(crc32(data)), _place(stream, block))
        self._done[stream] += 1


def holds(sums: int, raw: int, stream: int, offset: int, data: bytes) -> bool:
    """Tell whether a piece of output, just read from a raw file, is what was written; True where nobody knows."""
    header = os.pread(sums, _HEADER.size, 0)
    if header != _HEADER.pack(_MAGIC, 1):
        return True
    first, end = offset // BLOCK, -(-(offset + len(data)) // BLOCK)
    known = os.pread(sums, (end - first) * _STREAMS * _SUM.size, _place(stream, first))
    for block in range(first, end):
        place = (block - first) * _STREAMS * _SUM.size
        if len(known) < place + _SUM.size:
            return False
        begin = block * BLOCK - offset
        whole = data[begin : begin + BLOCK] if begin >= 0 else b""
        if len(whole) < BLOCK:
            whole = os.pread(raw, BLOCK, block * BLOCK)
        if _SUM.unpack_from(known, place)[0] != crc32(whole):
            return False
    return True


def _place(stream: int, block: int) -> int:
    return _HEADER.size + (block * _STREAMS + stream - 1) * _SUM.size
