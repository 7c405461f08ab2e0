"""How much room the output takes on the disk."""

from __future__ import annotations

import contextlib
import os

_BLOCK_BYTES = 512
"""What `st_blocks` counts: stat(2)."""


def sizes_of(folder: str) -> dict[bytes, int]:
    """Give the bytes that the files of each channel take on the disk; empty where there is no such folder."""
    found: dict[bytes, int] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            try:
                channel = bytes.fromhex(entry.name.partition(".")[0])
                size = entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
            except (ValueError, FileNotFoundError):  # being deleted, or none of Orcha's
                continue
            found[channel] = found.get(channel, 0) + size
    return found


__all__ = ["sizes_of"]
