"""Whether the end of a command came with a shutdown from outside.

systemd sends SIGTERM to each process of a unit when the unit is stopped (systemd.kill(5), KillMode=control-group): to
the service, the shims and the commands, in any order. A command that ends by that is interrupted, as the service is. A
shim knows of the shutdown by its own SIGTERM, which nobody else sends.

So is a command that handles SIGTERM and exits with 0 then: it was asked to end, and its code says that it did so in
good order, not that its work was done. A command whose work must not be told as interrupted ignores SIGTERM, or had
ended already when the signal came.
"""

from __future__ import annotations

import os
import signal

from orcha._processes.identity import read_stat
from orcha._processes.system import read_small

SHUTDOWN_SECONDS = 90.0
"""When systemd sends SIGKILL by default (systemd.service(5), TimeoutStopSec). A later end is the command's."""
WAIT_SECONDS = 0.5
"""How long the end of a command by a SIGTERM is not told: the SIGTERM to its shim may come later."""
_SHELL_CODE = 128 + int(signal.SIGTERM)
_NEVER = float("inf")


class OutsideShutdown:
    """The shutdown from outside, as one attempt has met it; times are of the monotonic clock."""

    def __init__(self, grace: float) -> None:
        """Begin without a shutdown; `grace` is the time that a cancel gives the command."""
        self.due = _NEVER
        """When the end of the command is told even if the shim has got no SIGTERM until then."""
        self._seconds = max(grace, SHUTDOWN_SECONDS)
        self._until = 0.0
        self._had_ended = False
        """Whether the leader had ended when the shim got SIGTERM."""

    def begin(self, leader: int, now: float) -> None:
        """Note that the shim has got SIGTERM while the leader was not reaped yet."""
        if not _ignores_term(leader):
            self._until = now + self._seconds
            self._had_ended = _has_ended(leader)

    def explains(self, status: int, now: float) -> bool:
        """Return whether a shutdown explains the leader's end; where it may still do so, set `due`."""
        by_term = (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM) or (
            os.WIFEXITED(status) and os.WEXITSTATUS(status) == _SHELL_CODE
        )
        if now < self._until:
            return by_term or not self._had_ended
        if by_term:
            self.due = now + WAIT_SECONDS
        return False

    def waits(self, now: float) -> bool:
        """Return whether the leader's end is not to be told yet: a SIGTERM that the shim gets now would explain it."""
        if now >= self.due:
            self.due = _NEVER
        return self.due != _NEVER


def _has_ended(pid: int) -> bool:
    """Return whether a process has ended: this shim may not have reaped it yet."""
    stat = read_stat(pid)
    return stat is None or stat.is_dead


def _ignores_term(pid: int) -> bool:
    """Return whether a process ignores SIGTERM (proc_pid_status(5)); False where nobody knows, or it has ended."""
    try:
        text = read_small(f"/proc/{pid}/status")
    except OSError:
        return False
    for line in text.splitlines():
        if line.startswith(b"SigIgn:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False
