"""Commands by posix_spawn alone, which keeps nothing: the yardstick of the comparison of commands."""

from __future__ import annotations

import ctypes
import os
import time

AT_ONCE = 2
PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Become the parent of those below that lose theirs (prctl(2))."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def echo(*argv: str) -> float:
    """Run a command that prints "hi"; give when that came."""
    reading, writing = os.pipe()
    process = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
    os.close(writing)
    got = os.read(reading, 100)
    came = time.perf_counter()
    while piece := os.read(reading, 100):
        got += piece
    os.close(reading)
    _, status = os.waitpid(process, 0)
    if (got, status) != (b"hi\n", 0):
        raise RuntimeError(f"no success: {got!r}, {status}")
    return came


def ended() -> int:
    """Wait for a child, give its id; raises RuntimeError where it failed."""
    process, status = os.wait()
    if status != 0:
        raise RuntimeError(f"no success: {status}")
    return process


def one() -> float:
    """Run one, give when its first byte came."""
    return echo("/bin/echo", "hi")


def many(count: int) -> None:
    """Run so many, as many at once as the others."""
    running: set[int] = set()
    for _ in range(count):
        if len(running) == AT_ONCE:
            running.discard(ended())
        running.add(os.posix_spawn("/bin/true", ["/bin/true"], {}))
    while running:
        running.discard(ended())
