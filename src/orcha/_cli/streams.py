"""Writes bytes to standard output and standard error, whole and at once, to a file, a pipe or a terminal."""

from __future__ import annotations

import os
import stat
import sys
from errno import EBADF, ECONNRESET, EIO, ENXIO, EPIPE

from orcha._cli import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._cli.harmless import Harmless
    from orcha._cli.modes import Modes

_NEWLINE = 10
_CLOSE_TOGETHER_MILLISECONDS = 300
"""The time within which a connection that breaks off closes all descriptors that it gave."""


def fill_standard_descriptors() -> None:
    """Open what is closed of descriptors 0 to 2 on nothing: else the next socket would be standard output.

    Bytes for a standard output that was closed have no place to go: writing there fails as it did before. What a closed
    standard error would have said is dropped, as nobody could be told of that.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if descriptor == 2 else os.O_RDONLY)  # the lowest free one
            os.set_inheritable(descriptor, True)


def are_one() -> bool:
    """Tell whether standard output and standard error are one file, pipe or terminal; ask before any is opened.

    Where both are a device that keeps nothing, as /dev/null, there is no order to keep.
    """
    return _are_same(1, 2) and (not stat.S_ISCHR(os.fstat(1).st_mode) or _is_terminal(1))


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
    """Write all bytes, also to a pipe that takes only a part of them, or nothing for a while.

    Raises:
        BrokenPipeError: the reader has gone.
        OSError: the bytes cannot be written for another reason.

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


def is_hung_up(error: OSError, target: int) -> bool | None:
    """Tell whether a descriptor cannot be written since all that was at the other end has gone, as where ssh broke off.

    That is so for a terminal, and for a socket. Of a pipe the reader alone may have left, as head(1) does: with a
    connection standard error goes too, or where it is the same pipe, what ssh gave as standard input.

    Returns:
        False where a pipe's reader has left, None where it is for another reason that it cannot be written.

    """
    if error.errno not in {EPIPE, ECONNRESET, EIO, ENXIO}:
        return None
    try:
        here = os.fstat(target)
    except OSError:
        return None
    if stat.S_ISCHR(here.st_mode) or stat.S_ISSOCK(here.st_mode):
        return True
    if error.errno != EPIPE:
        return None
    other = 1 if target == 2 else 2
    if not _are_same(target, other):
        return _has_gone(other)
    return "SSH_CONNECTION" in os.environ and not _are_same(target, 0) and _has_gone(0)


def _are_same(one: int, other: int) -> bool:
    """Tell whether two descriptors are one file, pipe or terminal."""
    try:
        return os.path.sameopenfile(one, other)
    except OSError:
        return False


def _has_gone(descriptor: int) -> bool:
    """Tell whether nobody is at the other end of a pipe or a socket, a moment later at the latest."""
    from select import POLLERR, POLLHUP, poll

    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return False
    poller = poll()
    poller.register(descriptor, 0)
    return any(events & (POLLERR | POLLHUP) for _, events in poller.poll(_CLOSE_TOGETHER_MILLISECONDS))


def _wait_for_room(descriptor: int) -> None:
    """Wait until something can be written to a descriptor that does not wait by itself."""
    from select import POLLOUT, poll

    poller = poll()
    poller.register(descriptor, POLLOUT)
    poller.poll()


class Streams:
    """Where an attached client's output goes: the command's bytes, and on standard error lines about the command.

    On a terminal one line tells what is waited for. It stands at the end, is updated in place, and is erased before
    anything else is written.
    """

    def __init__(self) -> None:
        """Look at what standard error is."""
        self.is_terminal = sys.stderr is not None and _is_terminal(2)
        self.has_status = self.is_terminal and render.takes_escapes()
        """Whether the line that is updated in place can be shown."""
        self.target = 1
        """Where the command's bytes were written last."""
        self._status = ""
        self._shares = self.is_terminal and _is_terminal(1)
        self._column_zero = True
        screens = [descriptor for descriptor in (1, 2) if _is_terminal(descriptor) and render.takes_escapes()]
        self._screen = screens[0] if screens else None
        self._screens = frozenset(screens)
        self._terminals = frozenset(descriptor for descriptor in (1, 2) if _is_terminal(descriptor))
        self._harmless: Harmless | None = None
        self._modes: Modes | None = None
        self._has_left = False

    @property
    def has_terminal(self) -> bool:
        """Whether output goes to a terminal."""
        return bool(self._terminals)

    @property
    def is_careful(self) -> bool:
        """Whether standard output is a terminal, and the output is another user's."""
        return self._harmless is not None and 1 in self._terminals

    def be_careful(self) -> None:
        """Write escapes to a terminal in the place of control characters: the output is another user's."""
        from orcha._cli.harmless import Harmless

        self._harmless = Harmless()

    def write(self, stream: int, data: bytes) -> None:
        """Write bytes of the command to its stream, 1 or 2."""
        if self._harmless is not None and (2 if stream == 2 else 1) in self._terminals:
            data = self._harmless.text(stream, data)
        if not data:
            return
        self.erase()
        target = self.target = 2 if stream == 2 else 1
        if target in self._screens:
            self._note(data)
        write_all(target, data)
        if self._shares or stream == 2:
            self._column_zero = data[-1] == _NEWLINE

    def _note(self, data: bytes) -> None:
        """Note what the command switches on in the terminal, before it is written: a signal may end the writing."""
        if self._modes is None:
            from orcha._cli.modes import Modes

            self._modes = Modes()
        self._modes.feed(data)

    def leave(self) -> None:
        """Switch off in the terminal what the command has switched on and left on."""
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
        """Erase the line about waiting."""
        if self._status:
            self._status = ""
            self._err("\r\x1b[K")

    def _err(self, text: str) -> None:
        """Write to standard error."""
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        self._put(2, text.encode(encoding, "backslashreplace"))

    @staticmethod
    def _put(descriptor: int, data: bytes) -> None:
        """Write bytes for people; ignore that nobody reads them."""
        try:
            write_all(descriptor, data)
        except OSError:
            return


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
