"""A client of noop_service.py, for the comparison with the peers: see peers.py."""

from __future__ import annotations

import itertools
import os

from orcha.interfaces import Message
from orcha.lib import ClientManager

manager = ClientManager("127.0.0.1", int(os.environ["BENCH_ORCHA"]))
manager.connect()
numbers = itertools.count()


def one() -> None:
    """Submit one, wait for its final value."""
    queue = manager.manager.Queue()
    manager.send(Message(next(numbers), {"queue": queue}))
    if queue.get() is not None:
        raise RuntimeError("no success")


def many(count: int) -> None:
    """Submit so many, wait for all their final values."""
    queue = manager.manager.Queue()
    manager.send_many([Message(next(numbers), {"queue": queue}) for _ in range(count)])
    for _ in range(count):
        if queue.get() is not None:
            raise RuntimeError("no success")
