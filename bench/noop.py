"""No-op petitions: latency one at a time, and how many a second.

    python bench/noop.py [COUNT]

Latency is from `send` to the final value in the client's hands, two durable transactions included; the disk's own
fdatasync is measured between every two petitions.
"""

from __future__ import annotations

import sys
import time

from orcha.interfaces import Message
from orcha.lib import ClientManager
from support import Disk, MeasuredService, machine, milliseconds, percentile, row, scaled, service

ONE_BY_ONE = scaled(1_000)
WARM_UP = scaled(100)


def connect(running: MeasuredService) -> ClientManager:
    """Give a connected client."""
    manager = ClientManager("127.0.0.1", running.port)
    manager.connect()
    return manager


def run_one(manager: ClientManager, name: str) -> float:
    """Give the seconds from `send` to the final value of one petition."""
    queue = manager.manager.Queue()
    begun = time.perf_counter()
    manager.send(Message(name, {"queue": queue}))
    if queue.get() is not None:
        raise RuntimeError("no success")
    return time.perf_counter() - begun


def latency(running: MeasuredService) -> None:
    """Measure one petition at a time."""
    manager, disk = connect(running), Disk(running.home)
    times = []
    for number in range(ONE_BY_ONE + WARM_UP):
        times.append(run_one(manager, f"one-{number}"))
        disk.measure()
    disk.close()
    times, syncs = times[WARM_UP:], disk.times[WARM_UP:]
    budget = 0.0007 + 2 * percentile(syncs, 0.5)
    row("submit → done, one at a time", milliseconds(times), f"p50 ≤ {budget * 1e3:.2f} ms, p99 ≤ 5 ms")
    row("fdatasync beside it", milliseconds(syncs), "p99 ≤ 1 ms for the above to count")
    manager.shutdown()


def throughput(running: MeasuredService, limit: int, count: int, wanted: int) -> None:
    """Measure many petitions on one channel."""
    manager = connect(running)
    queue = manager.manager.Queue()
    messages = [Message(f"many-{limit}-{number}", {"queue": queue}) for number in range(count)]
    cpu, begun = running.cpu(), time.perf_counter()
    manager.send_many(messages)
    accepted = time.perf_counter() - begun
    for _ in messages:
        if queue.get() is not None:
            raise RuntimeError("no success")
    taken = time.perf_counter() - begun
    used = (running.cpu() - cpu) / count * 1e6
    row(
        f"{count:,} petitions, `running < {limit}`",
        f"{count / taken:,.0f}/s (accepted at {count / accepted:,.0f}/s, {used:.0f} µs of processor each)",
        f"≥ {wanted:,}/s",
    )
    manager.shutdown()


def main() -> None:
    """Measure all, print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else scaled(20_000)
    row(f"no-op petition ({machine()})", "measured", "wanted")
    row("---", "---", "---")
    with service("64") as running:
        latency(running)
        throughput(running, 64, count, 15_000)
    with service("2") as running:
        throughput(running, 2, count, 2_000)


if __name__ == "__main__":
    main()
