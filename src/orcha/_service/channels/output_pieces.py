"""Output of commands that lies in files: records that name pieces of it, and the values that followers get instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from orcha._protocol import values
from orcha._protocol.losses import MISSING
from orcha._protocol.messages import ChannelRecord, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPAN = 4
"""Kind of a stored record that names a piece of a file. Followers get a VALUE in its place. Never renumber."""
PASSED = 5
"""Kind of a stored record that names output which is not kept. Never renumber."""
MAX_PIECE_BYTES = 128 * 1024
"""Bytes of one piece: what a follower gets as one value."""
_encode = msgspec.msgpack.Encoder().encode
_records = msgspec.msgpack.Decoder(list[ChannelRecord]).decode
SPAN_MARK, PASSED_MARK = bytes((0x93, SPAN)), bytes((0x93, PASSED))
"""How records of those kinds begin: an array of three, and the kind (msgpack)."""
_KINDS = frozenset((SPAN, PASSED))


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


def payload(piece: Piece) -> bytes:
    """Give the payload of a record that names a piece."""
    return _encode(piece)


class Pieces:
    """Makes SPAN records of an attempt's output: neighbouring pieces become one record, long pieces become several.

    >>> pieces = Pieces(7, 1)
    >>> pieces.add(1, 0, 10)
    >>> pieces.add(1, 10, 5)
    >>> [piece_of(payload) for payload in pieces.take()]
    [Piece(seq=7, attempt=1, stream=1, offset=0, length=15)]
    """

    def __init__(self, seq: int, attempt: int) -> None:
        """Start without pieces."""
        self._attempt = (seq, attempt)
        self._runs: list[tuple[int, int, int]] = []

    def add(self, stream: int, offset: int, length: int) -> None:
        """Add the piece that was written next."""
        if self._runs:
            last, begin, size = self._runs[-1]
            if last == stream and begin + size == offset:
                self._runs[-1] = (stream, begin, size + length)
                return
        self._runs.append((stream, offset, length))

    def take(self) -> Iterator[bytes]:
        """Give the payloads of the pieces that were added since the last call, in order."""
        runs, self._runs = self._runs, []
        for stream, offset, length in runs:
            for begin in range(offset, offset + length, MAX_PIECE_BYTES):
                size = min(MAX_PIECE_BYTES, offset + length - begin)
                yield _encode(Piece(*self._attempt, stream, begin, size))


def has_pieces(data: bytes) -> bool:
    """Tell whether some of these encoded records name pieces; a first look at the bytes spares most the decoding."""
    return (SPAN_MARK in data or PASSED_MARK in data) and any(record.kind in _KINDS for record in _records(data))


class Expander:
    """Puts values in the place of records that name pieces.

    Each record has its own place in the channel, so each is followed by one value: where pieces in a row are lost, the
    first of them becomes a line that says so, and the others become empty values.
    """

    def __init__(self, read: Callable[[bytes, Piece], bytes | None]) -> None:
        """Read pieces by `read`, which is given their channel and gives None for bytes that are not kept any more."""
        self._read = read
        self._attempt: tuple[bytes, int, int] | None = None
        """The attempt whose pieces were read last: followers are served one after another, many records at a time."""
        self._lost_to: dict[int, int] = {}
        """The end of that attempt's lost output so far, by stream, while no other output came after it."""

    def expanded(self, channel: bytes, record: ChannelRecord) -> ChannelRecord:
        """Give the record as followers get it."""
        if record.kind != SPAN:
            return record
        piece = piece_of(record.payload)
        data = self._read(channel, piece)
        told = self._is_told(channel, piece)
        if data is not None and (told or len(data) == piece.length):
            self._lost_to.pop(piece.stream, None)
            return ChannelRecord(Kind.VALUE, record.seq, values.encode((piece.stream, data)))
        self._lost_to[piece.stream] = piece.offset + piece.length
        if told:
            return ChannelRecord(Kind.VALUE, record.seq, values.encode((piece.stream, b"")))
        return ChannelRecord(Kind.NOTICE, record.seq, values.encode(MISSING))

    def _is_told(self, channel: bytes, piece: Piece) -> bool:
        """Tell whether the output before this piece is lost too, and a line has said so."""
        attempt = (channel, piece.seq, piece.attempt)
        if attempt != self._attempt:
            self._attempt = attempt
            self._lost_to = {}
        return self._lost_to.get(piece.stream) == piece.offset
