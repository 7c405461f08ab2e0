"""Notes which attempt was handed to which shim: the proof, at the next start, that an attempt was never executed.

Each hand-over is noted before the shim is told, with one write(2) and without fsync: like a black box, the notes have
to survive processes but no power cut. An attempt without a note was never handed over. An attempt with a note was taken
by its shim, unless the shim says that it took another attempt last, and was handed no later one.

Missing or damaged notes prove nothing: then every attempt counts as executed.
"""

from __future__ import annotations

import contextlib
import os
import struct
from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    Key = tuple[int, int]

FILE_NAME = "handed"
MAX_LOG_BYTES = 1 << 20
"""At this size the log is begun anew with the notes that still matter."""
_MAGIC = b"OHD1"
_HEAD = struct.Struct("!4sQI")
_NOTE = struct.Struct("!QI6sI")
_CHECKSUM_BYTES = 4
"""The size of the checksum at the end of the head and of each note."""
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class HandoverNotes:
    """The notes of earlier starts of the service."""

    def __init__(self, since: int | None, notes: Iterable[tuple[Key, str]] = ()) -> None:
        """Take all hand-overs since that start of the service; None where nothing is known."""
        self._since = since
        self._shims = dict(notes)
        self._last = {shim: key for key, shim in self._shims.items()}

    def may_have_run(self, key: Key, epoch: int, took: Mapping[str, Key]) -> bool:
        """Return whether an attempt may have been executed that left no other trace.

        `epoch` is the start of the service that meant to start it. `took` says which attempt a shim took last, for the
        shims that take no earlier order any more.
        """
        if self._since is None or epoch < self._since:
            return True
        shim = self._shims.get(key)
        if shim is None:
            return False
        return self._last[shim] != key or took.get(shim, key) == key


class HandoverLog:
    """The notes of this start of the service, and of earlier starts. Guarded by its owner's lock."""

    def __init__(self, folder: Path, epoch: int) -> None:
        """Read the log in the shims' `folder`, and continue it."""
        self._path = f"{folder}/{FILE_NAME}"
        self._epoch = epoch
        self._descriptor = -1
        self._size = 0
        self._is_void = False
        """Whether a hand-over of this start could not be noted."""
        self.earlier = self._read()
        if self._descriptor < 0:
            self.begin(())

    def note(self, key: Key, shim: str) -> None:
        """Note a hand-over before the shim is told."""
        if self._descriptor < 0:
            return
        note = _summed(_NOTE.pack(*key, bytes.fromhex(shim), 0))
        try:
            whole = os.write(self._descriptor, note) == len(note)
        except OSError:
            whole = False
        if not whole:
            self._is_void = True
            self._void()
        self._size += len(note)

    @property
    def is_large(self) -> bool:
        """Whether the log should be begun anew."""
        return self._size > MAX_LOG_BYTES

    def begin(self, notes: Iterable[tuple[Key, str]]) -> None:
        """Begin a new log with the hand-overs that still matter: of attempts whose end is not kept yet."""
        if self._is_void:
            return
        data = [_summed(_HEAD.pack(_MAGIC, self._epoch, 0))]
        data += [_summed(_NOTE.pack(*key, bytes.fromhex(shim), 0)) for key, shim in notes]
        content = b"".join(data)
        try:
            descriptor = os.open(f"{self._path}.new", _CREATE_FLAGS, 0o600)
        except OSError:
            return  # the old log stays, and is continued
        try:
            whole = os.write(descriptor, content) == len(content)
            if whole:
                os.rename(f"{self._path}.new", self._path)
        except OSError:
            whole = False
        if not whole:
            os.close(descriptor)
            return
        self.close()
        self._descriptor, self._size = descriptor, len(content)

    def close(self) -> None:
        """Close the log."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> HandoverNotes:
        try:
            descriptor = os.open(self._path, _OPEN_FLAGS)
        except OSError:
            return HandoverNotes(None)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read()
        if not _is_summed(content[: _HEAD.size]) or not content.startswith(_MAGIC):
            os.close(descriptor)
            return HandoverNotes(None)
        self._descriptor, self._size = descriptor, len(content)
        since: int = _HEAD.unpack_from(content)[1]
        notes = []
        for place in range(_HEAD.size, len(content), _NOTE.size):
            note = content[place : place + _NOTE.size]
            if not _is_summed(note):
                self._void()
                return HandoverNotes(None)
            seq, attempt, shim, _ = _NOTE.unpack(note)
            notes.append(((seq, attempt), shim.hex()))
        return HandoverNotes(since, notes)

    def _void(self) -> None:
        """Invalidate the log: its notes prove nothing any more."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        self.close()


def _summed(data: bytes) -> bytes:
    return data[:-_CHECKSUM_BYTES] + crc32(data[:-_CHECKSUM_BYTES]).to_bytes(_CHECKSUM_BYTES, "big")


def _is_summed(data: bytes) -> bool:
    return len(data) > _CHECKSUM_BYTES and _summed(data) == data
