"""``orcha backup``: copy the state of the service to a file, while the service serves."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from orcha._protocol.endpoint import Endpoint

_EPILOG = """\
examples:
  orcha backup /mnt/disk2/orcha.tar
  orcha backup --replace /mnt/disk2/orcha.tar

The file has the petitions, their output and the input that is kept, not the
key. It is there when it is whole, and orcha restore takes it.
"""
MIN_ROOM_LEFT_BYTES = 64 << 20
"""Bytes that a backup leaves free on its disk: where the service is on the same disk, it goes on taking petitions."""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = "Copy everything that the service keeps to a file, as it is at one moment."
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("file", metavar="FILE", help="the file to make, a tar archive")
    add("--replace", action="store_true", help="replace FILE where it is there, once the new one is whole")
    add("--json", action="store_true", help="print a JSON object about the backup; times are ISO 8601, in UTC")


def run(namespace: argparse.Namespace) -> int:
    """Copy the state, and print how much was copied."""
    from orcha._cli import render, which_state
    from orcha._protocol.services import own_place
    from orcha.utils.system_paths import system_state

    path = os.path.realpath(namespace.file)
    if not namespace.file or os.path.isdir(path):  # noqa: PTH112 - pathlib starts slowly
        render.note(f"{namespace.file!r} is a folder: name a file in it, as orcha.tar")
        return 2
    if os.path.lexists(path) and not (namespace.replace and os.path.isfile(path)):  # noqa: PTH113
        render.note(f"{namespace.file} is there already: give another name, or --replace")
        return 1
    place = own_place("backup")
    folders = _with_a_state(place)
    if which_state.is_open(place) and len(folders) > 1 and system_state() in folders:
        render.note(which_state.question("backup", namespace.file, "this machine has a service for all users"))
        return 2
    folder, served = _chosen(place, folders)
    if os.path.dirname(path) in {os.path.realpath(folder), os.path.realpath(f"{folder}/output")}:  # noqa: PTH120
        render.note(f"{namespace.file} lies in the folder of the service: give a path elsewhere, best on another disk")
        return 2
    made = _back_up(folder, path, served=served) | {"file": path, "folder": folder}
    if namespace.json:
        render.json(made)
    else:
        count = made["petitions"]
        petitions = f"{count} petition{'' if count == 1 else 's'}"
        render.line(f"{namespace.file}: {petitions}, {render.size(made['bytes'])}, from {folder}")
    return 0


def _with_a_state(place: Endpoint) -> list[str]:
    """Give the folders with a state of the services that a client would try."""
    return [folder for folder in place.folders() if os.path.lexists(f"{folder}/orcha.db")]


def _chosen(place: Endpoint, folders: list[str]) -> tuple[str, bool]:
    """Give the folder of a service that runs, else the first folder, and whether a service uses it.

    Raises:
        ConfigurationError: no service keeps a state there, on this machine.

    """
    from orcha._cli.stop import is_held
    from orcha.exceptions import ConfigurationError

    for folder in folders:
        if is_held(f"{folder}/lock"):
            return folder, True
    if not folders:
        for folder in place.folders():
            if os.path.isdir(folder) and not os.access(folder, os.X_OK):  # noqa: PTH112 - pathlib starts slowly
                raise ConfigurationError(_closed(folder))
        raise ConfigurationError(
            f"no service keeps a state in {place.folder}: name the service before the command (--port), and back up on"
            " the machine of the service"
        )
    return folders[0], False


def _closed(folder: str) -> str:
    """Say whose the state in a folder is that this user may not read."""
    from orcha.utils.users import described

    owner = described(os.stat(folder).st_uid)  # noqa: PTH116 - pathlib starts slowly
    return f"what the service keeps in {folder} is closed to you: back up as its user, {owner}"


def _back_up(folder: str, path: str, *, served: bool) -> dict[str, Any]:
    """Make the file under another name, and rename it when it is whole and on the disk."""
    from pathlib import Path

    from orcha._processes.lock import EndpointLock
    from orcha._store.migrating import sync_file

    lock = None if served else EndpointLock(Path(folder))
    try:
        with _partial(path) as partial:
            made = _write(folder, partial, served=served)
            os.rename(partial, path)  # noqa: PTH104
            sync_file(Path(path).parent)
    finally:
        if lock is not None:
            lock.release()
    return made


def _write(folder: str, partial: str, *, served: bool) -> dict[str, Any]:
    from pathlib import Path

    from orcha._cli import render
    from orcha._cli.backup_file import DATABASE, OUTPUT, BackupWriter, output_names, shown_progress
    from orcha._store.copying import copy_database
    from orcha.utils.packages import own_version

    database = f"{partial}.db"
    size, log = _size(f"{folder}/orcha.db"), _size(f"{folder}/orcha.db-wal")
    output = sum(each for _, each in output_names(f"{folder}/output"))
    _refuse_without_room(partial, 2 * (size + log) + output)
    taken = render.iso(render.now())
    with shown_progress("backing up", 2 * size + output) as progress:
        petitions = copy_database(Path(folder), Path(database), progress, served=served)
        with open(partial, "wb") as file:  # noqa: PTH123
            writer = BackupWriter(file, {"taken": taken, "version": own_version(), "folder": folder}, progress)
            # The database comes first: its output is in the files before it is in the database.
            names = [(DATABASE, database)]
            names += [(f"{OUTPUT}{name}", f"{folder}/output/{name}") for name, _ in output_names(f"{folder}/output")]
            for name, source in names:
                try:
                    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                except FileNotFoundError:  # its petition was forgotten meanwhile
                    continue
                try:
                    writer.add(name, descriptor)
                finally:
                    os.close(descriptor)
            files = writer.finish()
            file.flush()
            os.fsync(file.fileno())
            written = file.tell()
    return {"taken": taken, "petitions": petitions, "files": files, "bytes": written, "served": served}


@contextlib.contextmanager
def _partial(path: str) -> Iterator[str]:
    """Give a name of its own under which the file is made; remove what is left of that file afterwards."""
    import errno
    import fcntl

    from orcha.exceptions import ConfigurationError
    from orcha.exceptions.store import StoreFull, no_room

    partial = f"{path}.partial"
    try:
        lock = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{partial} cannot be written: {error.strerror}: see who may write there") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_own = os.path.samestat(os.fstat(lock), os.stat(partial))  # noqa: PTH116
        except (BlockingIOError, FileNotFoundError):
            is_own = False
        if not is_own:
            raise ConfigurationError(f"another orcha backup writes {path}: wait for its end, or give another name")
        try:
            _remove(f"{partial}.db")  # of a backup that was killed
            os.ftruncate(lock, 0)
            yield partial
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoreFull(no_room(path)) from error
            raise
        finally:
            for left in ("-wal", "-shm", ""):
                _remove(f"{partial}.db{left}")
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), os.stat(partial)):  # noqa: PTH116
                    os.unlink(partial)  # noqa: PTH108
    finally:
        os.close(lock)


def _refuse_without_room(partial: str, needed: int) -> None:
    """Refuse a backup that would fill the disk, before anything is written."""
    from orcha._cli import render
    from orcha.exceptions.store import StoreFull

    disk = os.statvfs(os.path.dirname(partial))  # noqa: PTH120
    free = disk.f_bavail * disk.f_frsize
    if free < needed + MIN_ROOM_LEFT_BYTES:
        raise StoreFull(
            f"the backup needs up to {render.size(needed + MIN_ROOM_LEFT_BYTES)} of room at"
            f" {os.path.dirname(partial)}, and {render.size(free)} is free: make room there, or"  # noqa: PTH120
            " give a path on another disk"
        )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except FileNotFoundError:
        return 0


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
