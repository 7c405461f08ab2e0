"""What a service says to people, from threads that must not wait for whoever reads it."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import NamedTuple

from orcha.utils import get_logger

MOST = 1_000
"""Lines that may wait to be written; what comes meanwhile is left out, and counted."""


class _Line(NamedTuple):
    level: int
    text: str
    args: tuple[object, ...]
    error: BaseException | None


class Reporter:
    """Writes to the log on a thread of its own: a full pipe, or a lock that a hung hook holds, stops only that.

    >>> reporter = Reporter()
    >>> reporter.report(10, "petition %s waits: %s", "a", "no rig is free")
    >>> reporter.stop(1.0)
    """

    def __init__(self) -> None:
        """Start nothing before the first line."""
        self._log = get_logger()
        self._waiting: SimpleQueue[_Line | None] = SimpleQueue()
        self._left_out = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def report(self, level: int, text: str, *args: object, error: BaseException | None = None) -> None:
        """Have a line of that level (`logging`) written soon, with the traceback of an error; it is formatted then."""
        if not self._log.isEnabledFor(level):
            return
        if self._waiting.qsize() >= MOST:
            self._left_out += 1
            return
        self._waiting.put(_Line(level, text, args, error))
        if self._thread is None:
            self._start()

    def stop(self, timeout: float) -> None:
        """Write what waits, within so many seconds, and end the thread."""
        thread = self._thread
        if thread is not None:
            self._waiting.put(None)
            thread.join(timeout)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="orcha-log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        log = self._log
        while (line := self._waiting.get()) is not None:
            log.log(line.level, line.text, *line.args, exc_info=line.error)
            left_out, self._left_out = self._left_out, 0
            if left_out:
                log.warning("%d lines are left out: the log was not written fast enough", left_out)
