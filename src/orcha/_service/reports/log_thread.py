"""What a service says to people, from threads that must not wait for the reader of a pipe or terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from queue import SimpleQueue
from typing import NamedTuple

from orcha._service.reports.event_fields import fields_of
from orcha.utils import get_logger
from orcha.utils.event_log import EventStream
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha.utils.threads import OnDeath

MAX_WAITING_LINES = 1_000
"""Lines that may wait to be written; further lines are left out, and counted."""


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

    def __init__(self, on_death: OnDeath = ignore_death) -> None:
        """Start nothing before the first line; `on_death` is told where the thread dies."""
        self._on_death = on_death
        self._log = get_logger()
        self._waiting: SimpleQueue[_Line | None] = SimpleQueue()
        self._left_out = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def report(self, level: int, text: str, *args: object, error: BaseException | None = None) -> None:
        """Have a line of that level (`logging`) written soon, with the traceback of an error; it is formatted then."""
        if not self._log.isEnabledFor(level):
            return
        if self._waiting.qsize() >= MAX_WAITING_LINES:
            self._left_out += 1
            return
        self._waiting.put(_Line(level, text, args, error))
        if self._thread is None:
            with contextlib.suppress(NoThreadError):  # it is written with a later line, when there is room for a thread
                self.start()

    def stop(self, timeout: float) -> None:
        """Write the waiting lines, within `timeout` seconds, and end the thread."""
        thread = self._thread
        if thread is not None:
            self._waiting.put(None)
            thread.join(timeout)

    def start(self) -> None:
        """Start the thread, where it is not there."""
        with self._lock:
            if self._thread is None:
                thread = guarded("orcha-log", self._run, self._on_death)
                start(thread)
                self._thread = thread

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            self._write(line)

    def _write(self, line: _Line) -> None:
        log = self._log
        extra = {"orcha_fields": fields_of(line.text, line.args)} if isinstance(sys.stderr, EventStream) else None
        log.log(line.level, line.text, *line.args, exc_info=line.error, extra=extra)
        left_out, self._left_out = self._left_out, 0
        if left_out:
            log.warning("%d lines are left out: the log was not written fast enough", left_out)
