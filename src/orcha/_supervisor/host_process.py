"""The first process of the command beside which another command runs: its end is the end of that command, too."""

from __future__ import annotations

import os
import select

from orcha._processes.identity import has_ended, open_pidfd_of, read_stat
from orcha._supervisor.cgroups import groups_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.pipes import Watch

_START_TOLERANCE_SECONDS = 1.0
"""A start is noted a moment after it happened."""


class HostProcess:
    """Watches the end of that process by a pidfd, which becomes readable then (pidfd_open(2))."""

    def __init__(self, watch: Watch) -> None:
        """Watch nothing yet."""
        self._watch = watch
        self._descriptor = -1
        self.groups: list[str] = []
        """The `cgroup.procs` files of its cgroups."""

    def open(self, spec: CommandSpec) -> bool:
        """Watch the process that a specification names, if it names one; False where that has ended."""
        if spec.beside_pid is None:
            return True
        descriptor = open_pidfd_of(spec.beside_pid)
        if descriptor is None:
            return False
        stat = read_stat(spec.beside_pid)
        began = spec.beside_start if stat is None else stat.start_time / os.sysconf("SC_CLK_TCK")
        if abs(began - spec.beside_start) > _START_TOLERANCE_SECONDS or has_ended(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self._watch.register(descriptor, select.POLLIN)
        self.groups = groups_of(spec.beside_pid)
        return True

    def is_watched_by(self, descriptor: int) -> bool:
        """Tell whether a descriptor that has become readable says that the process has ended."""
        return descriptor == self._descriptor

    def close(self) -> None:
        """Watch nothing any more."""
        if self._descriptor >= 0:
            self._watch.unregister(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


__all__ = ["HostProcess"]
