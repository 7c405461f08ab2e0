"""A command on a terminal of its own: what a person sees, and types."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Sequence
from typing import Any, Self

from support import warm
from support.waiting import DEADLINE


class OnTerminal:
    """Runs a command line in a new session on a new pty, all three descriptors on it unless `options` say otherwise.

    Example::

        with OnTerminal(service.orcha("run", "--", "cat"), service.environment) as it:
            it.until(b"waits")
            it.type(b"\\x03")
            assert it.end() == 130

    """

    def __init__(
        self, command: Sequence[str], environment: dict[str, str], term: str = "xterm", **options: Any
    ) -> None:
        """Start it; `term` is the kind of the terminal (TERM)."""
        self.master, slave = pty.openpty()
        self.seen = b""
        self.resize(24, 80)
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        defaults: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = warm.Popen(command, env=environment | {"TERM": term}, terminal=slave, **defaults | options)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size; its foreground is told."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def mode(self) -> list[Any]:
        """Give the terminal's mode (termios(3))."""
        return termios.tcgetattr(self._slave)

    def hang_up(self) -> None:
        """Take the terminal away, as where a window is closed: nothing can be seen any more."""
        for descriptor in (self._slave, self.master):
            os.close(descriptor)
        self._slave = self.master = -1

    def type(self, keys: bytes) -> None:
        """Type."""
        os.write(self.master, keys)

    def until(self, text: bytes) -> bytes:
        """Read until this is on the terminal; give all that was seen so far."""
        deadline = time.monotonic() + DEADLINE
        while text not in self.seen:
            if not select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{text!r} was not seen, but {self.seen!r}")
            self.seen += os.read(self.master, 65_536)
        return self.seen

    def forget(self) -> None:
        """Look at what comes from now on."""
        self.seen = b""

    def end(self) -> int:
        """Wait for the end, reading; give the exit code."""
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"it goes on; seen: {self.seen!r}")
            self._read(0.05)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, timeout: float) -> bool:
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        self.seen += os.read(self.master, 65_536)
        return True

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        for descriptor in (self._slave, self.master):
            if descriptor >= 0:
                os.close(descriptor)
