"""A clock on the wall that tests set."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

HOUR = 3_600.0
DAY = 24 * HOUR


class WallClock:
    """The clock on the wall of this process, set by so many seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Show the real time, until it is set."""
        self.set_by = 0.0
        real, real_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: real() + self.set_by)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(self.set_by * 1e9))

    def show(self, moment: str) -> None:
        """Show a time of UTC, as ``2026-06-01T12:05``, and go on from there."""
        self.set_by += datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() - time.time()
