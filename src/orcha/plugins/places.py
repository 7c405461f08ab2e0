"""Where plugins are looked for, and imported from: what is installed, never the working directory."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def safe_path() -> list[str]:
    """Give ``sys.path`` without what the interpreter put there for the way it was started.

    Left out are the working directory of ``python -m`` and ``python -c``, the folder of a script, and empty or relative
    entries of ``PYTHONPATH``, which mean the working directory too. An absolute entry of ``PYTHONPATH`` stays.
    """
    listed = [] if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "").split(os.pathsep)
    meant = {os.path.normpath(entry) for entry in listed if os.path.isabs(entry)}  # noqa: PTH117 - pathlib is heavy
    here = _working_directory()
    unwanted = {os.path.normpath(os.path.join(here, entry)) for entry in listed if entry or len(listed) > 1} - meant  # noqa: PTH118
    first = {here, *_script_folders()} - meant
    return [
        entry
        for position, entry in enumerate(sys.path)
        if os.path.isabs(entry)  # noqa: PTH117
        and (plain := os.path.normpath(entry)) not in unwanted
        and not (position == 0 and plain in first)
    ]


def search_folders(path: list[str]) -> list[str]:
    """Give the entries of a safe path in which plugins may lie: all but the standard library's."""
    standard = os.path.normpath(os.path.dirname(os.__file__))  # noqa: PTH120
    own = {standard, os.path.join(standard, "lib-dynload")}  # noqa: PTH118
    return [entry for entry in dict.fromkeys(path) if os.path.normpath(entry) not in own]


class importing:  # noqa: N801 - used as a context manager
    """Import from a safe path inside the block."""

    def __enter__(self) -> None:
        """Set it; Orcha's own folder stays in it, wherever it is."""
        self._before = sys.path[:]
        sys.path[:] = with_orcha(safe_path())

    def __exit__(self, *_: object) -> None:
        """Put the present path back."""
        sys.path[:] = self._before


def with_orcha(path: list[str]) -> list[str]:
    """Give a path on which Orcha itself is found, be it in a source tree that is nowhere installed."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    home = os.path.dirname(package)  # noqa: PTH120
    return path if home in path else [*path, home]


def _working_directory() -> str:
    """Give the working directory; where it was deleted, a name that nothing has."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return os.devnull


def _script_folders() -> Iterator[str]:
    """Give the folders that a script's start puts first, with and without its links resolved."""
    script = sys.argv[0] if sys.argv else ""
    if script and script not in {"-c", "-m"}:
        yield os.path.dirname(os.path.abspath(script))  # noqa: PTH100, PTH120
        yield os.path.dirname(os.path.realpath(script))  # noqa: PTH120
