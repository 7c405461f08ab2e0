"""An attempt's output: little of it stays in memory, more goes to files, and unkept output waits for readers."""

from __future__ import annotations

import contextlib
import errno
import os
from collections import deque

from orcha._output.checksums import Checksums
from orcha._supervisor.contract import KILL, ROTATE, TRUNCATE
from orcha._supervisor.output_index import ENTRY, NOWHERE, checked, place_of, sealed
from orcha._supervisor.output_rotation import drop_oldest
from orcha._supervisor.unkept_queue import UnkeptQueue
from orcha.utils.private import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.link import Head

MEMORY_BYTES = 64 << 10
"""Bytes that wait in memory for the service's acknowledgement; further output goes to files."""
FILES_AFTER_BYTES = 64 << 10
"""The number of bytes after which the output goes to files, however quick the service is."""
MAX_CHUNK_BYTES = 128 << 10
MAX_TAKEN_BYTES = 1 << 20
"""Bytes that are taken from one pipe before the other pipe gets its turn."""
BATCH_CHUNKS = 2048
"""The most entries of the index that one message carries."""

END, EMPTY, MORE = range(3)
"""The pipe's other end is closed; the pipe is empty now; the pipe may hold more."""

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_TRUNC


class OutputFiles:
    """The two raw files, the index and the checksums of one attempt."""

    def __init__(self, stem: str, first: int) -> None:
        """Create the files; `first` is the number of the first chunk that goes into them."""
        self.first = first
        self.count = 0
        self.sizes = [0, 0, 0]
        """Bytes in the files, by stream."""
        self.oldest = 0
        """The first entry of the index whose chunk is not dropped."""
        self.holes = [0, 0, 0]
        """Where the hole that dropped output left ends, by stream."""
        self._tail = (0, 0, 0)
        """The last entry of the index."""
        self.descriptors = [open_file(f"{stem}.{suffix}", _NEW_FILE) for suffix in ("index", "1", "2")]
        os.pwrite(self.descriptors[0], sealed(0, first, 0), 0)
        self._sums: Checksums | None = None
        with contextlib.suppress(OSError):  # no room: the output is worth more than its checksums
            descriptor = open_file(f"{stem}.sums", _NEW_FILE)
            self._sums = Checksums(descriptor, self.descriptors[:])
            self.descriptors.append(descriptor)

    def add(self, stream: int, length: int, *, told: int) -> None:
        """Add entries for `length` appended bytes. Only a chunk above the number `told` may grow.

        Raises OSError where the disk has no room for the index; `sizes` then tell what has an entry.
        """
        entries = []
        if self._tail[0] == stream and self.first + self.count - 1 > told:
            grown = min(length, MAX_CHUNK_BYTES - self._tail[2])
            tail = (stream, self._tail[1], self._tail[2] + grown)
            os.pwrite(self.descriptors[0], sealed(*tail), place_of(self.count - 1))
            self._tail = tail
            self.sizes[stream] += grown
            length -= grown
        tail, size = self._tail, self.sizes[stream]
        while length:
            piece = min(length, MAX_CHUNK_BYTES)
            tail = (stream, size, piece)
            entries.append(sealed(*tail))
            size += piece
            length -= piece
        if entries:
            content = b"".join(entries)
            if os.pwrite(self.descriptors[0], content, place_of(self.count)) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._tail, self.sizes[stream] = tail, size
            self.count += len(entries)
        if self._sums is not None:
            try:
                self._sums.grow(stream, self.sizes[stream])
            except OSError:
                self._sums = None  # the file never says that it is whole, so that nobody compares with it

    def put(self, number: int, stream: int, data: bytes) -> bool:
        """Append a chunk that has a number already; False where the disk has no room."""
        try:
            if os.pwrite(self.descriptors[stream], data, self.sizes[stream]) < len(data):
                return False
            self.add(stream, len(data), told=number)
        except OSError:
            return False
        return True

    def finish(self) -> None:
        """Complete the checksums."""
        if self._sums is not None:
            with contextlib.suppress(OSError):
                self._sums.finish(self.sizes, self.holes)

    def entries(self, number: int) -> bytes:
        """Return the entries from the chunk of this number on, at most one batch, as messages carry them."""
        raw = os.pread(self.descriptors[0], BATCH_CHUNKS * ENTRY.size, place_of(number - self.first))
        return b"".join(ENTRY.pack(*(entry or NOWHERE)) for entry in checked(raw))

    def sync(self) -> None:
        """Make the files durable."""
        for descriptor in self.descriptors:
            os.fsync(descriptor)

    def close(self) -> None:
        """Close the files."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


class AttemptOutput:
    """All output of one attempt.

    Chunks that the service has not acknowledged stay in memory or in the files, and are given again after a `rewind`.
    """

    def __init__(self, stem: str, limit: int, policy: str, *, is_terminal: bool) -> None:
        """Begin without output; the names of the files, where files are needed, begin with `stem`."""
        self._is_terminal = is_terminal
        self._stem = stem
        self._limit = limit
        self._policy = policy
        self._files_after = MEMORY_BYTES if policy == ROTATE else FILES_AFTER_BYTES
        self._memory: deque[tuple[int, int, bytes]] = deque()
        self._in_memory = 0
        self.files: OutputFiles | None = None
        self._refused = False
        self._connected = True
        self.unkept = UnkeptQueue()
        """Output that is not kept: beyond the limit under the policy `truncate`, and where the disk has no room."""
        self._past = b""
        """Bytes that a file had no room for."""
        self.kept = 0
        """Bytes that were not dropped, over both streams."""
        self.dropped = 0
        self.over = False
        """Whether the limit was reached under the policy `kill`."""
        self.last = 0
        """The number of the last chunk."""
        self.took = 0
        self._sent = 0

    @property
    def connected(self) -> bool:
        """Whether a service is connected."""
        return self._connected

    @connected.setter
    def connected(self, connected: bool) -> None:
        self._connected = self.unkept.connected = connected

    def take(self, stream: int, pipe: int) -> int:
        """Take what a pipe holds, at most `MAX_TAKEN_BYTES`; return END, EMPTY or MORE."""
        if self.unkept.size or (self._policy == TRUNCATE and self._room() <= 0):
            return self._past_the_limit(stream, pipe)
        if self.files is None and (
            not self.connected or self._in_memory >= MEMORY_BYTES or self.kept >= self._files_after
        ):
            self._open_files()
        if self.files is not None and not self._refused:
            return self._into_file(self.files, stream, pipe)
        data = _read(pipe, MAX_CHUNK_BYTES // 2)
        if not data:
            return EMPTY if data is None else END
        self._keep(stream, data)
        return MORE

    def acknowledge(self, number: int) -> None:
        """Forget the chunks up to this number."""
        self.took = max(self.took, min(number, self.last))
        self._sent = max(self._sent, self.took)
        memory = self._memory
        while memory and memory[0][0] <= number:
            self._in_memory -= len(memory.popleft()[2])
        self.unkept.acknowledge(number)

    def rewind(self, number: int) -> None:
        """Give chunks again from the one after this number on; a new service says anew whether anybody reads along."""
        self.acknowledge(number)
        self._sent = self.took
        self.unkept.read_by(anybody=True)

    @property
    def all_given(self) -> bool:
        """Whether every chunk was given to the service."""
        return self._sent >= self.last

    def give(self) -> tuple[Head, bytes] | None:
        """Return the next message for the service; None where it needs none now."""
        if self._sent >= self.last:
            return None
        if self._memory and self._memory[-1][0] > self._sent:
            found = [one for one in self._memory if one[0] > self._sent]
            self._sent = found[-1][0]
            pieces = [[stream, len(data)] for _, stream, data in found]
            return {"t": "output", "n": found[0][0], "c": pieces}, b"".join(one[2] for one in found)
        if self.unkept.size and (self.files is None or self._sent >= self.files.first + self.files.count - 1):
            message = self.unkept.give(self._sent)
            self._sent = self._sent if message is None else message[0]["n"]
            return message
        if self.files is None or self._sent > max(self.took, self.files.first - 1):
            return None  # the next batch follows when the service has acknowledged this one
        first = self._sent + 1
        entries = self.files.entries(first)
        self._sent += len(entries) // ENTRY.size
        return {"t": "spans", "n": first}, entries

    def finish(self) -> None:
        """Complete the files, if any, and make them durable."""
        self.unkept.finish()
        if self.files is not None and self.files.descriptors:
            if self._policy == ROTATE and self.kept > self._limit:
                self._rotate(self.files)
            self.files.finish()
            try:
                self.files.sync()
            except OSError:
                self._refused = True

    def close(self) -> None:
        """Close the files."""
        if self.files is not None:
            self.files.close()

    def spill(self) -> None:
        """Move what waits in memory to files, where it outlives the shim."""
        if self._memory and self.files is None and not self._refused:
            self._open_files()

    def _open_files(self) -> None:
        """Go on in files; what waits in memory goes there first."""
        memory = self._memory
        first = memory[0][0] if memory else self.last + 1
        try:
            files = OutputFiles(self._stem, first)
        except OSError:
            self._refused = True  # no room, no folder: output that does not fit into memory is not kept
            return
        if not all(files.put(*chunk) for chunk in memory):
            files.close()
            self._refused = True
            return
        self.files = files
        memory.clear()
        self._in_memory = 0

    def _keep(self, stream: int, data: bytes) -> None:
        room = self._room()
        if self._refused:
            room = min(room, MEMORY_BYTES - self._in_memory) if self.files is None else 0
        data, rest = data[: max(room, 0)], data[max(room, 0) :]
        if data:
            self.last += 1
            self.kept += len(data)
            self._in_memory += len(data)
            self._memory.append((self.last, stream, data))
        if rest:
            self._not_kept(stream, rest)

    def _room(self) -> int:
        return MAX_TAKEN_BYTES if self._policy == ROTATE else self._limit - self.kept

    def _past_the_limit(self, stream: int, pipe: int) -> int:
        """Take output that is not kept, for attached readers."""
        done = 0
        while done < MAX_TAKEN_BYTES and not self.unkept.is_full:
            data = _read(pipe, MAX_CHUNK_BYTES)
            if not data:
                return EMPTY if data is None else END
            self._not_kept(stream, data)
            done += len(data)
        return MORE

    def _not_kept(self, stream: int, data: bytes) -> None:
        self._drop(len(data))
        if self._policy == TRUNCATE or (self._policy == ROTATE and self._refused):
            self.last = self.unkept.add(self.last + 1, stream, data, given=self._sent)

    def _drop(self, count: int) -> None:
        self.dropped += count
        self.over = self.over or self._policy == KILL

    def _into_file(self, files: OutputFiles, stream: int, pipe: int) -> int:
        done = 0
        while done < MAX_TAKEN_BYTES:
            room = min(self._room(), MAX_TAKEN_BYTES - done)
            if room <= 0 and self._policy == TRUNCATE:
                return MORE
            try:
                count = self._discard(pipe) if room <= 0 else self._move(files, stream, pipe, room)
            except BlockingIOError:
                return EMPTY
            except OSError:
                return END
            if self._refused or not count:
                return MORE if self._refused else END
            done += count
        return MORE

    def _discard(self, pipe: int) -> int:
        count = len(os.read(pipe, MAX_CHUNK_BYTES))
        if count:
            self._drop(count)
        return count

    def _move(self, files: OutputFiles, stream: int, pipe: int, room: int) -> int:
        """Move bytes from the pipe into the file without copying them through this process; return how many."""
        raw = files.descriptors[stream]
        if self._is_terminal:
            data = os.read(pipe, min(room, MAX_CHUNK_BYTES))
            count = self._write(raw, data, files.sizes[stream])
        else:
            count = self._splice(pipe, raw, room, files.sizes[stream])
        if count:
            self._note(files, stream, count)
            if self._policy == ROTATE and self.kept > self._limit + MAX_TAKEN_BYTES:
                self._rotate(files)
        if self._past:
            rest, self._past = self._past, b""
            self._not_kept(stream, rest)
        return count

    def _note(self, files: OutputFiles, stream: int, count: int) -> None:
        """Add entries for bytes that are in the file. Bytes that the index has no room for are not kept."""
        chunks, size = files.count, files.sizes[stream]
        try:
            files.add(stream, count, told=self._sent)
        except OSError:
            self._refused = True
            noted = files.sizes[stream] - size
            self._past = os.pread(files.descriptors[stream], count - noted, size + noted) + self._past
            count = noted
        self.last += files.count - chunks
        self.kept += count

    def _splice(self, pipe: int, raw: int, room: int, offset: int) -> int:
        try:
            return os.splice(pipe, raw, room, offset_dst=offset)
        except BlockingIOError:
            raise
        except OSError:  # a file system without it, or a full one: the bytes are in the pipe still
            data = os.read(pipe, min(room, MAX_CHUNK_BYTES))
            return self._write(raw, data, offset)

    def _write(self, raw: int, data: bytes, offset: int) -> int:
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(raw, data[done:], offset + done)
        except OSError:
            self._refused = True  # from here on nothing is kept
            self._past = data[done:]
        return done

    def _rotate(self, files: OutputFiles) -> None:
        dropped = drop_oldest(files, self.kept - self._limit)
        self.kept -= dropped
        self.dropped += dropped


def _read(pipe: int, most_bytes: int) -> bytes | None:
    """Read what lies in a pipe or terminal: None where that is nothing now, b"" at the end."""
    try:
        return os.read(pipe, most_bytes)
    except BlockingIOError:
        return None
    except OSError:  # EIO: the last process has closed the terminal
        return b""
