"""Ray's tasks and their client: a Ray of its own, on loopback alone. Runs in the peers' environment.

What Ray keeps lies in BENCH_FOLDER_RAY, whose name has to be short, and in HOME.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from pathlib import Path

import ray  # type: ignore[import-not-found]  # it lives in the peers' environment

import peer_work
from peer_spawn import adopt

OBJECTS = 80 << 20
"""Bytes of its object store: little more than the least that Ray takes."""


def children() -> list[int]:
    """Give the processes that were started here, and those below that lost their parent."""
    found: list[int] = []
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended
            found += map(int, file.read_text().split())
    return found


def shut_down() -> None:
    """End Ray with all it started: where it is interrupted, its agents would live on for a minute."""
    ray.shutdown()
    while left := children():
        for child in left:
            with contextlib.suppress(OSError):  # Ray was faster
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


adopt()
atexit.register(shut_down)
signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
ray.init(
    address="local",
    num_cpus=2,
    include_dashboard=False,
    log_to_driver=False,
    object_store_memory=OBJECTS,
    _temp_dir=os.environ["BENCH_FOLDER_RAY"],
)

task = ray.remote(peer_work.one)
task_of_many = ray.remote(peer_work.many)


def one() -> None:
    """Submit one, wait for its result."""
    peer_work.expect(ray.get(task.remote()), peer_work.ECHO)


def many(count: int) -> None:
    """Submit so many, wait for all their results."""
    peer_work.expect(ray.get([task_of_many.remote() for _ in range(count)]), [0] * count)
