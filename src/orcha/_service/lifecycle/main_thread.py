"""The thread that waits for the end of a service, and runs Python's handlers of signals meanwhile.

Python runs a handler on the main thread only, and the kernel may hand a signal to another thread, which does not wake
the main thread. So that thread comes up for air, and when it is asked to.
"""

from __future__ import annotations

import contextlib
import threading
from _thread import allocate_lock
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _thread import LockType

SIGNAL_LOOK_SECONDS = 0.25
"""Seconds after which a waiting main thread looks whether a signal has come."""
TURN_SECONDS = 1.0
"""Seconds that another thread waits for the main thread's turn."""


class MainThread:
    """Waits for the end of a service."""

    def __init__(self) -> None:
        """Begin with nobody waiting."""
        self._asked: SimpleQueue[LockType | None] = SimpleQueue()
        self._waits = False
        self._over = threading.Event()

    def wait(self) -> None:
        """Wait until `end` is called; on the main thread, let handlers run when another thread asks for that."""
        if threading.current_thread() is not threading.main_thread():
            self._over.wait()
            return
        self._waits = True
        try:
            while not self._over.is_set():
                with contextlib.suppress(Empty):
                    turn = self._asked.get(timeout=SIGNAL_LOOK_SECONDS)
                    if turn is not None:
                        turn.release()  # handlers of signals that came before have run when the call above is back
        finally:
            self._waits = False

    def end(self) -> None:
        """End every wait."""
        self._over.set()
        self._asked.put(None)

    def run_handlers(self) -> None:
        """Have the handlers of all signals run that this process has got before; nothing where nobody waits."""
        if self._waits:
            turn = allocate_lock()
            turn.acquire()
            self._asked.put(turn)
            turn.acquire(timeout=TURN_SECONDS)
