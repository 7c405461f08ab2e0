"""Celery's tasks and their client, as Celery comes. Runs in the peers' environment: see peer_systems.py."""

from __future__ import annotations

import os

from celery import Celery

import peer_work

REDIS = f"redis://127.0.0.1:{os.environ['BENCH_REDIS']}/0"
PATIENCE = 120

app = Celery("peer_celery", broker=REDIS, backend=REDIS)
app.conf.broker_connection_retry_on_startup = True

task = app.task(name="one")(peer_work.one)
task_of_many = app.task(name="many")(peer_work.many)


def one() -> None:
    """Submit one, wait for its result."""
    peer_work.expect(task.delay().get(timeout=PATIENCE), peer_work.ECHO)


def many(count: int) -> None:
    """Submit so many, wait for all their results."""
    results = [task_of_many.delay() for _ in range(count)]
    for result in results:
        peer_work.expect(result.get(timeout=PATIENCE), 0)
