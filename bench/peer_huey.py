"""Huey's no-op task and its client. Runs in the peers' environment: see peers.py.

With BENCH_HUEY_NOTIFY=1 the worker tells the client that a result is there; as Huey comes, the client polls for it.
"""

from __future__ import annotations

import os

from huey import RedisHuey

PATIENCE = 120
NOTIFY = os.environ["BENCH_HUEY_NOTIFY"] == "1"

huey = RedisHuey(
    f"bench-{NOTIFY}",
    host="127.0.0.1",
    port=int(os.environ["BENCH_REDIS"]),
    notify_result=NOTIFY,
)


def finish_at_once() -> int:
    """Do nothing."""
    return 0


noop = huey.task(name="noop")(finish_at_once)


def one() -> None:
    """Submit one, wait for its result."""
    noop().get(blocking=True, timeout=PATIENCE)


def many(count: int) -> None:
    """Submit so many, wait for all their results."""
    results = [noop() for _ in range(count)]
    for result in results:
        result.get(blocking=True, timeout=PATIENCE)
