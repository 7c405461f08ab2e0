"""Values: what extras and channels carry, to bytes and back. The bytes are described in docs/wire.md.

A value is None, a bool, int, float, str, bytes, datetime, UUID or Path, a list, tuple, set or dict of values, or a
channel. The writer encodes a value once; the service keeps and passes on the bytes; the reader decodes them.

This module loads msgspec, which costs a client more than connecting does: a client imports it inside the function that
needs it.
"""

from __future__ import annotations

from orcha._protocol.value_reader import decode
from orcha._protocol.value_writer import encode
from orcha._protocol.wire_types import register

__all__ = ["decode", "encode", "register"]
