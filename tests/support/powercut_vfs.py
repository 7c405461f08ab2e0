"""A SQLite VFS that knows what a power cut would leave, and can fail at will.

Files are passed through to the real file system. Beside it the VFS keeps, for each file, what was there at its last
sync and what was written since. `Disk.cut` gives what a power cut at this moment could leave: what was synced, with or
without any subset of the 4 KiB pages written since.

Example::

    with Disk("cut-me") as disk:
        store = SqliteStore(folder, vfs=disk.name)
        disk.settle()                      # whatever stands there now counts as synced
        store.commit(changes)
        images = disk.cut(random.Random(1))
        restore(images, another_folder)    # then open the store there
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, NamedTuple, Self

import apsw

PAGE = 4096


class Operation(NamedTuple):
    """What is about to happen to a file."""

    kind: str
    """`write`, `sync`, `truncate` or `read`."""
    path: str
    offset: int
    """Where it is written or read; the new size for `truncate`."""
    size: int


class _Content:
    """What is known of one file."""

    def __init__(self, path: str) -> None:
        """Take what is there as synced."""
        self.path = path
        self.settle()

    def settle(self) -> None:
        """Take what is there as synced."""
        file = Path(self.path)
        self.synced = file.read_bytes() if file.exists() else b""
        self.since: list[tuple[str, int, bytes]] = []

    def note(self, kind: str, offset: int, data: bytes = b"") -> None:
        """Note what was written or cut since the last sync."""
        self.since.append((kind, offset, data))

    def sync(self) -> None:
        """Take everything as synced."""
        self.synced = self.after(len(self.since))
        self.since.clear()

    def after(self, operations: int) -> bytes:
        """Give the content with so many of the operations done."""
        content = bytearray(self.synced)
        for kind, offset, data in self.since[:operations]:
            if kind == "truncate":
                del content[offset:]
                content.extend(bytes(offset - len(content)))
            else:
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data
        return bytes(content)

    def survivors(self, random: Random) -> bytes:
        """Give the content with some pages as synced, and others as they were at some moment since."""
        versions = [self.synced, *(self.after(random.randint(0, len(self.since))) for _ in range(3))]
        versions.append(self.after(len(self.since)))
        size = len(random.choice(versions))
        pages = []
        for offset in range(0, size, PAGE):
            page = random.choice(versions)[offset : min(offset + PAGE, size)]
            pages.append(page + bytes(min(PAGE, size - offset) - len(page)))
        return b"".join(pages)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._content: _Content | None = None
        if flags[0] & (apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL):
            path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
            self._content = disk.contents.setdefault(path, _Content(path))
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._content is not None:
            self._disk.announce(Operation("read", self._content.path, offset, amount))
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:
        data = bytes(data)
        if self._content is None:
            super().xWrite(data, offset)
            return
        written = self._disk.announce(Operation("write", self._content.path, offset, len(data)))
        if written is not None:
            super().xWrite(data[:written], offset)
            self._content.note("write", offset, data[:written])
            raise io_error(apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)
        self._content.note("write", offset, data)

    def xTruncate(self, newsize: int) -> None:
        if self._content is not None:
            self._disk.announce(Operation("truncate", self._content.path, newsize, 0))
            self._content.note("truncate", newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        if self._content is not None:
            self._disk.announce(Operation("sync", self._content.path, 0, 0))
        if self._disk.really_sync:
            super().xSync(flags)
        if self._content is not None:
            self._content.sync()


class Disk(apsw.VFS):
    """The VFS. Registered under its name while it is open."""

    def __init__(self, name: str, *, really_sync: bool = False) -> None:
        """Register it; the real disk is not synced unless `really_sync` says so."""
        self.name = name
        self.contents: dict[str, _Content] = {}
        self.really_sync = really_sync
        self.errno = 0
        """What errno says after a failure."""
        self.before: Callable[[Operation], int | None] | None = None
        """Called before each operation: it may raise what SQLite is to see (`io_error`, `apsw.FullError`), or give the
        number of bytes after which a write fails."""
        super().__init__(name, "")

    def __enter__(self) -> Self:
        """Be registered."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Be registered no more."""
        self.unregister()

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        """Open a file that is watched."""
        return _File(self, name, flags)

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        """Say nothing: faults are injected on purpose, and SQLite is told their codes."""
        return True

    def xGetLastError(self) -> tuple[int, str]:
        """Give errno."""
        return self.errno, ""

    def announce(self, operation: Operation) -> int | None:
        """Let the test know, and fail."""
        return self.before(operation) if self.before is not None else None

    def settle(self) -> None:
        """Take everything that is there as synced, also what was written past this VFS."""
        for content in self.contents.values():
            content.settle()

    def note_file(self, path: str) -> None:
        """Watch a file that SQLite does not write; what is there counts as synced."""
        self.contents[path] = _Content(path)

    def cut(self, random: Random | None = None) -> dict[str, bytes]:
        """Give what a power cut now leaves, by file name: what was synced, and by chance pages written since."""
        return {
            Path(path).name: content.survivors(random) if random else content.synced
            for path, content in self.contents.items()
        }


def io_error(code: int) -> apsw.IOError:
    """Give an I/O error with an extended code."""
    error = apsw.IOError("injected")
    error.extendedresult = code  # type: ignore[attr-defined]
    return error


def restore(images: dict[str, bytes], folder: Path) -> None:
    """Make a folder of what a power cut left."""
    folder.mkdir(mode=0o700)
    for name, content in images.items():
        (folder / name).write_bytes(content)
