"""The limits that a shim enforces itself: wall time, silence, processor time."""

from __future__ import annotations

import os
import signal

from orcha._supervisor.usage import processor_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.process_tree import ProcessTree
    from orcha._supervisor.usage import UsageAccount

_NEVER = float("inf")
_SHORTEST_LOOK_SECONDS = 0.02


class AttemptLimits:
    """When to look next, and what was exceeded; times are of the monotonic clock."""

    def __init__(self, spec: CommandSpec) -> None:
        """Take the limits of a specification; nothing runs yet."""
        self._spec = spec
        self._any = spec.timeout is not None or spec.idle_timeout is not None or spec.cpu_timeout is not None
        self._wall = self._cpu = _NEVER
        self._heard = 0.0
        self._paused: float | None = None
        """Since when it is stopped."""
        self.due = _NEVER
        """When to ask again."""

    def begin(self, now: float) -> None:
        """Count from now on: the command runs."""
        if not self._any:
            return
        spec = self._spec
        self._heard = now
        self._wall = _NEVER if spec.timeout is None else now + spec.timeout
        self._cpu = _NEVER if spec.cpu_timeout is None else now + self._soonest(spec.cpu_timeout)
        self._schedule()

    def heard(self, now: float) -> None:
        """Note that it wrote something; `due` may be too early from now on, never too late."""
        self._heard = now

    def note(self, number: int, now: float) -> None:
        """Note a signal that it was sent: while it is stopped, wall time and silence stand still."""
        if number in {signal.SIGSTOP, signal.SIGTSTP} and self._paused is None:
            self._paused = now
            self._schedule()
        elif number == signal.SIGCONT and self._paused is not None:
            self._wall += now - self._paused
            self._heard = min(now, self._heard + now - self._paused)
            self._paused = None
            self._schedule()

    def exceeded(self, now: float, account: UsageAccount, tree: ProcessTree) -> str | None:
        """Say which limit is exceeded, if any."""
        why = None
        if self._paused is None and now >= self._wall:
            why = "timeout"
        elif self._paused is None and now >= self._silent:
            why = "idle"
        elif now >= self._cpu and self._spec.cpu_timeout is not None:
            used = account.user + account.system + processor_seconds(child.pid for child in tree.living())
            if used >= self._spec.cpu_timeout:
                why = "cpu"
            else:
                self._cpu = now + self._soonest(self._spec.cpu_timeout - used)
        if why is not None:
            self._wall = self._cpu = self.due = _NEVER
            self._any = False
        else:
            self._schedule()
        return why

    def _schedule(self) -> None:
        if self._any:
            self.due = self._cpu if self._paused is not None else min(self._wall, self._cpu, self._silent)

    @property
    def _silent(self) -> float:
        """When it has written nothing for too long."""
        return _NEVER if self._spec.idle_timeout is None else self._heard + self._spec.idle_timeout

    @staticmethod
    def _soonest(seconds: float) -> float:
        """Give how long it takes at least to use so much: all processors are busy with it."""
        return max(_SHORTEST_LOOK_SECONDS, seconds / (os.cpu_count() or 1))
