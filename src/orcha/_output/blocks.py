"""The format of blocks of records in a file: a header, then the block's bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"orcha output 1\n\0"
"""The first bytes of every file; the number is the version of the format."""
BLOCK_HEADER = struct.Struct(">IIQI")
"""Length of the data, CRC-32 (ISO 3309) of the rest of the block, index of the first record, count of records."""


class Block(NamedTuple):
    """A whole block that was found in a file."""

    offset: int
    end: int
    """Offset of the byte after the block."""
    first: int
    count: int  # type: ignore[assignment]  # a tuple's own count() is of no use here
    data: bytes


def header(channel: bytes, first: int, count: int, data: bytes) -> bytes:
    """Return the header of a block. The channel is part of the checksum, so that a block of another channel is bad."""
    return BLOCK_HEADER.pack(len(data), _checksum(channel, first, count, data), first, count)


def scan(channel: bytes, content: bytes, offset: int) -> Iterator[Block]:
    """Yield the blocks of `content`, which begins at `offset` of the file, up to the first that is not whole."""
    position = 0
    while len(content) - position >= BLOCK_HEADER.size:
        length, checksum, first, count = BLOCK_HEADER.unpack_from(content, position)
        start = position + BLOCK_HEADER.size
        data = content[start : start + length]
        if len(data) != length or _checksum(channel, first, count, data) != checksum:
            return
        yield Block(offset + position, offset + start + length, first, count, data)
        position = start + length


def length_at(content: bytes) -> int:
    """Return the length of a block with its header, if `content` begins with a header; else 0."""
    return BLOCK_HEADER.size + int(BLOCK_HEADER.unpack_from(content)[0]) if len(content) >= BLOCK_HEADER.size else 0


def _checksum(channel: bytes, first: int, count: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(BLOCK_HEADER.pack(len(data), 0, first, count), zlib.crc32(channel)))
