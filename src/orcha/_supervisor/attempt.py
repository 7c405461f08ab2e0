"""One attempt within its shim, from the first instruction of the command to the last of its processes."""

from __future__ import annotations

import os
import signal
import time

from orcha._supervisor import box as boxes
from orcha._supervisor.ending import Ending
from orcha._supervisor.limits import Limits
from orcha._supervisor.output import Output
from orcha._supervisor.pipes import Pipes
from orcha._supervisor.spawn import NotExecutedError, spawn
from orcha._supervisor.usage import Account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._supervisor.contract import Spec
    from orcha._supervisor.groups import Group
    from orcha._supervisor.pipes import Watch
    from orcha._supervisor.protocol import Head
    from orcha._supervisor.tree import Tree

DRAIN = 1.0
"""Seconds after the leader's end in which its other processes may finish what they write."""
FOREVER = float("inf")


class Attempt:
    """The state of one attempt; the shim calls it when something happened or is due.

    Times are of the monotonic clock, but those that are reported.
    """

    def __init__(self, spec: Spec, stem: str, tree: Tree, watch: Watch, write: Callable[[Attempt], None]) -> None:
        """Start nothing yet; `write` puts the state into the black box."""
        self.spec = spec
        self.tree = tree
        self.phase = boxes.TAKEN
        self.leader = 0
        self.started = 0.0
        self.ended = 0.0
        self.status = 0
        self.reason = ""
        """Why it was not started."""
        self.output = Output(stem, spec.output_limit, spec.output_policy, is_terminal=spec.tty is not None)
        self.pipes = Pipes(self.output, watch)
        self.account = Account()
        self.ending = Ending(spec, tree)
        self.alone = False
        """Whether no process is left to wait for."""
        self._limits = Limits(spec)
        self._group: Group | None = None
        self._write = write
        self._drain_until = FOREVER
        self._peak = 0

    @property
    def key(self) -> tuple[int, int]:
        """Which attempt this is."""
        return self.spec.seq, self.spec.attempt

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens; its end may not be reported yet."""
        return self.phase in {boxes.DONE, boxes.NOT_STARTED}

    def start(self, group: Group | None) -> None:
        """Start the command; from the box's first word on it may have run."""
        self._group = group
        self._write(self)
        try:
            descriptors = self.pipes.open(self.spec)
            try:
                self.leader = spawn(self.spec, descriptors, group.procs if group else ())
            finally:
                self.pipes.close_theirs(descriptors)
        except NotExecutedError as error:
            self.refuse(error.code, error.reason)
            return
        except (OSError, TypeError, OverflowError) as error:
            self.refuse(125, f"cannot start a command: {getattr(error, 'strerror', None) or error}")
            return
        self.started = time.time()
        self.phase = boxes.STARTED
        self._write(self)
        self._limits.begin(time.monotonic())

    def refuse(self, code: int, reason: str) -> None:
        """End it before it began."""
        self.status, self.reason, self.phase = code, reason, boxes.NOT_STARTED
        self.started = self.ended = time.time()
        self.pipes.close()
        self._remove_group()
        self._write(self)

    def reap(self) -> None:
        """Wait for all that ended; the shim is the parent of every orphan of the attempt."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.alone = True
                return
            if pid == 0:
                return
            self.account.add(used)
            if pid == self.leader and self.phase == boxes.STARTED:
                self._leader_ended(status)

    def cancel(self, why: str) -> None:
        """Begin to climb the ladder; later calls change nothing."""
        if self.phase == boxes.STARTED and self.ending.begin(why, time.monotonic()):
            self.ending.climb(time.monotonic(), self.leader)
        else:
            self._hurry()

    def kill(self, why: str) -> None:
        """Go to the end of the ladder."""
        if self.phase == boxes.STARTED:
            self.ending.begin(why, time.monotonic())
            self.ending.hurry()
            self.ending.climb(time.monotonic(), self.leader)
        else:
            self._hurry()

    def signal(self, number: int) -> None:
        """Send a signal to all its processes."""
        if self.phase != boxes.STARTED:
            return
        self._limits.note(number, time.monotonic())
        if number not in {signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT}:
            self.ending.signals.append((time.time(), number, "signal"))
        self.tree.signal(number)

    def readable(self, descriptor: int) -> None:
        """Take output."""
        if self.pipes.take(descriptor):
            self._limits.heard(time.monotonic())

    def due(self) -> float:
        """Give the time of the next step that nobody else announces."""
        if self.phase == boxes.STARTED:
            return min(self.ending.due, self._limits.due)
        if self.phase == boxes.ENDED:
            return min(self._drain_until, self.ending.due)
        return FOREVER

    def step(self) -> None:
        """Do what is due."""
        if self.phase == boxes.STARTED:
            self._enforce()
        if self.phase == boxes.ENDED:
            self._wind_up()

    def report(self) -> Head:
        """Give the message of its end."""
        seq, attempt = self.key
        if self.phase == boxes.NOT_STARTED:
            return {"t": "not-started", "s": seq, "a": attempt, "code": self.status, "reason": self.reason}
        signalled = os.WIFSIGNALED(self.status)
        return {
            "t": "ended",
            "s": seq,
            "a": attempt,
            "code": None if signalled else os.WEXITSTATUS(self.status),
            "signal": os.WTERMSIG(self.status) if signalled else None,
            "why": self.ending.why,
            "signals": self.ending.signals,
            "usage": self.account.total(max(0.0, self.ended - self.started), self._peak),
            "last": self.output.last,
            "dropped": self.output.dropped,
            "survivors": self.ending.survivors,
        }

    def _leader_ended(self, status: int) -> None:
        self.status, self.phase, self.ended = status, boxes.ENDED, time.time()
        self.pipes.release()
        self._drain_until = time.monotonic() + DRAIN

    def _enforce(self) -> None:
        """Apply the limits and the ladder."""
        now = time.monotonic()
        if self.output.over:
            self.cancel("output")
        if now >= self._limits.due:
            why = self._limits.exceeded(now, self.account, self.tree)
            if why is not None:
                self.cancel(why)
        if now >= self.ending.due:
            self.ending.climb(now, self.leader)
        if self.ending.survivors:
            self._leader_ended(int(signal.SIGKILL))  # it will, when the kernel lets it

    def _wind_up(self) -> None:
        """After the leader: wait for the others' last words, end them, close."""
        if not self.alone:
            self._end_the_others(time.monotonic())
        if not (self.alone or self.ending.survivors):
            return
        self.pipes.drain()
        self.pipes.close()
        self.output.finish()
        self._remove_group()
        self.ending.rest()
        self.phase = boxes.DONE
        self._write(self)

    def _end_the_others(self, now: float) -> None:
        if self._drain_until != FOREVER and (not self.pipes.is_open or now >= self._drain_until):
            self._hurry()
        if now >= self.ending.due:
            self.ending.kill(now)
            self.reap()

    def _hurry(self) -> None:
        """End what the leader left, without a drain; the leader's status is written down before."""
        if self.phase == boxes.ENDED and self._drain_until != FOREVER:
            self._write(self)
            self._drain_until = FOREVER
            self.ending.kill(time.monotonic())
            self.reap()

    def _remove_group(self) -> None:
        if self._group is None:
            return
        if self._group.ran_out() and self.status and self.ending.why is None:
            self.ending.why = "memory"
        self._peak = self._group.peak()
        self._group.remove()
