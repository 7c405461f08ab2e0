"""The names of a store's files, and marks beside the database that a power cut does not take away."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from zlib import crc32

from orcha._store.last_start import Witness
from orcha.exceptions.store import StoreBroken, StoreError
from orcha.utils.private import FILE, UnsafeStateError, check, open_in

_DATABASE_NAME = "orcha.db"
_READ_BYTES = 1 << 20


class StoreFiles:
    """The files of a store. Its folder is opened once, and no link in the folder is followed."""

    def __init__(self, folder: Path) -> None:
        """Name them, and open the folder.

        Raises:
            StoreError: the folder cannot be used.
        """
        self.folder = folder
        self.real = Path(os.path.realpath(folder))
        """The same path without the links above it, since SQLite follows no link."""
        try:
            self.descriptor = os.open(self.real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"{folder}: {error.strerror}") from error
        self._identity: tuple[int, int] | None = None
        self.born: int | None = None
        """When the database's file was made, in nanoseconds since the epoch; None before `remember`, or for unknown."""
        self.database = folder / _DATABASE_NAME
        self.log = folder / "orcha.db-wal"
        self.new = folder / "orcha.db.new"
        self.clean = folder / "orcha.db.clean"
        """There while the store is closed in good order; says what the database's file is then."""
        self.damaged = folder / "orcha.db.damaged"
        """There after an I/O error, and says which."""
        self.index = folder / "orcha.db-shm"
        self.frames = folder / "orcha.db.frames"
        """There while a start looks whether the log is whole: how many frames of it were committed."""
        self.witness = Witness(folder)

    def mark(self, path: Path, text: str = "") -> None:
        """Put a mark that a power cut does not take away."""
        descriptor = open_in(self.descriptor, path.name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.sync_folder()

    def unmark(self, path: Path) -> None:
        """Take a mark away, durably."""
        self.remove(path.name)
        self.sync_folder()

    def remove(self, name: str) -> None:
        """Take a file away that may not be there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def sync_folder(self) -> None:
        """Make what stands in the folder durable."""
        os.fsync(self.descriptor)

    def size(self, path: Path) -> int | None:
        """Give a file's size, None where it is missing."""
        try:
            return os.stat(path.name, dir_fd=self.descriptor, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None

    def exists(self, path: Path) -> bool:
        """Tell whether there is something of that name."""
        return self.size(path) is not None

    def check(self) -> None:
        """Raise StoreBroken where one of the store's names is no file, or is not this user's alone to write."""
        try:
            for name in sorted(os.listdir(self.descriptor)):  # noqa: PTH208
                if name.startswith(_DATABASE_NAME):
                    check(self.descriptor, name, FILE, str(self.folder))
        except UnsafeStateError as error:
            raise StoreBroken(str(error)) from None

    def read(self, path: Path, size: int) -> bytes:
        """Give the first bytes of a file, none if it is missing. Not for a file that SQLite has open: see `opening`."""
        try:
            descriptor = open_in(self.descriptor, path.name, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            return os.read(descriptor, size)
        finally:
            os.close(descriptor)

    def fingerprint(self) -> str:
        """Give the size and the CRC-32 (ISO 3309) of the database's file.

        Closing the file here drops this process's locks on it: for when no connection is open, or will write again.
        """
        size = checksum = 0
        descriptor = open_in(self.descriptor, _DATABASE_NAME, os.O_RDONLY)
        try:
            while part := os.read(descriptor, _READ_BYTES):
                size, checksum = size + len(part), crc32(part, checksum)
        finally:
            os.close(descriptor)
        return f"{size} {checksum:08x}"

    def remember(self, database: os.stat_result, born: int | None) -> None:
        """Remember which file the database is, and when that file was made, in nanoseconds since the epoch."""
        self._identity = (database.st_dev, database.st_ino)
        self.born = born

    def check_in_place(self) -> None:
        """Raise StoreBroken where the database is not the file any more that was opened: nobody would find it again."""
        try:
            found = os.stat(_DATABASE_NAME, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            what = "was removed" if found is None else "was replaced"
            raise StoreBroken(
                f"{self.database} {what} while the service used it: put it back as it was, and start the service again"
            )

    def close(self) -> None:
        """Close the folder; safe to call twice."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # of a folder that was only read nothing can be lost
                os.close(descriptor)
