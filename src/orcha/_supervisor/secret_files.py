"""The files in memory in which a command finds its secrets: made before its start, removed when its attempt is over.

They lie in a folder of the attempt alone, on a file system in memory (tmpfs(5)), under a name that nobody can guess. A
note in the shims' folder, which is written before, says where: so a process that finds the shim dead finds the files.
Nothing but the standard library is needed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat

from orcha.utils.private import open_file, unlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MEMORY_KINDS = frozenset(("tmpfs", "ramfs"))
_FOLDER = re.compile(r"(/(?:.*/)?)(orcha-[0-9a-f]{32})", re.DOTALL)
_MAX_NOTE_BYTES = 8192
_MAX_DEPTH_FOLDERS = 8
"""Folders in folders that are removed: a command may make some beside its secrets."""
NOTE_SUFFIX = "secrets"


class NoPlaceError(OSError):
    """There is no file system in memory to put secrets on."""


def write(folder: str, shim: str, secrets: Mapping[str, bytes], account: tuple[int, int] | None) -> dict[str, str]:
    """Make the files of a shim's attempt, and give the variables that say where they are.

    They belong to `account`, a user and its group, where that is another user than this process's. `folder` is the
    endpoint's. Raises OSError; what was made by then stays for :func:`remove`.
    """
    place = _place(() if account is not None else _own_places())
    path = f"{place.rstrip('/')}/orcha-{os.urandom(16).hex()}"
    note = open_file(f"{folder}/shims/{shim}.{NOTE_SUFFIX}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(note, os.fsencode(path))
    finally:
        os.close(note)
    os.mkdir(path, 0o700)
    variables = {"ORCHA_SECRETS": path}
    for name, value in secrets.items():
        descriptor = os.open(
            f"{path}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400
        )
        try:
            left = memoryview(value)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fchmod(descriptor, 0o400)
            if account is not None:
                os.fchown(descriptor, *account)
        finally:
            os.close(descriptor)
        variables[f"ORCHA_SECRET_{name}"] = f"{path}/{name}"
    if account is not None:  # last: until then nobody else can touch what is in it
        os.chown(path, *account, follow_symlinks=False)
    return variables


def remove(folder: str, shim: str) -> None:
    """Remove the files of a shim's attempt, if it has any; where that fails, the note stays for the next time."""
    note = f"{folder}/shims/{shim}.{NOTE_SUFFIX}"
    try:
        descriptor = open_file(note, os.O_RDONLY)
    except OSError:
        return
    try:
        path = os.fsdecode(os.read(descriptor, _MAX_NOTE_BYTES))
    finally:
        os.close(descriptor)
    found = _FOLDER.fullmatch(path)
    with contextlib.suppress(OSError):
        if found is not None:
            _remove_folder(found[1], found[2])
        unlink(note)


def _remove_folder(above: str, name: str) -> None:
    """Remove a folder, which may be another user's by now: nothing in it is followed."""
    try:
        place = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _empty(place, name, _MAX_DEPTH_FOLDERS)
    finally:
        os.close(place)


def _empty(place: int, name: str, depth: int) -> None:
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    except FileNotFoundError:
        return
    except NotADirectoryError:  # also a link: somebody has put it there
        os.unlink(name, dir_fd=place)
        return
    try:
        for entry in os.listdir(folder):
            is_folder = stat.S_ISDIR(os.stat(entry, dir_fd=folder, follow_symlinks=False).st_mode)
            if not is_folder:
                os.unlink(entry, dir_fd=folder)
            elif depth:
                _empty(folder, entry, depth - 1)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=place)


def _own_places() -> Iterable[str]:
    """Give the folders in memory that are this user's alone."""
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    return [place for place in (named, f"/run/user/{os.geteuid()}") if place.startswith("/")]


def _place(own: Iterable[str]) -> str:
    """Give a folder in memory; raises NoPlaceError where there is none."""
    for place in (*own, "/dev/shm", "/run"):  # noqa: S108 - in it a folder of a name that nobody can guess is made
        if os.access(place, os.W_OK | os.X_OK) and kind_of(place) in _MEMORY_KINDS:
            return os.path.realpath(place)
    raise NoPlaceError(
        "neither XDG_RUNTIME_DIR nor /dev/shm is a folder in memory (tmpfs): mount one, or leave out --secret"
    )


def kind_of(path: str) -> str:
    """Give the kind of the file system that a folder is on, by proc_pid_mountinfo(5); empty where that is not known."""
    real, best, kind = os.path.realpath(path), "", ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                fields = line.split(" ")
                point = _unescaped(fields[4])
                if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
                    best, kind = point, fields[fields.index("-") + 1]
    except (OSError, ValueError, IndexError):
        return ""
    return kind


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point)


__all__ = ["NOTE_SUFFIX", "NoPlaceError", "kind_of", "remove", "write"]
