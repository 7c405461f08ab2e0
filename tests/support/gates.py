"""A gate at which an action in another process waits until the test lets it go on."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from support.waiting import DEADLINE, wait_for


class Gate:
    """A named pipe: who passes it waits, without polling, until the test opens it.

    The path travels in the message's extras; the action calls :func:`pass_gate` with it. Opening lets all through who
    wait at that moment; the test knows by `wait_until_reached` that somebody is there.

    >>> gate = Gate(tmp_path)  # doctest: +SKIP
    >>> send(lines=["a"], gate=gate.path)  # doctest: +SKIP
    >>> gate.wait_until_reached()  # doctest: +SKIP
    >>> gate.open()  # doctest: +SKIP
    """

    def __init__(self, folder: Path) -> None:
        """Make a gate in this folder."""
        self.path = str(folder / f"gate-{secrets.token_hex(4)}")
        os.mkfifo(self.path)
        self._writer: int | None = None

    def reached(self) -> bool:
        """Tell whether somebody waits at the gate now."""
        if self._writer is None:
            try:
                self._writer = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:  # ENXIO: nobody has the other end open
                    raise
        return self._writer is not None

    def wait_until_reached(self, deadline: float = DEADLINE) -> None:
        """Wait until somebody waits at the gate."""
        wait_for(self.reached, deadline, what="an action at the gate")

    def open(self, deadline: float = DEADLINE) -> None:
        """Wait until somebody waits at the gate and let all through who do."""
        self.wait_until_reached(deadline)
        self.close()

    def close(self) -> None:
        """Give up the writing end: who waits goes on."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None


def pass_gate(path: str) -> None:
    """Wait until the test opens the gate."""
    with Path(path).open("rb") as pipe:
        pipe.read()


class Latch:
    """What commands of a shell wait for until the test opens it: they read a line of a named pipe.

    Once it is open it stays open: who comes later goes on as well. A loop that looks for a file and sleeps costs a
    process each time, 1.3 ms.

    >>> latch = Latch(tmp_path)  # doctest: +SKIP
    >>> service.ask("run", "--detach", "--", "sh", "-c", f"{latch.wait}; echo open")  # doctest: +SKIP
    >>> latch.open()  # doctest: +SKIP
    """

    MOST = 4_000
    """How many may pass; a pipe holds as many lines."""

    def __init__(self, folder: Path) -> None:
        """Make a closed one in this folder."""
        self.path = str(folder / f"latch-{secrets.token_hex(4)}")
        os.mkfifo(self.path)
        self._end: int | None = None

    @property
    def wait(self) -> str:
        """The words of a shell that wait for it."""
        return f"read -r _ <'{self.path}'"

    def open(self) -> None:
        """Let all through who wait, and all who come."""
        if self._end is None:
            self._end = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            os.write(self._end, b"\n" * self.MOST)

    def close(self) -> None:
        """Let through only who has read its line."""
        if self._end is not None:
            os.close(self._end)
            self._end = None
