"""Shims that do not go on: one that was stopped is let go on, and one that is stopped again and again is killed.

A command is the same user's as its shim, and may stop it: then nothing would be cancelled, limited or told.
"""

from __future__ import annotations

import logging
import signal
import time

from orcha._processes.identity import Identity, read_stat, signal_exactly
from orcha._supervisor import box as boxes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from orcha._supervisor.known import Known

EVERY = 10.0
"""Seconds between two looks."""
TOO_OFTEN = 3
"""Looks in a row that find a shim stopped before it is killed: it has not answered for 30 s."""


class Rousing:
    """Looks at the shims that have an attempt."""

    def __init__(self, folder: Path, report: Callable[[int, str], None]) -> None:
        """Have looked at none."""
        self._folder = folder
        self._report = report
        self._stopped: dict[str, int] = {}
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Give the seconds until the next look."""
        return min(EVERY, max(0.0, self._due - now))

    def look(self, shims: Iterable[Known], now: float | None = None) -> None:
        """Rouse those that are stopped, where the time for a look has come."""
        now = time.monotonic() if now is None else now
        if now < self._due:
            return
        self._due = now + EVERY
        found = {shim.name: self.rouse(shim) for shim in shims}
        self._stopped = {name: self._stopped.get(name, 0) + 1 for name, stopped in found.items() if stopped}
        for name, times in self._stopped.items():
            if times >= TOO_OFTEN:
                self._report(logging.ERROR, f"shim {name} was stopped again and again: it is killed with its command")
                self.kill(name)

    def rouse(self, shim: Known) -> bool:
        """Let a shim go on if it is stopped; tell whether it was."""
        its_own = self._identity(shim.name)
        stat = None if its_own is None else read_stat(its_own.pid)
        if its_own is None or stat is None or not stat.is_stopped:
            return False
        self._report(logging.WARNING, f"shim {shim.name} was stopped: it is told to go on")
        self._signal(its_own, signal.SIGCONT)
        return True

    def kill(self, name: str) -> None:
        """Kill a shim; its connection ends, and what it left is swept."""
        its_own = self._identity(name)
        if its_own is not None:
            self._signal(its_own, signal.SIGKILL)

    def _identity(self, name: str) -> Identity | None:
        word = boxes.read(f"{self._folder}/shims/{name}.box")
        return None if word is None or not word.start_ticks else Identity(word.pid, int(word.start_ticks))

    def _signal(self, shim: Identity, number: int) -> None:
        try:
            signal_exactly(shim, number)
        except OSError as error:
            self._report(logging.ERROR, f"the shim with process {shim.pid} cannot be signalled: {error}")
