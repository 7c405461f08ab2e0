"""Orcha beside Celery and Huey: no-op tasks, two workers each, measured in turn.

    python bench/peers.py [COUNT]

The peers live in an environment of their own, .venv-peers, which is made when it is missing or out of date. They
share a redis-server that is started for the purpose, in a temporary folder and on a free port of loopback.
"""

from __future__ import annotations

import contextlib
import shutil
import sys

from peer_systems import ROUNDS, celery, huey, measure, orcha, own_folder, prepare, redis
from support import machine, row, scaled
from support import service as orcha_service

NO_REDIS = "peers.py: there is no redis-server on the PATH; on Debian: apt-get install redis-server"


def compare(count: int, *, durable: bool) -> None:
    """Measure all systems in turn, several times; print their lines."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(own_folder())
        options = ("--appendonly", "yes", "--appendfsync", "always") if durable else ("--appendonly", "no")
        synced = "yes, Redis appendfsync always" if durable else "no"
        port = stack.enter_context(redis(folder, *options))
        services = {limit: stack.enter_context(orcha_service(limit)) for limit in ("2", "64")}
        systems = [
            *(orcha(stack, folder, service, f"Orcha, `running < {limit}`") for limit, service in services.items()),
            celery(stack, folder, port, synced),
            huey(stack, folder, port, synced, notify=True),
            huey(stack, folder, port, synced, notify=False),
        ]
        measure(systems, count)
        for system in systems:
            system.print(systems[0])


def main() -> None:
    """Measure all, print a table."""
    if shutil.which("redis-server") is None:
        sys.exit(NO_REDIS)
    prepare()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else scaled(3_000)
    title = f"no-op task, two workers, {ROUNDS} rounds of {count:,} ({machine()})"
    row(title, "fsyncs a task", "submit → done p50 / p99", "tasks/s", "p50 beside Orcha's", "Orcha's tasks/s beside it")
    row("---", "---", "---", "---", "---", "---")
    compare(count, durable=False)
    compare(count, durable=True)


if __name__ == "__main__":
    main()
