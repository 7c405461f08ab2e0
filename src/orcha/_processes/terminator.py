"""One thread that ends the processes of any number of attempts at the same time."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orcha._processes.attempt_processes import AttemptProcesses
from orcha._processes.identity import Identity, open_pidfd, read_stat
from orcha._processes.ladder import KILL_RUNGS, POLITE_RUNGS, Decision, Ladder, Rung
from orcha.utils.threads import guarded, ignore_death, start

if TYPE_CHECKING:
    from orcha.utils.threads import OnDeath

SWEEP_SECONDS = 0.2
"""Seconds that one attempt's sweep may take while others wait."""
RECHECK_SECONDS = 0.05
"""Seconds after which a killed process is looked at again, and one for which no pidfd could be opened."""
LONGEST_WAIT_SECONDS = 3600.0
"""Seconds that one wait may take; a grace may be infinite."""

_log = logging.getLogger("orcha")


class _Climb:
    """One attempt on its ladder."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self.ladder = Ladder(rungs)
        self.due = float("-inf")
        self.told: dict[Identity, int] = {}
        self.pidfds: dict[int, Identity] = {}
        self.is_told_of_fault = False


class AttemptTerminator:
    """Ends attempts' processes: SIGINT, SIGTERM and SIGKILL, each with its grace; stopped ones are continued.

    `on_done(ordinal, survivors, signal)` is called on its thread when nothing of an attempt is left, or when SIGKILL
    has not worked within its grace: then `survivors` names the pids. `signal` is the last one sent, None when there was
    no process. `gather(ordinal)` is called before each look and brings in what the attempt's thread started. The thread
    starts with the first attempt, or before that by :meth:`start`; `on_death` is told where it dies.

    Example::

        ending = Ending(population, attempts.claim_children, engine.processes_ended)
        ending.begin(ordinal)
    """

    def __init__(
        self,
        population: AttemptProcesses,
        gather: Callable[[int], object],
        on_done: Callable[[int, tuple[int, ...], int | None], None],
        on_death: OnDeath = ignore_death,
    ) -> None:
        self._population = population
        self._gather = gather
        self._on_done = on_done
        self._on_death = on_death
        self._lock = threading.Lock()
        self._asked: list[tuple[int, Sequence[Rung]]] = []
        self._climbs: dict[int, _Climb] = {}
        self._thread: threading.Thread | None = None
        self._wake = self._waker = -1
        self._stopping = False

    def start(self) -> None:
        """Start the thread, where it is not there."""
        with self._lock:
            self._start()

    def begin(self, ordinal: int, rungs: Sequence[Rung] = POLITE_RUNGS) -> None:
        """End an attempt's processes; returns at once. Asked again, it goes on with the new rungs if they are fewer.

        Raises RuntimeError after :meth:`stop`.
        """
        with self._lock:
            if self._stopping:
                raise RuntimeError("no more attempts are ended: the service has stopped")
            self._asked.append((ordinal, rungs))
            self._start()
            self._rouse()

    def stop(self) -> None:
        """End the thread; ladders that are not done are given up. Returns when it has ended; may be called again."""
        with self._lock:
            self._stopping = True
            thread, self._thread = self._thread, None
            if thread is not None:
                self._rouse()
        if thread is not None:
            thread.join()
            os.close(self._wake)
            os.close(self._waker)

    def _start(self) -> None:
        if self._thread is None:
            if self._wake < 0:
                self._wake, self._waker = os.pipe()
                os.set_blocking(self._wake, False)
                os.set_blocking(self._waker, False)
            thread = guarded("orcha-ending", self._run, self._on_death)
            start(thread)
            self._thread = thread

    def _rouse(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it wakes anyway
            os.write(self._waker, b"!")

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        try:
            while not self._stopping:
                self._take_asked()
                now = time.monotonic()
                for ordinal, climb in list(self._climbs.items()):
                    if climb.due <= now:
                        self._try_step(ordinal, climb, poller)
                self._wait(poller)
        finally:
            for climb in self._climbs.values():
                self._close(climb, poller)

    def _wait(self, poller: select.poll) -> None:
        """Sleep until something is asked, ends or is due."""
        due = min((climb.due for climb in self._climbs.values()), default=None)
        timeout = None if due is None else min(max(0.0, due - time.monotonic()), LONGEST_WAIT_SECONDS) * 1000 + 1
        for descriptor, _ in poller.poll(timeout):
            if descriptor == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                continue
            for climb in self._climbs.values():
                if climb.pidfds.pop(descriptor, None) is not None:
                    poller.unregister(descriptor)
                    os.close(descriptor)
                    if not climb.pidfds:
                        climb.due = float("-inf")

    def _take_asked(self) -> None:
        with self._lock:
            asked, self._asked = self._asked, []
        for ordinal, rungs in asked:
            climb = self._climbs.get(ordinal)
            if climb is None:
                self._climbs[ordinal] = _Climb(rungs)
            elif len(rungs) <= len(KILL_RUNGS):
                climb.ladder.hurry(rungs)
                climb.due = float("-inf")

    def _try_step(self, ordinal: int, climb: _Climb, poller: select.poll) -> None:
        """Step, and again a little later where no descriptor was free to look with: nothing is called clean unseen."""
        try:
            self._step(ordinal, climb, poller)
        except OSError as error:
            climb.due = time.monotonic() + RECHECK_SECONDS
            if not climb.is_told_of_fault:
                climb.is_told_of_fault = True
                _log.error("the processes of attempt %d cannot be looked at, and will be again: %s", ordinal, error)

    def _step(self, ordinal: int, climb: _Climb, poller: select.poll) -> None:
        """Look, decide, act for one attempt."""
        self._gather(ordinal)
        living = self._population.living(ordinal)
        survivors: tuple[int, ...] = ()
        if living:
            decision = climb.ladder.decide(time.monotonic(), anybody=True)
            if decision.signal == signal.SIGKILL:
                survivors = self._population.sweep(ordinal, SWEEP_SECONDS).survivors
                climb.due = time.monotonic() + RECHECK_SECONDS
                decision = decision if survivors else Decision(None, 0.0, is_over=True)
            else:
                survivors = tuple(identity.pid for identity in living)
                self._tell(climb, living, decision, poller)
        else:  # one look may miss a process that forks all the time: only a sweep proves that there is none
            survivors = self._population.sweep(ordinal, SWEEP_SECONDS).survivors
            climb.due = time.monotonic()
            decision = climb.ladder.decide(time.monotonic(), bool(survivors))
        if decision.is_over:
            self._close(climb, poller)
            del self._climbs[ordinal]
            self._report(ordinal, survivors, climb.ladder.signal)

    def _tell(self, climb: _Climb, living: list[Identity], decision: Decision, poller: select.poll) -> None:
        """Send the rung's signal to each that has not had it, and wait for its end."""
        climb.due = decision.due
        watched = set(climb.pidfds.values())
        for identity in living:
            if decision.signal is not None and climb.told.get(identity) != decision.signal:
                climb.told[identity] = decision.signal
                self._send(identity, decision.signal)
            if identity not in watched and not self._watch(climb, identity, poller):
                climb.due = min(climb.due, time.monotonic() + RECHECK_SECONDS)

    def _send(self, identity: Identity, number: int) -> None:
        """Continue the process where it is stopped, and send the signal."""
        with contextlib.suppress(PermissionError):  # not ours to signal: it will be reported as a survivor
            stat = read_stat(identity.pid)
            if stat is not None and stat.is_stopped:
                self._population.signal(identity, signal.SIGCONT)
            self._population.signal(identity, number)

    def _watch(self, climb: _Climb, identity: Identity, poller: select.poll) -> bool:
        """Have the poller wake when a process ends; False where that cannot be."""
        try:
            descriptor = open_pidfd(identity)
        except (OSError, AttributeError):
            return False
        if descriptor is None:
            return False
        climb.pidfds[descriptor] = identity
        poller.register(descriptor, select.POLLIN)
        return True

    def _close(self, climb: _Climb, poller: select.poll) -> None:
        for descriptor in climb.pidfds:
            poller.unregister(descriptor)
            os.close(descriptor)
        climb.pidfds.clear()

    def _report(self, ordinal: int, survivors: tuple[int, ...], number: int | None) -> None:
        try:
            self._on_done(ordinal, survivors, number)
        except Exception:  # noqa: BLE001 - the other attempts on their ladders must not suffer for it
            _log.exception("the end of the processes of attempt %d could not be reported", ordinal)
