"""When a file was made (statx(2), stx_btime): a file's copy was made later, whatever its name and its other times are.

An inode number does not tell the two apart: a file system gives the number of a removed file to the next file.
"""

from __future__ import annotations

import ctypes
import struct
import sys

_EMPTY_PATH_FLAG = 0x1000
_BIRTH_FLAG = 0x800
_STATX_BYTES = 256
_MASK = struct.Struct("=I")
_BORN = struct.Struct("=qI")
_BORN_AT_BYTES = 80


def birth_of(descriptor: int) -> int | None:
    """Give the time at which an open file was made, in nanoseconds since the epoch; None where nobody has noted it."""
    if sys.platform != "linux":
        return None
    statx = getattr(ctypes.CDLL(None), "statx", None)
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if statx is None or statx(descriptor, b"", _EMPTY_PATH_FLAG, _BIRTH_FLAG, buffer) != 0:
        return None
    if not _MASK.unpack_from(buffer)[0] & _BIRTH_FLAG:
        return None
    seconds, nanoseconds = _BORN.unpack_from(buffer, _BORN_AT_BYTES)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


__all__ = ["birth_of"]
