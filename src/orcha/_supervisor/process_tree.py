"""All processes of this shim's attempt: what descends from it, for it is their subreaper, and what carries its tag.

A pid is signalled through a pidfd alone, after a look that it still is what it was taken for.
"""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from orcha._processes.hidden_processes import hides_processes
from orcha._processes.identity import NO_SUCH_PROCESS, has_ended, read_stat
from orcha._processes.sweep import living, sweep, tagged_since
from orcha._processes.tag import children_of, exactly, read_tag, untag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PID_ROUND_SECONDS = 0.2
"""Seconds in which the pids of a system do not come round."""
_MOST_LOOKS = 5
"""Looks for processes that were started while others were signalled."""


class Child(NamedTuple):
    """A process and the one it was seen to descend from."""

    pid: int
    parent: int


class ProcessTree:
    """The processes of one shim's attempts; the shim itself is none of them."""

    def __init__(self, tag: int) -> None:
        """Take the tag that the shim carries, and so all that it starts."""
        self._tag = tag
        self._own = os.getpid()

    def living(self) -> Iterator[Child]:
        """Give the processes that run now, parents before their children."""
        waiting = [Child(pid, self._own) for pid in children_of(self._own)]
        while waiting:
            child = waiting.pop()
            yield child
            waiting += [Child(pid, child.pid) for pid in children_of(child.pid)]

    def members(self) -> list[Child]:
        """Give the processes that run now, with those that carry the tag and descend from others by now.

        Such are orphans in a namespace of process ids that is not the attempt's own (pid_namespaces(7)): their parent
        is the first process of that.
        """
        found = list(self.living())
        known = {child.pid for child in found}
        tagged = living(exactly(self._tag), since=self._own)
        return found + [Child(one.pid, 0) for one in tagged if one.pid not in known]

    def are_others(self, first: int, since: float) -> bool:
        """Tell whether something of the attempt lives that is no child of this process, which has none.

        `first` is the attempt's first process, `since` how many seconds ago it was started: what is of the attempt has
        a later pid, and where these are few they are looked at one by one.
        """
        if since < _PID_ROUND_SECONDS:
            found = tagged_since(exactly(self._tag), first)
            if found is not None:
                return found
        return bool(living(exactly(self._tag), since=self._own))

    def let_go(self) -> None:
        """Take the tag off all there are, so that nobody ends them for it."""
        for _ in range(_MOST_LOOKS):
            if not [child for child in self.members() if read_tag(child.pid) == self._tag and untag(child.pid)]:
                return

    def signal(self, number: int) -> int:
        """Send a signal to each process once; give how many had it."""
        done: set[int] = set()
        for _ in range(_MOST_LOOKS):
            new = [child for child in self.members() if child.pid not in done]
            done.update(child.pid for child in new if self.send(child, number))
            if not new:
                break
        return len(done)

    def resume(self) -> None:
        """Let the stopped ones go on, so that they see the signals they were sent."""
        for child in self.members():
            stat = read_stat(child.pid)
            if stat is not None and stat.state == "T":
                self.send(child, signal.SIGCONT)

    def sweep(self, seconds: float) -> None:
        """Kill everything that carries the tag, those too that are started as fast as others die."""
        sweep(exactly(self._tag), deadline=seconds, since=self._own)

    def _is_hidden(self, child: Child, descriptor: int) -> bool:
        """Tell whether a process of the attempt lives, held by a pidfd, that /proc does not show (proc(5), hidepid)."""
        if not hides_processes() or has_ended(descriptor):
            return False
        return read_tag(child.pid) == self._tag or self._is_own_child(child.pid)

    def _is_own_child(self, pid: int) -> bool:
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    def send(self, child: Child, number: int) -> bool:
        """Send a signal to one process; False where it is gone or another's by now."""
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
