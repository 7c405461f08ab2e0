"""What a test may not leave behind in this process: threads, children, descriptors."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.processes import children, command_line
from support.waiting import wait_for


def _threads() -> set[str]:
    """Give the live threads."""
    return {f"thread {thread.name} ({thread.native_id})" for thread in threading.enumerate()}


def _children() -> set[str]:
    """Give the direct children of this process, zombies included."""
    return {f"child {pid}: {command_line(pid)}" for pid in children()}


def _descriptors() -> set[str]:
    """Give the open descriptors with what they are."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found.add(f"descriptor {descriptor}: {os.readlink(f'/proc/self/fd/{descriptor}')}")  # noqa: PTH115
        except OSError:  # the one that listed the folder
            continue
    return found


_KINDS: dict[str, Callable[[], set[str]]] = {"threads": _threads, "children": _children, "descriptors": _descriptors}


@contextmanager
def no_leaks(allowed: frozenset[str] = frozenset()) -> Iterator[None]:
    """Fail when more of a kind (``threads``, ``children``, ``descriptors``) is there after than before."""
    kinds = {kind: give for kind, give in _KINDS.items() if kind not in allowed}
    before = {kind: give() for kind, give in kinds.items()}
    yield

    def left() -> list[str]:
        return sorted(item for kind, give in kinds.items() for item in give() - before[kind])

    def is_all_gone() -> bool:
        """Collect garbage at each look: a cycle keeps its descriptor until then, and may be garbage only by now."""
        if not left():
            return True
        gc.collect()
        return not left()

    try:
        wait_for(is_all_gone, what="the end of what the test started", interval=0.02)
    except AssertionError:
        message = "the test left behind: " + "; ".join(left())
        raise AssertionError(message) from None
