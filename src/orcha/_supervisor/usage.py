"""What an attempt's processes use."""

from __future__ import annotations

import os

from orcha._processes.system import read_small
from orcha._supervisor.contract import ResourceUsage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")
_BLOCK_BYTES = 512  # getrusage(2): what ru_inblock and ru_oublock count
_KIBIBYTE = 1024


class UsageAccount:
    """Adds up what was reaped."""

    __slots__ = ("peak", "read", "system", "user", "written")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.user = self.system = 0.0
        self.peak = self.read = self.written = 0

    def add(self, used: Any) -> None:
        """Add one process and those that it had waited for (wait4(2))."""
        self.user += used.ru_utime
        self.system += used.ru_stime
        self.peak = max(self.peak, used.ru_maxrss * _KIBIBYTE)
        self.read += used.ru_inblock * _BLOCK_BYTES
        self.written += used.ru_oublock * _BLOCK_BYTES

    def total(self, wall: float, peak: int = 0) -> ResourceUsage:
        """Give the sums; `peak` is what a cgroup knows better."""
        return ResourceUsage(self.user, self.system, peak or self.peak, self.read, self.written, wall)


def processor_seconds(pids: Iterable[int]) -> float:
    """Give what these processes, and those that they waited for, have used until now (proc_pid_stat(5))."""
    ticks = 0
    for pid in pids:
        try:
            text = read_small(f"/proc/{pid}/stat")
        except OSError:
            continue
        fields = text[text.rfind(b")") + 2 :].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS
