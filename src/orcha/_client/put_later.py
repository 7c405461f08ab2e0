"""The thread that sends, once a process, what was put without waiting."""

from __future__ import annotations

import os
import queue
import threading
import weakref

from orcha.utils import threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._client.outlet import Outlet


_IDLE = 1.0
"""Seconds after which a thread with nothing to send ends: a process without threads forks safely."""


class _Sender:
    """Empties outlets, one after another."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._inbox: queue.SimpleQueue[Outlet] = queue.SimpleQueue()
        self._outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._running = False

    def flush_at_exit(self) -> None:
        """Have what waits at the end of the process sent then."""
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
        """Give the next outlet; None, and the thread ends, where there has been none for a while."""
        try:
            return self._inbox.get(timeout=_IDLE)
        except queue.Empty:
            with self._lock:
                self._running = not self._inbox.empty()
                return self._inbox.get() if self._running else None

    def _run(self) -> None:
        while (outlet := self._next()) is not None:
            outlet.queued = False  # before it is emptied, so that what is added meanwhile brings it here again
            try:
                outlet.flush()
            except Exception:  # noqa: BLE001 - it is logged, and the next outlet is not to suffer
                from orcha.utils.logging_utils import get_logger

                get_logger().exception("values put without waiting were not sent")
            del outlet

    def _flush_all(self) -> None:
        """Send what waits; in the service itself that ends with its engine."""
        for outlet in list(self._outlets):
            if outlet.remote:
                outlet.flush()


_sender: _Sender | None = None


def send_later(outlet: Outlet) -> None:
    """Have this process's sender empty the outlet."""
    global _sender  # noqa: PLW0603 - one a process
    if outlet.queued:
        return
    outlet.queued = True
    sender = _sender
    if sender is None or sender.pid != os.getpid():
        sender = _Sender()  # two threads that come here at once may make two: an outlet keeps its order all the same
        sender.flush_at_exit()
        _sender = sender
    sender.take(outlet)
