"""An orderly stop: nothing starts any more, what runs may go on for a while, then it is ended as interrupted."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.state import State
from orcha._service import faults
from orcha.utils.systemd import STOPPING, notify, wish
from orcha.utils.threads import guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record
    from orcha._service.engine import Engine
    from orcha.utils.threads import OnDeath

INTERRUPTED_BY_STOP = "interrupted: the service was stopped while it ran"
RETURN_WAIT_SECONDS = 15.0
"""Seconds that ended actions have to return before the service leaves all the same."""


class Shutdown:
    """Brings a service to its end, once."""

    def __init__(self, engine: Engine, stopped: Callable[[], None]) -> None:
        """Call `stopped` when the engine has ended."""
        self._engine = engine
        self._stopped = stopped
        self._begun = threading.Lock()
        self._until: float | None = None
        engine.on_degraded = lambda reason: self._stop_by_itself(reason, now=False)
        engine.on_stop = lambda *, now: self._stop_by_itself("the service is stopping", now=now)

    def start(self, on_death: OnDeath) -> None:
        """Start the thread that waits for the engine's end; `on_death` is told where it dies."""
        start(guarded("orcha-stopping", self._finish, on_death))

    def stop(self, reason: str, *, now: bool) -> None:
        """Begin to stop, or hurry up; returns at once."""
        if self._begun.acquire(blocking=False):
            self._engine.post(self._begin, reason, now)
        elif now:
            self._engine.post(self._interrupt)

    def end_commands(self, why: str) -> None:
        """Have the stop end commands too, and these at once: they get no time that only actions need; returns at once.

        Args:
            why: what the owners of the commands are told.

        """
        self._engine.post(self._end_commands, why)

    def _stop_by_itself(self, reason: str, *, now: bool) -> None:
        """Stop where no signal says so: systemd did not send one, and is told."""
        if wish.tells and not self._begun.locked():
            notify(STOPPING, wait=False)
        self.stop(reason, now=now)

    def _begin(self, reason: str, now: bool) -> None:
        engine = self._engine
        faults.reach("stop.begin")
        engine.drain(reason)
        engine.journal.stops(reason)
        grace = 0.0 if now else engine.settings.stop_grace
        engine.timers.at(time.monotonic() + grace, self._interrupt)
        self._look()

    def _end_commands(self, why: str) -> None:
        engine = self._engine
        engine.drain("the service is stopping")  # nothing starts in the place of what ends now
        engine.report(logging.INFO, f"running commands end as interrupted: {why}")
        ending = [record for record in engine.petitions.records.values() if engine.commands.goes_on(record.seq)]
        engine.commands.keep = False
        self._end(ending, f"interrupted: {why}")

    def _look(self) -> None:
        """Halt when nothing runs and no hook is owed, or when time is over."""
        engine = self._engine
        over = self._until is not None and time.monotonic() >= self._until
        if over or engine.is_quiet():
            engine.halt()
        else:
            engine.timers.at(time.monotonic() + 0.02, self._look)

    def _interrupt(self) -> None:
        engine = self._engine
        self._until = self._until or time.monotonic() + RETURN_WAIT_SECONDS
        self._end(list(engine.petitions.records.values()), INTERRUPTED_BY_STOP)

    def _end(self, records: list[Record], reason: str) -> None:
        """Interrupt those of them that run, and do not outlive this stop."""
        engine = self._engine
        for record in records:
            if record.survivors or engine.commands.goes_on(record.seq):
                continue
            if record.state in (State.STARTING, State.RUNNING):
                transitions.cancel.interrupt(engine.petitions, record, reason, engine.petitions.now)

    def _finish(self) -> None:
        self._engine.stopped.wait()
        self._stopped()
