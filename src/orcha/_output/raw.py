"""Raw output of commands: a file for each stream of each attempt, written by the attempt's shim.

The files are named `<channel>.<seq>.<attempt>.<stream>`, the channel in hexadecimal, and lie beside each attempt's
index and the logs of channels. This module reads them, and deletes them with their channel.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from orcha._output.checksums import holds
from orcha._output.folder import Folder
from orcha.exceptions.store import StoreBroken
from orcha.utils.private import UnsafeStateError

MAX_OPEN_FILES = 32
"""The most files that are held open for reading."""
_NAME = re.compile(r"((?:[0-9a-f]{2})+)\.([0-9]+)\.([0-9]+)\.(1|2|index|sums|in)")


class RawFiles:
    """The raw output of all commands of an endpoint. Used by one thread, and never in a forked child.

    Example::

        files = RawFiles(folder)
        files.note(channel, seq, attempt)
        data = files.read(channel, seq, attempt, 1, offset, length)
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made where it is missing.

        Raises:
            StoreBroken: the folder cannot be used.
        """
        self.attempts: dict[bytes, set[tuple[int, int]]] = {}
        """The petitions' attempts that have files here, by channel, as sequence and number; 0 stands for the input."""
        try:
            self._folder = Folder(folder, open_at_once=MAX_OPEN_FILES)
            names = self._folder.names()
        except OSError as error:
            raise StoreBroken(f"{folder} cannot be used: {error.strerror}") from error
        except UnsafeStateError as error:
            raise StoreBroken(str(error)) from None
        for name in names:
            if named := _NAME.fullmatch(name):
                self.note(bytes.fromhex(named[1]), int(named[2]), int(named[3]))

    def note(self, channel: bytes, seq: int, attempt: int) -> None:
        """Note that an attempt has files here."""
        self.attempts.setdefault(channel, set()).add((seq, attempt))

    def read(self, channel: bytes, seq: int, attempt: int, stream: int, offset: int, length: int) -> bytes | None:
        """Return a piece of an attempt's output; None where it is not there (any more), or has changed on the disk.

        Where the oldest output was dropped, the file begins with a hole; then the rest of the piece is returned.
        """
        name = f"{channel.hex()}.{seq}.{attempt}.{stream}"
        try:
            descriptor = self._folder.open(name, os.O_RDONLY)
            data = os.pread(descriptor, length, offset)
            if len(data) != length:
                return None
            if not data[0]:
                hole = max(os.lseek(descriptor, 0, os.SEEK_DATA) - offset, 0)
                data, offset = data[hole:], offset + hole
            return data if data and self._holds(name, descriptor, stream, offset, data) else None
        except OSError:
            return None

    def _holds(self, name: str, descriptor: int, stream: int, offset: int, data: bytes) -> bool:
        """Return whether output that was read is what was written; True where the attempt has no checksums."""
        try:
            sums = self._folder.open(f"{name.rpartition('.')[0]}.sums", os.O_RDONLY)
        except FileNotFoundError:
            return True
        return holds(sums, descriptor, stream, offset, data)

    def tail(self, channel: bytes, seq: int, attempt: int, stream: int, length: int) -> bytes:
        """Return the last bytes of an attempt's output, at most `length`."""
        try:
            descriptor = self._folder.open(f"{channel.hex()}.{seq}.{attempt}.{stream}", os.O_RDONLY)
            return os.pread(descriptor, length, max(os.fstat(descriptor).st_size - length, 0))
        except OSError:
            return b""

    def has_input(self, channel: bytes, seq: int) -> bool:
        """Return whether standard input of a petition is kept."""
        return (seq, 0) in self.attempts.get(channel, ())

    def inputs(self) -> list[tuple[bytes, int]]:
        """Return (channel, seq) of each petition whose standard input is kept."""
        return [(channel, seq) for channel, known in self.attempts.items() for seq, attempt in known if not attempt]

    def open_input(self, channel: bytes, seq: int, *, create: bool = False) -> int:
        """Return the descriptor of a petition's standard input, which this object keeps; raises OSError."""
        if create:
            self.note(channel, seq, 0)
        return self._folder.open(f"{channel.hex()}.{seq}.0.in", os.O_RDWR | (os.O_CREAT if create else 0))

    def delete_input(self, channel: bytes, seq: int) -> None:
        """Delete a petition's standard input."""
        with contextlib.suppress(OSError):  # it is deleted with its channel at the latest
            self._folder.delete(f"{channel.hex()}.{seq}.0.in")

    def delete(self, channel: bytes) -> None:
        """Delete the output of a channel's commands.

        Raises:
            StoreBroken: the folder cannot be used.
        """
        try:
            for seq, attempt in self.attempts.pop(channel, ()):
                for suffix in ("1", "2", "index", "sums", "in"):
                    self._folder.delete(f"{channel.hex()}.{seq}.{attempt}.{suffix}")
        except OSError as error:
            raise StoreBroken(f"{self._folder.path} cannot be used: {error.strerror}") from error

    def recover(self, known: Callable[[bytes], bool]) -> None:
        """Delete, at a start, the files of channels that are not known any more."""
        for channel in list(self.attempts):
            if not known(channel):
                self.delete(channel)

    def close(self) -> None:
        """Close the files; may be called again, and in a forked child."""
        self._folder.close()
