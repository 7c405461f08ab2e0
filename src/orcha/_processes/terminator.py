"""Ends the processes of any number of attempts at the same time, on one thread."""

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
from orcha._processes.escalation_plan import KILL_STEPS, POLITE_STEPS, Decision, EscalationPlan, EscalationStep
from orcha._processes.identity import Identity, open_pidfd, read_stat
from orcha.utils.threads import guarded, ignore_death, start

if TYPE_CHECKING:
    from orcha.utils.threads import OnDeath

SWEEP_SECONDS = 0.2
"""The longest sweep for one attempt while others wait."""
RECHECK_SECONDS = 0.05
"""After this time the thread looks again at killed processes, and at those without a pidfd."""
MAX_WAIT_SECONDS = 3600.0
"""The longest wait; a grace may be infinite."""

_log = logging.getLogger("orcha")


class _Escalation:
    """The plan for one attempt, and how far it has got."""

    def __init__(self, steps: Sequence[EscalationStep]) -> None:
        self.plan = EscalationPlan(steps)
        self.due = float("-inf")
        self.told: dict[Identity, int] = {}
        self.pidfds: dict[int, Identity] = {}
        self.is_told_of_fault = False


class AttemptTerminator:
    """Ends attempts' processes by SIGINT, SIGTERM and SIGKILL, each with a grace; stopped processes are continued.

    The thread calls `on_done(ordinal, survivors, signal)` when no process of an attempt is left, or when SIGKILL has
    not worked within its grace: then `survivors` has the pids. `signal` is the last signal that was sent; None where
    there was no process. Before each look `gather(ordinal)` claims what the attempt's thread has started. The thread
    starts with the first attempt, or by :meth:`start`; `on_death` is told where it dies.

    Example::

        terminator = AttemptTerminator(processes, attempt_tracking.claim_children, engine.processes_ended)
        terminator.begin(ordinal)
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
        self._asked: list[tuple[int, Sequence[EscalationStep]]] = []
        self._escalations: dict[int, _Escalation] = {}
        self._thread: threading.Thread | None = None
        self._wake = self._waker = -1
        self._stopping = False

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self._lock:
            self._start()

    def begin(self, ordinal: int, steps: Sequence[EscalationStep] = POLITE_STEPS) -> None:
        """Begin to end an attempt's processes, and return at once. A second call replaces the plan by a shorter one.

        Raises RuntimeError after :meth:`stop`.
        """
        with self._lock:
            if self._stopping:
                raise RuntimeError("no more attempts are ended: the service has stopped")
            self._asked.append((ordinal, steps))
            self._start()
            self._rouse()

    def stop(self) -> None:
        """End the thread, and wait for its end; plans that are not done are given up. May be called again."""
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
        with contextlib.suppress(BlockingIOError):  # the pipe is full: the thread wakes anyway
            os.write(self._waker, b"!")

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        try:
            while not self._stopping:
                self._take_asked()
                now = time.monotonic()
                for ordinal, escalation in list(self._escalations.items()):
                    if escalation.due <= now:
                        self._try_step(ordinal, escalation, poller)
                self._wait(poller)
        finally:
            for escalation in self._escalations.values():
                self._close(escalation, poller)

    def _wait(self, poller: select.poll) -> None:
        """Sleep until an attempt is to be ended, a process has ended, or a step is due."""
        due = min((escalation.due for escalation in self._escalations.values()), default=None)
        timeout = None if due is None else min(max(0.0, due - time.monotonic()), MAX_WAIT_SECONDS) * 1000 + 1
        for descriptor, _ in poller.poll(timeout):
            if descriptor == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                continue
            for escalation in self._escalations.values():
                if escalation.pidfds.pop(descriptor, None) is not None:
                    poller.unregister(descriptor)
                    os.close(descriptor)
                    if not escalation.pidfds:
                        escalation.due = float("-inf")

    def _take_asked(self) -> None:
        with self._lock:
            asked, self._asked = self._asked, []
        for ordinal, steps in asked:
            escalation = self._escalations.get(ordinal)
            if escalation is None:
                self._escalations[ordinal] = _Escalation(steps)
            elif len(steps) <= len(KILL_STEPS):
                escalation.plan.hurry(steps)
                escalation.due = float("-inf")

    def _try_step(self, ordinal: int, escalation: _Escalation, poller: select.poll) -> None:
        """Make a step; try again later where no descriptor was free, since an unseen attempt is never called clean."""
        try:
            self._step(ordinal, escalation, poller)
        except OSError as error:
            escalation.due = time.monotonic() + RECHECK_SECONDS
            if not escalation.is_told_of_fault:
                escalation.is_told_of_fault = True
                _log.error("the processes of attempt %d cannot be looked at, and will be again: %s", ordinal, error)

    def _step(self, ordinal: int, escalation: _Escalation, poller: select.poll) -> None:
        """Look at one attempt's processes, decide, and act."""
        self._gather(ordinal)
        living = self._population.living(ordinal)
        survivors: tuple[int, ...] = ()
        if living:
            decision = escalation.plan.decide(time.monotonic(), anybody=True)
            if decision.signal == signal.SIGKILL:
                survivors = self._population.sweep(ordinal, SWEEP_SECONDS).survivors
                escalation.due = time.monotonic() + RECHECK_SECONDS
                decision = decision if survivors else Decision(None, 0.0, is_over=True)
            else:
                survivors = tuple(identity.pid for identity in living)
                self._tell(escalation, living, decision, poller)
        else:  # one look may miss a process that forks all the time: only a sweep proves that there is none
            survivors = self._population.sweep(ordinal, SWEEP_SECONDS).survivors
            escalation.due = time.monotonic()
            decision = escalation.plan.decide(time.monotonic(), bool(survivors))
        if decision.is_over:
            self._close(escalation, poller)
            del self._escalations[ordinal]
            self._report(ordinal, survivors, escalation.plan.signal)

    def _tell(self, escalation: _Escalation, living: list[Identity], decision: Decision, poller: select.poll) -> None:
        """Send the step's signal to each process that has not got it, and watch for the end of the process."""
        escalation.due = decision.due
        watched = set(escalation.pidfds.values())
        for identity in living:
            if decision.signal is not None and escalation.told.get(identity) != decision.signal:
                escalation.told[identity] = decision.signal
                self._send(identity, decision.signal)
            if identity not in watched and not self._watch(escalation, identity, poller):
                escalation.due = min(escalation.due, time.monotonic() + RECHECK_SECONDS)

    def _send(self, identity: Identity, number: int) -> None:
        """Send a signal to a process, and continue the process where it is stopped."""
        with contextlib.suppress(PermissionError):  # another user's process: it will be reported as a survivor
            stat = read_stat(identity.pid)
            if stat is not None and stat.is_stopped:
                self._population.signal(identity, signal.SIGCONT)
            self._population.signal(identity, number)

    def _watch(self, escalation: _Escalation, identity: Identity, poller: select.poll) -> bool:
        """Have the poller wake when a process ends; False where no pidfd can be opened."""
        try:
            descriptor = open_pidfd(identity)
        except (OSError, AttributeError):
            return False
        if descriptor is None:
            return False
        escalation.pidfds[descriptor] = identity
        poller.register(descriptor, select.POLLIN)
        return True

    def _close(self, escalation: _Escalation, poller: select.poll) -> None:
        for descriptor in escalation.pidfds:
            poller.unregister(descriptor)
            os.close(descriptor)
        escalation.pidfds.clear()

    def _report(self, ordinal: int, survivors: tuple[int, ...], number: int | None) -> None:
        try:
            self._on_done(ordinal, survivors, number)
        except Exception:  # noqa: BLE001 - the other attempts must not suffer for it
            _log.exception("the end of the processes of attempt %d could not be reported", ordinal)
