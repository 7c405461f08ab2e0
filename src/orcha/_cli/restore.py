"""``orcha restore``: put a backup in place, where no service runs and no state is kept."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from pathlib import Path
    from typing import Any, BinaryIO

_EPILOG = """\
examples:
  orcha restore /mnt/disk2/orcha.tar
  orcha --port 50001 restore orcha.tar
  orcha --service system restore orcha.tar     # the machine's service, as root
  orcha --service user restore orcha.tar       # root's own service

The next orcha serve begins with it: what waited waits, and what ran when the
backup was made is interrupted.
"""
_UNPACKED = "restore.new"
"""The folder, within the folder of the service, in which a backup is unpacked and checked."""


def create_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.description = (
        "Put a file of orcha backup to the place of a service that does not run and keeps nothing yet. ORCHA_HOME, or"
        " --port or --service before the command, tells which place."
    )
    parser.epilog = _EPILOG
    parser.add_argument("file", metavar="FILE", help="a file that orcha backup has made")
    parser.add_argument("--json", action="store_true", help="print a JSON object about what was restored")


def run(namespace: argparse.Namespace) -> int:
    """Unpack the backup, check it, and put it in place."""
    import os
    from pathlib import Path

    from orcha._cli import render, which_state
    from orcha._processes.lock import EndpointLock
    from orcha._protocol.endpoint import unusable
    from orcha._protocol.services import own_place
    from orcha._store.copying import refuse_living

    place = own_place("restore")
    folder = Path(place.folder)
    with open(namespace.file, "rb") as file:  # noqa: PTH123
        if which_state.is_open(place) and (what := _of_the_machine(file)) is not None:
            render.note(which_state.question("restore", namespace.file, what))
            return 2
        total = os.fstat(file.fileno()).st_size
        try:
            lock = EndpointLock(folder)
        except OSError as error:
            raise unusable(f"{error.filename or folder} cannot be used", error) from None
        try:
            refuse_living(folder)
            head, was_there = _restore(file, namespace.file, folder, total)
        finally:
            lock.release()
    made = {"folder": str(folder), "taken": head.get("taken"), "from": head.get("folder"), "forgets": was_there}
    if namespace.json:
        render.json(made)
        return 0
    if was_there:
        render.note("what the service that was here accepted after the backup is not in it")
    serve = "orcha serve --system" if place.is_system else "orcha serve"
    render.line(f"{folder}: as it was at {made['taken']}; {serve} goes on from there")
    return 0


def _of_the_machine(file: BinaryIO) -> str | None:
    """Say why the machine's service may be meant; None where nothing speaks for that."""
    from orcha._cli.backup_file import read_head
    from orcha._cli.which_state import has_machines_service
    from orcha.utils.system_paths import system_state

    if has_machines_service():
        return "this machine has a service for all users"
    if read_head(file).get("folder") == system_state():
        return "the backup is of a machine's service for all users"
    return None


def _restore(file: Any, name: str, folder: Path, total: int) -> tuple[dict[str, Any], bool]:
    import errno
    import shutil

    from orcha._cli.backup_file import NoBackupError, shown_progress, unpack
    from orcha._store.copying import make_ready, put_in_place
    from orcha._store.migrating import sync_file
    from orcha.exceptions.store import StoreDamaged, StoreFull, no_room

    made = folder / _UNPACKED
    if made.exists():  # of a restoration that was killed
        shutil.rmtree(made)
    try:
        made.mkdir(mode=0o700)
        with shown_progress("restoring", total) as progress:
            head = unpack(file, str(made), progress)
        make_ready(made / "orcha.db")
        sync_file(made / "output")
        was_there = put_in_place(folder, made)
    except NoBackupError as error:
        raise StoreDamaged(f"{name} cannot be restored: {error}: take another backup") from None
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreFull(no_room(folder)) from error
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return head, was_there
