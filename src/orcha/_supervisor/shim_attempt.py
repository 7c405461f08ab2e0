"""One attempt within its shim, from the first instruction of the command to the last of its processes."""

from __future__ import annotations

import os
import signal
import time

from orcha._processes.identity import since_boot
from orcha._supervisor import black_box as boxes
from orcha._supervisor.attempt_limits import AttemptLimits
from orcha._supervisor.attempt_output import AttemptOutput
from orcha._supervisor.escalation import SignalEscalation
from orcha._supervisor.leftovers import Leftovers
from orcha._supervisor.pipes import Pipes
from orcha._supervisor.spawn import NotExecutedError, spawn
from orcha._supervisor.usage import UsageAccount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._supervisor.cgroups import AttemptCgroup
    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.pipes import Watch
    from orcha._supervisor.process_tree import ProcessTree
    from orcha._supervisor.protocol import Head

SURVIVOR_LOOK_SECONDS = 1.0
"""Seconds between two looks at what cannot be killed."""
UNANNOUNCED_LOOK_SECONDS = 0.1
"""Seconds between two looks for what no signal announces."""
NEVER = float("inf")


class ShimAttempt:
    """The state of one attempt; the shim calls it when something happened or is due.

    Times are of the monotonic clock, but those that are reported.
    """

    def __init__(
        self, spec: CommandSpec, stem: str, tree: ProcessTree, watch: Watch, write: Callable[[ShimAttempt], None]
    ) -> None:
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
        self.output = AttemptOutput(stem, spec.output_limit, spec.output_policy, is_terminal=spec.tty is not None)
        self.pipes = Pipes(self.output, watch)
        self.account = UsageAccount()
        self.ending = SignalEscalation(spec, tree)
        self.leftovers = Leftovers(spec, tree)
        self.alone = False
        """Whether no process is left to wait for."""
        self._limits = AttemptLimits(spec)
        self._group: AttemptCgroup | None = None
        self._write = write
        self._began = 0.0
        self.gone_untold = False
        """Whether what could not be killed has ended since that was reported."""
        self._next_look = NEVER
        self._unannounced = False
        """Whether something lives whose end no signal announces: it is no child of the shim."""
        self._peak = 0

    @property
    def key(self) -> tuple[int, int]:
        """Which attempt this is."""
        return self.spec.seq, self.spec.attempt

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens; its end may not be reported yet."""
        return self.phase in {boxes.DONE, boxes.NOT_STARTED}

    def start(self, group: AttemptCgroup | None) -> None:
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
        self.started = since_boot()
        self.phase = boxes.STARTED
        self._write(self)
        self._began = time.monotonic()
        self._limits.begin(self._began)

    def refuse(self, code: int, reason: str) -> None:
        """End it before it began."""
        self.status, self.reason, self.phase = code, reason, boxes.NOT_STARTED
        self.started = self.ended = since_boot()
        self.pipes.close()
        self._remove_group()
        self._write(self)

    def reap(self) -> None:
        """Wait for all that ended; the shim is the parent of every orphan of the attempt."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._unannounced = self._are_others()
                self.alone = not self._unannounced
                return
            if pid == 0:
                return
            self.account.add(used)
            if pid == self.leader and self.phase == boxes.STARTED:
                self._leader_ended(status)

    def _are_others(self) -> bool:
        """Tell whether something lives that is no child of the shim: then nobody announces its end."""
        if not self.leader:
            return False
        members = self._group.members() if self._group is not None else []
        return bool(members) or self.tree.are_others(self.leader, time.monotonic() - self._began)

    def cancel(self, why: str) -> None:
        """Begin to climb the ladder; later calls change nothing, but that they end the wait for the others."""
        if self.phase == boxes.STARTED:
            if self.ending.begin(why, time.monotonic()):
                self.ending.climb(time.monotonic(), self.leader)
        elif self.phase == boxes.ENDED and self.leftovers.is_waiting:
            self._end_leftovers(time.monotonic(), asked=True)

    def kill(self, why: str) -> None:
        """Go to the end of the ladder."""
        if self.phase == boxes.STARTED:
            self.ending.begin(why, time.monotonic())
            self.ending.hurry()
            self.ending.climb(time.monotonic(), self.leader)
        elif self.phase == boxes.ENDED:
            if self.leftovers.is_waiting:
                self._end_leftovers(time.monotonic(), asked=True)
            self.ending.kill(time.monotonic())
            self.reap()

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
            return min(self.ending.due, self._limits.due, self.output.unkept.due)
        if self.phase == boxes.ENDED:
            looks = time.monotonic() + UNANNOUNCED_LOOK_SECONDS if self._unannounced else NEVER
            return min(self.leftovers.due, self.ending.due, looks, self.output.unkept.due)
        if self.phase == boxes.DONE:
            return self._next_look
        return NEVER

    def step(self) -> None:
        """Do what is due."""
        held = self.output.unkept.is_full
        if held:
            self._limits.heard(time.monotonic())  # it would write, and may not
        self.pipes.hold(held=held)
        if self.phase == boxes.STARTED:
            self._enforce()
        if self.phase == boxes.ENDED:
            self._wind_up()
        elif self.phase == boxes.DONE and time.monotonic() >= self._next_look:
            self._look_at_survivors()

    def _look_at_survivors(self) -> None:
        """Try again to end what could not be killed, and note when it is gone."""
        self.reap()
        self.tree.signal(signal.SIGKILL)
        if self.tree.members():
            self._next_look = time.monotonic() + SURVIVOR_LOOK_SECONDS
        else:
            self.ending.survivors, self.gone_untold, self._next_look = [], True, NEVER

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
            "placed": self.output.unkept.size,
            "survivors": self.ending.survivors,
            "leftovers": self.leftovers.named,
            "left": self.leftovers.count,
            "kept": self.leftovers.kept,
        }

    def _leader_ended(self, status: int) -> None:
        self.status, self.phase, self.ended = status, boxes.ENDED, since_boot()
        self.pipes.release()
        self.leftovers.wait(time.monotonic(), asked=self.ending.why is not None)

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
        """After the leader: wait for the others' last words, end them or let them go, close."""
        if self._unannounced:
            self.reap()
        if not self.alone:
            self._see_to_the_others(time.monotonic())
        if not (self.alone or self.ending.survivors or self.leftovers.kept):
            return
        self.pipes.drain()
        self.pipes.close()
        self.output.finish()
        self._remove_group()
        self.ending.rest()
        self.phase = boxes.DONE
        if self.ending.survivors:
            self._next_look = time.monotonic() + SURVIVOR_LOOK_SECONDS
        self._write(self)

    def _see_to_the_others(self, now: float) -> None:
        leftovers = self.leftovers
        if leftovers.is_waiting:
            if not self.pipes.is_open:
                leftovers.settle(now)
            if self.output.over and self.ending.why is None:
                self.ending.why = "output"
                self._end_leftovers(now, asked=True)
            elif now >= min(leftovers.due, self.ending.due):
                self._end_leftovers(now, asked=self.ending.why is not None)
        elif now >= self.ending.due:
            self.ending.climb(now, 0)
            self.reap()

    def _end_leftovers(self, now: float, *, asked: bool) -> None:
        """End what the leader left, or let it go; the leader's status is written down before."""
        self._write(self)
        if self.leftovers.are_gone(now, asked=asked):
            self.reap()
            return
        if not self.leftovers.kept:
            self.ending.leave(now)
            self.reap()

    def _remove_group(self) -> None:
        if self._group is None:
            return
        if self._group.ran_out() and self.status and self.ending.why is None:
            self.ending.why = "memory"
        self._peak = self._group.peak()
        self._group.remove()
