"""An attempt's values on their way from one process: in order, each once, whatever the connection does.

`put` waits for the service. What was put without waiting is sent by one thread a process, `_BackgroundSender`.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import deque
from itertools import islice

from orcha.utils import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Route(Protocol):
        """A way to the service."""

        def put(self, number: int, values: list[bytes]) -> bool:
            """Have values kept, the same number the same values; False where the attempt is over."""

        def finish(self, value: int | None) -> None:
            """Give the final value."""

        def leave(self) -> None:
            """Let go of a connection that a fork copied from its parent."""


MAX_WAITING_VALUES = 1_000
"""That wait to be sent, and of one Put."""
MAX_WAITING_BYTES = 1024 * 1024
"""That wait to be sent, and of one Put unless one value alone is larger."""
_IDLE_SECONDS = 1.0
"""How long the thread may have nothing to send; then it ends, since a process without threads forks safely."""


class _Batch:
    """Values sent together. The service knows a batch by its number: a batch that is sent again changes nothing."""

    __slots__ = ("number", "values")

    def __init__(self, number: int, values: list[bytes]) -> None:
        self.number = number
        self.values = values


class Value:
    """An encoded value on its way."""

    __slots__ = ("batch", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.batch: _Batch | None = None


class Outlet:
    """A queue of values towards the service, emptied by the thread that waits for it.

    A KeyboardInterrupt in `flush` leaves the batch as it is: the next call sends the batch again, under its number.
    """

    def __init__(self, route: Route, *, remote: bool) -> None:
        self.remote = remote
        """The service is another process."""
        self.gone = False
        """The attempt is over: nothing is sent any more."""
        self.queued = False
        """The background sender knows that values wait."""
        self._route = route
        self._lock = threading.Lock()
        self._waiting: deque[Value] = deque()
        self._bytes = 0
        self._batch = self._done = _Batch(0, [])

    def add(self, payload: bytes) -> Value:
        """Queue a value; waits for the service while too many are queued."""
        while not self.gone and (len(self._waiting) >= MAX_WAITING_VALUES or self._bytes >= MAX_WAITING_BYTES):
            self.flush()
        value = Value(payload)
        self._bytes += len(payload)
        self._waiting.append(value)
        return value

    def flush(self, until: Value | None = None) -> None:
        """Return when the service has everything up to this value (by default all), or the attempt is over."""
        if until is None:
            try:
                until = self._waiting[-1]
            except IndexError:
                return
        with self._lock:
            self._send_until(until)

    def _send_until(self, until: Value) -> None:
        """Send up to this value; a function, since CPython 3.13 may leave a loop within `with` without releasing."""
        while not self.gone and (until.batch is None or until.batch.number > self._done.number):
            self._send()
        self._forget_done()

    def finish(self, value: int | None) -> None:
        """Give the final value, after everything queued."""
        self.flush()
        with self._lock:
            if not self.gone:
                self._route.finish(value)
                self._end()

    def leave(self) -> None:
        """In a fork's child: let go of the parent's connection."""
        self._route.leave()

    def __bool__(self) -> bool:
        """Whether values wait."""
        return bool(self._waiting)

    def _send(self) -> None:
        """Send the batch that has no answer yet, else the next one; the caller has the lock."""
        if self._batch is self._done:
            self._forget_done()
            self._batch = self._next()
        if self._route.put(self._batch.number, self._batch.values):
            self._done = self._batch
        else:
            self._end()

    def _end(self) -> None:
        self.gone = True
        self._waiting.clear()

    def _next(self) -> _Batch:
        """Make the next batch of waiting values."""
        batch = _Batch(self._done.number + 1, [])
        size = 0
        for value in list(islice(self._waiting, MAX_WAITING_VALUES)):
            size += len(value.payload)
            if batch.values and size > MAX_WAITING_BYTES:
                break
            batch.values.append(value.payload)
            value.batch = batch
        return batch

    def _forget_done(self) -> None:
        """Drop values that the service has; may be interrupted and done again."""
        done, waiting = self._done, self._waiting
        while waiting and waiting[0].batch is done:
            waiting.popleft()
        self._bytes = sum(len(value.payload) for value in list(waiting)) if waiting else 0


class _BackgroundSender:
    """Empties outlets, one after another."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._inbox: queue.SimpleQueue[Outlet] = queue.SimpleQueue()
        self._outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._running = False

    def flush_at_exit(self) -> None:
        """Have waiting values sent when the process ends."""
        from multiprocessing import util

        util.Finalize(None, self._flush_all, exitpriority=10)  # atexit alone does not run in multiprocessing's children

    def take(self, outlet: Outlet) -> None:
        """Have an outlet emptied."""
        self._inbox.put(outlet)
        with self._lock:
            self._outlets.add(outlet)
            if not self._running:
                threads.start(threading.Thread(target=self._run, name="orcha-put", daemon=True))
                self._running = True

    def _next(self) -> Outlet | None:
        """Give the next outlet; None, and the thread ends, where none came for a while."""
        try:
            return self._inbox.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                self._running = not self._inbox.empty()
                return self._inbox.get() if self._running else None

    def _run(self) -> None:
        while (outlet := self._next()) is not None:
            outlet.queued = False  # before it is emptied, so that what is added meanwhile brings it here again
            try:
                outlet.flush()
            except Exception:  # noqa: BLE001 - it is logged, and the next outlet must not suffer
                from orcha.utils.logging_utils import get_logger

                get_logger().exception("values put without waiting were not sent")
            del outlet

    def _flush_all(self) -> None:
        """Send waiting values; in the service itself the engine does that when it ends."""
        for outlet in list(self._outlets):
            if outlet.remote:
                outlet.flush()


_sender: _BackgroundSender | None = None


def send_later(outlet: Outlet) -> None:
    """Have the background sender of this process empty the outlet."""
    global _sender  # noqa: PLW0603 - one a process
    if outlet.queued:
        return
    outlet.queued = True
    sender = _sender
    if sender is None or sender.pid != os.getpid():
        sender = _BackgroundSender()  # two threads may each make one: an outlet keeps its order all the same
        sender.flush_at_exit()
        _sender = sender
    sender.take(outlet)
