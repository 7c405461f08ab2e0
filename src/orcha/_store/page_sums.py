"""Checksums of the pages of the database's file, in `orcha.db.sums`: a bit that the disk has changed is noticed.

SQLite has no checksums for pages, so it reads a flipped bit within a value. The file changes only where the log is
moved into it. Then the store sums each page that was moved, before the log starts over. So after a crash each page of
the file has the checksum that was noted, or lies in the log, whose frames have checksums of their own.

SQLite reads a page before it writes the page anew, so a changed bit could get into the log, and from there a right
checksum. So each page that the log is about to replace is compared with its checksum first. Where the service was
killed before that, the next start compares the page: what stands in the file is what was noted, or one of the page's
frames in the log.

They hold after a crash of the system too. SQLite syncs the log before it moves pages, and the file after that. The
checksums of the moved pages are synced next, and only then is the log written from its beginning. So wherever the power
is cut, a page whose checksum may be the older one, the newer one or half written still lies in the log. Such a page may
be half written itself, so a page in the log is not compared after a crash of the system.

The checksums belong to one start of the service, since an older build that ran meanwhile wrote none, and to one round
of the log: the first salt of the log grows by one each time the log starts over. Checksums that missed a round are
left by a store that could not note them, and mean nothing.
"""

from __future__ import annotations

import contextlib
import os
import struct
from array import array
from typing import TYPE_CHECKING
from zlib import crc32

from orcha._store import log_index
from orcha._store.last_start import this_boot
from orcha.exceptions.store import StoreDamaged
from orcha.utils.private import open_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._store.store_files import StoreFiles

_HEAD = struct.Struct("=8sQIII")
"""The magic, the nonce of the start, the size of a page, the last round of the log that was moved into the file whole,
and the CRC-32 of the rest of the head."""
_MAGIC = b"orchaPS2"
"""An older build wrote `orchaPS1`, and synced nothing: that is not compared."""
_LOG_ROUNDS = 1 << 32
"""The first salt of a log counts its rounds in 32 bits, and then begins anew."""
_PAGES_AT_ONCE = 256
_WORD = "I"


