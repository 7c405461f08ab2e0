"""The processes of all attempts of this service, and two ways to know them.

:class:`TaggedProcesses` is exact and needs Linux. :class:`SeenProcesses` stands in where tags or pidfds are refused: it
knows the processes that were seen to start or were named, and what descends from them at the moment. Which one is in
force is said by `exact`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from orcha._processes.helpers import helper_pids
from orcha._processes.hidden_processes import hides_processes
from orcha._processes.identity import UNSEEN, Identity, signal_exactly
from orcha._processes.sweep import Swept, living, newest_pid, signal_tagged, sweep
from orcha._processes.tag import all_of, exactly, start_under, supported, tag_children, tag_of, tag_self, tag_tree

T = TypeVar("T")


class AttemptProcesses(Protocol):
    """Knows, signals and kills the processes of attempts; every method may be called from any thread."""

    exact: bool
    """Whether no process can escape, since tags are in force."""

    def expect(self, ordinal: int) -> None:
        """Note that an attempt may have processes from now on."""
        ...

    def claim(self, ordinal: int, pid: int) -> list[int]:
        """Assign a process and its descendants to an attempt; return their pids.

        Raises ValueError for this process, pids up to 1, and the helpers that all attempts share.
        """
        ...

    def claim_self(self, ordinal: int) -> None:
        """Assign this process to an attempt; called in a forked child."""
        ...

    def start(self, ordinal: int, start: Callable[[], T]) -> T:
        """Call `start`, which starts a process; where possible that is the attempt's from its first instruction on."""
        ...

    def claim_children(self, ordinal: int, thread: int) -> list[int]:
        """Assign the unnamed children of a thread of this process to an attempt; return their pids."""
        ...

    def living(self, ordinal: int) -> list[Identity]:
        """Return an attempt's processes, as one look finds them."""
        ...

    def signal(self, identity: Identity, number: int) -> bool:
        """Send a signal to exactly this process; False where it has ended. Raises PermissionError."""
        ...

    def sweep(self, ordinal: int, deadline: float = 1.0) -> Swept:
        """Kill all processes of an attempt until none is left, for at most `deadline` seconds."""
        ...

    def forget(self, ordinal: int) -> None:
        """Forget an attempt that is over."""
        ...


def processes_for(nonce: int) -> AttemptProcesses:
    """Return :class:`TaggedProcesses` where this system supports tags, else :class:`SeenProcesses`."""
    return TaggedProcesses(nonce) if supported() else SeenProcesses()


class TaggedProcesses:
    """Each process carries its attempt's tag."""

    exact = True

    def __init__(self, nonce: int) -> None:
        self.nonce = nonce
        self._first_pids: dict[int, int] = {}
        """By ordinal: a pid lower than every pid of the attempt's processes; only where /proc hides processes."""

    def expect(self, ordinal: int) -> None:
        """See :class:`AttemptProcesses`."""
        if hides_processes():
            self._first_pids.setdefault(ordinal, newest_pid() or os.getpid())

    def claim(self, ordinal: int, pid: int) -> list[int]:
        """See :class:`AttemptProcesses`."""
        return tag_tree(pid, tag_of(self.nonce, ordinal), _without_helpers(pid))

    def claim_self(self, ordinal: int) -> None:
        """See :class:`AttemptProcesses`."""
        tag_self(tag_of(self.nonce, ordinal))

    def start(self, ordinal: int, start: Callable[[], T]) -> T:
        """See :class:`AttemptProcesses`."""
        return start_under(tag_of(self.nonce, ordinal), start)

    def claim_children(self, ordinal: int, thread: int) -> list[int]:
        """See :class:`AttemptProcesses`."""
        return tag_children(thread, tag_of(self.nonce, ordinal), helper_pids())

    def living(self, ordinal: int) -> list[Identity]:
        """See :class:`AttemptProcesses`."""
        return living(exactly(tag_of(self.nonce, ordinal)), since=self._first_pids.get(ordinal, 0))

    def signal(self, identity: Identity, number: int) -> bool:
        """See :class:`AttemptProcesses`."""
        if identity.start_time == UNSEEN:
            return signal_tagged(identity.pid, all_of(self.nonce), number)
        return signal_exactly(identity, number)

    def sweep(self, ordinal: int, deadline: float = 1.0) -> Swept:
        """See :class:`AttemptProcesses`."""
        since = self._first_pids.get(ordinal, 0)
        return sweep(exactly(tag_of(self.nonce, ordinal)), deadline=deadline, since=since)

    def forget(self, ordinal: int) -> None:
        """See :class:`AttemptProcesses`; the tags are in the kernel."""
        self._first_pids.pop(ordinal, None)


