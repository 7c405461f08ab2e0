"""Bytes to standard output and standard error, whole and at once, whatever these are."""

from __future__ import annotations

import os
import stat
import sys
from errno import EBADF

from orcha._cli import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._cli.modes import Modes

_NEWLINE = 10


def fill_standard_descriptors() -> None:
    """Open what is closed of descriptors 0 to 2 on nothing: else the next socket would be standard output.

    Bytes for a standard output that was closed have no place to go: writing there fails as it did before. What a closed
    standard error would have said is dropped, as nobody could be told of that.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if descriptor == 2 else os.O_RDONLY)  # the lowest that is free: this one
            os.set_inheritable(descriptor, True)


def are_one() -> bool:
    """Tell whether standard output and standard error are one file, pipe or terminal; ask before any is opened.

    Where both are a device that keeps nothing, as /dev/null, there is no order to keep.
    """
    try:
        out, err = os.fstat(1), os.fstat(2)
    except OSError:
        return False
    if (out.st_dev, out.st_ino) != (err.st_dev, err.st_ino):
        return False
    return not stat.S_ISCHR(out.st_mode) or _is_terminal(1)


def input_waits() -> bool:
    """Tell whether standard input is a pipe, or a file that is not at its end; nothing is read."""
    try:
        found = os.fstat(0)
        if stat.S_ISREG(found.st_mode):
            return os.lseek(0, 0, os.SEEK_CUR) < found.st_size
    except OSError:
        return False
    return stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, also to a pipe that takes a part, or nothing for a while.

    Raises:
        BrokenPipeError: nobody reads it any more.
        OSError: it cannot be written for another reason.

    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            _wait_for_room(descriptor)
        except OSError as error:
            if error.errno == EBADF:
                raise OSError(f"there is nothing to write to: descriptor {descriptor} is closed") from error
            raise


def _wait_for_room(descriptor: int) -> None:
    """Wait until something can be written to a descriptor that does not wait by itself."""
    from select import POLLOUT, poll

    poller = poll()
    poller.register(descriptor, POLLOUT)
    poller.poll()


class Streams:
    """Where an attached client's output goes: the command's bytes, and lines about it on standard error.

    On a terminal one line tells what is waited for. It stands at the end, is updated in place, and is erased before
    anything else is written.
    """

    def __init__(self) -> None:
        """Look at what standard error is."""
        self.is_terminal = sys.stderr is not None and _is_terminal(2)
        self.has_status = self.is_terminal and render.takes_escapes()
        """Whether the line that is updated in place can be shown."""
        self._status = ""
        self._shares = self.is_terminal and _is_terminal(1)
        self._column_zero = True
        screens = [descriptor for descriptor in (1, 2) if _is_terminal(descriptor) and render.takes_escapes()]
        self._screen = screens[0] if screens else None
        self._screens = frozenset(screens)
        self._modes: Modes | None = None
        self._has_left = False

    def write(self, stream: int, data: bytes) -> None:
        """Write bytes of the command to its stream, 1 or 2."""
        if not data:
            return
        self.erase()
        target = 2 if stream == 2 else 1
        if target in self._screens:
            self._note(data)
        write_all(target, data)
        if self._shares or stream == 2:
            self._column_zero = data[-1] == _NEWLINE

    def _note(self, data: bytes) -> None:
        """Know what the command switches on in the terminal, before it is there: a signal may end the writing."""
        if self._modes is None:
            from orcha._cli.modes import Modes

            self._modes = Modes()
        self._modes.feed(data)

    def leave(self) -> None:
        """Switch off in the terminal what the command has switched on, and not off."""
        self.erase()
        if self._modes is not None and self._screen is not None and not self._has_left:
            self._has_left = True
            self._put(self._screen, self._modes.off())

    def enter(self) -> None:
        """Switch on again what `leave` has switched off."""
        if self._modes is not None and self._screen is not None and self._has_left:
            self._has_left = False
            self._put(self._screen, self._modes.on())

    def tell(self, line: str) -> None:
        """Write a line for people to standard error, on a line of its own."""
        self.erase()
        text = render.plain(line.strip())
        text = text if text.startswith("orcha: ") else f"orcha: {text}"
        start = "" if self._column_zero or not self.is_terminal else "\r\n"
        end = "\r\n" if self.is_terminal else "\n"
        self._column_zero = True
        self._err(start + text + end)

    def status(self, text: str, hint: str = "") -> None:
        """Show what is waited for, on a terminal only; the hint after it where there is room for all of it."""
        if not self.has_status or not self._column_zero or text == self._status:
            return
        width = max(20, os.get_terminal_size(2).columns) - 1
        line = f"orcha: {render.plain(text)}"
        line += hint if len(line) + len(hint) <= width else ""
        line = line if len(line) <= width else line[: width - 1] + "~"
        self._status = text
        self._err(f"\r\x1b[K{line}")

    def erase(self) -> None:
        """Take the line about waiting away."""
        if self._status:
            self._status = ""
            self._err("\r\x1b[K")

    def _err(self, text: str) -> None:
        """Write to standard error."""
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        self._put(2, text.encode(encoding, "backslashreplace"))

    @staticmethod
    def _put(descriptor: int, data: bytes) -> None:
        """Write what is for people; where nobody reads it there is nobody to tell."""
        try:
            write_all(descriptor, data)
        except OSError:
            return


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
