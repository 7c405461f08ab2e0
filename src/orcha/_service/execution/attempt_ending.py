"""How attempts end: their time limits, the signals to their processes, and what their action left behind."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.codes import TIMED_OUT_CODE
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.state import Outcome, State
from orcha._core.transitions.retry import is_decided
from orcha._processes import attempt_tracking
from orcha._processes.attempt_processes import processes_for
from orcha._processes.escalation_plan import KILL_STEPS, POLITE_STEPS, EscalationStep
from orcha._processes.tag import ordinal_of_attempt, tag_of
from orcha._processes.terminator import AttemptTerminator as Processes
from orcha._service.execution.action_threads import FORKED_AND_RETURNED_CODE, ActionRun
from orcha._service.reports.explanations import describe
from orcha.interfaces.petition import Petition
from orcha.utils.threads import NoThreadError, guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orcha._core.petitions import Petitions
    from orcha._protocol.endpoint import Endpoint
    from orcha._service.lifecycle.settings import Settings
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._service.mailbox import Mailbox
    from orcha._service.timers import Timers

OVERRIDE_DEADLINE_SECONDS = 5.0
"""Seconds a petition's own terminate() may take before the signals go out all the same."""
AFTER_OVERRIDE = (EscalationStep(0, 2.0), *POLITE_STEPS)
"""What follows on a petition's own terminate(): a signal that does nothing (kill(2)), so that its own may work."""