class SeenProcesses:
    """Each process was seen to start or was named; psutil finds its descendants."""

    exact = False

    def __init__(self) -> None:
        self._known: dict[int, dict[int, Any]] = {}
        self._lock = threading.Lock()

    def expect(self, ordinal: int) -> None:
        """Do nothing: a process that nobody names is not known."""

    def claim(self, ordinal: int, pid: int) -> list[int]:
        """See :class:`AttemptProcesses`."""
        import psutil

        if pid <= 1 or pid == os.getpid():
            raise ValueError(f"pid {pid} is no process that an attempt started")
        _without_helpers(pid)
        try:
            process = psutil.Process(pid)
            found = [process, *process.children(recursive=True)]
        except psutil.Error:
            return []
        with self._lock:
            self._known.setdefault(ordinal, {}).update((one.pid, one) for one in found)
        return [one.pid for one in found]

    def claim_self(self, ordinal: int) -> None:
        """Do nothing: the parent saw this process start."""

    def start(self, ordinal: int, start: Callable[[], T]) -> T:  # noqa: ARG002 - it is claimed once its pid is known
        """See :class:`AttemptProcesses`."""
        return start()

    def claim_children(self, ordinal: int, thread: int) -> list[int]:  # noqa: ARG002 - no system tells by thread
        """Claim nothing: a child that nobody has named may belong to any attempt."""
        return []

    def living(self, ordinal: int) -> list[Identity]:
        """See :class:`AttemptProcesses`."""
        return [Identity(one.pid, int(one.create_time() * 1000)) for one in self._living(ordinal)]

    def signal(self, identity: Identity, number: int) -> bool:
        """See :class:`AttemptProcesses`."""
        import psutil

        for known in list(self._known.values()):
            one = known.get(identity.pid)
            if one is not None and int(one.create_time() * 1000) == identity.start_time:
                try:
                    one.send_signal(number)  # compares the start time first
                except psutil.AccessDenied as error:
                    raise PermissionError(str(error)) from error
                except psutil.Error:
                    return False
                return True
        return False

    def sweep(self, ordinal: int, deadline: float = 1.0) -> Swept:
        """See :class:`AttemptProcesses`."""
        until = time.monotonic() + deadline
        told: set[int] = set()
        while found := self.living(ordinal):
            for identity in found:
                try:
                    self.signal(identity, signal.SIGKILL)
                except PermissionError:
                    continue
                told.add(identity.pid)
            if time.monotonic() >= until:
                break
            time.sleep(0.005)
        left = {identity.pid for identity in found}
        return Swept(tuple(sorted(told - left)), tuple(sorted(left)))

    def forget(self, ordinal: int) -> None:
        """See :class:`AttemptProcesses`."""
        with self._lock:
            self._known.pop(ordinal, None)

    def _living(self, ordinal: int) -> list[Any]:
        """Add the descendants of known processes, and return all that run."""
        import psutil

        with self._lock:
            known = self._known.setdefault(ordinal, {})
            for one in list(known.values()):
                try:
                    known.update((child.pid, child) for child in one.children(recursive=True))
                except psutil.Error:
                    continue
            return [one for one in known.values() if _runs(one)]


def _runs(process: Any) -> bool:
    """Whether a psutil process runs and is no zombie."""
    import psutil

    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _without_helpers(pid: int) -> frozenset[int]:
    """Return the pids of helpers; ValueError where the named process is one of them."""
    helpers = helper_pids()
    if pid in helpers:
        raise ValueError(f"pid {pid} is a helper of the service, shared by all attempts")
    return helpers
