"""Shims that do not go on: one that was stopped is let go on, and one that does not answer is told, or killed.

A command is the same user's as its shim, and may stop it: then nothing would be cancelled, limited or told. A shim may
also hang: on a disk that does not answer, in a frozen cgroup, or because of a mistake of ours.
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
"""Seconds between two looks."""
MOST_SILENT_INTERVALS = 3
"""Looks in a row that find a shim stopped before it is killed: it has not answered for 30 s."""
SILENT_AFTER_SECONDS = 30.0
"""Seconds without an answer after which people are told: a busy machine, or disk, may keep a shim for shorter."""
LOST_AFTER_SECONDS = 300.0
"""Seconds without an answer after which a shim is killed with its command: no limit of the command holds meanwhile."""
ENDS_WITHIN_SECONDS = 10.0
"""Seconds in which a shim that is to end its command has to say anything, before it is killed with the command."""


class SilentShims(NamedTuple):
    """What a look has found."""

    silent: list[ShimConnection]
    """Shims of which people are to be told now that they do not answer."""
    lost: list[ShimConnection]
    """Shims that are not waited for any longer."""


class ShimHeartbeats:
    """Looks at the shims that have an attempt."""

    def __init__(self, folder: Path, report: Callable[[int, str], None]) -> None:
        """Have looked at none."""
        self._folder = folder
        self._report = report
        self._stopped: dict[str, int] = {}
        self._due = 0.0
        self._deadline = math.inf
        """The first time by which a shim has to answer that is to end its command."""

    def wait(self, now: float) -> float:
        """Give the seconds until the next look."""
        return min(INTERVAL_SECONDS, max(0.0, min(self._due, self._deadline) - now))

    def look(self, shims: Iterable[ShimConnection], now: float | None = None) -> SilentShims:
        """Rouse those that are stopped, and ask the others whether they are there, where the time has come for it."""
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
        """Let a shim go on if it is stopped; tell whether it was."""
        its_own = self._identity(shim.name)
        stat = None if its_own is None else read_stat(its_own.pid)
        if its_own is None or stat is None or not stat.is_stopped:
            return False
        self._report(logging.WARNING, f"shim {shim.name} was stopped: it is told to go on")
        self._signal(its_own, signal.SIGCONT)
        return True

    def hasten(self, shim: ShimConnection, now: float | None = None) -> None:
        """Rouse a shim that is to end its command, and give it some time to answer."""
        now = time.monotonic() if now is None else now
        self.rouse(shim)
        shim.ask(now)
        if shim.asked is not None and shim.ends_by == math.inf:
            shim.ends_by = now + ENDS_WITHIN_SECONDS
            self._deadline = min(self._deadline, shim.ends_by)

    def kill(self, name: str) -> None:
        """Kill a shim; its connection ends, and what it left is swept."""
        its_own = self._identity(name)
        if its_own is not None:
            self._signal(its_own, signal.SIGKILL)

    def _rouse_all(self, shims: list[ShimConnection]) -> list[ShimConnection]:
        """Rouse the shims that are stopped, kill those that are too often; give the others."""
        stopped = [shim for shim in shims if self.rouse(shim)]
        self._stopped = {shim.name: self._stopped.get(shim.name, 0) + 1 for shim in stopped}
        for name, times in self._stopped.items():
            if times >= MOST_SILENT_INTERVALS:
                self._report(logging.ERROR, f"shim {name} was stopped again and again: it is killed with its command")
                self.kill(name)
        return [shim for shim in shims if shim.name not in self._stopped]

    def _look_at(self, shim: ShimConnection, now: float, looked: SilentShims) -> None:
        """Ask a shim whether it is there; note it where it has not answered for long."""
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
