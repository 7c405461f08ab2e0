"""Output of channels beyond the store's share, addressed by index.

A channel's log is a series of files of about 4 MiB, each named after the channel and its first record. So the names
tell where a record lies, only the last file may end in a torn block, and a start of the service reads only names.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

from orcha._output.folder import MAX_OPEN_FILES, Folder
from orcha._output.segment import Segment
from orcha.exceptions.store import StoreBroken
from orcha.utils.private import UnsafeStateError

SEGMENT_BYTES = 4 << 20
"""At this size a channel's output goes on in a new file, and the full file is synced."""
_NAME = re.compile(r"((?:[0-9a-f]{2})+)\.([0-9a-f]{16})")


class OutputLog:
    """The logs of all channels in a folder. Used by one thread, and never in a forked child.

    Every method may raise StoreBroken, after which the log must only be closed; `append` may raise StoreFull, after
    which nothing of that block is kept.
    """

    def __init__(self, folder: Path, *, segment: int = SEGMENT_BYTES, open_at_once: int = MAX_OPEN_FILES) -> None:
        """Open the logs in `folder`, which is made where it is missing.

        Raises:
            StoreBroken: the folder cannot be used.
        """
        self._segment = segment
        self._channels: dict[bytes, list[Segment]] = {}
        try:
            self._folder = Folder(folder, open_at_once=open_at_once)
            names = sorted(self._folder.names())
        except OSError as error:
            raise StoreBroken(f"{folder} cannot be used: {error.strerror}") from error
        except UnsafeStateError as error:
            raise StoreBroken(str(error)) from None
        for name in names:
            if named := _NAME.fullmatch(name):
                known = Segment(self._folder, bytes.fromhex(named[1]), int(named[2], 16))
                self._channels.setdefault(known.channel, []).append(known)

    def append(self, channel: bytes, first: int, count: int, data: bytes) -> None:
        """Keep `count` records, the first with the index `first`; they survive a crash of processes at once.

        Records from `first` on that were appended before are removed, since their transaction was not kept.

        Raises:
            StoreFull: there is no room on the disk.
        """
        segments = self._channels.setdefault(channel, [])
        if segments and first < max(self.end(channel), segments[-1].first):
            self._cut(segments, first)
        if not segments or segments[-1].size >= self._segment:
            self._begin(channel, segments, first)
        segments[-1].append(first, count, data)

    def _begin(self, channel: bytes, segments: list[Segment], first: int) -> None:
        if segments:
            segments[-1].sync()
        segment = Segment(self._folder, channel, first)
        try:
            segment.create()
        except BaseException:
            self._folder.delete(segment.name)
            raise
        segments.append(segment)

    def _cut(self, segments: list[Segment], first: int) -> None:
        while segments and segments[-1].first >= first:
            self._folder.delete(segments.pop().name)
        if segments:
            segments[-1].cut(first)

    def sync(self, channel: bytes) -> None:
        """Make a channel's log durable."""
        for segment in self._channels.get(channel, ()):
            segment.sync()
        try:
            self._folder.sync()
        except OSError as error:
            raise StoreBroken(f"{self._folder.path} cannot be synced: {error.strerror}") from error

    def end(self, channel: bytes) -> int:
        """Give the index after the last record kept here, 0 where there is none."""
        segments = self._channels.get(channel)
        if not segments:
            return 0
        segments[-1].recover()
        while len(segments) > 1 and segments[-1].end == segments[-1].first:
            self._folder.delete(segments.pop().name)
            segments[-1].recover()
        return segments[-1].end if segments[-1].end > segments[-1].first else 0

    def read(self, channel: bytes, index: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Return (first, count, data) of the blocks from `index` on: about `limit` bytes, at least one block, if any.

        The blocks are consecutive: a gap, such as a damaged block leaves, ends the list.
        """
        found: list[tuple[int, int, bytes]] = []
        size = 0
        for first, count, data in self._from(channel, index):
            if found and (size >= limit or first != found[-1][0] + found[-1][1]):
                break
            found.append((first, count, data))
            size += len(data)
        return found

    def _from(self, channel: bytes, index: int) -> Iterator[tuple[int, int, bytes]]:
        segments = self._channels.get(channel, [])
        place = max(bisect_right(segments, index, key=_first) - 1, 0)
        for segment in segments[place:]:
            for block in segment.blocks(index):
                yield block.first, block.count, block.data

    def channels(self) -> list[bytes]:
        """Give all channels that have a log here."""
        return list(self._channels)

    def delete(self, channel: bytes) -> None:
        """Forget a channel's log."""
        try:
            for segment in self._channels.pop(channel, ()):
                self._folder.delete(segment.name)
        except OSError as error:
            raise StoreBroken(f"{self._folder.path} cannot be used: {error.strerror}") from error

    def recover(self, known: Callable[[bytes], bool]) -> None:
        """Delete, at a start, the logs of channels that are not known any more.

        Each log is cut after its last whole block at its first use, so that a start need not wait for that.
        """
        for channel in self.channels():
            if not known(channel):
                self.delete(channel)

    def close(self) -> None:
        """Close the files; may be called again."""
        self._folder.close()

    def forget_in_child(self) -> None:
        """Close the files in a forked child, which must never use the log."""
        self._folder.close()


class MemoryLog:
    """The same in memory."""

    def __init__(self) -> None:
        """Begin empty."""
        self._channels: dict[bytes, list[tuple[int, int, bytes]]] = {}

    def append(self, channel: bytes, first: int, count: int, data: bytes) -> None:
        """Keep `count` records, the first with the index `first`, in place of the records from there on."""
        blocks = self._channels.setdefault(channel, [])
        while blocks and blocks[-1][0] + blocks[-1][1] > first:
            blocks.pop()
        blocks.append((first, count, data))

    def sync(self, channel: bytes) -> None:
        """Do nothing."""

    def end(self, channel: bytes) -> int:
        """Give the index after the last record kept here, 0 where there is none."""
        blocks = self._channels.get(channel)
        return blocks[-1][0] + blocks[-1][1] if blocks else 0

    def read(self, channel: bytes, index: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Give (first, count, data) of the blocks holding `index` and later ones, about `limit` bytes."""
        blocks = self._channels.get(channel, [])
        found: list[tuple[int, int, bytes]] = []
        size = 0
        for block in blocks[bisect_right(blocks, index, key=_end_of_block) :]:
            if found and (size >= limit or block[0] != found[-1][0] + found[-1][1]):
                break
            found.append(block)
            size += len(block[2])
        return found

    def channels(self) -> list[bytes]:
        """Give all channels that have a log here."""
        return list(self._channels)

    def delete(self, channel: bytes) -> None:
        """Forget a channel's log."""
        self._channels.pop(channel, None)

    def recover(self, known: Callable[[bytes], bool]) -> None:
        """Do nothing: memory holds nothing of an earlier process."""

    def close(self) -> None:
        """Do nothing."""

    def forget_in_child(self) -> None:
        """Do nothing."""


def _first(segment: Segment) -> int:
    return segment.first


def _end_of_block(block: tuple[int, int, bytes]) -> int:
    return block[0] + block[1]
