"""Dividing records among several Data messages, where one does not hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol import values
from orcha._protocol.messages import ChannelRecord, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

_RECORD_OVERHEAD_BYTES = 16
"""Bytes that a record's kind and sequence take in a frame, about."""


def parts(records: list[ChannelRecord], most: int) -> Iterator[list[ChannelRecord]]:
    """Divide consecutive records into parts of `most` bytes; a longer record becomes a line about that record."""
    part: list[ChannelRecord] = []
    size = 0
    for record in records:
        length = len(record.payload)
        if length > most:
            line = f"orcha: a value of {length} bytes is left out: it is longer than a message\n"
            record = ChannelRecord(Kind.NOTICE, record.seq, values.encode(line))  # noqa: PLW2901 - it stands in its place
            length = len(record.payload)
        if part and size + length > most:
            yield part
            part, size = [], 0
        part.append(record)
        size += length + _RECORD_OVERHEAD_BYTES
    yield part
