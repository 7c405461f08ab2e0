"""One attempt within its shim, from the command's first instruction to the end of its last process."""

from __future__ import annotations

import os
import signal
import time

from orcha._processes.identity import since_boot
from orcha._supervisor import black_box as boxes
from orcha._supervisor.attempt_limits import AttemptLimits
from orcha._supervisor.attempt_output import AttemptOutput
from orcha._supervisor.contract import BESIDE, OUTSIDE, AttemptLimitValues
from orcha._supervisor.escalation import SignalEscalation
from orcha._supervisor.host_process import HostProcess
from orcha._supervisor.leftovers import Leftovers
from orcha._supervisor.login import look_up
from orcha._supervisor.other_user import NoSuchUserError
from orcha._supervisor.outside_shutdown import OutsideShutdown
from orcha._supervisor.pipes import Pipes
from orcha._supervisor.spawn import BESIDE_HAS_ENDED, NotExecutedError, spawn
from orcha._supervisor.usage import UsageAccount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from orcha._supervisor.cgroups import AttemptCgroup
    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.link import Head
    from orcha._supervisor.pipes import Watch
    from orcha._supervisor.process_tree import ProcessTree
    from orcha._supervisor.shim_secrets import ShimSecrets

SURVIVOR_LOOK_SECONDS = 1.0
"""Time between two looks at processes that cannot be killed."""
UNANNOUNCED_LOOK_SECONDS = 0.1
"""Time between two looks at processes whose end no signal announces."""
NEVER = float("inf")


