"""What a test may not leave behind in this process: threads, children, descriptors."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import NamedTuple

from support.processes import children, command_line
from support.waiting import wait_for


def _threads() -> set[str]:
    """Give the live threads."""
    return {f"thread {thread.name} ({thread.native_id})" for thread in threading.enumerate()}


def _children() -> set[str]:
    """Give the direct children of this process, zombies included."""
    return {f"child {pid}: {command_line(pid)}" for pid in children()}


class _Descriptor(NamedTuple):
    """An open descriptor and the file behind it, of which `os.fstat` tells at a third of what its name costs."""

    number: int
    device: int
    inode: int

    def __str__(self) -> str:
        """Give what it is; it is read after a test alone."""
        try:
            return f"descriptor {self.number}: {os.readlink(f'/proc/self/fd/{self.number}')}"  # noqa: PTH115
        except OSError:
            return f"descriptor {self.number}: (closed)"


def _descriptors() -> set[_Descriptor]:
    """Give the open descriptors."""
    found = set()
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
        try:
            known = os.fstat(number)
        except OSError:  # the one that listed the folder
            continue
        found.add(_Descriptor(number, known.st_dev, known.st_ino))
    return found


_KINDS: dict[str, Callable[[], AbstractSet[object]]] = {
    "threads": _threads,
    "children": _children,
    "descriptors": _descriptors,
}


@contextmanager
def no_leaks(allowed: frozenset[str] = frozenset()) -> Iterator[None]:
    """Fail when more of a kind (``threads``, ``children``, ``descriptors``) is there after than before."""
    kinds = {kind: give for kind, give in _KINDS.items() if kind not in allowed}
    before = {kind: give() for kind, give in kinds.items()}
    yield

    def left() -> list[str]:
        return sorted(str(item) for kind, give in kinds.items() for item in give() - before[kind])

    def is_all_gone() -> bool:
        """Collect garbage at each look: a cycle keeps its descriptor until then, and may be garbage only by now."""
        if not left():
            return True
        gc.collect()
        return not left()

    if not left():
        return
    try:
        wait_for(is_all_gone, what="the end of what the test started", interval=0.02)
    except AssertionError:
        message = "the test left behind: " + "; ".join(left())
        raise AssertionError(message) from None
