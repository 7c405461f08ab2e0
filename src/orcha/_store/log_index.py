"""How much of the write-ahead log was committed, and which pages lie in it, as the processes that wrote it saw it last.

SQLite keeps an index of the log in shared memory, the file `orcha.db-shm`: its header counts the frames of the log.
What was written there outlives a killed process, though not the machine. After a crash SQLite reads the log up to the
first frame whose checksum is wrong, and forgets the rest without a word: so the count is taken before SQLite reads the
log.

The format: https://www.sqlite.org/walformat.html
"""

from __future__ import annotations

import os
import struct
from array import array
from typing import NamedTuple

_HEADER = struct.Struct("=IIIBBHII2I8s2I")
"""Version, unused, changes, whether it is initialised, byte order, size of a page, frames, pages, checksum of the last
frame, salts of the log as they stand in it, checksum of this header."""
_VERSION = 3_007_000
_SUMMED_BYTES = _HEADER.size - 8
LOG_HEADER_BYTES = 32
"""Bytes at the beginning of the log."""
_LOG_SALTS = slice(16, 24)
_MAX_NEWER_FRAMES = 8
"""The first salt grows by one each time the log starts over; an older log, or another one, is not a few ahead."""
HEADER_BYTES = _HEADER.size
INDEX_BYTES = 2 * _HEADER.size
"""Bytes at the beginning of the index that are looked at: the header stands there twice."""
_BEFORE_PAGES_BYTES = INDEX_BYTES + 40
_BLOCK_BYTES = 32768
"""The index consists of such blocks; the first half of each tells the pages of consecutive frames, by four bytes."""
_FRAME_HEADER_BYTES = 24


class Written(NamedTuple):
    """What the index says of the log."""

    frames: int
    salts: bytes
    """The log gets other salts each time it starts over."""


def parse(content: bytes) -> Written | None:
    """Give what the beginning of an index says; None where that is nothing that holds.

    Of two headers that are both whole and differ, since a process was killed between them, the smaller count holds.
    """
    found = [written for offset in (0, _HEADER.size) if (written := _parse(content[offset : offset + _HEADER.size]))]
    return min(found, default=None)


def _parse(header: bytes) -> Written | None:
    if len(header) != _HEADER.size:
        return None
    version, _, _, initialised, _, _, frames, _, _, _, salts, *checksum = _HEADER.unpack(header)
    if version != _VERSION or not initialised or checksum != _checksum(header[:_SUMMED_BYTES]):
        return None
    return Written(frames, salts)


def _checksum(data: bytes) -> list[int]:
    first = second = 0
    for one, other in struct.iter_unpack("=II", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return [first, second]


def pages(index: int, frames: int) -> array[int]:
    """Give the numbers of the pages that lie in the first frames of the log, from the index; fewer where it is cut."""
    found = array("I")
    begin, end = _BEFORE_PAGES_BYTES, _BLOCK_BYTES // 2
    while len(found) < frames:
        wanted = min(end - begin, (frames - len(found)) * found.itemsize)
        part = os.pread(index, wanted, begin)
        found.frombytes(part[: len(part) - len(part) % found.itemsize])
        if len(part) < wanted:
            break
        begin = end + _BLOCK_BYTES // 2
        end += _BLOCK_BYTES
    return found


def place_of_page(frame: int, page_bytes: int) -> int:
    """Give where in the log the page of a frame begins; the first frame is 0."""
    return LOG_HEADER_BYTES + frame * (_FRAME_HEADER_BYTES + page_bytes) + _FRAME_HEADER_BYTES


def belongs(log_header: bytes, written: Written) -> bool:
    """Tell whether an index describes the log that begins with these bytes."""
    return len(log_header) >= LOG_HEADER_BYTES and log_header[_LOG_SALTS] == written.salts


def first_salt(log_header: bytes) -> int | None:
    """Give the first salt of a log that begins with these bytes, which grows by one each time the log starts over."""
    return int.from_bytes(log_header[_LOG_SALTS][:4], "big") if len(log_header) >= LOG_HEADER_BYTES else None


def has_started_over(log_header: bytes, written: Written) -> bool:
    """Tell whether a log that begins so has started over since an index told of it: then all of that is moved on."""
    if len(log_header) < LOG_HEADER_BYTES:
        return False
    first, before = (int.from_bytes(salts[:4], "big") for salts in (log_header[_LOG_SALTS], written.salts))
    return 0 < (first - before) % (1 << 32) <= _MAX_NEWER_FRAMES
