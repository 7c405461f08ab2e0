"""The file of ``orcha backup``: a tar archive of a state, with the checksum of each file of the state at its end.

The first member says what the archive is, then come the database and the files of output, and the last member has the
size and the SHA-256 of each of them. So an archive without its end is no backup, and none is taken for one.
"""

from __future__ import annotations

import contextlib
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

HEAD, DATABASE, OUTPUT, SUMS = "orcha-backup.json", "orcha.db", "output/", "checksums.json"
"""The members; the files of output lie in `output/`."""
FORMAT_NUMBER = 1
_HOLE = "ORCHA.hole"
"""The key of the tar header with the bytes that were dropped at a file's beginning; they are not in the archive."""
_READ_BYTES = 1 << 20
_MAX_TEXT_BYTES = 1 << 30
_STREAMS_LAST = (".sums", ".index", ".in")
"""An attempt's output is read after what is known of it: output that is written meanwhile is then more, never less."""


def output_names(folder: str) -> list[tuple[str, int]]:
    """Give the names and sizes of the files of output, in the order in which they are read."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("trash."):
                    found.append((entry.name, entry.stat(follow_symlinks=False).st_blocks * 512))
    return sorted(found, key=lambda each: (not each[0].endswith(_STREAMS_LAST), each[0]))


class BackupWriter:
    """Writes the archive."""

    def __init__(self, file: BinaryIO, head: dict[str, Any], progress: Callable[[int], None]) -> None:
        """Write the first member; `progress` is told how many bytes were written since the last call."""
        import tarfile

        self._archive = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._progress = progress
        self._sums: dict[str, list[Any]] = {}
        self._text(HEAD, {"format": FORMAT_NUMBER} | head)

    def add(self, name: str, descriptor: int) -> None:
        """Add what an open file has at this moment; what is appended meanwhile is not in the archive."""
        size = os.fstat(descriptor).st_size
        hole = 0
        if name.startswith(OUTPUT) and size:
            try:
                hole = min(os.lseek(descriptor, 0, os.SEEK_DATA), size)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                hole = size  # all of it was dropped
        member = self._member(name, size - hole)
        if hole:
            member.pax_headers = {_HOLE: str(hole)}
        reader = _Reader(descriptor, hole, size, self._progress)
        self._archive.addfile(member, reader)  # type: ignore[arg-type]  # it reads, and nothing else is asked of it
        self._sums[name] = [size - hole, hole, reader.digest.hexdigest()]

    def finish(self) -> int:
        """Write the checksums, and the end; give the count of files."""
        self._text(SUMS, {"files": self._sums})
        self._archive.close()
        return len(self._sums)

    def _text(self, name: str, value: dict[str, Any]) -> None:
        import io
        import json

        data = json.dumps(value, indent=1).encode()
        self._archive.addfile(self._member(name, len(data)), io.BytesIO(data))

    def _member(self, name: str, size: int) -> tarfile.TarInfo:
        from tarfile import TarInfo

        from orcha._cli import render

        member = TarInfo(name)
        member.size, member.mode, member.mtime = size, 0o600, int(render.now())
        return member


class _Reader:
    """Reads a range of a file; where the file is cut meanwhile, zeros stand for the rest, as after a torn write."""

    def __init__(self, descriptor: int, begin: int, end: int, progress: Callable[[int], None]) -> None:
        from hashlib import sha256

        self._descriptor, self._place, self._end, self._progress = descriptor, begin, end, progress
        self.digest = sha256()

    def read(self, length: int) -> bytes:
        wanted = min(length, self._end - self._place)
        data = os.pread(self._descriptor, wanted, self._place).ljust(wanted, b"\0")
        self._place += wanted
        self.digest.update(data)
        self._progress(wanted)
        return data


class NoBackupError(Exception):
    """A file is no backup, or is cut or changed."""


def read_head(file: BinaryIO) -> dict[str, Any]:
    """Give what an archive says of itself, and go back to its begin; an empty map for what is no backup."""
    import json
    import tarfile

    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            member = archive.next()
            source = archive.extractfile(member) if member is not None and member.name == HEAD else None
            head = {} if source is None else json.loads(source.read(_MAX_TEXT_BYTES))
    except (tarfile.TarError, EOFError, ValueError):
        head = {}
    file.seek(0)
    return head if isinstance(head, dict) else {}


def unpack(file: BinaryIO, folder: str, progress: Callable[[int], None]) -> dict[str, Any]:
    """Write the files of an archive into a new folder, and compare each with its checksum; give what it says of itself.

    No name of the archive becomes a path before it was looked at, and nothing but plain files is made.

    Raises:
        NoBackupError: it is no backup, or not whole.
        OSError: a file cannot be written.

    """
    import json
    import tarfile

    os.mkdir(f"{folder}/output", 0o700)  # noqa: PTH102 - pathlib starts slowly
    found: dict[str, list[Any]] = {}
    head: dict[str, Any] | None = None
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                if source is None or (head is None) != (member.name == HEAD):
                    raise NoBackupError("it is no backup of orcha")
                if member.name == HEAD:
                    head = json.loads(source.read(_MAX_TEXT_BYTES))
                    if head["format"] != FORMAT_NUMBER:
                        raise NoBackupError(f"it is a backup in format {head['format']}, of a newer orcha")
                elif member.name == SUMS:
                    noted = json.loads(source.read(_MAX_TEXT_BYTES))["files"]
                    if noted != found or DATABASE not in noted:
                        raise NoBackupError("the checksums of its files do not hold")
                    assert head is not None
                    return head
                else:
                    found[_checked(member.name)] = _written(member, source, f"{folder}/{member.name}", progress)
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
        raise NoBackupError(f"it is no whole backup of orcha ({error})") from error
    raise NoBackupError("it is not whole: its end is missing")


def _checked(name: str) -> str:
    import re

    if name != DATABASE and not re.fullmatch(r"output/[0-9a-f]+\.[0-9a-z.]+", name, re.ASCII):
        raise NoBackupError(f"it has a file {name!r}, which no state has")
    return name


def _written(member: tarfile.TarInfo, source: Any, path: str, progress: Callable[[int], None]) -> list[Any]:
    """Write a file with the hole at its beginning, durably; give its size without the hole, the hole, and its sum."""
    from hashlib import sha256

    digest, hole = sha256(), int(member.pax_headers.get(_HOLE, "0"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, hole)
        size = 0
        while data := source.read(_READ_BYTES):
            digest.update(data)
            progress(len(data))
            done = 0
            while done < len(data):
                done += os.pwrite(descriptor, data[done:], hole + size + done)
            size += len(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return [size, hole, digest.hexdigest()]


@contextlib.contextmanager
def shown_progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that is told of copied bytes; on a terminal it counts the percents in a line on stderr."""
    import sys

    from orcha._cli import render

    done = 0
    shown = -1
    is_shown = sys.stderr is not None and sys.stderr.isatty() and render.takes_escapes()

    def show(percent: int) -> None:
        nonlocal shown
        if is_shown and percent != shown:
            shown = percent
            sys.stderr.write(f"\rorcha: {what}: {percent:>3} % ")
            sys.stderr.flush()

    def add(count: int) -> None:
        nonlocal done
        done += count
        show(min(99, done * 100 // max(total, 1)))

    try:
        yield add
        show(100)
    finally:
        if shown >= 0:
            sys.stderr.write("\n")
