"""Looks after shims that do not go on: continues stopped shims, and reports or kills shims that do not answer.

A command belongs to the same user as its shim, and may stop the shim: then no cancel, limit or report would work. A
shim may also hang: on a disk that does not answer, in a frozen cgroup, or because of an error in its code.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from typing import NamedTuple

from orcha._processes.identity import Identity, read_stat, signal_exactly
from orcha._supervisor import black_box as boxes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from orcha._supervisor.shim_connection import ShimConnection
    from orcha._supervisor.supervisor_process import SupervisorProcess

SILENCE_SECONDS = 30.0
"""How long a shim may owe an answer until it is told to go on; a busy machine or disk delays an answer for less."""
LOOKS_PER_SILENCE = 3
"""The number of looks in that time."""
SHORT_LOOKS_PER_SILENCE = 30
"""The number of looks in that time at a shim that may have to be killed: no pause of the machine counts as silence."""
LAST_SHORT_LOOKS = 10
"""The number of short looks within which a shim that was told to go on has to answer; else both are killed."""
ENDS_WITHIN_SECONDS = 10.0
"""How long a shim that was told to end its command may send nothing; then it is killed with the command."""
ROUSED_AFTER_SECONDS = 0.2
"""When a stopped shim that was told to end its command is continued: most shims have ended by then.
Where it was stopped, it is continued again at each short look until its attempt is forgotten."""
LATE_SECONDS = 1.0
"""How much later than it was due a look may come and not be late."""
MAX_WAIT_SECONDS = 86_400.0
"""epoll_wait(2) takes milliseconds in 31 bits, which is less than 25 days."""
NO_END = "it did not answer when its command was to end"
KILLED = "{}, so Orcha killed it and ended the command"
"""What is said of a shim that was killed."""
_WAITS_FOR_DISK = "D"
"""The state in which the kernel lets no process go on, nor end, before a disk answers (proc_pid_stat(5))."""


class SilentShims(NamedTuple):
    """The result of one look at the shims."""

    silent: list[ShimConnection]
    """Shims that do not answer: people have to be told about them now."""
    lost: list[ShimConnection]
    """Shims whose answer is waited for no longer."""


class ShimHeartbeats:
    """Looks at the shims that have an attempt, and at the supervisor while it owes shims.

    A stopped process is continued, and every one is asked whether it is there. Only time in which the service itself
    went on counts as silence. Where a look comes late, since the service was stopped, the system was suspended or all
    processors were busy, nobody knows how long the shims could run since the last look: that time does not count, and a
    shim that was told to end its command gets its whole time again. So that no shorter pause counts either, the looks
    before a kill come often.
    """

    def __init__(self, folder: Path, report: Callable[[int, str], None], silence: float = SILENCE_SECONDS) -> None:
        """Begin before the first look; `silence` is the time that a shim has to answer."""
        self._folder = folder
        self._report = report
        self._silence = silence
        self._interval = silence / LOOKS_PER_SILENCE
        self._short_interval = silence / SHORT_LOOKS_PER_SILENCE
        self._supervisors_silence = max(silence, SILENCE_SECONDS)  # its start takes longer than any answer of a shim
        self.due = 0.0
        """When the next look is due, on the monotonic clock."""
        self._all_due = 0.0
        """When the next look at all shims is due."""

    def look(
        self, shims: Iterable[ShimConnection], supervisor: SupervisorProcess | None = None, now: float | None = None
    ) -> SilentShims:
        """Where a look is due: continue what is stopped, and send pings."""
        now = time.monotonic() if now is None else now
        looked = SilentShims([], [])
        due = self.due
        if now < due:
            return looked
        shims = list(shims)
        if now - due > LATE_SECONDS:
            self._excuse(shims, supervisor, now)
        is_full = now >= self._all_due
        for shim in shims:
            if is_full or shim.is_silent or now >= shim.rouse_by:
                self._rouse_in_time(shim, now)
            if is_full or shim.is_silent:
                self._look_at(shim, now, looked)
            if now >= shim.ends_by:
                self._lose(shim, NO_END, looked)
        if supervisor is not None and (is_full or supervisor.is_silent):
            self._look_at_supervisor(supervisor, now)
        if is_full:
            self._all_due = now + self._interval
        self.due = min(self._all_due, self._earliest(shims, looked, now + self._short_interval, supervisor))
        return looked

    @staticmethod
    def _earliest(
        shims: list[ShimConnection], looked: SilentShims, soon: float, supervisor: SupervisorProcess | None
    ) -> float:
        """Return when the next look at a single shim, or at a silent supervisor, is due."""
        times = [shim.looked_at_by(soon) for shim in shims if shim not in looked.lost]
        if supervisor is not None and supervisor.is_silent:
            times.append(soon)
        return min(times, default=math.inf)

    @staticmethod
    def _excuse(shims: list[ShimConnection], supervisor: SupervisorProcess | None, now: float) -> None:
        """Count nothing of the time since the last look."""
        for shim in shims:
            shim.silent_since = now
            if shim.ends_by < math.inf:
                shim.ends_by = now + ENDS_WITHIN_SECONDS
        if supervisor is not None:
            supervisor.silent_since = now

    def rouse(self, shim: ShimConnection) -> bool:
        """Continue a shim if it is stopped; return whether it was."""
        its_own = self._identity(shim.name)
        stat = None if its_own is None else read_stat(its_own.pid)
        if its_own is None or stat is None or not stat.is_stopped:
            return False
        self._report(logging.WARNING, f"shim {shim.name} was stopped: it is told to go on")
        self._signal(its_own, signal.SIGCONT)
        return True

    def hasten(self, shim: ShimConnection, now: float | None = None) -> None:
        """Set the times by which a shim has to answer that was told to end its command."""
        now = time.monotonic() if now is None else now
        shim.ask(now)
        if shim.asked is None:  # it knows no pings: nobody waits for an answer
            self.rouse(shim)
            return
        shim.rouse_by = min(shim.rouse_by, now + ROUSED_AFTER_SECONDS)
        if shim.ends_by == math.inf:
            shim.ends_by = now + ENDS_WITHIN_SECONDS
        self.due = min(self.due, shim.rouse_by, shim.ends_by)

    def kill(self, name: str) -> None:
        """Kill a shim; its connection ends then, and the processes that it left are ended."""
        its_own = self._identity(name)
        if its_own is not None:
            self._signal(its_own, signal.SIGKILL)

    def _rouse_in_time(self, shim: ShimConnection, now: float) -> None:
        """Continue a shim if it is stopped; look again soon where it was, and was told to end its command."""
        was_stopped = self.rouse(shim)
        if now >= shim.rouse_by:
            shim.rouse_by = now + self._short_interval if was_stopped else math.inf

    def _look_at(self, shim: ShimConnection, now: float, looked: SilentShims) -> None:
        """Send a ping to a shim; note a shim that has not answered in its time."""
        if shim.asked is not None and not self._waits_for_disk(shim):
            shim.silence += now - max(shim.silent_since, shim.asked)
        shim.silent_since = now
        if shim.silence >= self._silence + LAST_SHORT_LOOKS * self._short_interval:
            self._lose(shim, f"it did not answer for {shim.silence:.3g} s", looked)
        elif shim.silence >= self._silence and not shim.is_silent:
            shim.is_silent = True
            looked.silent.append(shim)
            self._report(
                logging.WARNING,
                f"shim {shim.name} has not answered for {shim.silence:.3g} s: limits of its command do not hold"
                " meanwhile. It is told to go on, and killed with its command unless it answers soon",
            )
            self._continue(shim)
        shim.ask(now)

    def _look_at_supervisor(self, supervisor: SupervisorProcess, now: float) -> None:
        """Continue a supervisor that is stopped; kill a supervisor that forks no shim: another one takes its place."""
        stat = read_stat(supervisor.pid)
        if stat is not None and stat.is_stopped:
            self._report(logging.WARNING, "the supervisor of commands was stopped: it is told to go on")
            supervisor.signal(signal.SIGCONT)
        if supervisor.asked and (stat is None or stat.state != _WAITS_FOR_DISK):
            supervisor.silence += now - max(supervisor.silent_since, supervisor.asked_at)
        supervisor.silent_since = now
        supervisor.is_silent = supervisor.silence >= self._supervisors_silence
        if supervisor.silence >= self._supervisors_silence + LAST_SHORT_LOOKS * self._short_interval:
            self._report(logging.ERROR, f"the supervisor of commands forked no shim for {supervisor.silence:.3g} s")
            supervisor.silence = 0.0
            supervisor.signal(signal.SIGKILL)

    def _lose(self, shim: ShimConnection, why: str, looked: SilentShims) -> None:
        """Note a shim that is to be killed."""
        if shim not in looked.lost:
            shim.failure = KILLED.format(why)
            looked.lost.append(shim)
            self._report(logging.ERROR, f"shim {shim.name} is killed with its command: {why}")

    def _waits_for_disk(self, shim: ShimConnection) -> bool:
        its_own = self._identity(shim.name)
        stat = None if its_own is None else read_stat(its_own.pid)
        return stat is not None and stat.state == _WAITS_FOR_DISK

    def _continue(self, shim: ShimConnection) -> None:
        its_own = self._identity(shim.name)
        if its_own is not None:
            self._signal(its_own, signal.SIGCONT)

    def _identity(self, name: str) -> Identity | None:
        word = boxes.read(f"{self._folder}/shims/{name}.box")
        return None if word is None or not word.start_ticks else Identity(word.pid, int(word.start_ticks))

    def _signal(self, shim: Identity, number: int) -> None:
        try:
            signal_exactly(shim, number)
        except OSError as error:
            self._report(logging.ERROR, f"the shim with process {shim.pid} cannot be signalled: {error}")
