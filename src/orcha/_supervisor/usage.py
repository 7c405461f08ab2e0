"""The resources that an attempt's processes use."""

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
    """Adds up the resource usage of reaped processes."""

    __slots__ = ("peak", "read", "system", "user", "written")

    def __init__(self) -> None:
        """Begin with zero."""
        self.user = self.system = 0.0
        self.peak = self.read = self.written = 0

    def add(self, used: Any) -> None:
        """Add the usage of one process and of the children that it had reaped (wait4(2))."""
        self.user += used.ru_utime
        self.system += used.ru_stime
        self.peak = max(self.peak, used.ru_maxrss * _KIBIBYTE)
        self.read += used.ru_inblock * _BLOCK_BYTES
        self.written += used.ru_oublock * _BLOCK_BYTES

    def total(self, wall: float, peak: int = 0) -> ResourceUsage:
        """Return the sums; `peak` is the peak of memory that a cgroup knows, which is more exact."""
        return ResourceUsage(self.user, self.system, peak or self.peak, self.read, self.written, wall)


def processor_seconds(pids: Iterable[int]) -> float:
    """Return the processor time of these processes and of the children that they have reaped (proc_pid_stat(5))."""
    ticks = 0
    for pid in pids:
        try:
            text = read_small(f"/proc/{pid}/stat")
        except OSError:
            continue
        fields = text[text.rfind(b")") + 2 :].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS
