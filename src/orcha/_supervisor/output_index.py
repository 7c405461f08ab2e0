"""The index of an attempt's output files: an entry for each chunk, in order.

An entry is three numbers: stream, offset, length. The first entry is (0, number of the first chunk, 0). In the file the
upper half of the first number is a CRC-32 (ISO 3309) of the entry, so that a changed bit does not lead to other output.
Older builds wrote 0 there. Messages carry entries without checksums.
"""

from __future__ import annotations

import struct
from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Entry = tuple[int, int, int]

ENTRY = struct.Struct("!QQQ")
NOWHERE = (1, 1 << 62, 1)
"""Stands for an entry that was changed: readers are told that its output is missing."""
_STREAM_BITS = 32


def sealed(stream: int, offset: int, length: int) -> bytes:
    """Return an entry as it stands in the file."""
    return ENTRY.pack(stream | _checksum(stream, offset, length) << _STREAM_BITS, offset, length)


def place_of(entry: int) -> int:
    """Return the position of an entry in the index file."""
    return (entry + 1) * ENTRY.size


def parse(raw: bytes) -> list[Entry]:
    """Return the entries that a message carries."""
    found: list[Any] = list(ENTRY.iter_unpack(raw))
    return found


def checked(raw: bytes) -> list[Entry | None]:
    """Return the entries that were read from the file; None for each that was changed since it was written."""
    found: list[Entry | None] = []
    for first, offset, length in ENTRY.iter_unpack(raw[: len(raw) - len(raw) % ENTRY.size]):
        checksum, stream = first >> _STREAM_BITS, first & 0xFFFFFFFF
        holds = not checksum or checksum == _checksum(stream, offset, length)
        found.append((stream, offset, length) if holds else None)
    return found


def _checksum(stream: int, offset: int, length: int) -> int:
    return crc32(ENTRY.pack(stream, offset, length)) or 1
