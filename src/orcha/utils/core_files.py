"""A process that holds secrets leaves no core file: its memory would be in it (core(5)).

A soft limit of one byte does it: the kernel writes no file, and starts no program of a core_pattern that begins with a
pipe, which it would start with a limit of 0.
"""

from __future__ import annotations

import resource

_CORE_FILE_BYTES = 1
_before: list[tuple[int, int]] = []
"""The limits that this process had; empty until it writes none."""


def write_none() -> None:
    """Have this process write no core file from now on."""
    if not _before:
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        _before.append((soft, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (_CORE_FILE_BYTES if hard else 0, hard))


def restore(pid: int) -> None:
    """Give a child, which holds no secret yet, the limits that this process had; raises OSError."""
    if _before:
        resource.prlimit(pid, resource.RLIMIT_CORE, _before[0])


__all__ = ["restore", "write_none"]
