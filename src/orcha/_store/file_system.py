"""Which kind of file system a folder lies on (statfs(2))."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def file_system_kind(folder: Path | str) -> int:
    """Give what Linux calls f_type: one number for each kind of file system.

    >>> hex(file_system_kind("/proc"))
    '0x9fa0'

    Raises:
        OSError: the folder cannot be asked for.

    """
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(folder), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))
    return ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF


__all__ = ["file_system_kind"]
