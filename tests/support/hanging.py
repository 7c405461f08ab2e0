"""Says where every thread hangs when a test hangs, shortly before the time limit ends the test."""

from __future__ import annotations

import faulthandler
import os
import time

AFTER = 100.0
"""Seconds from an order until the stacks are written; the time limit of a test is 120."""
ORDER_HOLDS = 10.0
"""Seconds for which tests that begin share an order: where one hangs is written 90 to 100 seconds after its begin."""


class HangReports:
    """Has the interpreter write the stacks of all threads to standard error, also where no Python code can run.

    pytest's own option for that, faulthandler_timeout, starts and ends a thread for each test, which costs a fifth of
    what an empty test costs. Here tests that begin within ten seconds share such a thread.
    """

    def __init__(self) -> None:
        """Order nothing; what is standard error now gets the reports: a test's standard error is taken by pytest."""
        self._to = os.dup(2)
        self._ordered_at: float | None = None

    def begin(self) -> None:
        """Take note of a test that begins."""
        now = time.monotonic()
        if self._ordered_at is None or now - self._ordered_at >= ORDER_HOLDS:
            faulthandler.dump_traceback_later(AFTER, file=self._to)  # in place of the former order
            self._ordered_at = now

    def pause(self) -> None:
        """Order nothing until the next test begins: a person may look at a test that has failed."""
        faulthandler.cancel_dump_traceback_later()
        self._ordered_at = None

    def close(self) -> None:
        """Order nothing more."""
        self.pause()
        os.close(self._to)
