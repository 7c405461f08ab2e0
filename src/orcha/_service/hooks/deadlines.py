"""What people are told of a hook that does not return."""

from __future__ import annotations

from orcha._service.hooks.visit import Hook

WEDGED = "the plugin does not answer: try again later"
STALE_ALLOWED = 3
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
    """Tell people what took too long.

    >>> told(Hook.CONDITION, 10.0)
    'the plugin took longer than 10 s to tell whether it may start'
    """
    return f"the plugin took longer than {deadline:g} s {_TOO_LONG[hook]}"
