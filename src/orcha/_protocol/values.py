"""Values: what extras and channels carry, to bytes and back. The bytes are described in docs/wire.md.

A value is None, a bool, int, float, str, bytes, datetime, UUID or Path, a list, tuple, set or dict of values, or a
channel. The writer encodes a value once; the service keeps and passes on the bytes; the reader decodes them.

This module loads msgspec, which costs a client more than connecting does: a client imports it inside the function that
needs it.
"""

from __future__ import annotations

from typing import Any

from orcha._protocol.value_reader import decode
from orcha._protocol.value_writer import encode
from orcha._protocol.wire_types import register


def fields_of(extras: bytes) -> dict[str, Any]:
    """Give what a message holds; nothing where its extras are damaged, or hold no fields. Channels come as bytes.

    >>> fields_of(encode({"argv": ["make"]})), fields_of(encode("make")), fields_of(b"")
    ({'argv': ['make']}, {}, {})
    """
    try:
        fields = decode(extras, channel=bytes)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


__all__ = ["decode", "encode", "fields_of", "register"]
