"""How soon the document's petition shows its first line, under each start method.

python bench/first_line.py [QUEUED]
"""

from __future__ import annotations

import sys
import time

from noop import connect
from orcha.interfaces import Message
from support import machine, milliseconds, row, scaled, service

TIMES = scaled(100)
WANTED = {"fork": "p50 ≤ 15 ms", "forkserver": "p50 ≤ 60 ms", "spawn": "reported"}


def measure(method: str, queued: int) -> None:
    """Measure one start method, with this many petitions waiting behind."""
    with service(method, script="hello_service.py") as running:
        manager = connect(running)
        if queued:
            waiting = manager.manager.Queue()
            extras = {"queue": waiting, "blocked": True, "counter": 1}
            manager.send_many([Message(f"waits-{number}", extras) for number in range(queued)])
        times = []
        for number in range(TIMES):
            queue = manager.manager.Queue()
            message = Message(f"first-{number}", {"queue": queue, "counter": 1})
            begun = time.perf_counter()
            manager.send(message)
            line = queue.get()
            times.append(time.perf_counter() - begun)
            if line != "Hello world! 0\n\r" or queue.get() is not None:
                raise RuntimeError(repr(line))
        row(f"{method}, {queued:,} queued", milliseconds(times), WANTED[method])
        manager.shutdown()


def main() -> None:
    """Measure all, print a table."""
    queued = int(sys.argv[1]) if len(sys.argv) > 1 else scaled(10_000)
    row(f"send → first line ({machine()})", "p50 / p99", "wanted")
    row("---", "---", "---")
    measure("fork", 0)
    measure("fork", queued)
    measure("forkserver", 0)
    measure("spawn", 0)


if __name__ == "__main__":
    main()
