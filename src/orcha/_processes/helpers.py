"""The processes that multiprocessing starts for itself: they belong to the service and to no attempt."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from orcha._processes.own_group import group


def helper_pids() -> frozenset[int]:
    """Give the pids of the resource tracker and the fork server, where this process started them.

    One that an action was the first to need is a child of that action's thread, and must not end with it.
    """
    found = (
        _attribute("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        _attribute("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    )
    return frozenset(pid for pid in found if isinstance(pid, int))


def start_method() -> str:
    """Give the multiprocessing start method in force, without fixing it as a side effect."""
    import multiprocessing

    return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def ensure_helpers(preload: Sequence[str] = ()) -> frozenset[int]:
    """Start the resource tracker and, where the start method in force needs it, the fork server; give their pids.

    Called in the service before its first attempt, they carry the service's own tag. `preload` names the modules that
    the fork server imports once for all its children. Calling it again starts only what has died.
    Both are in a process group of their own, in which attempts start theirs.
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
    """Kill and reap what multiprocessing started, before this process exits; give the pids that did not end.

    At exit multiprocessing waits for every child that is no daemon, without limit. `deadline` is in seconds.
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
    """Look into a module only where something has imported it already."""
    value: object = sys.modules.get(module)
    for name in names:
        value = getattr(value, name, None)
    return value
