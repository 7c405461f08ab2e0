"""The configuration files of a service: where they are, whose they are, and what they say together."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from orcha._configuration.configured import Configured, together
from orcha._configuration.named_accounts import faults_of_accounts
from orcha._configuration.places import START
from orcha._configuration.reading import Fault, FileReading, read
from orcha.exceptions import ConfigurationError
from orcha.utils.place import ADDRESS, PORT

DROP_INS = ".d"
"""What follows the name of a file in the name of the folder with its drop-ins."""
SET_FILE = "90-set.toml"
"""The drop-in that `orcha config set` writes."""
MAX_FILE_BYTES = 1 << 20


class BadConfigurationError(ConfigurationError):
    """A configuration file is wrong; the message has a line for each fault. Exit code 78."""

    faults: tuple[Fault, ...]

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        """Take all that is wrong, at least one fault."""
        self.faults = faults
        more = len(faults) - 1
        rest = f" (and {more} more: orcha config check shows all)" if more else ""
        super().__init__(f"{faults[0]}{rest}")


class Loaded(NamedTuple):
    """What the configuration files say."""

    path: str
    """The file, which need not be there."""
    files: tuple[str, ...]
    """The files that are there, in the order in which they are read."""
    configured: Configured
    faults: tuple[Fault, ...]

    @property
    def listen(self) -> tuple[str, int] | None:
        """Address and port at which the default service listens; None where the files name neither."""
        of = self.configured.value
        address, port = of("listen", "address", None), of("listen", "port", None)
        if address is None and port is None:
            return None
        return address or ADDRESS, PORT if port is None else port

    def sound(self) -> Loaded:
        """Give itself.

        Raises:
            BadConfigurationError: something is wrong with a file.

        """
        if self.faults:
            raise BadConfigurationError(self.faults)
        return self


NOTHING = Loaded("", (), Configured(), ())
"""No file, as of a service of a plugin's own."""


def load(path: str, *, is_system: bool = False, instead: dict[str, bytes] | None = None) -> Loaded:
    """Read a configuration file, and its drop-ins: the files ``*.toml`` in the folder ``<path>.d``, in name order.

    Args:
        path: the file, which need not be there.
        is_system: whether a service of root reads it, which obeys no file that others than root can write.
        instead: content by path to be taken in place of what is there.

    """
    folder = path + DROP_INS
    given = instead or {}
    try:
        names = {each for each in os.listdir(folder) if each.endswith(".toml")}  # noqa: PTH208 - paths are texts here
    except OSError:
        names = set()
    names |= {os.path.basename(each) for each in given if os.path.dirname(each) == folder}  # noqa: PTH119, PTH120
    readings = []
    files = []
    for each in (path, *(f"{folder}/{name}" for name in sorted(names))):
        found = _read(each, is_system=is_system) if each not in given else read(given[each], each)
        if found is not None:
            files.append(each)
            readings.append(found)
    configured, faults = together(readings)
    return Loaded(path, tuple(files), configured, (*faults, *faults_of_accounts(configured)))


def _read(path: str, *, is_system: bool) -> FileReading | None:
    """Read a file; None where there is none."""
    try:
        with Path(path).open("rb") as file:
            problem = _unsafe(path, os.fstat(file.fileno()), is_system=is_system)
            if problem is None:
                above = os.path.dirname(path)  # noqa: PTH120
                problem = _unsafe(above, os.stat(above), is_system=is_system)  # noqa: PTH116
            if problem is not None:
                return FileReading({}, [Fault(path, *START, problem)])
            data = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return FileReading({}, [Fault(path, *START, f"it cannot be read ({error.strerror}): see whose it is")])
    if len(data) > MAX_FILE_BYTES:
        return FileReading({}, [Fault(path, *START, f"it has more than {MAX_FILE_BYTES} bytes: no configuration has")])
    return read(data, path)


def _unsafe(path: str, found: os.stat_result, *, is_system: bool) -> str | None:
    """Say why a service must not obey a file, if that is so: the file's writers decide what the service does."""
    own = os.geteuid()
    if found.st_uid not in {0, own}:
        return f"{path} belongs to uid {found.st_uid}: chown {'root' if is_system else own} {path}"
    others = stat.S_IMODE(found.st_mode) & (0o022 if is_system else 0o002)
    if others and not found.st_mode & stat.S_ISVTX:
        return f"others may write to {path} (mode {stat.S_IMODE(found.st_mode):04o}): chmod go-w {path}"
    return None


__all__ = ["DROP_INS", "NOTHING", "SET_FILE", "BadConfigurationError", "Loaded", "load"]
