"""The line that `systemctl status` shows of a service: how many petitions wait and run, and what holds them back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orcha.utils.systemd import notify, status

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.timers import Timers

STATUS_INTERVAL_SECONDS = 1.0
"""Seconds after which the line is looked at again: it is sent no more often, and only where it says something else."""


def status_text(queued: int, running: int, *, held_back: str = "") -> str:
    """Give the line.

    >>> status_text(3, 2), status_text(3, 0, held_back="drained")
    ('3 queued, 2 running', '3 queued, 0 running, drained')
    """
    return f"{queued} queued, {running} running" + (f", {held_back}" if held_back else "")


class StatusReports:
    """Sends the line to systemd, on the engine's thread."""

    def __init__(self, timers: Timers, text: Callable[[], str], tell: Callable[..., Any] = notify) -> None:
        """Send nothing yet.

        Args:
            timers: the engine's.
            text: gives the line as it is now.
            tell: sends a state to systemd.

        """
        self._timers = timers
        self._text = text
        self._tell = tell
        self._told = ""

    def look(self) -> None:
        """Send the line where it says something else than before, and look again in a while."""
        self._timers.at(time.monotonic() + STATUS_INTERVAL_SECONDS, self.look)
        text = self._text()
        if text != self._told:
            self._told = text
            self._tell(status(text), wait=False)
