"""Bytes to standard output and standard error, whole and at once, whatever these are."""

from __future__ import annotations

import os
import sys
from errno import EBADF

from orcha._cli import render

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
        self._status = ""
        self._shares = self.is_terminal and _is_terminal(1)
        self._column_zero = True

    def write(self, stream: int, data: bytes) -> None:
        """Write bytes of the command to its stream, 1 or 2."""
        if not data:
            return
        self.erase()
        write_all(2 if stream == 2 else 1, data)
        if self._shares or stream == 2:
            self._column_zero = data[-1] == _NEWLINE

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
        if not self.is_terminal or not self._column_zero or text == self._status:
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

    @staticmethod
    def _err(text: str) -> None:
        """Write to standard error; where nobody reads it there is nobody to tell."""
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        try:
            write_all(2, text.encode(encoding, "backslashreplace"))
        except OSError:
            return


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False
