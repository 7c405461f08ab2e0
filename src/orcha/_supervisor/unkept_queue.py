"""The queue of output that is not kept: it waits in a shim until the service has passed it on to attached readers."""

from __future__ import annotations

import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.link import Head

FULL_QUEUE_BYTES = 1 << 20
"""From this size on the command has to wait until the service has passed something on."""
RESERVE_BYTES = 4 << 20
"""More bytes that a full queue takes once the command has ended: what its pipes hold."""
MAX_WAIT_SECONDS = 30.0
"""How long the command waits at most while nothing is passed on."""
MAX_CHUNK_BYTES = 128 << 10
CHUNK_OVERHEAD_BYTES = 256
"""What a chunk costs beside its data."""
_NEVER = float("inf")


class UnkeptChunk:
    """One chunk in the queue; its data is None where the data is lost."""

    __slots__ = ("data", "length", "number", "offset", "stream")

    def __init__(self, number: int, stream: int, offset: int, data: bytes | None, length: int) -> None:
        """Begin at `offset` within all output of the attempt that is not kept, over both streams."""
        self.number = number
        self.stream = stream
        self.offset = offset
        self.data = data
        self.length = length


class UnkeptQueue:
    """The chunks that the service has not passed on yet. Data that finds no room is dropped, and given as lost."""

    def __init__(self) -> None:
        """Begin with an empty queue."""
        self.size = 0
        """Bytes that were ever put in, lost bytes too."""
        self.connected = True
        """Whether a service is there."""
        self._chunks: deque[UnkeptChunk] = deque()
        self._held = 0
        """Bytes of memory that the queue uses."""
        self._has_readers = True
        """Whether anybody reads along, as far as the service has told."""
        self._finished = False
        self._gives_up = _NEVER
        """When the command has waited long enough; from then on it only waits again after the queue was emptied."""

    @property
    def due(self) -> float:
        """When the command has waited long enough."""
        return self._gives_up if self.is_full else _NEVER

    @property
    def is_full(self) -> bool:
        """Whether the command has to wait."""
        if self._held < FULL_QUEUE_BYTES or self._finished or not (self.connected and self._has_readers):
            return False
        return time.monotonic() < self._gives_up

    def add(self, number: int, stream: int, data: bytes, *, given: int) -> int:
        """Add data, as a new chunk with this number or at the end of the last chunk; return the last chunk's number.

        Only a chunk that the service was not given yet (its number is above `given`) may grow.
        """
        last = self._chunks[-1] if self._chunks and self._chunks[-1].number > given else None
        size = len(data)
        if not self._has_room():
            if last is None or last.data is not None:
                self._chunks.append(UnkeptChunk(number, stream, self.size, None, size))
            else:
                last.length, number = last.length + size, number - 1
        elif (
            last is not None
            and last.data is not None
            and last.stream == stream
            and last.length + size <= MAX_CHUNK_BYTES
        ):
            last.data, last.length, number = last.data + data, last.length + size, number - 1
            self._held += size
        else:
            self._chunks.append(UnkeptChunk(number, stream, self.size, data, size))
            self._held += size + CHUNK_OVERHEAD_BYTES
        self.size += size
        if self._held >= FULL_QUEUE_BYTES and self._gives_up == _NEVER:
            self._gives_up = time.monotonic() + MAX_WAIT_SECONDS
        return number

    def acknowledge(self, number: int) -> None:
        """Forget the chunks up to this number."""
        chunks = self._chunks
        before = self._held
        while chunks and chunks[0].number <= number:
            self._free(chunks.popleft())
        now = time.monotonic()
        if self._held < before and (not self._held or now < self._gives_up):
            self._gives_up = now + MAX_WAIT_SECONDS if self._held >= FULL_QUEUE_BYTES else _NEVER

    def read_by(self, *, anybody: bool) -> None:
        """Note whether anybody reads along; while nobody does, new data is dropped."""
        self._has_readers = anybody

    def finish(self) -> None:
        """Note that the command has ended: it waits no more, and every chunk may be given."""
        self._finished = True

    def give(self, given: int) -> tuple[Head, bytes] | None:
        """Return a message with the chunks above the number `given`; None where there is none to give yet."""
        end = self._last_to_give(given)
        found = [chunk for chunk in self._chunks if given < chunk.number <= end]
        if not found:
            return None
        pieces = [[one.number, one.stream, one.offset, one.length, one.data is not None] for one in found]
        return {"t": "unkept", "n": found[-1].number, "c": pieces}, b"".join(one.data or b"" for one in found)

    def _last_to_give(self, given: int) -> int:
        """Return the number of the last chunk to give. A lost chunk at the end is held back, since it may grow."""
        if self._finished or not self._chunks or self._chunks[-1].data is not None:
            return self._chunks[-1].number if self._chunks else given
        return self._chunks[-1].number - 1

    def _has_room(self) -> bool:
        if not self._has_readers:
            return False
        may_use_reserve = self._finished or (self.connected and time.monotonic() < self._gives_up)
        return self._held < (FULL_QUEUE_BYTES + RESERVE_BYTES if may_use_reserve else FULL_QUEUE_BYTES)

    def _free(self, chunk: UnkeptChunk) -> None:
        if chunk.data is not None:
            self._held -= chunk.length + CHUNK_OVERHEAD_BYTES
