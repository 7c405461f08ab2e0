"""A supervisor whose shims hang when their command writes, once the file of the last argument is there.

Run as ``main.py`` of the package is, with the folder of the sources and that file after the endpoint's folder. Such a
shim waits for a lock that it holds itself, as after a mistake of ours; it is not stopped, and does nothing any more.
"""

from __future__ import annotations

import sys
import threading
from typing import Any


def main(folder: str, sources: str, hangs: str) -> None:
    """Serve as the supervisor does."""
    sys.path.append(sources)
    from pathlib import Path

    from orcha._supervisor import main as supervisor
    from orcha._supervisor.shim import Shim

    pipe_ready = Shim._pipe_ready

    def hang(self: Any, descriptor: int, events: int) -> None:
        if Path(hangs).exists():
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        pipe_ready(self, descriptor, events)

    Shim._pipe_ready = hang  # type: ignore[method-assign]
    supervisor.main(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
