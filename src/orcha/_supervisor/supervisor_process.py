"""The service's side of the supervisor: starts it, asks it for shims, notices its end."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from orcha._processes.at_fork import SPAWNING
from orcha._processes.attempt_tracking import apart
from orcha._supervisor.link import ShimLink
from orcha.utils.private import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
"""Path of the supervisor's program."""
_PASSED_ON = ("PATH", "LANG", "TMPDIR")


class SupervisorProcess:
    """A running supervisor; the link ends with it."""

    def __init__(self, folder: Path) -> None:
        """Start a supervisor; raises OSError."""
        with SPAWNING:  # a child forked meanwhile would keep the other end open
            own, theirs = socket.socketpair()
            with theirs:
                try:
                    self.pid = _spawn(folder, theirs.fileno())
                except OSError:
                    own.close()
                    raise
        self.link = ShimLink(own)
        self.asked = 0
        """The number of shims that were asked for and are not forked yet."""

    def ask(self, count: int) -> None:
        """Ask for so many more shims."""
        self.asked += count
        self.link.send({"t": "fork", "n": count})

    def close(self, *, wait: bool) -> None:
        """Close the connection; the supervisor ends when its shims have ended."""
        self.link.close()
        if wait:
            with contextlib.suppress(ChildProcessError):  # somebody else in the service reaped it
                os.waitpid(self.pid, 0)


def _program(folder: Path) -> list[str]:
    """Return the supervisor's program and its arguments."""
    return [PROGRAM, str(folder)]


def _spawn(folder: Path, descriptor: int) -> int:
    log = open_file(f"{folder}/shims/errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    command = [sys.executable, "-I", "-S", "-X", "utf8", *_program(folder)]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    actions = [
        (os.POSIX_SPAWN_DUP2, descriptor, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    try:
        with apart():
            return os.posix_spawn(sys.executable, command, environment, file_actions=actions, setsigmask=())
    finally:
        os.close(log)
