"""A client of task-spooler, whose server is there: TS_SOCKET. What `tsp` leaves in the background is adopted.

That is the process that waits for a command's turn, executes it, and ends as it ends.
"""

from __future__ import annotations

import contextlib
import os

from peer_spawn import adopt, echo, ended

QUIET = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]

adopt()


def one() -> float:
    """Submit one, give when its first byte came."""
    return echo("tsp", "-nf", "/bin/echo", "hi")


def many(count: int) -> None:
    """Submit so many, one `tsp` after the other, wait until all have ended."""
    seen = 0
    for _ in range(count):
        submits = os.posix_spawnp("tsp", ["tsp", "-n", "/bin/true"], os.environ, file_actions=QUIET)
        seen += 1
        while ended() != submits:
            seen += 1
    with contextlib.suppress(ChildProcessError):
        while ended():
            seen += 1
    if seen != 2 * count:
        raise RuntimeError(f"no success: {seen} processes ended")
