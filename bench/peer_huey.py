"""Huey's tasks and their client. Runs in the peers' environment: see peer_systems.py.

With BENCH_HUEY_NOTIFY=1 the worker tells the client that a result is there; as Huey comes, the client polls for it.
"""

from __future__ import annotations

import os

from huey import RedisHuey

import peer_work

PATIENCE = 120
NOTIFY = os.environ["BENCH_HUEY_NOTIFY"] == "1"

huey = RedisHuey(
    f"bench-{NOTIFY}",
    host="127.0.0.1",
    port=int(os.environ["BENCH_REDIS"]),
    notify_result=NOTIFY,
)

task = huey.task(name="one")(peer_work.one)
task_of_many = huey.task(name="many")(peer_work.many)


def one() -> None:
    """Submit one, wait for its result."""
    peer_work.expect(task().get(blocking=True, timeout=PATIENCE), peer_work.ECHO)


def many(count: int) -> None:
    """Submit so many, wait for all their results."""
    results = [task_of_many() for _ in range(count)]
    for result in results:
        peer_work.expect(result.get(blocking=True, timeout=PATIENCE), 0)
