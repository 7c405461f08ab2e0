"""Drops the oldest output of an attempt by holes at the beginning of its files (fallocate(2))."""

from __future__ import annotations

import os

from orcha._supervisor.output_index import ENTRY, checked, place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.attempt_output import OutputFiles

_PUNCH_AND_KEEP_SIZE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE of <linux/falloc.h>
_BATCH_ENTRIES = 1024
_BLOCK_BYTES = 4096  # only whole blocks become a hole: data that lseek(2) finds is unchanged


def drop_oldest(files: OutputFiles, surplus: int) -> int:
    """Drop whole chunks, oldest first, while they fit into the surplus; return how many bytes were dropped.

    The last chunk stays, since it may grow. Where the file system cannot punch holes, nothing is dropped.
    """
    dropped, ends = 0, [0, 0, 0]
    oldest = files.oldest
    while (left := files.count - 1 - oldest) > 0:
        batch = os.pread(files.descriptors[0], min(left, _BATCH_ENTRIES) * ENTRY.size, place_of(oldest))
        for entry in checked(batch):
            if entry is None or dropped + entry[2] > surplus:
                break
            stream, offset, length = entry
            dropped += length
            ends[stream] = offset + length
            oldest += 1
        else:
            continue
        break
    for stream in (1, 2):
        end = ends[stream] & -_BLOCK_BYTES
        if not _punch(files.descriptors[stream], end):
            return 0
        files.holes[stream] = max(files.holes[stream], end)
    files.oldest = oldest
    return dropped


def _punch(descriptor: int, end: int) -> bool:
    if end == 0:
        return True
    import ctypes

    library = ctypes.CDLL(None)
    fallocate = getattr(library, "fallocate64", None) or library.fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    done: int = fallocate(descriptor, _PUNCH_AND_KEEP_SIZE, 0, end)
    return done == 0
