"""Output of commands that lies in files: records that name pieces of it, and the values that followers get instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

SPAN = 4
"""Kind of a stored record that names a piece of a file. Followers get a VALUE in its place. Never renumber."""
LONGEST = 128 * 1024
"""Bytes of one piece: what a follower gets as one value."""
_encode = msgspec.msgpack.Encoder().encode


class Piece(NamedTuple):
    """A piece of one stream of an attempt's output, in that stream's file."""

    seq: int
    attempt: int
    stream: int
    offset: int
    length: int


_decode = msgspec.msgpack.Decoder(Piece).decode


def piece_of(payload: bytes) -> Piece:
    """Give what a SPAN record names."""
    return _decode(payload)


class Pieces:
    """Makes SPAN records of what an attempt wrote: neighbours become one, long ones several.

    >>> pieces = Pieces(7, 1)
    >>> pieces.add(1, 0, 10)
    >>> pieces.add(1, 10, 5)
    >>> [piece_of(payload) for payload in pieces.take()]
    [Piece(seq=7, attempt=1, stream=1, offset=0, length=15)]
    """

    def __init__(self, seq: int, attempt: int) -> None:
        """Start with none."""
        self._attempt = (seq, attempt)
        self._runs: list[tuple[int, int, int]] = []

    def add(self, stream: int, offset: int, length: int) -> None:
        """Add what was written next."""
        if self._runs:
            last, begin, size = self._runs[-1]
            if last == stream and begin + size == offset:
                self._runs[-1] = (stream, begin, size + length)
                return
        self._runs.append((stream, offset, length))

    def take(self) -> Iterator[bytes]:
        """Give the payloads of what was added since the last time, in order."""
        runs, self._runs = self._runs, []
        for stream, offset, length in runs:
            for begin in range(offset, offset + length, LONGEST):
                size = min(LONGEST, offset + length - begin)
                yield _encode(Piece(*self._attempt, stream, begin, size))
