"""Looks after shims that do not go on: continues stopped shims, and reports or kills shims that do not answer.

A command belongs to the same user as its shim, and may stop the shim: then no cancel, limit or report would work. A
shim may also hang: on a disk that does not answer, in a frozen cgroup, or because of an error in its code.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from typing import NamedTuple

from orcha._processes.identity import Identity, read_stat, signal_exactly
from orcha._supervisor import black_box as boxes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from orcha._supervisor.shim_connection import ShimConnection

INTERVAL_SECONDS = 10.0
"""Time between two looks at all shims."""
MOST_SILENT_INTERVALS = 3
"""A shim is killed when so many looks in a row have found it stopped."""
SILENT_AFTER_SECONDS = 30.0
"""After so long without an answer people are told; a busy machine or disk may delay an answer for less."""
LOST_AFTER_SECONDS = 300.0
"""After so long without an answer a shim is killed with its command, since no limit holds meanwhile."""
ENDS_WITHIN_SECONDS = 10.0
"""A shim that was told to end its command, and sends nothing for so long, is killed with the command."""


class SilentShims(NamedTuple):
    """The result of one look at the shims."""

    silent: list[ShimConnection]
    """Shims that do not answer: people have to be told about them now."""
    lost: list[ShimConnection]
    """Shims whose answer is waited for no longer."""


class ShimHeartbeats:
    """Looks at the shims that have an attempt."""

    def __init__(self, folder: Path, report: Callable[[int, str], None]) -> None:
        """Begin before the first look."""
        self._folder = folder
        self._report = report
        self._stopped: dict[str, int] = {}
        self._due = 0.0
        self._deadline = math.inf
        """The earliest time by which a shim that was told to end its command has to answer."""

    def wait(self, now: float) -> float:
        """Return the seconds until the next look."""
        return min(INTERVAL_SECONDS, max(0.0, min(self._due, self._deadline) - now))

    def look(self, shims: Iterable[ShimConnection], now: float | None = None) -> SilentShims:
        """Where a look is due: continue stopped shims, and send pings to the others."""
        now = time.monotonic() if now is None else now
        looked = SilentShims([], [])
        if now < min(self._due, self._deadline):
            return looked
        shims = list(shims)
        looked.lost.extend(shim for shim in shims if now >= shim.ends_by)
        self._deadline = min((shim.ends_by for shim in shims if now < shim.ends_by), default=math.inf)
        if now >= self._due:
            self._due = now + INTERVAL_SECONDS
            going = self._rouse_all(shims)
            for shim in going:
                self._look_at(shim, now, looked)
        for shim in looked.lost:
            self._report(logging.ERROR, f"shim {shim.name} does not answer: it is killed with its command")
        return looked

    def rouse(self, shim: ShimConnection) -> bool:
        """Continue a shim if it is stopped; return whether it was."""
        its_own = self._identity(shim.name)
        stat = None if its_own is None else read_stat(its_own.pid)
        if its_own is None or stat is None or not stat.is_stopped:
            return False
        self._report(logging.WARNING, f"shim {shim.name} was stopped: it is told to go on")
        self._signal(its_own, signal.SIGCONT)
        return True

    def hasten(self, shim: ShimConnection, now: float | None = None) -> None:
        """Continue a shim that was told to end its command, and set the time by which it has to answer."""
        now = time.monotonic() if now is None else now
        self.rouse(shim)
        shim.ask(now)
        if shim.asked is not None and shim.ends_by == math.inf:
            shim.ends_by = now + ENDS_WITHIN_SECONDS
            self._deadline = min(self._deadline, shim.ends_by)

    def kill(self, name: str) -> None:
        """Kill a shim; its connection ends then, and the processes that it left are ended."""
        its_own = self._identity(name)
        if its_own is not None:
            self._signal(its_own, signal.SIGKILL)

    def _rouse_all(self, shims: list[ShimConnection]) -> list[ShimConnection]:
        """Continue stopped shims, kill shims that were stopped too often, and return the others."""
        stopped = [shim for shim in shims if self.rouse(shim)]
        self._stopped = {shim.name: self._stopped.get(shim.name, 0) + 1 for shim in stopped}
        for name, times in self._stopped.items():
            if times >= MOST_SILENT_INTERVALS:
                self._report(logging.ERROR, f"shim {name} was stopped again and again: it is killed with its command")
                self.kill(name)
        return [shim for shim in shims if shim.name not in self._stopped]

    def _look_at(self, shim: ShimConnection, now: float, looked: SilentShims) -> None:
        """Send a ping to a shim; note a shim that has not answered for long."""
        silence = 0.0 if shim.asked is None else now - shim.asked
        if silence >= LOST_AFTER_SECONDS and shim not in looked.lost:
            looked.lost.append(shim)
        elif silence >= SILENT_AFTER_SECONDS and not shim.is_silent:
            shim.is_silent = True
            looked.silent.append(shim)
            self._report(
                logging.WARNING,
                f"shim {shim.name} has not answered for {silence:.0f} s: limits of its command do not hold meanwhile",
            )
        shim.ask(now)

    def _identity(self, name: str) -> Identity | None:
        word = boxes.read(f"{self._folder}/shims/{name}.box")
        return None if word is None or not word.start_ticks else Identity(word.pid, int(word.start_ticks))

    def _signal(self, shim: Identity, number: int) -> None:
        try:
            signal_exactly(shim, number)
        except OSError as error:
            self._report(logging.ERROR, f"the shim with process {shim.pid} cannot be signalled: {error}")
