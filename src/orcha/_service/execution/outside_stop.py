"""Whether the end of an action came with a SIGTERM to each process of the service.

systemd sends SIGTERM to each process of a unit when the unit is stopped (systemd.kill(5), KillMode=control-group): to
the service, to its watcher, and to the processes that actions have started. An action whose process ends by that is
interrupted: its end would tell a part of its work as the whole. A SIGTERM to the service alone explains no such end,
and the watcher has got none then.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._processes.watcher_process import Watcher
    from orcha.utils.stop_signal import StopSignal

WAIT_SECONDS = 0.5
"""How much later than the first SIGTERM, to the service or to a process of the action, the watcher's may come."""
_LOOK_SECONDS = 0.005


class OutsideStop:
    """Looks for such a SIGTERM at the end of each action that has started a process; from any thread."""

    def __init__(self, watcher: Watcher, run_handlers: Callable[[], None], signal: StopSignal) -> None:
        """Look at the watcher, and at what the handlers of signals have noted, which `run_handlers` has run first."""
        self._watcher = watcher
        self._run_handlers = run_handlers
        self._signal = signal

    def explains(self, *, ended_by_sigterm: bool) -> bool:
        """Return whether SIGTERM was sent to each process: to the watcher too, now or soon after the service.

        Where SIGTERM has ended a process of the action (`ended_by_sigterm`), also the service may get its own later.
        """
        if self._watcher.got_sigterm():
            return True
        self._run_handlers()
        now = time.monotonic()
        came = now if ended_by_sigterm and self._signal.came is None else self._signal.came
        while came is not None and time.monotonic() < came + WAIT_SECONDS:
            if self._watcher.got_sigterm():
                return True
            time.sleep(_LOOK_SECONDS)
        return self._watcher.got_sigterm()


__all__ = ["OutsideStop"]
