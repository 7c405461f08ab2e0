"""Scheduling steps with many petitions queued: what a step costs in which nothing can start, and what a start costs.

python bench/scheduling.py [QUEUED]
"""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING, Any

from orcha._core import transitions
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.moment import Moment
from orcha._core.state import Outcome
from orcha._core.transitions.command import CommandEnd
from support import machine, percentile, row, scaled

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUED = scaled(100_000)
RUNNING = 100
STEPS = scaled(5_000)
LATER = Moment(1.0, 1.0)
_SUCCEEDED = CommandEnd(Outcome.SUCCEEDED, 0)
CAPACITIES: dict[str, tuple[Capacity, dict[str, Any]]] = {
    "a group without a free slot": (Capacity(groups={"rig": RUNNING}), {"group": "rig"}),
    "a resource that is in use": (Capacity(resources={"gpu": RUNNING}), {"needs": {"gpu": 1}}),
    "two resources in use": (
        Capacity(resources={"gpu": RUNNING, "ram": RUNNING}),
        {"needs": {"gpu": 1, "ram": 1}},
    ),
    "a plugin's bound, asked one after the other": (Capacity(slots={"": RUNNING}), {}),
}
"""What the petitions wait for, and how each of them says so."""


class Steps(VirtualSchedule):
    """The core's rounds, one step at a time; times are those of this process's processor."""

    def __init__(self, queued: int, capacity: Capacity, declared: dict[str, Any]) -> None:
        """Have so many petitions wait, and as many run as may."""
        jobs = [Job(str(number), 0.0, 1e9, **declared) for number in range(queued + RUNNING)]
        super().__init__(jobs, capacity)
        self.times: list[float] = []
        """What all steps took since they were taken last, in seconds."""
        self._decide(list(self._jobs), Moment(0.0, 0.0))
        self.times.clear()

    def step(self) -> None:
        """Make the round that follows on something that changes nothing."""
        self._petitions.note_change()
        self._timed(lambda: self._round([], LATER))

    def start(self) -> None:
        """End the petition that has run longest, and start the next one."""
        seq = self._petitions.granted.seqs()[0]
        before = len(self._petitions.granted)
        self._timed(lambda: self._replace(seq))
        if len(self._petitions.granted) != before or self._petitions.granted.has(seq):
            raise RuntimeError("no other petition has started")

    def _replace(self, seq: int) -> None:
        transitions.command.ended(self._petitions, seq, self._records[seq].attempt, _SUCCEEDED, LATER)
        transitions.finish.hook_done(self._petitions, seq, LATER)
        self._take(LATER)
        self._decide([], LATER)

    def _timed(self, call: Callable[[], object]) -> None:
        begun = time.process_time_ns()
        call()
        self.times.append((time.process_time_ns() - begun) / 1e9)


def microseconds(times: list[float]) -> str:
    """Give p50, p99 and the longest as text."""
    return " / ".join(f"{value * 1e6:.0f}" for value in (percentile(times, 0.5), percentile(times, 0.99), max(times)))


def measure(queued: int, name: str) -> tuple[list[float], list[float]]:
    """Give the times of steps in which nothing can start, and of those with one end and one start."""
    steps = Steps(queued, *CAPACITIES[name])
    gc.collect()
    gc.freeze()  # as in a service, whose collector looks at what is new
    for call in (steps.step, steps.start):
        call()
    steps.times.clear()
    for _ in range(STEPS):
        steps.step()
    idle, steps.times = steps.times, []
    for _ in range(min(STEPS, queued // 2)):
        steps.start()
    return idle, steps.times


def main() -> None:
    """Measure all, print a table."""
    queued = int(sys.argv[1]) if len(sys.argv) > 1 else QUEUED
    row(f"{queued:,} queued, {RUNNING} running ({machine()})", f"{queued // 100:,} queued", "measured", "wanted")
    row("---", "---", "---", "---")
    for name in CAPACITIES:
        shallow, deep = measure(max(4, queued // 100), name), measure(queued, name)
        for at, (what, wanted) in enumerate((("nothing can start", 50), ("an end, and a start", 100))):
            measured = (f"{microseconds(each[at])} µs" for each in (shallow, deep))
            row(f"{name}: {what}", *measured, f"p50 ≤ {wanted} µs, longest ≤ 20 ms")


if __name__ == "__main__":
    main()
