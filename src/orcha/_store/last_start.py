"""What is known of a store's last start outside of it: a small file beside the folder, `<folder>.last-start`.

The file tells a state that was lost from a state that never was. Where it names a start that the database does not
know, the database was removed, or an older or another one was put in its place. Where it says that the service was
stopped in good order, and the database does not, the database is a copy that was made before the stop. Where a crash
left a database in another file than the last start had open, that file is a copy, perhaps of an earlier moment.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orcha.exceptions.store import StoreBroken
from orcha.utils.private import FILE, UnsafeStateError, check, open_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUFFIX = ".last-start"
_FIRST_LINE = "What orcha knows of its last start in {}. Without this file a start takes what it finds there.\n"
_MAX_BYTES = 8192
_STOPPED = b"\nstopped "
"""Stands before `1` once the service was stopped in good order, before `0` until then."""


def refuse_moved(folder: Path) -> None:
    """Raise StoreBroken where a service has kept its state in a folder that is not there any more; makes nothing."""
    if not os.path.lexists(folder):
        Witness(folder).refuse_anew(folder / "orcha.db")


class LastStart(NamedTuple):
    """One start of a service."""

    epoch: int
    nonce: int
    boot_id: str
    stopped: bool = False
    """Whether the service was stopped in good order since."""
    born: int | None = None
    """When the database's file was made, in nanoseconds since the epoch; None where nobody has noted it."""


def this_boot() -> str:
    """Give the identifier of this boot (random(4)), "" where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


class Witness:
    """The file beside a store's folder.

    Example::

        witness = Witness(folder)
        last = witness.read()
        ...
        witness.write(LastStart(epoch, nonce, boot_id))
    """

    def __init__(self, folder: Path) -> None:
        """Name the file, which is not opened yet."""
        self.folder = folder
        self.path = folder.with_name(folder.name + SUFFIX)

    def read(self) -> LastStart | None:
        """Give the start that the file names; None where there is no file.

        Raises:
            StoreBroken: it is no file, or a store has not written it.
        """
        try:
            with self._above() as above:
                check(above, self.path.name, FILE, str(self.path.parent))
                descriptor = open_in(above, self.path.name, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):  # the folder itself is told of where it is made
            return None
        except UnsafeStateError as error:
            raise StoreBroken(str(error)) from None
        except OSError as error:
            raise StoreBroken(f"{self.path} cannot be read: {error.strerror}: see who may use it") from error
        try:
            text = os.read(descriptor, _MAX_BYTES).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
        words = dict(line.split(" ", 1) for line in text.splitlines()[1:] if " " in line)
        try:
            stopped = words.get("stopped") == "1"  # an earlier Orcha noted no stops
            born = int(words["born"]) if "born" in words else None
            return LastStart(int(words["epoch"]), int(words["nonce"]), words["boot"], stopped, born)
        except (KeyError, ValueError):
            raise StoreBroken(
                f"{self.path} is damaged: look whether {self.folder} is what the last service left there; to go on with"
                f" it, remove {self.path}"
            ) from None

    def refuse_anew(self, database: Path) -> None:
        """Raise StoreBroken for a database that is missing though a service has kept its state there."""
        if self.read() is not None:
            raise StoreBroken(
                f"{database} is missing, though a service has kept its state in {self.folder}: put that back as it was;"
                f" or, to begin anew with nothing waiting, remove {self.path}"
            )

    def refuse_other(self, database: Path, nonce_of: Callable[[int], int | None], newest: int) -> None:
        """Raise StoreBroken for a database that does not know the last start.

        `nonce_of` gives what the database has of a start, None where it has none of that number; `newest` is the last
        one that it knows.
        """
        last = self.read()
        if last is None or nonce_of(last.epoch) == last.nonce:
            return
        what = "is older than the last start of the service" if newest < last.epoch else "is not that of the last start"
        raise StoreBroken(
            f"{database} {what}: what was accepted since then is not in it. Put the right one back; or, to go on with"
            f" this one, remove {self.path}"
        )

    def refuse_older_than_stop(self, database: Path) -> None:
        """Raise StoreBroken for a database that says nothing of a stop in good order, where there was one."""
        last = self.read()
        if last is not None and last.stopped:
            raise StoreBroken(
                f"{database} is older than the last stop of the service: what was accepted before that stop may not be"
                f" in it. Put the right one back; or, to go on with this one, remove {self.path}"
            )

    def refuse_copy(self, database: Path, born: int | None) -> None:
        """Raise StoreBroken for a database that a crash left, where its file is not the file that the service had."""
        last = self.read()
        if last is not None and born is not None and last.born not in {None, born}:
            raise StoreBroken(
                f"{database} is a copy of the file that the service had: what was accepted after the copy was made is"
                f" not in it. Put back the file that the service had; or, to go on with the copy, remove {self.path}"
            )

    def note_stop(self, *, stopped: bool) -> None:
        """Note durably, in its place in the file, that the service was stopped in good order, or is in use again.

        Raises:
            StoreBroken: the file cannot be written.
        """
        try:
            with self._above() as above:
                descriptor = open_in(above, self.path.name, os.O_RDWR)
            try:
                place = os.read(descriptor, _MAX_BYTES).find(_STOPPED)
                if place >= 0:
                    os.pwrite(descriptor, b"%d" % stopped, place + len(_STOPPED))
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):  # the folder itself is told of where it is made
            return
        except OSError as error:
            raise StoreBroken(f"{self.path} cannot be written: {error.strerror}: see who may write there") from error

    def write(self, start: LastStart) -> None:
        """Write the file durably; where that fails, remove it: an older file would refuse the next start."""
        text = _FIRST_LINE.format(self.folder) + f"epoch {start.epoch}\nnonce {start.nonce}\nboot {start.boot_id}\n"
        text += f"stopped {start.stopped:d}\n"
        text += f"born {start.born}\n" if start.born is not None else ""
        try:
            self._write(text)
        except OSError:
            with contextlib.suppress(OSError), self._above() as above:
                os.unlink(self.path.name, dir_fd=above)

    def _write(self, text: str) -> None:
        new = f"{self.path.name}.new"
        with self._above() as above:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=above)
            descriptor = open_in(above, new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                os.write(descriptor, text.encode("utf-8", "surrogateescape"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(new, self.path.name, src_dir_fd=above, dst_dir_fd=above)
            os.fsync(above)

    @contextlib.contextmanager
    def _above(self) -> Iterator[int]:
        above = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield above
        finally:
            os.close(above)