class ShimAttempt:
    """The state of one attempt. The shim calls it when something has happened or is due.

    Times are of the monotonic clock, except reported times.
    """

    def __init__(
        self,
        spec: CommandSpec,
        stem: str,
        tree: ProcessTree,
        watch: Watch,
        write: Callable[[ShimAttempt], None],
        secrets: ShimSecrets,
    ) -> None:
        """Prepare an attempt that is started later; `write` puts its state into the black box."""
        self.spec = spec
        self.secrets = secrets
        self.tree = tree
        self.phase = boxes.TAKEN
        self.leader = 0
        self.started = 0.0
        self.ended = 0.0
        self.status = 0
        self.reason = ""
        """Why the command was not started."""
        self.output = AttemptOutput(stem, spec.output_limit, spec.output_policy, is_terminal=spec.tty is not None)
        self.pipes = Pipes(self.output, watch)
        self._host = HostProcess(watch)
        self.account = UsageAccount()
        self.escalation = SignalEscalation(spec, tree)
        self.leftovers = Leftovers(spec, tree)
        self.alone = False
        """Whether no process of the attempt is left."""
        self._outside = OutsideShutdown(spec.grace)
        self._limits = AttemptLimits(spec)
        self._group: AttemptCgroup | None = None
        self._write = write
        self._began = 0.0
        self.is_end_of_survivors_unreported = False
        """Whether the survivors that were reported have ended, and that is not reported yet."""
        self._next_look = NEVER
        self._has_unannounced = False
        """Whether a process of the attempt lives that is no child of the shim: no signal announces its end."""
        self._peak = 0

    @property
    def key(self) -> tuple[int, int]:
        """Sequence and number of the attempt."""
        return self.spec.seq, self.spec.attempt

    @property
    def is_over(self) -> bool:
        """Whether the attempt is over; its end may not be reported yet."""
        return self.phase in {boxes.DONE, boxes.NOT_STARTED}

    def start(self, group: AttemptCgroup | None) -> None:
        """Start the command. From the first write into the black box on it counts as executed."""
        self._group = group
        self._write(self)
        if not self._host.open(self.spec):
            self.refuse(125, BESIDE_HAS_ENDED)
            return
        try:
            login = None if self.spec.uid is None else look_up(self.spec.uid)
            if self.spec.secrets is not None:
                self.spec = self.secrets.put(self.spec, login)
            descriptors = self.pipes.open(self.spec)
            try:
                self.leader = spawn(self.spec, descriptors, group.procs if group else self._host.groups, login)
            finally:
                self.pipes.close_theirs(descriptors)
                self.secrets.guard()
        except NotExecutedError as error:
            self.refuse(error.code, error.reason)
            return
        except NoSuchUserError as error:
            self.refuse(125, f"cannot run as uid {self.spec.uid}: {error}")
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
        """End the attempt before its command was started."""
        self.status, self.reason, self.phase = code, reason, boxes.NOT_STARTED
        self.started = self.ended = since_boot()
        self.pipes.close()
        self._host.close()
        self.secrets.remove()
        self._remove_group()
        self._write(self)

    def reap(self) -> None:
        """Reap every ended child; the shim is the parent of every orphan of the attempt."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._has_unannounced = self._has_others()
                self.alone = not self._has_unannounced
                return
            if pid == 0:
                return
            self.account.add(used)
            if pid == self.leader and self.phase == boxes.STARTED:
                self._leader_ended(status)

    def _has_others(self) -> bool:
        """Return whether a process of the attempt lives that is no child of the shim."""
        if not self.leader:
            return False
        members = self._group.members() if self._group is not None else []
        return bool(members) or self.tree.has_others(self.leader, time.monotonic() - self._began)

    def cancel(self, why: str) -> None:
        """Begin to end the attempt by signals. A later call only ends the wait for leftovers."""
        if self.phase == boxes.STARTED:
            if self.escalation.begin(why, time.monotonic()):
                self.escalation.send_next(time.monotonic(), self.leader)
        elif self.phase == boxes.ENDED and self.leftovers.is_waiting:
            self._end_leftovers(time.monotonic(), asked=True)

    def kill(self, why: str) -> None:
        """Send SIGKILL at once."""
        if self.phase == boxes.STARTED:
            self.escalation.begin(why, time.monotonic())
            self.escalation.hurry()
            self.escalation.send_next(time.monotonic(), self.leader)
        elif self.phase == boxes.ENDED:
            if self.leftovers.is_waiting:
                self._end_leftovers(time.monotonic(), asked=True)
            self.escalation.kill(time.monotonic())
            self.reap()

    def signal(self, number: int) -> bool:
        """Send a signal to every process of the attempt; False where it does not run."""
        if self.phase != boxes.STARTED:
            return False
        self._limits.note(number, time.monotonic())
        if number not in {signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT}:
            self.escalation.signals.append((time.time(), number, "signal"))
        self.tree.signal(number)
        return True

    def limit(self, given: Mapping[str, Any]) -> None:
        """Have other limits; a service of an older build gives that of wall time alone."""
        if self.phase == boxes.STARTED:
            known = {name: given[name] for name in AttemptLimitValues._fields if name in given}
            self._limits.change(known, time.monotonic())

    def note_shutdown(self) -> None:
        """Note that somebody has sent SIGTERM to this shim, and then to the command as well, as systemd does."""
        now = time.monotonic()
        if self.phase == boxes.STARTED:
            self._outside.begin(self.leader, now)
        elif self.phase == boxes.ENDED and self.escalation.why is None and self._outside.waits(now):
            self.escalation.why = OUTSIDE
            self._outside.due = NEVER

    def readable(self, descriptor: int) -> None:
        """Take output from a descriptor that has some, or the end of the command beside which this one runs."""
        if self._host.is_watched_by(descriptor):
            self._host.close()
            self.kill(BESIDE)
            return
        if self.pipes.take(descriptor):
            self._limits.heard(time.monotonic())

    def due(self) -> float:
        """Return when :meth:`step` has to be called next, if nothing happens before."""
        if self.phase == boxes.STARTED:
            return min(self.escalation.due, self._limits.due, self.output.unkept.due)
        if self.phase == boxes.ENDED:
            looks = time.monotonic() + UNANNOUNCED_LOOK_SECONDS if self._has_unannounced else NEVER
            return min(self.leftovers.due, self.escalation.due, looks, self.output.unkept.due, self._outside.due)
        if self.phase == boxes.DONE:
            return self._next_look
        return NEVER

    def step(self) -> None:
        """Apply limits, send due signals, and finish the attempt once its processes have ended."""
        held = self.output.unkept.is_full
        if held:
            self._limits.heard(time.monotonic())  # the command cannot write now: that is no silence
        self.pipes.hold(held=held)
        if self.phase == boxes.STARTED:
            self._enforce()
        if self.phase == boxes.ENDED:
            self._wind_up()
        elif self.phase == boxes.DONE and time.monotonic() >= self._next_look:
            self._look_at_survivors()

    def _look_at_survivors(self) -> None:
        """Try again to kill the survivors, and note when they have ended."""
        self.reap()
        self.tree.signal(signal.SIGKILL)
        if self.tree.members():
            self._next_look = time.monotonic() + SURVIVOR_LOOK_SECONDS
        else:
            self.escalation.survivors, self.is_end_of_survivors_unreported, self._next_look = [], True, NEVER

    def report(self) -> Head:
        """Return the message that reports the attempt's end."""
        seq, attempt = self.key
        if self.phase == boxes.NOT_STARTED:
            reason = {"code": self.status, "reason": self.reason, "spent": self.secrets.were_there}
            return {"t": "not-started", "s": seq, "a": attempt, **reason}
        signalled = os.WIFSIGNALED(self.status)
        return {
            "t": "ended",
            "s": seq,
            "a": attempt,
            "code": None if signalled else os.WEXITSTATUS(self.status),
            "signal": os.WTERMSIG(self.status) if signalled else None,
            "why": self.escalation.why,
            "signals": self.escalation.signals,
            "usage": self.account.total(max(0.0, self.ended - self.started), self._peak),
            "last": self.output.last,
            "dropped": self.output.dropped,
            "placed": self.output.unkept.size,
            "survivors": self.escalation.survivors,
            "leftovers": self.leftovers.named,
            "left": self.leftovers.count,
            "kept": self.leftovers.kept,
            "spent": self.secrets.were_there,
        }

    def _leader_ended(self, status: int) -> None:
        self.status, self.phase, self.ended = status, boxes.ENDED, since_boot()
        self.pipes.release()
        if self.escalation.why is None and self._outside.explains(status, time.monotonic()):
            self.escalation.why = OUTSIDE
        self.leftovers.wait(time.monotonic(), asked=self.escalation.why is not None)

    def _enforce(self) -> None:
        """Apply the limits, and send the signal that is due."""
        now = time.monotonic()
        if self.output.over:
            self.cancel("output")
        if now >= self._limits.due:
            warning = self._limits.warning(now)
            if warning is not None:
                self.signal(warning)
            why = self._limits.exceeded(now, self.account, self.tree)
            if why is not None:
                self.cancel(why)
        if now >= self.escalation.due:
            self.escalation.send_next(now, self.leader)
        if self.escalation.survivors:
            self._leader_ended(int(signal.SIGKILL))  # it will, when the kernel lets it

    def _wind_up(self) -> None:
        """After the leader's end: wait for leftovers, end them or let them live on, then close everything."""
        waits = self._outside.waits(time.monotonic())
        if self._has_unannounced:
            self.reap()
        if not self.alone:
            self._see_to_the_others(time.monotonic())
        if waits or not (self.alone or self.escalation.survivors or self.leftovers.kept):
            return
        self.pipes.drain()
        self.pipes.close()
        self._host.close()
        self.secrets.remove()
        self.output.finish()
        self._remove_group()
        self.escalation.rest()
        self.phase = boxes.DONE
        if self.escalation.survivors:
            self._next_look = time.monotonic() + SURVIVOR_LOOK_SECONDS
        self._write(self)

    def _see_to_the_others(self, now: float) -> None:
        leftovers = self.leftovers
        if leftovers.is_waiting:
            if not self.pipes.is_open:
                leftovers.settle(now)
            if self.output.over and self.escalation.why is None:
                self.escalation.why = "output"
                self._end_leftovers(now, asked=True)
            elif now >= min(leftovers.due, self.escalation.due):
                self._end_leftovers(now, asked=self.escalation.why is not None)
        elif now >= self.escalation.due:
            self.escalation.send_next(now, 0)
            self.reap()

    def _end_leftovers(self, now: float, *, asked: bool) -> None:
        """End the leftovers, or let them live on. The leader's status is written into the black box before."""
        self._write(self)
        if self.leftovers.are_gone(now, asked=asked):
            self.escalation.due = max(self.escalation.due, self.leftovers.due)  # else the shim would never sleep
            self.reap()
            return
        if not self.leftovers.kept:
            self.escalation.leave(now)
            self.reap()

    def _remove_group(self) -> None:
        if self._group is None:
            return
        if self._group.ran_out() and self.status and self.escalation.why is None:
            self.escalation.why = "memory"
        self._peak = self._group.peak()
        self._group.remove()
