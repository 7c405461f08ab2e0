"""Output of commands that is passed on to attached readers and not kept.

The channel keeps one record for each such chunk, so that each follower has its place. The bytes stay here until all
followers that keep up have received them. Only then the shim is told so, and the command may write more. The engine's
thread owns this data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from orcha._protocol import losses, values
from orcha._protocol.messages import ChannelRecord, Kind
from orcha._service.channels import output_pieces as spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.channels.channel_book import Channel, Follower
    from orcha._service.channels.output_pieces import Piece
    from orcha._supervisor.contract import UnkeptPiece

    class OutputReceipts(Protocol):
        """Tells shims which output the service has, and whether anybody reads it."""

        def took(self, seq: int, attempt: int, chunk: int) -> None:
            """Acknowledge the chunks up to this one."""

        def read(self, seq: int, attempt: int, *, anybody: bool) -> None:
            """Tell whether anybody reads along."""


LOOK_INTERVAL_SECONDS = 5.0
"""Seconds between two looks at followers that are behind: no command waits for a follower that got nothing."""
WHY = "they are beyond its output limit, or the service's disk is full, and this reader was not there or too slow"
_ALL_BYTES = 1 << 62


class UnkeptAttempt:
    """The chunks of one attempt that followers still need."""

    __slots__ = ("chunks", "committed", "has_readers", "is_over", "key", "low", "seen")

    def __init__(self, seq: int, attempt: int, low: int) -> None:
        """Begin with no chunk; the bytes before the offset `low` are gone."""
        self.key = (seq, attempt)
        self.low = low
        self.chunks: dict[int, tuple[int, int, bytes | None]] = {}
        """By offset: the chunk's number, its length, its data."""
        self.committed = 0
        """The number of the last chunk whose record is kept."""
        self.has_readers = True
        """What the shim was told last about readers."""
        self.is_over = False
        self.seen: dict[int, int] = {}
        """By peer: where each follower that was behind stood at the last look."""


