"""The processes of this shim's attempt: the descendants of the shim, their subreaper, and the bearers of its tag.

A process is only signalled through a pidfd, after a check that the pid still means the same process.
"""

from __future__ import annotations

import os
import signal

from orcha._processes.hidden_processes import hides_processes
from orcha._processes.identity import NO_SUCH_PROCESS, has_ended, read_stat
from orcha._processes.sweep import living, sweep, tagged_since
from orcha._processes.tag import children_of, exactly, read_tag, untag
from orcha.utils.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PID_ROUND_SECONDS = 0.2
"""Within this time the pids of a system do not come round."""
_MAX_LOOKS = 5
"""The most looks for processes that were started while others were signalled."""


class Child(NamedTuple):
    """A process, and the parent it was seen to have."""

    pid: int
    parent: int


class ProcessTree:
    """The processes of one shim's attempt, without the shim itself."""

    def __init__(self, tag: int) -> None:
        """Take the tag that the shim and all its descendants carry."""
        self._tag = tag
        self._match = exactly(tag)
        self._own = os.getpid()

    def living(self) -> Iterator[Child]:
        """Yield the descendants that run now, parents before their children."""
        waiting = [Child(pid, self._own) for pid in children_of(self._own)]
        while waiting:
            child = waiting.pop()
            yield child
            waiting += [Child(pid, child.pid) for pid in children_of(child.pid)]

    def members(self) -> list[Child]:
        """Return the descendants that run now, and the bearers of the tag that have another parent by now.

        Orphans in a pid namespace that is not the attempt's own are such processes: their parent is the first process
        of that namespace (pid_namespaces(7)).
        """
        found = list(self.living())
        known = {child.pid for child in found}
        tagged = living(self._match, since=self._own)
        return found + [Child(one.pid, 0) for one in tagged if one.pid not in known]

    def has_others(self, first: int, since: float) -> bool:
        """Return whether a process of the attempt lives; called where this shim has no child.

        `first` is the attempt's first process, started `since` seconds ago. Every other process of the attempt has a
        later pid; where the later pids are few, they are looked at one by one.
        """
        if since < _PID_ROUND_SECONDS:
            found = tagged_since(self._match, first)
            if found is not None:
                return found
        return bool(living(self._match, since=self._own))

    def let_go(self) -> None:
        """Remove the tag from every process, so that no sweep ends them."""
        for _ in range(_MAX_LOOKS):
            if not [child for child in self.members() if read_tag(child.pid) == self._tag and untag(child.pid)]:
                return

    def signal(self, number: int) -> int:
        """Send a signal to each process once; return how many got it."""
        done: set[int] = set()
        for _ in range(_MAX_LOOKS):
            new = [child for child in self.members() if child.pid not in done]
            done.update(child.pid for child in new if self.send(child, number))
            if not new:
                break
        return len(done)

    def resume(self) -> None:
        """Continue stopped processes, so that they handle the signals that they were sent."""
        for child in self.members():
            stat = read_stat(child.pid)
            if stat is not None and stat.state == "T":
                self.send(child, signal.SIGCONT)

    def sweep(self, seconds: float) -> None:
        """Kill every bearer of the tag, also processes that are started as fast as others die."""
        sweep(self._match, deadline=seconds, since=self._own)

    def _is_hidden(self, child: Child, descriptor: int) -> bool:
        """Return whether a pidfd holds a living process of the attempt that /proc does not show (proc(5), hidepid)."""
        if not hides_processes() or has_ended(descriptor):
            return False
        return read_tag(child.pid) == self._tag or self._is_own_child(child.pid)

    def _is_own_child(self, pid: int) -> bool:
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def send(self, child: Child, number: int) -> bool:
        """Send a signal to one process; False where it has ended, or the pid means another process by now."""
        try:
            descriptor = os.pidfd_open(child.pid)
        except OSError as error:
            if error.errno in NO_SUCH_PROCESS:
                return False
            raise
        try:
            stat = read_stat(child.pid)
            if stat is None and not self._is_hidden(child, descriptor):
                return False
            if stat is not None and stat.is_dead:
                return False
            if stat is not None and stat.parent not in {child.parent, self._own} and read_tag(child.pid) != self._tag:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except OSError:  # gone, another user's as set-user-ID programs are, or no signal has that number
            return False
        finally:
            os.close(descriptor)
        return True
