"""Keeps the standard input of commands that may be executed again, so that each attempt gets the same bytes.

Each such petition has a file, `<channel>.<seq>.0.in`, beside its raw output, and is deleted with it. The file begins
with a head that tells the state of the input; the bytes follow. Written bytes survive a crash of processes. An input
that has ended is on the disk before anybody hears of its end. Before another attempt gets the input, the bytes are
compared with their checksum: the head of an ended input has the checksum, and this process knows what it kept itself.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from orcha._output.raw import RawFiles

OPEN, ENDED, TOO_LONG, NO_ROOM, CUT = range(5)
"""More input may come; the input has ended; it is longer than what is kept; the disk had no room for all of it; it may
have been cut when the system went down, or is damaged."""
_HEAD = struct.Struct("!4sBQ")
_SUMMED = struct.Struct("!BI")
"""Stands behind the head and the checksum of the head: 1 and the CRC-32 of the bytes, 0 and 0 where that is unknown."""
_READ_BYTES = 1 << 20
_MAGIC = b"OIN1"
_HEAD_BYTES = 32
"""Where the bytes begin."""
_WHY = {
    TOO_LONG: "its standard input is longer than what is kept for another attempt ({} bytes, ORCHA_KEEP_INPUT)",
    NO_ROOM: "its standard input could not be kept for another attempt: the service's disk was full",
    CUT: "not all of its standard input is known to be kept for another attempt",
}


class _Place(NamedTuple):
    channel: bytes
    seq: int


class KeptInput:
    """The kept standard input of one petition."""

    def __init__(
        self, files: RawFiles, channel: bytes, seq: int, most: int, *, state: int = OPEN, size: int = 0
    ) -> None:
        """Take the state that was found; at most `most` bytes are kept."""
        self.size = size
        self.state = state
        self._files = files
        self._place = _Place(channel, seq)
        self._most = most
        self._checksum: int | None = None
        """The CRC-32 (ISO 3309) of the bytes; None where nobody knows it."""

    @property
    def has_ended(self) -> bool:
        """Whether the input has ended."""
        return self.state == ENDED

    @property
    def why_not_again(self) -> str | None:
        """Why no other attempt can get the whole input; None where one can."""
        why = _WHY.get(self.state)
        return None if why is None else why.format(self._most)

    def add(self, data: bytes) -> bool:
        """Keep the next bytes; False where that fails, and then no other attempt may follow."""
        if self.state != OPEN:
            return False
        if self.size + len(data) > self._most:
            self._become(TOO_LONG)
            return False
        done = 0
        try:
            descriptor = self._files.open_input(*self._place)
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], _HEAD_BYTES + self.size + done)
        except OSError:
            self._become(NO_ROOM)
            return False
        self.size += len(data)
        if self._checksum is not None:
            self._checksum = crc32(data, self._checksum)
        return True

    def end(self) -> None:
        """Note that the input has ended."""
        if self.state == OPEN:
            try:
                os.fsync(self._files.open_input(*self._place))
            except OSError:
                self._become(NO_ROOM)
            else:
                self._become(ENDED)

    def read(self, offset: int, length: int) -> bytes:
        """Return some of the input; b"" where that is not kept."""
        try:
            descriptor = self._files.open_input(*self._place)
            return os.pread(descriptor, min(length, self.size - offset), _HEAD_BYTES + offset)
        except OSError:
            return b""

    def compare(self) -> None:
        """Compare the bytes with their checksum, where that is known: changed bytes reach no attempt."""
        if self._checksum is None or self.state not in {OPEN, ENDED}:
            return
        offset = found = 0
        while part := self.read(offset, _READ_BYTES):
            offset, found = offset + len(part), crc32(part, found)
        if (offset, found) != (self.size, self._checksum):
            self._become(CUT)

    def begin(self) -> bool:
        """Create the file; False where that fails."""
        self._checksum = 0
        try:
            descriptor = self._files.open_input(*self._place, create=True)
            os.pwrite(descriptor, _head(OPEN, 0, None).ljust(_HEAD_BYTES, b"\0"), 0)
        except OSError:
            self.state = NO_ROOM
            return False
        return True

    def note(self, checksum: int | None) -> None:
        """Note what the head says of the bytes' checksum."""
        self._checksum = checksum

    def note_reboot(self) -> None:
        """Note a reboot: afterwards only an input that has ended is known to be whole."""
        if self.state == OPEN:
            self._become(CUT)

    def _become(self, state: int) -> None:
        self.state = state
        with contextlib.suppress(OSError):  # it overwrites the head, and takes no room
            descriptor = self._files.open_input(*self._place)
            os.pwrite(descriptor, _head(state, self.size, self._checksum), 0)
            os.fsync(descriptor)


def find(files: RawFiles, channel: bytes, seq: int, most: int) -> KeptInput | None:
    """Return the kept standard input of a petition; None where none was kept."""
    try:
        descriptor = files.open_input(channel, seq)
        content = os.pread(descriptor, _HEAD_BYTES, 0)
        size = os.fstat(descriptor).st_size - _HEAD_BYTES
    except FileNotFoundError:
        return None
    except OSError:
        return KeptInput(files, channel, seq, most, state=CUT)
    kept = KeptInput(files, channel, seq, most, size=max(size, 0))
    if len(content) < _HEAD_BYTES or content[: _HEAD.size] + _sum(content[: _HEAD.size]) != content[: _HEAD.size + 4]:
        kept.state = CUT
        return kept
    _, kept.state, total = _HEAD.unpack_from(content)
    if kept.state == ENDED:
        kept.state = ENDED if kept.size >= total else CUT
        kept.size = total
        is_known, checksum = _SUMMED.unpack_from(content, _HEAD.size + 4)
        kept.note(checksum if is_known else None)
    return kept


def _head(state: int, size: int, checksum: int | None) -> bytes:
    head = _HEAD.pack(_MAGIC, state, size)
    return head + _sum(head) + _SUMMED.pack(checksum is not None, checksum or 0)


def _sum(head: bytes) -> bytes:
    return crc32(head).to_bytes(4, "big")
