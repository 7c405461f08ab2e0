"""Looks at the machine on a thread of its own, since a file system may not answer, and a plugin's function not return.

A look that takes too long is given up together with its thread; the value is not known until that thread comes back,
and another thread goes on with the others.
"""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

from orcha._core.conditions.kinds import Unknown
from orcha.utils.threads import NoThreadError, guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orcha._core.conditions.kinds import Value
    from orcha._core.conditions.terms import Reading
    from orcha.utils.threads import OnDeath

    Look = Callable[[Reading], Value | Unknown]
    Deliver = Callable[[dict[Reading, Value | Unknown]], None]

SECONDS_OF_A_LOOK = 2.0
"""Seconds after which a look is given up."""
MAX_GIVEN_UP_THREADS = 16
"""Threads that may be stuck in looks; with more of them only what never blocks is looked at."""


class _Worker:
    """One thread, and what it looks at now."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Sequence[Reading] | None] = SimpleQueue()
        self.at: Reading | None = None
        self.since = 0.0
        self.found: dict[Reading, Value | Unknown] = {}
        """The values that the thread has found and not delivered yet."""
        self.is_busy = False
        self.is_given_up = False
        self.thread: threading.Thread | None = None


class Looker:
    """Looks values up, one thread at a time; the engine's, but for what its threads do.

    Args:
        look: gives the value of one name; it may take any time.
        never_blocks: tells of a name whether looking at it always comes back at once.
        deliver: takes values; called on the threads.
        on_death: told where a thread dies.

    """

    def __init__(
        self, look: Look, never_blocks: Callable[[Reading], bool], deliver: Deliver, on_death: OnDeath
    ) -> None:
        """Start no thread before there is something to look at."""
        self._look = look
        self._never_blocks = never_blocks
        self._deliver = deliver
        self._on_death = on_death
        self._worker: _Worker | None = None
        self._given_up: dict[Reading, _Worker] = {}
        self._lock = threading.Lock()
        self._spent = 0.0

    def ask(self, readings: Sequence[Reading], now: float) -> None:
        """Have these names looked up soon, unless a look goes on; `now` is on the steady clock."""
        with self._lock:
            unknown = self._give_up_overdue(now)
            worker = self._worker
            for reading, stuck in self._given_up.items():
                unknown[reading] = Unknown(f"no answer for {now - stuck.since:.0f} s")
            asked = [reading for reading in readings if reading not in self._given_up]
            if len(self._given_up) >= MAX_GIVEN_UP_THREADS:
                reason = f"{len(self._given_up)} other looks have not come back"
                unknown |= {reading: Unknown(reason) for reading in asked if not self._never_blocks(reading)}
                asked = [reading for reading in asked if reading not in unknown]
        if unknown:
            self._deliver(unknown)
        if asked and (worker is None or not worker.is_busy):
            self._hand_over(sorted(asked, key=self._never_blocks, reverse=True))

    def take_spent(self) -> float:
        """Give the processor seconds that looks took since this was asked last."""
        with self._lock:
            spent, self._spent = self._spent, 0.0
        return spent

    def stop(self, timeout: float) -> None:
        """End the thread that is not stuck."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None and worker.thread is not None:
            worker.tasks.put(None)
            worker.thread.join(timeout)

    def _give_up_overdue(self, now: float) -> dict[Reading, Value | Unknown]:
        """Give up the thread where its look takes too long; give the values that it found before."""
        worker = self._worker
        if worker is None or worker.at is None or now - worker.since < SECONDS_OF_A_LOOK:
            return {}
        worker.is_given_up = True
        self._given_up[worker.at] = worker
        self._worker = None
        found, worker.found = worker.found, {}
        return found

    def _hand_over(self, readings: Sequence[Reading]) -> None:
        worker = self._worker
        if worker is None:
            worker = _Worker()
            thread = guarded("orcha-conditions", lambda: self._run(worker), self._on_death)
            worker.thread = thread
            try:
                start(thread)
            except NoThreadError as error:
                self._deliver({reading: Unknown(str(error)) for reading in readings})
                return
            self._worker = worker
        worker.is_busy = True
        worker.tasks.put(readings)

    def _run(self, worker: _Worker) -> None:
        while (readings := worker.tasks.get()) is not None:
            began = time.thread_time()
            for reading in readings:
                if worker.found and not self._never_blocks(reading) and self._never_blocks(next(iter(worker.found))):
                    self._hand_in(worker)  # values that were found must not wait for a look that may never come back
                with self._lock:
                    worker.at, worker.since = reading, time.monotonic()
                value = self._look(reading)
                with self._lock:
                    worker.at = None
                    if worker.is_given_up:
                        del self._given_up[reading]
                        return
                    worker.found[reading] = value
            self._hand_in(worker)
            with self._lock:
                self._spent += time.thread_time() - began
            worker.is_busy = False

    def _hand_in(self, worker: _Worker) -> None:
        with self._lock:
            found, worker.found = worker.found, {}
        self._deliver(found)


__all__ = ["MAX_GIVEN_UP_THREADS", "SECONDS_OF_A_LOOK", "Looker"]