class Ending:
    """Ends the processes of attempts, which it finds by their tags, and watches over time limits."""

    def __init__(
        self,
        petitions: Petitions,
        stored: StoredPetitions,
        mailbox: Mailbox,
        timers: Timers,
        settings: Settings,
        nonce: int,
        report: Callable[..., None],
    ) -> None:
        """Prepare; nothing is started.

        Args:
            petitions: the petitions that are told how their attempts end.
            stored: finds petitions where only their keys are in memory.
            mailbox: takes what the threads that end processes report.
            timers: limits are due by them.
            settings: where the service is, and how long a thread may take to return.
            nonce: what processes of this start of the service are tagged with.
            report: writes to the log.

        """
        self._petitions = petitions
        self._stored = stored
        self._mailbox = mailbox
        self._timers = timers
        self.settings = settings
        self._report = report
        self._nonce = nonce
        self._secret = os.urandom(32)
        self._pid = os.getpid()
        self.population = processes_for(self._nonce)
        self._processes = Processes(self.population, attempt_tracking.claim_children, self._over_with, mailbox.end_with)
        self._ending: dict[int, ActionRun] = {}
        self._changed_waits: dict[int, float | None] = {}
        """How long petitions may wait for which people changed that, by sequence."""

    def forget_secret(self) -> None:
        """In a forked child: forget the secret; what the actions that run have of their keys is theirs already."""
        for record in self._petitions.records.values():
            if isinstance(record.run, ActionRun) and record.run.queue is not None:
                record.run.queue.keep_access()
        self._secret = b""

    def start(self) -> None:
        """Start the threads that end processes."""
        self._processes.start()

    def stop(self) -> None:
        """End the threads that were started."""
        self._processes.stop()

    # --- start --------------------------------------------------------------------------------------------------

    def capability(self, channel: bytes, seq: int, attempt: int) -> bytes:
        """Give the key with which a process of this attempt may write to its channel, and nothing else."""
        return blake2b(b"cap|%s|%d|%d" % (channel, seq, attempt), key=self._secret, digest_size=32).digest()

    def capability_of(self, seq: int, attempt: int) -> bytes | None:
        """Give the key of a live attempt, for the door; None for any other. Called on the loop thread."""
        record = self._petitions.records.get(seq)
        if record is None or record.attempt != attempt or not self._secret:
            return None
        return self.capability(record.channel, seq, attempt)

    def access(self, seq: int, attempt: int) -> tuple[Endpoint, bytes, int]:
        """Give how other processes of an attempt reach the service: where, with which key, and the tag that they bear.

        The key of an attempt that has ended opens nothing.
        """
        tag = tag_of(self._nonce, ordinal_of_attempt(seq, attempt))
        return self.settings.endpoint, self.capability_of(seq, attempt) or b"", tag

    # --- processes ----------------------------------------------------------------------------------------------

    def adopt(self, run: ActionRun, pid: int) -> None:
        """Take a process the action named; it is killed at once where the attempt is over."""
        attempt_tracking.adopt(run.ordinal, pid)
        self._mailbox.post(self._adopted, run)

    def _adopted(self, run: ActionRun) -> None:
        record = self._petitions.records.get(run.seq)
        if record is None or record.attempt != run.attempt:
            self._processes.begin(run.ordinal, KILL_STEPS)
        elif record.state is not State.STARTING and record.processes_gone:
            transitions.finish.processes_left(self._petitions, record)

    def end(self, record: Record) -> None:
        """Send INT, TERM, KILL to what lives of the attempt, and tell when nothing does."""
        run: ActionRun = record.run
        petition = record.petition
        if run.is_told or petition is None or type(petition).terminate is Petition.terminate:
            self._begin(run, POLITE_STEPS)
            return
        run.is_told = True
        try:
            start(guarded("orcha-terminate", partial(self._terminate, run, petition), self._mailbox.end_with))
        except NoThreadError as error:
            text = "petition %s: its processes are ended without its terminate(): %s"
            self._report(logging.ERROR, text, record.key, error)
            self._begin(run, POLITE_STEPS)

    def _terminate(self, run: ActionRun, petition: Petition) -> None:
        """Let the petition's own terminate() go first; it has a deadline, and its signals some time to work."""
        gone_on = threading.Event()

        def go_on(steps: Sequence[EscalationStep]) -> None:
            if not gone_on.is_set():
                gone_on.set()
                self._begin(run, steps)

        steps: Sequence[EscalationStep] = POLITE_STEPS
        self._mailbox.post(self._timers.at, time.monotonic() + OVERRIDE_DEADLINE_SECONDS, lambda: go_on(POLITE_STEPS))
        try:
            petition.terminate(run.pids[-1] if run.pids else None)
            steps = AFTER_OVERRIDE
        except BaseException as error:  # noqa: BLE001 - plugin code: the signals go out whatever it does
            self._report(logging.ERROR, "petition %s: terminate: %s", run.key, describe(error))
        finally:
            if os.getpid() != self._pid:
                os._exit(FORKED_AND_RETURNED_CODE)
        self._mailbox.post(go_on, steps)

    def sweep(self, record: Record) -> None:
        """Kill the processes that the attempt left behind, and tell when none lives."""
        run: ActionRun = record.run
        self._begin(run, KILL_STEPS)

    def _begin(self, run: ActionRun, steps: Sequence[EscalationStep]) -> None:
        self._ending[run.ordinal] = run
        self._processes.begin(run.ordinal, steps)

    def _over_with(self, ordinal: int, survivors: tuple[int, ...], number: int | None) -> None:
        """Take word, on the thread that ends processes, that an attempt's are gone."""
        self._mailbox.post(self._gone, ordinal, list(survivors), number)

    def _gone(self, ordinal: int, survivors: list[int], number: int | None) -> None:
        run = self._ending.pop(ordinal, None)
        if run is None:
            return
        self.population.forget(ordinal)
        if number:
            name = signal.Signals(number).name
            self._report(logging.INFO, "petition %s: its processes ended by %s", run.key, name)
        petitions = self._petitions
        transitions.finish.processes_gone(petitions, run.seq, run.attempt, survivors, petitions.now)
        record = petitions.records.get(run.seq)
        if record is not None and record.state is State.CANCELLING and not record.returned:
            due = time.monotonic() + self.settings.abandon_after
            self._timers.at(due, lambda: transitions.finish.abandon(petitions, run.seq, run.attempt, petitions.now))

    # --- limits -------------------------------------------------------------------------------------------------

    def limit_run(self, record: Record) -> None:
        """End the attempt as timed out when its time is over."""
        seq, attempt, limit = record.seq, record.attempt, record.timeout or 0.0
        self._timers.at(time.monotonic() + limit, lambda: self._over(seq, attempt, f"ran longer than {limit:.12g} s"))

    def _over(self, seq: int, attempt: int, reason: str) -> None:
        record = self._petitions.records.get(seq)
        if record is None or record.attempt != attempt:
            return
        if record.state is State.STARTING or is_decided(record):
            transitions.cancel.cancel(
                self._petitions, record, Cancellation(Outcome.TIMED_OUT, TIMED_OUT_CODE, reason), self._petitions.now
            )

    def limit_wait(self, record: Record) -> None:
        """End the petition as timed out when it has waited too long."""
        seq, key, limit = record.seq, record.key, record.queue_timeout or 0.0
        waited = max(0.0, self._petitions.now.wall - record.starts_after)
        due = time.monotonic() + max(0.0, limit - waited)
        begun = record.starts_after
        self._timers.at(due, lambda: self._waited(seq, key, begun, limit))

    def change_wait(self, record: Record) -> None:
        """Have another limit of waiting hold, or none."""
        self._changed_waits[record.seq] = record.queue_timeout
        if record.queue_timeout is not None and record.phase is Phase.WAITING:
            self.limit_wait(record)

    def _waited(self, seq: int, key: str, begun: float, limit: float) -> None:
        if self._changed_waits.get(seq, limit) != limit:
            return
        reason = f"waited longer than {limit:.12g} s"
        record = self._stored.find(key)
        if record is None or record.seq != seq or record.phase is not Phase.WAITING:
            return
        if record.petition is None or record.starts_after == begun:  # else people put it off meanwhile
            transitions.cancel.cancel(
                self._petitions, record, Cancellation(Outcome.TIMED_OUT, TIMED_OUT_CODE, reason), self._petitions.now
            )
