"""The limits that a shim enforces itself: wall time, silence, processor time."""

from __future__ import annotations

import os
import signal

from orcha._supervisor.usage import processor_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.process_tree import ProcessTree
    from orcha._supervisor.usage import UsageAccount

_NEVER = float("inf")
_MIN_LOOK_SECONDS = 0.02
_OF_WALL_TIME = ("timeout", "warn_signal", "warn_seconds")


class AttemptLimits:
    """The limits of one attempt: when to check them next, and which was exceeded. Times are of the monotonic clock."""

    def __init__(self, spec: CommandSpec) -> None:
        """Take the limits of a specification; the command does not run yet."""
        self._spec = spec
        self._any = spec.timeout is not None or spec.idle_timeout is not None or spec.cpu_timeout is not None
        self._wall = self._cpu = self._warning = _NEVER
        self._began = self._stood = self._heard = 0.0
        self._is_over = False
        """Whether a limit was exceeded."""
        self._paused: float | None = None
        """Since when the command is stopped; None while it runs."""
        self.due = _NEVER
        """When :meth:`warning` and :meth:`exceeded` have to be called next."""

    def begin(self, now: float) -> None:
        """Begin to count: the command runs from now on."""
        spec = self._spec
        self._began = self._heard = now
        if not self._any:
            return
        self._count_from(now)
        self._cpu = _NEVER if spec.cpu_timeout is None else now + self._soonest(spec.cpu_timeout)
        self._schedule()

    def change(self, given: Mapping[str, Any], now: float) -> None:
        """Have other limits, by the names of the specification; the wall time is counted from the beginning.

        A warning that was sent comes once more where the wall time or the warning itself is another one.
        """
        if self._is_over:
            return
        was, self._spec = self._spec, self._spec._replace(**given)
        spec = self._spec
        self._any = not spec.timeout is spec.idle_timeout is spec.cpu_timeout is None
        if any(getattr(was, name) != getattr(spec, name) for name in _OF_WALL_TIME):
            self._count_from(now)
        if was.cpu_timeout != spec.cpu_timeout:
            self._cpu = _NEVER if spec.cpu_timeout is None else now
        self.due = _NEVER
        self._schedule()

    def _count_from(self, now: float) -> None:
        """Reckon when the wall time is over, and when the command is warned of that."""
        spec = self._spec
        self._wall = _NEVER if spec.timeout is None else self._began + self._stood + spec.timeout
        self._warning = _NEVER if spec.warn_signal is None else max(now, self._wall - spec.warn_seconds)

    def heard(self, now: float) -> None:
        """Note that the command wrote something. `due` may be too early afterwards, but never too late."""
        self._heard = now

    def note(self, number: int, now: float) -> None:
        """Note a signal to the command: while it is stopped, neither wall time nor silence is counted."""
        if number in {signal.SIGSTOP, signal.SIGTSTP} and self._paused is None:
            self._paused = now
            self._schedule()
        elif number == signal.SIGCONT and self._paused is not None:
            self._stood += now - self._paused
            self._wall += now - self._paused
            self._warning += now - self._paused
            self._heard = min(now, self._heard + now - self._paused)
            self._paused = None
            self._schedule()

    def warning(self, now: float) -> int | None:
        """Return the signal that tells the command of its end, once, when it is due."""
        if self._paused is not None or now < self._warning:
            return None
        self._warning = _NEVER
        self._schedule()
        return self._spec.warn_signal

    def exceeded(self, now: float, account: UsageAccount, tree: ProcessTree) -> str | None:
        """Return the name of the limit that is exceeded; None where none is."""
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
            self._wall = self._cpu = self._warning = self.due = _NEVER
            self._any, self._is_over = False, True
        else:
            self._schedule()
        return why

    def _schedule(self) -> None:
        if self._any:
            self.due = (
                self._cpu if self._paused is not None else min(self._wall, self._warning, self._cpu, self._silent)
            )

    @property
    def _silent(self) -> float:
        """When the command has been silent for too long."""
        return _NEVER if self._spec.idle_timeout is None else self._heard + self._spec.idle_timeout

    @staticmethod
    def _soonest(seconds: float) -> float:
        """Return the least time in which a command can use that processor time: on all processors at once."""
        return max(_MIN_LOOK_SECONDS, seconds / (os.cpu_count() or 1))
