"""Which build of Orcha a service was started from, and whether another one lies in its place by now."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from orcha.utils.packages import own_version

ANSWER_VALID_SECONDS = 2.0
"""Seconds for which an answer holds."""
_FILE = Path(__file__).resolve().parents[2] / "__init__.py"


class FileMark(NamedTuple):
    """The marks of a file that change when the file is replaced."""

    content: tuple[int, int, int, int]
    """Device, inode, time of modification and size.

    A replacement can have them all: a file system gives the inode of a removed file to the next one, and tools that
    unpack files set the time.
    """
    changed: int
    """Nanoseconds since 1970 of the last change of the inode, which nobody sets; another link or mode is one, too."""


class Build:
    """The build that was installed when the service was started."""

    def __init__(self) -> None:
        """Remember the present build."""
        self.version = own_version()
        self._mark = _mark()
        self._looked = float("-inf")
        self._other: str | None = None

    def other(self, now: float) -> str | None:
        """Tell which build lies there instead; None where the running build does. `now` is monotonic."""
        if now - self._looked >= ANSWER_VALID_SECONDS:
            self._looked = now
            seen = _mark()
            self._other = None if seen == self._mark else self._described(seen)
        return self._other

    def _described(self, seen: FileMark | None) -> str | None:
        if seen is None:
            return f"orcha {self.version} runs, and its files were moved or removed"
        lies = own_version()  # read each time: an installer may put it there after the files
        if lies != self.version:
            return f"orcha {self.version} runs, and {lies} lies there now"
        if self._mark is not None and seen.content == self._mark.content:
            return None
        return f"orcha {self.version} runs, and another build of it lies there now"


def _mark() -> FileMark | None:
    """Give the mark of the package's own file; None where there is none."""
    try:
        found = _FILE.stat()
    except OSError:
        return None
    return FileMark((found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size), found.st_ctime_ns)
