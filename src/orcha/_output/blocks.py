"""How blocks of records lie in a file: a header, then the block's bytes as they were given."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"orcha output 1\n\0"
"""What every file begins with; the number is the format's version."""
HEADER = struct.Struct(">IIQI")
"""Length of the data, CRC-32 (ISO 3309) of all the rest, index of the first record, count of records."""


class Block(NamedTuple):
    """A whole block, found in a file."""

    offset: int
    end: int
    """Offset of the byte after it."""
    first: int
    count: int  # type: ignore[assignment]  # a tuple's own count() is of no use here
    data: bytes


def header(channel: bytes, first: int, count: int, data: bytes) -> bytes:
    """Give the header of a block. The channel is part of the checksum: a block of another file is a bad one."""
    return HEADER.pack(len(data), _checksum(channel, first, count, data), first, count)


def scan(channel: bytes, content: bytes, offset: int) -> Iterator[Block]:
    """Give the whole blocks of `content`, which begins at `offset` of the file, up to the first that is not whole."""
    position = 0
    while len(content) - position >= HEADER.size:
        length, checksum, first, count = HEADER.unpack_from(content, position)
        start = position + HEADER.size
        data = content[start : start + length]
        if len(data) != length or _checksum(channel, first, count, data) != checksum:
            return
        yield Block(offset + position, offset + start + length, first, count, data)
        position = start + length


def length_at(content: bytes) -> int:
    """Give the length of a block, header included, whose header `content` begins with; 0 where there is none."""
    return HEADER.size + int(HEADER.unpack_from(content)[0]) if len(content) >= HEADER.size else 0


def _checksum(channel: bytes, first: int, count: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(HEADER.pack(len(data), 0, first, count), zlib.crc32(channel)))
