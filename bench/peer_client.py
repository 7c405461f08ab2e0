"""One system of a comparison, as a process that does as it is told on its stdin and answers in JSON.

    python bench/peer_client.py peer_orcha|peer_celery|peer_huey|...

The module has `one`, which submits a task and waits until it is done, and `many`, which submits so many and then waits
until all are. Where output comes before the end, `one` gives the moment. The first line is written once a task was
done, hence when a worker is there. Runs in Orcha's environment and in that of its peers: standard library only.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def seconds(work: Callable[..., float | None], *arguments: object) -> tuple[float, float]:
    """Give how long something takes, until its first output and until its end."""
    begun = time.perf_counter()
    came = work(*arguments)
    ended = time.perf_counter()
    return (ended if came is None else came) - begun, ended - begun


def main() -> None:
    """Serve until stdin ends."""
    system = importlib.import_module(sys.argv[1])
    system.one()
    print("[]", flush=True)
    for line in sys.stdin:
        verb, count = line.split()
        if verb == "one":
            times = [seconds(system.one) for _ in range(int(count))]
        else:
            times = [seconds(system.many, int(count))]
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
