"""Hooks that do not return: their thread is given up, and people are told."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from orcha._service.hooks.visit import CALL, Hook
from orcha.utils.threads import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._service.hooks.hook_thread import Hooks
    from orcha._service.hooks.visit import HookCall, Visit
    from orcha._service.timers import Timers

WEDGED = "the plugin does not answer: try again later"
MAX_STALE_THREADS = 3
"""Given-up hook threads with which the service goes on."""
NO_THREAD_SECONDS = 1.0
"""Time until a call is given up that hangs while no other hook thread can be started."""


_TOO_LONG = {
    Hook.CONVERT: "to read the message",
    Hook.CONDITION: "to tell whether it may start",
    Hook.ON_START: "to prepare its start",
    Hook.ON_FINISH: "to tidy up after its end",
    Hook.CALL: "to answer",
}


def told(hook: Hook, deadline: float) -> str:
    """Tell people which hook took too long.

    >>> told(Hook.CONDITION, 10.0)
    'the plugin took longer than 10 s to tell whether it may start'
    """
    return f"the plugin took longer than {deadline:g} s {_TOO_LONG[hook]}"


class Deadline:
    """Watches the calls of visits, and gives up the hook thread with a call that takes too long; the engine's."""

    def __init__(
        self,
        hooks: Hooks,
        timers: Timers,
        seconds: float,
        report: Callable[..., None],
        degrade: Callable[[str], None],
    ) -> None:
        """Give each call its seconds; `degrade` ends a service too many of whose hooks do not return."""
        self._hooks = hooks
        self._timers = timers
        self.seconds = seconds
        self._report = report
        self._degrade = degrade
        self.is_armed = False
        """Whether it looks at a visit that is handed over now, and at those that follow."""
        self.under_way: Callable[[], Visit | None] = lambda: None
        """Gives the visit that was handed over last, unless it is known to be over."""
        self.given_up: Callable[[Visit, HookCall, str, int], None]
        """Told of a call that was given up: its visit, the reason, and the thread that is stuck in it."""

    def watch(self) -> None:
        """Watch over the visits from now on."""
        self._arm(time.monotonic() + self.seconds)

    def _arm(self, due: float) -> None:
        self.is_armed = True
        self._timers.at(due, self._look)

    def _look(self) -> None:
        self.is_armed = False
        visit = self.under_way()
        if visit is None or visit.over:
            return
        now = time.monotonic()
        if visit.is_overdue(self.seconds, now):
            try:
                self._hooks.prepare_another()
            except NoThreadError as error:  # until then other petitions wait for the call that hangs
                self._report(logging.ERROR, "a hook that hangs cannot be given up yet: %s", error)
                self._arm(now + NO_THREAD_SECONDS)
                return
        call = visit.abandon(self.seconds, now)
        if call is None:
            self._arm((visit.since if visit.current is not None else now) + self.seconds)
            return
        self._give_up(visit, call)

    def _give_up(self, visit: Visit, call: HookCall) -> None:
        hook, about, _ = call
        what = about.name if hook is CALL else f"petition {about.key}"
        text = "%s: %s did not return in %g s; it is at:\n%s"
        self._report(logging.ERROR, text, what, hook.name.lower(), self.seconds, self._hooks.stack())
        self.given_up(visit, call, told(hook, self.seconds), self._hooks.give_up())
        if len(self._hooks.threads.given_up) > MAX_STALE_THREADS:
            self._degrade("too many hooks that do not return")


__all__ = ["WEDGED", "Deadline", "told"]
