"""The folder of an endpoint, and what lies in it: opened relative to descriptors, never through a link.

What is there is looked at before it is opened: a FIFO would hold the opening back, a device may do anything. Nothing
but the standard library is needed: a shim uses it, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from orcha.exceptions import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FILE, FOLDER, SOCKET = stat.S_IFREG, stat.S_IFDIR, stat.S_IFSOCK
_NAMES = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}
_KINDS = {"output": FOLDER, "shims": FOLDER, "orcha.sock": SOCKET}
"""What is no file in the folder of an endpoint."""
_KNOWN = ("lock", "ballast", "tls.pem", "tls.pem.new", "service.pid", "service.log", *_KINDS)
_DATABASE = "orcha.db"
"""All names that begin with it are files."""
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafeStateError(ConfigurationError):
    """What lies in the folder of the endpoint is not what a service has put there. Exit code 78."""


def check_folder(path: str) -> None:
    """Raise UnsafeStateError where something in an endpoint's folder is a link, of another kind, or others' to write.

    Each line names the path, what is wrong with it, and the cure. Raises OSError where the folder cannot be read.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in sorted(os.listdir(folder)):  # noqa: PTH208
            if name in _KNOWN or name.startswith(_DATABASE):
                check(folder, name, _KINDS.get(name, FILE), path)
        for name in ("output", "shims"):
            _check_content(folder, name, f"{path}/{name}")
    finally:
        os.close(folder)


def _check_content(folder: int, name: str, path: str) -> None:
    """Check what lies in one of the folders; of many files of output no more than the kind, which costs no look."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if name == "output" and entry.is_file(follow_symlinks=False):
                    continue
                check(descriptor, entry.name, SOCKET if entry.name.endswith(".sock") else FILE, path)
    finally:
        os.close(descriptor)


def check(folder: int, name: str, kind: int, path: str) -> None:
    """Raise UnsafeStateError where a name in an open folder, whose path is given, is there and not as it should be."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    problem = _problem(found, kind, f"{path}/{name}")
    if problem:
        raise UnsafeStateError(problem)


def _problem(found: os.stat_result, kind: int, path: str) -> str:
    """Say what is wrong, and the cure; nothing where all is well."""
    own, mode = os.geteuid(), stat.S_IMODE(found.st_mode)
    if stat.S_IFMT(found.st_mode) != kind:
        is_there = _NAMES.get(stat.S_IFMT(found.st_mode), "something else")
        follows = ", and none is followed there" if stat.S_ISLNK(found.st_mode) else ""
        return f"{path} is {is_there} where {_NAMES[kind]} belongs{follows}: move it away, and put back what was there"
    if found.st_uid != own:
        return f"{path} belongs to user {found.st_uid}, and the service runs as user {own}: chown {own} {path}"
    if kind == SOCKET:
        return ""  # the mode says already which users the service lets in by this file
    wanted = 0o700 if kind == FOLDER else 0o600
    if mode & 0o022 or mode & wanted != wanted:
        whose = "others may write to it" if mode & 0o022 else "its owner may not use it"
        return f"{path} has mode {mode:04o}, so {whose}: chmod {wanted:o} {path}"
    if kind == FILE and found.st_nlink > 1:
        return (
            f"{path} is one of {found.st_nlink} names of the same file (hard links), and the service would"
            f" change it under all of them: cp -p {path} {path}.own && mv {path}.own {path}"
        )
    return ""


def make_folder(path: str) -> int:
    """Give a descriptor of a folder in another one, made (0700) where it is missing.

    Raises OSError, UnsafeStateError where it is a link, another kind of thing, or others may change what is in it.
    """
    above, name = os.path.split(path)
    place = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            os.mkdir(name, 0o700, dir_fd=place)
        except FileExistsError:
            check(place, name, FOLDER, above)
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)


def open_file(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file of a service's folder: through no link, neither the file's own name nor those of two folders above.

    Raises OSError with the path: EINVAL where it is no file.
    """
    with _place_of(path) as (place, name):
        try:
            return open_in(place, name, flags, mode)
        except OSError as error:
            error.filename = path  # the kernel was given the last name alone
            raise


def open_in(folder: int, name: str, flags: int, mode: int = 0o600) -> int:
    """Open a file in an open folder, through no link; raises OSError, EINVAL where it is no file."""
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(name, flags, mode, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file", name)
    return descriptor


def unlink(path: str) -> None:
    """Remove a name from a service's folder, where it is in the same way; raises OSError."""
    with _place_of(path) as (place, name):
        os.unlink(name, dir_fd=place)


@contextlib.contextmanager
def _place_of(path: str) -> Iterator[tuple[int, str]]:
    """Give a descriptor of the folder that a path leads to, and the name in it."""
    folder, name = os.path.split(path)
    above, below = os.path.split(folder)
    first = os.open(above or "/", _PLACE)
    try:
        second = os.open(below or ".", _PLACE, dir_fd=first)
    finally:
        os.close(first)
    try:
        yield second, name
    finally:
        os.close(second)
