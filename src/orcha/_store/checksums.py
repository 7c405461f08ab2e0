"""Checksums of what was accepted: what the disk has changed since must not be executed in its place.

SQLite has none for its pages: it reads a value with a flipped bit as if the value were right.
"""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

DAMAGED = b"\xff what was kept of this petition is damaged"
"""Stands for the message of a petition whose checksum does not hold: no value that can be decoded begins so."""


def checksum(token: bytes, id: str, id_is_int: int, manager: str, owner: str, channel: bytes, extras: bytes) -> int:  # noqa: A002 - the column's name
    """Give the CRC-32 (ISO 3309) of what never changes of a petition."""
    return crc32(extras, crc32(channel + token + id.encode(), _seed(manager, owner, id_is_int)))


@lru_cache(1024)
def _seed(manager: str, owner: str, id_is_int: int) -> int:
    """Give the checksum of what most petitions have in common."""
    return crc32(f"{manager}\0{owner}\0{id_is_int:d}".encode())
