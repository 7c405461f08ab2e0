"""The service's side of the supervisor: starts it, asks it for shims, notices its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time

from orcha._processes.at_fork import SPAWNING
from orcha._processes.attempt_tracking import apart
from orcha._processes.identity import identify, open_pidfd, signal_exactly
from orcha._supervisor.link import ShimLink
from orcha.utils import core_files
from orcha.utils.private import open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from orcha._processes.identity import Identity

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")
"""Path of the supervisor's program."""
ENDS_WITHIN_SECONDS = 10.0
"""How long a supervisor whose shims have ended may take to end; then it is killed."""
_PASSED_ON = ("PATH", "LANG", "TMPDIR", "XDG_RUNTIME_DIR")


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
        self._identity: Identity | None = None
        with contextlib.suppress(OSError):  # no descriptor is free now: then it gets no signals
            self._identity = identify(self.pid)
        self.link = ShimLink(own)
        self.asked = 0
        """The number of shims that were asked for and are not forked yet."""
        self.asked_at = 0.0
        """When the first of these shims was asked for, by the monotonic clock."""
        self.silence = 0.0
        """Seconds in which the supervisor has forked none of these shims while the service went on."""
        self.silent_since = 0.0
        """The silence was counted up to this moment."""
        self.is_silent = False
        """Whether the supervisor is killed soon, because it was silent for too long."""

    def ask(self, count: int) -> None:
        """Ask for `count` more shims."""
        if not self.asked:
            self.asked_at = time.monotonic()
        self.asked += count
        self.link.send({"t": "fork", "n": count})

    def answered(self, count: int) -> None:
        """Note that `count` shims were forked, or will not be."""
        self.asked -= count
        self.asked_at, self.silence, self.is_silent = time.monotonic(), 0.0, False

    def signal(self, number: int) -> None:
        """Send a signal to the supervisor."""
        if self._identity is not None:
            with contextlib.suppress(OSError):  # it has ended
                signal_exactly(self._identity, number)

    def close(self, *, wait: bool) -> None:
        """Close the connection; the supervisor ends when its shims have ended.

        With `wait` its shims have ended: where the supervisor does not end within a while, it is killed.
        """
        self.link.close()
        if not wait:
            return
        self.signal(signal.SIGCONT)  # a command may have stopped it
        if not self._ends():
            self.signal(signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # somebody else in the service reaped it
            os.waitpid(self.pid, 0)

    def _ends(self) -> bool:
        """Wait for the end of the supervisor; return whether it came in time."""
        descriptor = None if self._identity is None else open_pidfd(self._identity)
        if descriptor is None:
            return True
        try:
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)  # readable when it has ended (pidfd_open(2))
            return bool(poller.poll(ENDS_WITHIN_SECONDS * 1000))
        finally:
            os.close(descriptor)


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
            pid = os.posix_spawn(sys.executable, command, environment, file_actions=actions, setsigmask=())
        with contextlib.suppress(OSError):  # it has ended
            core_files.restore(pid)
        return pid
    finally:
        os.close(log)
