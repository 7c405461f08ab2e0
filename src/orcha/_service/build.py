"""Which build of Orcha a service was started from, and whether another one lies in its place by now."""

from __future__ import annotations

from pathlib import Path

from orcha.utils.packages import own_version

LOOK_AGAIN = 2.0
"""Seconds for which an answer holds."""
_FILE = Path(__file__).resolve().parent.parent / "__init__.py"
_Mark = tuple[int, int, int, int] | None


class Build:
    """What was installed when the service was started."""

    def __init__(self) -> None:
        """Remember it."""
        self.version = own_version()
        self._mark = self._seen = _mark()
        self._looked = float("-inf")
        self._other: str | None = None

    def other(self, now: float) -> str | None:
        """Tell what lies there instead; None where it is what runs. `now` is monotonic."""
        if now - self._looked < LOOK_AGAIN:
            return self._other
        self._looked = now
        seen = _mark()
        if seen != self._seen:
            self._seen = seen
            self._other = None if seen == self._mark else self._described(seen)
        return self._other

    def _described(self, seen: _Mark) -> str:
        if seen is None:
            return f"orcha {self.version} runs, and its files were moved or removed"
        lies = own_version()
        if lies == self.version:
            return f"orcha {self.version} runs, and another build of it lies there now"
        return f"orcha {self.version} runs, and {lies} lies there now"


def _mark() -> _Mark:
    """Give what changes when the files are replaced."""
    try:
        found = _FILE.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