class PageSums:
    """The checksums of a store's pages; where they cannot be noted, there are none."""

    def __init__(self, files: StoreFiles) -> None:
        """Sum the pages of the database's file.

        Made before a connection of this process opens the file, and closed after the connection: closing the file in
        between would drop SQLite's locks on it (fcntl(2)).
        """
        self._files = files
        self._path = files.folder / "orcha.db.sums"
        self._descriptor = self._index = self._database = -1
        self._page_bytes = self._nonce = self._compared = 0
        self._is_lost = False
        self._sums = array(_WORD)
        self.fingerprint = self._read()
        """The size and the CRC-32 of the file."""

    def _read(self) -> str:
        size = checksum = 0
        # Closed after SQLite has closed the file, as the index.
        descriptor = self._database = open_in(self._files.descriptor, self._files.database.name, os.O_RDONLY)
        page = self._page_bytes = _page_bytes(os.pread(descriptor, 18, 0))
        while part := os.pread(descriptor, page * _PAGES_AT_ONCE, size):
            size, checksum = size + len(part), crc32(part, checksum)
            view = memoryview(part)
            self._sums.extend(crc32(view[begin : begin + page]) for begin in range(0, len(part), page))
        return f"{size} {checksum:08x}"

    def refuse_changed(self) -> None:
        """Raise StoreDamaged where the file is not what a killed process left; called once the log was read."""
        noted, in_log = self._noted(), self._in_log()
        if noted is None or in_log is None:
            return
        frames: dict[int, list[int]] = {}
        for frame, page in enumerate(in_log):
            frames.setdefault(page, []).append(frame)
        last = self._files.witness.read()
        torn = last is None or last.boot_id != this_boot()
        changed = [
            page
            for page in _differing(noted, self._sums)
            if page not in frames or not (torn or self._is_from_log(page, frames[page]))
        ]
        if changed:
            raise self._changed(changed, "is not what the service left")

    def _is_from_log(self, page: int, frames: list[int]) -> bool:
        """Tell whether what stands in the file is what one of these frames holds."""
        return self._sums[page - 1 : page] in [array(_WORD, [each]) for each in self._frame_sums(frames)]

    def _frame_sums(self, frames: Iterable[int]) -> list[int]:
        """Sum the pages that lie in these frames of the log."""
        size = self._page_bytes
        log = open_in(self._files.descriptor, self._files.log.name, os.O_RDONLY)
        try:
            return [crc32(os.pread(log, size, log_index.place_of_page(frame, size))) for frame in frames]
        finally:
            os.close(log)

    def refuse_replaced(self) -> None:
        """Raise StoreDamaged where a page that the log is about to replace is not what was noted of it.

        Each page is compared once in a round of the log: a checkpoint that readers cut short may have replaced it.

        Raises:
            OSError: a page cannot be read.
        """
        in_log = None
        if not self._is_lost:
            with contextlib.suppress(OSError):  # where the index cannot be read, `note_moved` sees it too
                in_log = self._in_log()
        if in_log is None:
            return
        before, self._compared = self._compared, len(in_log)
        sums, size = self._sums, self._page_bytes
        replaced = set(in_log[before:]).difference(in_log[:before])
        changed = [
            page
            for page in replaced
            if page <= len(sums) and crc32(os.pread(self._database, size, (page - 1) * size)) != sums[page - 1]
        ]
        if changed:
            raise self._changed(sorted(changed), "was changed while the service used it")

    def _changed(self, pages: list[int], what: str) -> StoreDamaged:
        return StoreDamaged(
            f"{self._files.database} {what}: {len(pages)} of its pages were changed by the disk or by somebody, page"
            f" {pages[0]} first. Put a copy of it back; or, to go on with what is there, remove {self._path}"
        )

    def _noted(self) -> array[int] | None:
        """Give the checksums that the last start of the service noted; None where it noted none that hold."""
        last, log_round = self._files.witness.read(), self._log_round()
        if last is None or log_round is None:
            return None
        content = self._files.read(self._path, self._files.size(self._path) or 0)
        moved = ((log_round - 1) % _LOG_ROUNDS, log_round)
        if content[: _HEAD.size] not in [_head(last.nonce, self._page_bytes, each) for each in moved]:
            return None
        noted = array(_WORD)
        noted.frombytes(content[_HEAD.size : len(content) - (len(content) - _HEAD.size) % noted.itemsize])
        return noted

    def _in_log(self) -> array[int] | None:
        """Give the page of each frame of the log; None where the log's index does not tell."""
        if self._index < 0:
            # Closed after SQLite has closed the index: that would drop SQLite's locks on it (fcntl(2)).
            self._index = open_in(self._files.descriptor, self._files.index.name, os.O_RDONLY)
        written = log_index.parse(os.pread(self._index, log_index.INDEX_BYTES, 0))
        return None if written is None else log_index.pages(self._index, written.frames)

    def _log_round(self) -> int | None:
        """Give the first salt of the log as it stands in the log's file; None where the log has no beginning."""
        return log_index.first_salt(self._files.read(self._files.log, log_index.LOG_HEADER_BYTES))

    def begin(self, nonce: int) -> None:
        """Note the checksums, for one start of the service; called after its first commit, which the log holds.

        A file that a power cut leaves half written is never found under the name of the checksums.

        Raises:
            OSError: checksums that do not hold cannot be removed durably.
        """
        self._close_noted()
        self._nonce = nonce
        log_round = self._log_round()
        if log_round is None or self._is_lost:
            self.end()
            return
        folder, new = self._files.descriptor, f"{self._path.name}.new"
        try:
            self._files.remove(new)
            self._descriptor = open_in(folder, new, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            head = _head(nonce, self._page_bytes, (log_round - 1) % _LOG_ROUNDS)
            self._write(head + self._sums.tobytes(), 0)
            os.fsync(self._descriptor)
            os.rename(new, self._path.name, src_dir_fd=folder, dst_dir_fd=folder)
            self._files.sync_folder()
        except OSError:
            self.end()

    def note_moved(self, frames: int) -> None:
        """Sum the pages that lie in the log's frames, now that all of them were moved into the file.

        Called before the log is written to again. Where the checksums cannot be noted, none are left.

        Raises:
            OSError: checksums that do not hold any more cannot be removed durably.
        """
        if not frames:
            return
        self._compared = 0
        try:
            pages = None if self._is_lost else self._in_log()
            if pages is not None and len(pages) == frames:
                self._sum(pages)
                return
        except OSError:
            pass
        self._is_lost = True
        self.end()

    def _sum(self, pages: array[int]) -> None:
        sums, size = self._sums, self._page_bytes
        last = dict(zip(pages, range(len(pages)), strict=True))
        highest, lowest = max(last), min(last)
        if highest > len(sums):  # SQLite never writes the page at 1 GiB, which is zeros then
            sums.extend([crc32(bytes(size))] * (highest - len(sums)))
        for page, checksum in zip(last, self._frame_sums(last.values()), strict=True):
            sums[page - 1] = checksum
        if self._descriptor < 0:
            self.end()  # a file that is there is of an earlier start, and does not hold any more
            return
        log_round = self._log_round()
        if log_round is None:
            raise OSError
        self._write(memoryview(sums)[lowest - 1 : highest].tobytes(), _HEAD.size + (lowest - 1) * sums.itemsize)
        self._write(_head(self._nonce, self._page_bytes, log_round), 0)
        os.fdatasync(self._descriptor)

    def _write(self, data: bytes, offset: int) -> None:
        if os.pwrite(self._descriptor, data, offset) < len(data):
            raise OSError

    def end(self) -> None:
        """Note nothing any more, and leave no checksums that do not hold, also after a power cut.

        Raises:
            OSError: they cannot be removed durably.
        """
        self._close_noted()
        is_there = self._files.exists(self._path)
        self._files.remove(f"{self._path.name}.new")
        self._files.remove(self._path.name)
        if is_there:
            self._files.sync_folder()

    def _close_noted(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def close(self) -> None:
        """Close the files; called when the database is closed."""
        descriptors = self._descriptor, self._index, self._database
        self._descriptor = self._index = self._database = -1
        for descriptor in descriptors:
            if descriptor >= 0:
                with contextlib.suppress(OSError):  # what is lost of checksums is not compared
                    os.close(descriptor)

    def __del__(self) -> None:
        """Close the files of a store that nobody closes."""
        self.close()


def _head(nonce: int, page_bytes: int, moved: int) -> bytes:
    return _HEAD.pack(_MAGIC, nonce, page_bytes, moved, crc32(b"%d %d %d" % (nonce, page_bytes, moved)))


def _page_bytes(head: bytes) -> int:
    """Give the size of a page from the beginning of the database's file, where 1 stands for 65,536."""
    size = int.from_bytes(head[16:18], "big")
    return size if size > 1 else 65536


def _differing(noted: array[int], found: array[int]) -> list[int]:
    """Give the numbers of the pages whose checksums differ."""
    if noted == found:
        return []
    longer = max(len(noted), len(found))
    return [page for page in range(1, longer + 1) if noted[page - 1 : page] != found[page - 1 : page]]
