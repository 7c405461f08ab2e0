"""A service with a fault: the thread that TEST_DIES names dies, or the one that TEST_REFUSES names cannot be started.

Nothing happens before the file that TEST_NOW names is there.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orcha._processes.terminator import AttemptTerminator
from orcha._server.accepting import Acceptor
from orcha._service.execution.attempt_port import AttemptPort
from orcha._service.hooks.hook_thread import Hooks
from orcha._service.lifecycle.compose import Service
from orcha._service.reports.log_thread import Reporter
from orcha._service.timers import Timers
from orcha._supervisor.shim_executor import ShimExecutor
from orcha.lib import Manager
from support.serve import main

NOW = Path(os.environ["TEST_NOW"])


class Died(SystemExit):
    """Ends whatever thread it is raised on."""


def dies_in(owner: Any, name: str) -> Callable[[], None]:
    """Have whatever calls this method die once it is time."""

    def install() -> None:
        original = getattr(owner, name)

        def method(*args: Any, **kwargs: Any) -> Any:
            if NOW.exists():
                raise Died("injected")
            return original(*args, **kwargs)

        setattr(owner, name, method)

    return install


HOW = {
    "orcha-engine": dies_in(Timers, "wait"),
    "orcha-hooks": dies_in(Hooks, "_visit"),
    "orcha-loop": dies_in(Acceptor, "_accept"),
    "orcha-action": dies_in(AttemptPort, "returned"),
    "orcha-commands": dies_in(ShimExecutor, "_ready"),
    "orcha-log": dies_in(Reporter, "_write"),
    "orcha-ending": dies_in(AttemptTerminator, "_step"),
    "orcha-stopping": dies_in(Service, "_stopped"),
    "orcha-stop": dies_in(Manager, "shutdown"),
}


def refuse_thread(name: str) -> None:
    """Have no thread of this name started any more once it is time."""
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == name and NOW.exists():
            raise RuntimeError("can't start new thread")
        start(self)

    threading.Thread.start = refuse  # type: ignore[method-assign]


if __name__ == "__main__":
    if "TEST_DIES" in os.environ:
        HOW[os.environ["TEST_DIES"]]()
    if "TEST_REFUSES" in os.environ:
        refuse_thread(os.environ["TEST_REFUSES"])
    main(os.environ["TEST_MANAGER"], *sys.argv[1:])
