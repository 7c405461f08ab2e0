"""Systemd's watchdog (WatchdogSec= of a unit) is fed by the progress of the service, and by nothing else."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from orcha.utils.systemd import KEEP_ALIVE, notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._service.timers import Timers

KEEP_ALIVES_PER_TIMEOUT = 3
"""How often within the time that systemd allows: sd_watchdog_enabled(3) asks for twice at least."""


def interval_of(environment: Mapping[str, str]) -> float | None:
    """Give the seconds after which this process is to feed the watchdog; None where none waits for it.

    >>> interval_of({"WATCHDOG_USEC": "30000000"}), interval_of({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "0"})
    (10.0, None)
    """
    time_allowed = environment.get("WATCHDOG_USEC", "")
    if not time_allowed.isdecimal() or not int(time_allowed):
        return None
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(time_allowed) / 1_000_000 / KEEP_ALIVES_PER_TIMEOUT


class Feeding:
    """Feeds the watchdog once the engine has got round to it, then the hook thread, then the loop.

    The manager's code may hang on the hook thread: that is a fault of a plugin, which has its own deadline, and no
    restart of the service would mend it.
    """

    def __init__(
        self,
        timers: Timers,
        on_loop: Callable[[Callable[[], None]], None],
        interval: float,
        *,
        hooks_go_on: Callable[[], bool] = lambda: True,
        tell: Callable[..., Any] = notify,
    ) -> None:
        """Feed nothing yet.

        Args:
            timers: the engine's.
            on_loop: has something called on the loop thread.
            interval: in seconds.
            hooks_go_on: tells whether the hook thread has got round to it since it was asked last.
            tell: sends a state to systemd.

        """
        self._timers = timers
        self._on_loop = on_loop
        self._interval = interval
        self._hooks_go_on = hooks_go_on
        self._tell = tell
        self._asked = False

    def start(self) -> None:
        """Begin; on the engine's thread, or before that runs."""
        self._timers.at(time.monotonic() + self._interval, self._engine_goes_on)

    def _engine_goes_on(self) -> None:
        self.start()
        if self._hooks_go_on() and not self._asked:
            self._asked = True
            self._on_loop(self._loop_goes_on)

    def _loop_goes_on(self) -> None:
        self._asked = False
        self._tell(KEEP_ALIVE, wait=False)
