"""Ends an attempt by signals: the stop signal to the leader's group, then SIGTERM, then SIGKILL to every process."""

from __future__ import annotations

import contextlib
import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._supervisor.contract import CommandSpec
    from orcha._supervisor.process_tree import ProcessTree

GIVE_UP_SECONDS = 30.0
"""How long after the first SIGKILL the processes that still live are reported as survivors."""
SWEEP_SECONDS = 0.05
"""The longest sweep: the shim has to answer the service meanwhile."""
WHY_LEFTOVERS = "leftovers"
"""The reason of signals to leftovers, whose end nobody has asked for."""
_NEVER = float("inf")


class SignalEscalation:
    """The signals to one attempt that are still to be sent; times are of the monotonic clock."""

    def __init__(self, spec: CommandSpec, tree: ProcessTree) -> None:
        """Begin with no signal to send."""
        self.why: str | None = None
        self.signals: list[tuple[float, int, str]] = []
        self.survivors: list[int] = []
        self.due = _NEVER
        """When the next signal is due."""
        self._spec = spec
        self._tree = tree
        self._steps: list[tuple[float, int]] = []
        self._kills = 0
        self._ahead = False
        self._first_kill = 0.0

    def begin(self, why: str, now: float) -> bool:
        """Plan the signals; False where they are planned already."""
        if self.why is not None:
            return False
        self.why = why
        self._ahead = _get_ahead()
        first, grace = self._spec.stop_signal, max(0.0, self._spec.grace)
        steps = [(now, first), (now + grace / 2, int(signal.SIGTERM)), (now + grace, int(signal.SIGKILL))]
        if first in {signal.SIGTERM, signal.SIGKILL}:
            del steps[1]
        if first == signal.SIGKILL:
            del steps[1:]
        self._steps = steps
        self.due = now
        return True

    def hurry(self) -> None:
        """Drop all planned signals but the last one."""
        self._steps = self._steps[-1:]
        self.due = 0.0

    def leave(self, now: float) -> None:
        """End the leader's leftovers: SIGTERM now, SIGKILL after the grace, or when a cancel's grace is over.

        Once SIGKILL has been sent no grace is left, and SIGKILL is sent again: the leader may have started a process
        while the first SIGKILL was sent.
        """
        if self._kills:
            self.kill(now)
            return
        last = self._steps[-1][0] if self._steps else now + max(0.0, self._spec.grace)
        self._steps = [(now, int(signal.SIGTERM)), (max(now, last), int(signal.SIGKILL))]
        self._ahead = self._ahead or _get_ahead()
        self.send_next(now, 0)

    def send_next(self, now: float, leader: int) -> None:
        """Send the signal that is due. `leader` is not reaped yet, so that no other process group has its number."""
        number = int(signal.SIGKILL)
        if self._steps:
            _, number = self._steps.pop(0)
        if number == signal.SIGKILL:
            self.kill(now, leader)
            return
        self.signals.append((time.time(), number, self.why or WHY_LEFTOVERS))
        if number == self._spec.stop_signal and leader:
            _signal_group(leader, number)
        else:
            self._tree.signal(number)
        self._tree.resume()
        self.due = self._steps[0][0]

    def kill(self, now: float, leader: int = 0) -> None:
        """Kill every process; called again and again until none is left, or until this is given up.

        The process group of a `leader` that is not reaped is killed at once: no fork escapes from that.
        """
        if leader:
            _signal_group(leader, signal.SIGKILL)
        if not self._kills:
            self._ahead = self._ahead or _get_ahead()
            self._first_kill = now
            self.signals.append((time.time(), int(signal.SIGKILL), self.why or WHY_LEFTOVERS))
        self._kills += 1
        if self._kills < 3:
            self._tree.signal(signal.SIGKILL)
        else:
            self._tree.sweep(SWEEP_SECONDS)
            self._tree.signal(signal.SIGKILL)
        if now - self._first_kill > GIVE_UP_SECONDS:
            self.survivors = sorted(child.pid for child in self._tree.members())
        self._steps = []
        self.due = now + min(0.002 * 2 ** min(self._kills, 6), 0.1)

    def rest(self) -> None:
        """Return to the normal scheduling policy: the attempt is over."""
        if self._ahead:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            self._ahead = False


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(OSError):  # another user's, or no signal has that number
        os.killpg(leader, number)


def _get_ahead() -> bool:
    """Get the processor before other processes, where this user may: beside hundreds a turn would take a second.

    Processes that are started meanwhile do not inherit this policy (sched(7)).
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        return False
    return True
