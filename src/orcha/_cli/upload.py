"""``orcha run --upload``: bring this folder to the login where the command is to run, and unpack it there."""

from __future__ import annotations

import os
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from tarfile import TarInfo
    from typing import BinaryIO

    from orcha._protocol.relay_greeting import FarSide
    from orcha._protocol.ssh_place import SshPlace

MAX_AGE_SECONDS = 30 * 86_400
"""Age of an upload at which a later one removes it."""
_MAX_NAME_CHARACTERS = 60


class UploadedFile(NamedTuple):
    """What goes along."""

    path: str
    name: str
    """Within the folder."""
    size: int


def upload(place: SshPlace, folder: str, excluded: Sequence[str], tell: Callable[[str], None]) -> str:
    """Send a folder, by rsync where both machines have it, else as an archive; give the path that it has there.

    `tell` takes a line for people where it goes as an archive. Raises OrchaConnectionError where that could not be
    done, and OSError for a file that cannot be read.
    """
    from orcha._cli.backup_file import shown_progress
    from orcha._client.dial_ssh import send

    found, name = list(files(folder, excluded)), new_name(folder)
    with shown_progress("uploading", sum(each.size for each in found)) as progress:
        prepared, problem = _prepared(place, name)
        if prepared is not None:
            from orcha._client import rsync

            problem = rsync.copy(place, prepared, folder, [each.name for each in found], progress)
            if not problem:
                return prepared.folder
        tell(f"{problem}: every file is sent, as an archive")
        return send(place, f"--unpack {name}", lambda stream: _pack(found, stream, progress)).folder


def _prepared(place: SshPlace, name: str) -> tuple[FarSide | None, str]:
    """Have a new folder made there for rsync; give why rsync cannot be used, where that is so."""
    from orcha._client import rsync
    from orcha._client.dial_ssh import send
    from orcha.exceptions import OrchaError

    if rsync.program() is None:
        return None, f"there is no {rsync.PROGRAM} here"
    try:
        far = send(place, f"--prepare {name}", lambda _: None)
    except OrchaError:  # its Orcha is older; where nothing goes, the archive says why
        return None, f"Orcha on {place.host} made no folder for {rsync.PROGRAM}"
    return (far, "") if far.has_rsync else (None, f"there is no {rsync.PROGRAM} on {place.host}")


def new_name(folder: str) -> str:
    """Make the name that a folder has there: its own, as far as a shell takes it as it is, and some chance."""
    own = "".join(each for each in os.path.basename(folder) if each.isascii() and (each.isalnum() or each in "_-"))  # noqa: PTH119
    return f"{own[:_MAX_NAME_CHARACTERS] or 'folder'}-{os.urandom(6).hex()}"


def files(folder: str, excluded: Sequence[str], below: str = "") -> Iterator[UploadedFile]:
    """Give folders, files and links of a folder, but what a pattern fits: a name anywhere, or a path from the folder.

    Raises OSError for a folder that cannot be read.
    """
    from fnmatch import fnmatchcase

    with os.scandir(os.path.join(folder, below)) as entries:  # noqa: PTH118
        there = sorted(entries, key=lambda entry: entry.name)
    for entry in there:
        name = f"{below}/{entry.name}" if below else entry.name
        if any(fnmatchcase(entry.name, each) or fnmatchcase(name, each) for each in excluded):
            continue
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder or entry.is_symlink() or entry.is_file(follow_symlinks=False):
            size = 0 if is_folder or entry.is_symlink() else entry.stat(follow_symlinks=False).st_size
            yield UploadedFile(entry.path, name, size)
        if is_folder:
            yield from files(folder, excluded, name)


def _pack(found: Iterable[UploadedFile], stream: BinaryIO, progress: object) -> None:
    import tarfile

    assert callable(progress)
    with tarfile.open(mode="w|", fileobj=stream) as archive:
        for each in found:
            try:
                info = archive.gettarinfo(each.path, each.name)
            except FileNotFoundError:  # it was removed since
                continue
            _make_plain(info)
            if info.isreg():
                with open(each.path, "rb") as file:  # noqa: PTH123
                    archive.addfile(info, file)
                progress(info.size)
            else:
                archive.addfile(info)


def _make_plain(info: TarInfo) -> None:
    """Have a file belong to who unpacks it."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""


# --- at the login ------------------------------------------------------------------------------------------------


def uploads_folder(home: str) -> str:
    """Give the folder of all uploads: in $ORCHA_HOME, else in `orcha` of the XDG cache folder."""
    from orcha.utils.paths import named_path

    if own := named_path("ORCHA_HOME"):
        return f"{own}/uploads"
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return f"{cache if cache.startswith('/') else f'{home}/.cache'}/orcha/uploads"


def prepare(name: str, home: str) -> tuple[str, str]:
    """Make a new folder for an upload by rsync, and remove uploads that are old.

    Give its path, and the path of the last upload before of a folder of that name, empty where there is none. Raises
    OSError, and ValueError for what is no name of an upload.
    """
    made = _new_folder(name, home)
    own = name.rpartition("-")[0]
    with os.scandir(uploads_folder(home)) as entries:
        others = [each for each in entries if each.name.rpartition("-")[0] == own and each.path != made]
    newest = max(others, key=lambda each: each.stat().st_mtime, default=None)
    return made, "" if newest is None else newest.path


def _new_folder(name: str, home: str) -> str:
    """Make the folder of an upload: empty, also where rsync has begun to fill it."""
    import re
    import shutil

    if not re.fullmatch(r"[\w-]+", name, re.ASCII):  # what has the name is removed: never another folder
        raise ValueError(f"{name!a:.80} is no name of an upload")
    from orcha._protocol.endpoint import make_private_folder

    above = uploads_folder(home)
    make_private_folder(above)
    _remove_old(above)
    made = f"{above}/{name}"
    shutil.rmtree(made, ignore_errors=True)
    os.mkdir(made, 0o700)  # noqa: PTH102
    return made


def unpack(name: str, home: str, stream: BinaryIO) -> str:
    """Unpack what a client sends into a new folder, and give its path; remove uploads that are old.

    Raises OSError, and ValueError for what is no upload; nothing is left then.
    """
    import shutil
    import tarfile

    made = _new_folder(name, home)
    is_whole = False
    try:
        with tarfile.open(mode="r|", fileobj=stream) as archive:
            archive.extraction_filter = getattr(tarfile, "tar_filter", None)  # it came with CPython 3.11.4
            archive.extractall(made)  # noqa: S202 - the filter refuses what lies outside the folder
        os.utime(made)
        is_whole = True
    except tarfile.TarError as error:
        raise ValueError(f"the upload is not whole: {error}") from None
    finally:
        if not is_whole:
            shutil.rmtree(made, ignore_errors=True)
    return made


def _remove_old(above: str) -> None:
    """Remove uploads in whose folder nothing was made or removed for too long."""
    import contextlib
    import shutil
    import time  # noqa: TID251 - the ages of files are told by the clock on the wall

    with os.scandir(above) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # another upload removes old ones at the same time
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > MAX_AGE_SECONDS:
                    shutil.rmtree(entry.path, ignore_errors=True)


__all__ = ["UploadedFile", "files", "new_name", "prepare", "unpack", "upload", "uploads_folder"]
