"""The identities of channels and submits, which clients make, and the service for what it asks for itself."""

from __future__ import annotations

import os
import time


def new_identity() -> bytes:
    """Give 16 bytes for a channel or a token: milliseconds since 1970, then chance, so that indexes grow at one edge.

    >>> len(new_identity())
    16
    """
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)


__all__ = ["new_identity"]
