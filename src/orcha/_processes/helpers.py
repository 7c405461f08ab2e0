"""The processes that multiprocessing starts for itself; they belong to the service and to no attempt."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from orcha._processes.own_group import group


def helper_pids() -> frozenset[int]:
    """Return the pids of the resource tracker and the fork server, where this process started them.

    A helper is a child of the thread that first needed it, maybe an action's, and must not end with that action.
    """
    found = (
        _attribute("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        _attribute("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    )
    return frozenset(pid for pid in found if isinstance(pid, int))


def start_method() -> str:
    """Return the multiprocessing start method in force, without fixing it as a side effect."""
    import multiprocessing

    return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def ensure_helpers(preload: Sequence[str] = ()) -> frozenset[int]:
    """Start the resource tracker and, where the start method needs it, the fork server; return their pids.

    Called before the service's first attempt, so that they carry the service's own tag. `preload` names the modules
    that the fork server imports once for all its children. A second call starts only helpers that have died. Both are
    in a process group of their own, in which attempts start their processes.
    """
    from multiprocessing import resource_tracker

    with group.led_by_next():
        resource_tracker.ensure_running()
        leader = _attribute("multiprocessing.resource_tracker", "_resource_tracker", "_pid")
        group.lead(leader if isinstance(leader, int) else 0)
        if start_method() == "forkserver":
            from multiprocessing import forkserver

            if preload:
                forkserver.set_forkserver_preload(list(preload))
            forkserver.ensure_running()
    return helper_pids()


def end_multiprocessing_children(deadline: float = 5.0) -> list[int]:
    """Kill and reap the processes of multiprocessing, before this process exits; return the pids that did not end.

    At exit multiprocessing waits without limit for every child that is no daemon. `deadline` is in seconds.
    """
    if "multiprocessing.process" not in sys.modules:
        return []
    from multiprocessing import active_children

    until = time.monotonic() + deadline
    children = active_children()
    for child in children:
        child.kill()
    for child in children:
        child.join(max(0.0, until - time.monotonic()))
    return [child.pid for child in active_children() if child.pid is not None]


def _attribute(module: str, *names: str) -> object:
    """Return an attribute of a module, without importing the module."""
    value: object = sys.modules.get(module)
    for name in names:
        value = getattr(value, name, None)
    return value
