"""Celery's no-op task and its client, as Celery comes. Runs in the peers' environment: see peers.py."""

from __future__ import annotations

import os

from celery import Celery

REDIS = f"redis://127.0.0.1:{os.environ['BENCH_REDIS']}/0"
PATIENCE = 120

app = Celery("peer_celery", broker=REDIS, backend=REDIS)
app.conf.broker_connection_retry_on_startup = True


def finish_at_once() -> int:
    """Do nothing."""
    return 0


noop = app.task(name="noop")(finish_at_once)


def one() -> None:
    """Submit one, wait for its result."""
    noop.delay().get(timeout=PATIENCE)


def many(count: int) -> None:
    """Submit so many, wait for all their results."""
    results = [noop.delay() for _ in range(count)]
    for result in results:
        result.get(timeout=PATIENCE)
