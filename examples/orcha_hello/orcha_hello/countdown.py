"""A petition that counts down and greets."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field

from orcha.interfaces import ActionCallbackT, Petition


@dataclass
class Countdown(Petition):
    """Counts from `start` down to 1, pausing `pause` seconds after each number, then greets `name`."""

    name: str = field(compare=False, default="world")
    start: int = field(compare=False, default=3)
    pause: float = field(compare=False, default=0.0)

    def __post_init__(self) -> None:
        """Let short countdowns go first: the lower the priority's number, the earlier."""
        self.priority = self.start * self.pause


def count_down(petition: Countdown) -> None:
    """Say it. Runs in a process of its own; what it communicates goes straight to whoever follows."""
    for number in range(petition.start, 0, -1):
        petition.communicate(f"{petition.name} in {number}\n")
        time.sleep(petition.pause)
    petition.communicate(f"Hello, {petition.name}!\n")


def run(callback: ActionCallbackT, petition: Countdown) -> None:
    """Count down in a process: a cancel then ends it at once, which it could not do to a thread."""
    process = multiprocessing.Process(target=count_down, args=(petition,))
    process.start()
    callback(process.pid or 0)
    process.join()
    petition.finish(process.exitcode)