class UnkeptOutput:
    """The unkept output of all channels."""

    def __init__(
        self,
        channel: Callable[[bytes], Channel | None],
        later: Callable[[float, Callable[[], None]], None],
        passed_on: Callable[[int, int], int | None],
    ) -> None:
        """Look up a `channel`; ask how many bytes of an ended attempt were `passed_on` only."""
        self._channel = channel
        self._later = later
        self._passed_on = passed_on
        self._shims: Callable[[], OutputReceipts] | None = None
        self.attempts: dict[bytes, dict[tuple[int, int], UnkeptAttempt]] = {}
        """The attempts with unkept output that is needed, by channel: mostly none."""
        self._will_look = False

    def connect(self, shims: Callable[[], OutputReceipts], passed_on: Callable[[int, int], int | None]) -> None:
        """Give access to the shims, and to what is kept of the ends of attempts."""
        self._shims, self._passed_on = shims, passed_on

    def add(self, channel: Channel, seq: int, attempt: int, number: int, stream: int, piece: UnkeptPiece) -> bytes:
        """Add a chunk; return the payload of its record."""
        found = self.attempts.setdefault(channel.id, {}).get((seq, attempt))
        if found is None:
            found = self.attempts[channel.id][seq, attempt] = UnkeptAttempt(seq, attempt, piece.offset)
            for follower in channel.followers.values():
                follower.reads_along = not follower.is_slow
        found.chunks[piece.offset] = (number, piece.length, piece.data)
        return spans.payload(spans.Piece(seq, attempt, stream, piece.offset, piece.length))

    def delays(self, channel: bytes, seq: int, attempt: int, number: int) -> bool:
        """Note that the record of this chunk is kept; tell whether the shim's acknowledgement comes from here."""
        found = self.attempts.get(channel, {}).get((seq, attempt))
        if found is not None:
            found.committed = number
        return found is not None

    def over(self, channel: bytes, seq: int, attempt: int) -> None:
        """Note that the end of an attempt is kept."""
        found = self.attempts.get(channel, {}).get((seq, attempt))
        if found is not None:
            found.is_over, found.committed = True, _ALL_BYTES

    def followed(self, channel: bytes) -> None:
        """Note that somebody begins to read."""
        for attempt in self.attempts.get(channel, {}).values():
            if not (attempt.has_readers or attempt.is_over):
                self._tell(attempt, anybody=True)

    def settle(self) -> None:
        """Let go of the chunks that every follower which keeps up has received."""
        for identity in list(self.attempts):
            channel = self._channel(identity)
            followers = [] if channel is None else list(channel.followers.values())
            behind = [] if channel is None else [one for one in followers if one.next < channel.next]
            for follower in followers:
                follower.reads_along = (follower.reads_along or follower not in behind) and not follower.is_slow
            waits = any(follower.reads_along for follower in behind)
            for attempt in list(self.attempts[identity].values()):
                if not waits:
                    self._let_go(attempt)
                if attempt.is_over and not attempt.chunks:
                    del self.attempts[identity][attempt.key]
                elif not followers and attempt.has_readers and not attempt.is_over:
                    self._tell(attempt, anybody=False)
            if not self.attempts[identity]:
                del self.attempts[identity]
            elif waits and not self._will_look:
                self._will_look = True
                self._later(LOOK_INTERVAL_SECONDS, self._look)

    def expanded(self, channel: bytes, record: ChannelRecord, follower: Follower) -> ChannelRecord:
        """Return the record as a follower gets it: with its bytes, or with a line where this follower lacks them.

        The line counts all bytes that are known to be lost from there on; their other records become empty values.
        """
        piece = spans.piece_of(record.payload)
        attempt = self.attempts.get(channel, {}).get((piece.seq, piece.attempt))
        found = attempt.chunks.get(piece.offset) if attempt is not None else None
        if found is not None and found[2] is not None:
            return ChannelRecord(Kind.VALUE, record.seq, values.encode((piece.stream, found[2])))
        if piece.offset < follower.lost_to(piece.seq, piece.attempt):
            return ChannelRecord(Kind.VALUE, record.seq, values.encode((piece.stream, b"")))
        end = self._end_of_loss(piece, attempt)
        follower.told_lost = (piece.seq, piece.attempt, _ALL_BYTES if end is None else end)
        line = losses.MISSING if end is None else losses.NOT_KEPT.format(end - piece.offset, WHY)
        return ChannelRecord(Kind.NOTICE, record.seq, values.encode(line))

    def _end_of_loss(self, piece: Piece, attempt: UnkeptAttempt | None) -> int | None:
        """Return the offset at which the loss that begins with this piece ends; None where nobody knows."""
        if attempt is None:
            return self._passed_on(piece.seq, piece.attempt)
        return max(attempt.low, piece.offset + piece.length)

    def _let_go(self, attempt: UnkeptAttempt) -> None:
        last = 0
        for offset, (number, length, _) in list(attempt.chunks.items()):
            if number > attempt.committed:
                break
            del attempt.chunks[offset]
            attempt.low, last = offset + length, number
        if last and not attempt.is_over and self._shims is not None:
            self._shims().took(*attempt.key, last)

    def _tell(self, attempt: UnkeptAttempt, *, anybody: bool) -> None:
        attempt.has_readers = anybody
        if self._shims is not None:
            self._shims().read(*attempt.key, anybody=anybody)

    def _look(self) -> None:
        """Wait no longer for followers that got nothing since the last look."""
        self._will_look = False
        for identity, attempts in self.attempts.items():
            channel = self._channel(identity)
            if channel is None:
                continue
            followers = channel.followers.items()
            behind = {key: one for key, one in followers if one.reads_along and one.next < channel.next}
            for attempt in attempts.values():
                for key, follower in behind.items():
                    follower.is_slow = follower.is_slow or attempt.seen.get(key) == follower.next
                attempt.seen = {key: follower.next for key, follower in behind.items()}
        self.settle()
