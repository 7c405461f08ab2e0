"""Action threads: ``petition.action(callback, petition)``, each in a thread of a pool that grows as needed."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from orcha._client.attempt_channel import MAX_FINAL, MIN_FINAL
from orcha._processes import attempt_tracking
from orcha._processes.tag import ordinal_of_attempt
from orcha._service.reports.explanations import describe
from orcha.exceptions import StaleCall
from orcha.utils import this_process
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._client.attempt_channel import AttemptChannel
    from orcha._core.record import Record
    from orcha._service.execution.attempt_port import AttemptPort
    from orcha.interfaces.petition import Petition
    from orcha.utils.threads import OnDeath

FORKED_AND_RETURNED_CODE = 70
"""Exit code of a copy of the service that plugin code made by forking and returning."""
MAX_IDLE_THREADS = 64
"""Idle threads kept for the next actions."""


class ActionRun:
    """One attempt while its action runs: what the petition's own calls and the callback reach.

    The petition's object and the record refer to it, and it refers to neither. So nothing of an attempt lies in a cycle
    of references: all is freed with the record, and no garbage collection has to find it.
    """

    __slots__ = (
        "_port",
        "attempt",
        "devices",
        "ended_by_sigterm",
        "is_told",
        "key",
        "ordinal",
        "pids",
        "processes",
        "queue",
        "seq",
        "thread",
        "writers",
    )

    def __init__(self, port: AttemptPort, record: Record) -> None:
        """Belong to the record's current attempt."""
        self._port = port
        self.seq = record.seq
        self.key = record.key
        self.attempt = record.attempt
        self.devices = record.devices
        """What `devices_of` gives the action."""
        self.ordinal = ordinal_of_attempt(self.seq, self.attempt)
        """What its processes are tagged with."""
        self.queue: AttemptChannel | None = None
        """The petition's queue, where the petition has one of the service's."""
        self.pids: tuple[int, ...] = ()
        self.processes = False
        self.ended_by_sigterm = False
        """See `TrackedAttempt`."""
        self.is_told = False
        """Its petition's own terminate() has been called."""
        self.thread = 0
        self.writers: dict[bytes, int] = {}

    def callback(self, process: Any) -> None:
        """Take a process the action started: a pid, or anything with a ``pid``."""
        pid = getattr(process, "pid", process)
        if isinstance(pid, bool) or not isinstance(pid, int):
            message = f"the callback takes a pid or an object with one, not {process!r}"
            raise TypeError(message)
        self.processes = True
        self.pids = (*self.pids, pid)
        self._port.take_process(self, pid)

    def put(self, value: Any) -> None:
        """Put a value for a petition whose queue is not the service's channel."""

    def finish(self, value: int | None) -> None:
        """Give the attempt's final value; one beyond 64 bits counts as the nearest within."""
        self._port.finish(self.seq, self.attempt, None if value is None else max(MIN_FINAL, min(int(value), MAX_FINAL)))


class ActionPool:
    """Threads for actions. One idle thread is woken at a time; it starts another when more is waiting."""

    def __init__(self, ended: Callable[[ActionRun, str | None], None], on_death: OnDeath = ignore_death) -> None:
        """Tell `ended` of each action that came back, with the reason where it raised; `on_death` of a dead thread."""
        self._ended = ended
        self._on_death = on_death
        self._pid = this_process.pid
        self._inbox: SimpleQueue[tuple[ActionRun, Petition] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._waiting = 0

    def go(self, run: ActionRun, petition: Petition) -> None:
        """Have the action of a petition called soon, whatever other actions do.

        Raises:
            NoThreadError: no thread can be started for it; it will not be called.

        """
        with self._lock:
            self._waiting += 1
            spawn = self._idle == 0
            if spawn:
                self._idle += 1
        if spawn:
            try:
                self._spawn()
            except NoThreadError:
                with self._lock:
                    self._waiting -= 1
                    self._idle -= 1
                raise
        self._inbox.put((run, petition))

    def stop(self) -> list[threading.Thread]:
        """Let each thread end once its action, if it has one, came back; give the threads that still live.

        What is to be called from now on is not called: a hook that was under way may come back after the stop.
        """
        with self._lock:
            threads = list(self._threads)
        self._inbox.put(None)
        return threads

    def _spawn(self) -> None:
        thread = guarded("orcha-action", self._work, self._on_death)
        with self._lock:  # who stops waits for what has begun only
            start(thread)
            self._threads.add(thread)

    def _spawn_if_possible(self) -> None:
        """Start another thread; where there can be none, this one takes what waits when its action came back."""
        try:
            self._spawn()
        except NoThreadError:
            with self._lock:
                self._idle -= 1

    def _work(self) -> None:
        try:
            self._perform_all()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _perform_all(self) -> None:
        """Perform what comes, while there is need of this thread."""
        while True:
            called = self._inbox.get()
            if called is None:
                self._inbox.put(None)  # for the others, also for a thread that begins later
                return
            with self._lock:
                self._waiting -= 1
                self._idle -= 1
                spawn = self._waiting > 0 and self._idle == 0
                if spawn:
                    self._idle += 1
            if spawn:
                self._spawn_if_possible()
            self._ended(called[0], self._perform(*called))  # before it is idle: it may have to wait for the disk
            del called
            with self._lock:
                stay = self._idle < MAX_IDLE_THREADS
                if stay:
                    self._idle += 1
            if not stay:
                return

    def _perform(self, run: ActionRun, petition: Petition) -> str | None:
        with attempt_tracking.working_for(run.ordinal) as work:
            run.thread = work.thread
            error = self._call(petition, run)
        try:
            if run.queue is not None:
                run.queue.flush()  # what was put without waiting comes before the end, which is reported next
        except BaseException as raised:  # noqa: BLE001 - what is wrong with one queue ends this petition only
            error = error or describe(raised)
        run.processes = run.processes or work.may_have_processes
        run.ended_by_sigterm = work.ended_by_sigterm
        return error

    def _call(self, petition: Petition, run: ActionRun) -> str | None:
        try:
            petition.action(run.callback, petition)
        except StaleCall:
            return "the action made a call as a hook that was given up"
        except BaseException as error:  # noqa: BLE001 - plugin code: SystemExit too ends this petition only
            return describe(error)
        finally:
            if this_process.pid != self._pid:
                os._exit(FORKED_AND_RETURNED_CODE)
        return None
