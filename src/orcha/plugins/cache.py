"""The cache of what is known of the plugins: one small text file for each interpreter and ``sys.path``.

It lies in ``$ORCHA_HOME/cache``, else in ``orcha`` under the XDG cache folder. It is only ever a saving: one that is
missing, torn, written by somebody else, or not to be written, costs a tenth of a second, and nothing else.
"""

from __future__ import annotations

import os
import sys

from orcha.plugins.record import FIELD, RECORD, TOO_SLOW, Plugin, Stamp, clean
from orcha.utils.paths import named_path

_FORMAT = "orcha plugins 2"
_MAX_CACHE_FILES = 32
_MAX_CACHE_BYTES = 1 << 20
_SLOW_RETRY_NANOSECONDS = 60_000_000_000
"""Nanoseconds after which a plugin that was too slow to be imported is tried again: the machine may have been."""
_SETTLED_NANOSECONDS = 50_000_000
"""Nanoseconds: a file written this short before it was looked at may be written again without a new time."""


class Mark:
    """A ``sys.path`` and the state of its folders, taken before they are searched."""

    def __init__(self, path: list[str]) -> None:
        """Look at each folder now."""
        self.stamps = [Stamp.of(folder) for folder in path]
        self.taken = _now()
        self.names = {stamp.path: _names(stamp.path) for stamp in self.stamps}

    def header(self, *, versions: bool) -> str:
        """Give it as text."""
        stamps = [f"{clean(stamp.path)}{FIELD}{stamp.modified}{FIELD}{self.names[stamp.path]}" for stamp in self.stamps]
        return RECORD.join([_head(versions=versions), *stamps])


def read(path: list[str], *, versions: bool) -> list[Plugin] | None:
    """Give the cached plugins; None where there are none that hold, or their versions are missing but wanted."""
    location = _location(path)
    if location is None or (text := _contents(location)) is None:
        return None
    header, _, body = text.partition(RECORD + RECORD)
    first, *folders = header.split(RECORD)
    if first not in {_head(versions=True), _head(versions=versions)} or not _hold(path, folders):
        return None
    *records, end = body.split(RECORD)
    if end != "end":
        return None
    try:
        plugins = [Plugin.read(record) for record in records]
    except ValueError:
        return None
    if any(plugin.problem.startswith(TOO_SLOW) for plugin in plugins) and not _is_fresh(location):
        return None
    return plugins if all(stamp.holds() for plugin in plugins for stamp in plugin.stamps) else None


def write(mark: Mark, plugins: list[Plugin], *, versions: bool) -> None:
    """Keep what was found, where that can be done, and where no folder was written a moment ago."""
    if any(0 <= mark.taken - stamp.modified < _SETTLED_NANOSECONDS for stamp in mark.stamps):
        return
    location = _location([stamp.path for stamp in mark.stamps])
    if location is None:
        return
    body = "".join(plugin.write() + RECORD for plugin in plugins)
    text = f"{mark.header(versions=versions)}{RECORD}{RECORD}{body}end"
    folder = os.path.dirname(location)  # noqa: PTH120 - pathlib is heavy
    temporary = f"{location}.{os.getpid()}"
    try:
        if not _is_ours(folder):
            return
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
        os.replace(temporary, location)  # noqa: PTH105
        _prune(folder)
    except (OSError, ValueError):  # read-only, full, not ours: the next command searches again
        _remove(temporary)


def forget(path: list[str]) -> None:
    """Drop what is cached: it turned out to be wrong."""
    location = _location(path)
    if location is not None:
        _remove(location)


def _head(*, versions: bool) -> str:
    """Give the first line."""
    return f"{_FORMAT}{FIELD}{sys.version}{FIELD}{sys.prefix}{FIELD}{int(versions)}"


def _hold(path: list[str], lines: list[str]) -> bool:
    """Whether these are the folders of the path, with nothing new in them but bytecode: a first import makes that."""
    if len(path) != len(lines):
        return False
    for folder, line in zip(path, lines, strict=True):
        before = line.split(FIELD)
        stamp = Stamp.of(folder)
        if len(before) != 3 or before[0] != clean(folder):
            return False
        if before[1] != str(stamp.modified) and before[2] != _names(folder):
            return False
    return True


def _names(folder: str) -> str:
    """Give a text that changes with the names in a folder, but for bytecode; nothing for a folder that does not exist.

    Of what has a dot in its name, as modules and what describes a distribution have, it tells a later writing, too.
    """
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except (OSError, ValueError):
        return ""
    from binascii import crc32

    known = [
        f"{name}\0{Stamp.of(f'{folder}/{name}').modified if '.' in name else 0}"
        for name in names
        if name != "__pycache__"
    ]
    return f"{len(known)}-{crc32(os.fsencode(chr(0).join(known))):08x}"


def _location(path: list[str]) -> str | None:
    """Give the file for this interpreter and path, None where there is no place for one."""
    home = named_path("ORCHA_HOME")
    if home:
        folder = os.path.join(home, "cache")  # noqa: PTH118
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # noqa: PTH117 - the XDG specification has a relative one ignored
            base = os.path.expanduser("~/.cache")  # noqa: PTH111
        folder = os.path.join(base, "orcha")  # noqa: PTH118
    if not os.path.isabs(folder):  # noqa: PTH117 - a relative one would lie in the working directory
        return None
    from binascii import crc32

    key = "\0".join([sys.version, sys.prefix, *path]).encode("utf-8", "surrogateescape")
    return os.path.join(folder, f"plugins-{crc32(key):08x}")  # noqa: PTH118


def _contents(location: str) -> str | None:
    """Give a cache file's text, None where it is missing, too big, or others than we and root could write it."""
    try:
        descriptor = os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        regular = status.st_mode & 0o170000 == 0o100000
        if (
            not regular
            or status.st_uid not in {os.geteuid(), 0}
            or status.st_mode & 0o022
            or status.st_size > _MAX_CACHE_BYTES
        ):
            return None
        return os.read(descriptor, _MAX_CACHE_BYTES).decode("utf-8", "surrogateescape")
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


def _is_fresh(location: str) -> bool:
    """Whether a cache was written so lately that a plugin that was too slow then is not tried again."""
    return _now() - Stamp.of(location).modified < _SLOW_RETRY_NANOSECONDS


def _is_ours(folder: str) -> bool:
    """Whether the nearest folder that exists is ours: root leaves nothing behind in the home of another."""
    while not os.path.exists(folder):  # noqa: PTH110
        folder = os.path.dirname(folder)  # noqa: PTH120
    return os.stat(folder).st_uid == os.geteuid()  # noqa: PTH116


def _prune(folder: str) -> None:
    """Keep the newest files only: each ``sys.path`` that was ever used made one."""
    names = [name for name in os.listdir(folder) if name.startswith("plugins-")]  # noqa: PTH208
    if len(names) <= _MAX_CACHE_FILES:
        return
    stamps = sorted((Stamp.of(os.path.join(folder, name)) for name in names), key=lambda stamp: stamp.modified)  # noqa: PTH118
    for stamp in stamps[:-_MAX_CACHE_FILES]:
        _remove(stamp.path)


def _remove(location: str) -> None:
    """Remove a file that may be gone."""
    try:
        os.unlink(location)  # noqa: PTH108
    except OSError:
        return


def _now() -> int:
    """Give the time of the clock that stamps files."""
    from time import time_ns  # noqa: TID251 - compared with files' times, which only this clock can be

    return time_ns()
