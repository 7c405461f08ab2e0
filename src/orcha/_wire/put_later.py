"""The thread that sends, once a process, what was put without waiting."""

from __future__ import annotations

import os
import queue
import threading
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._wire.outlet import Outlet


class _Sender:
    """Empties outlets, one after another."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._inbox: queue.SimpleQueue[Outlet] = queue.SimpleQueue()
        self._outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()

    def start(self) -> None:
        """Start the thread; what waits at the end of the process is sent then."""
        from multiprocessing import util

        util.Finalize(None, self._flush_all, exitpriority=10)  # atexit alone does not run in multiprocessing's children
        threading.Thread(target=self._run, name="orcha-put", daemon=True).start()

    def take(self, outlet: Outlet) -> None:
        """Have an outlet emptied."""
        self._outlets.add(outlet)
        self._inbox.put(outlet)

    def _run(self) -> None:
        while True:
            outlet = self._inbox.get()
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
        sender = _Sender()  # of two threads that come here at once each may start one: an outlet keeps its order
        sender.start()
        _sender = sender
    sender.take(outlet)
