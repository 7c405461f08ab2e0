"""Finds every process under a tag, and ends all of them.

A process that forks and exits faster than /proc can be read would hide between two looks. So each round reads /proc in
ascending order, the order in which pids are handed out, and then looks at the newest pid, where such a process is.

The end is proven, not guessed: Linux hands out pids in turn, and /proc/loadavg names the newest one. If that pid stays
the same from before one empty round until after the next, no process began meanwhile. A process that was being created
when the first round began had a parent that this round saw, or the second round sees the process itself.

Where /proc hides processes (proc(5), hidepid), candidates are looked at by number: for every process of this user
prlimit(2) tells the tag, and a pidfd tells whether the process runs.

In a container whose file system imitates /proc/loadavg, the sweep starts a thread instead, whose id is the newest pid.
Ids of the sweep's own threads are counted out.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import select
import signal
import time

from orcha._processes.hidden_processes import hides_processes
from orcha._processes.identity import (
    NO_SUCH_PROCESS,
    UNSEEN,
    Identity,
    has_ended,
    identify,
    open_pidfd_of,
    read_stat,
    runs_unseen,
)
from orcha._processes.system import read_small
from orcha._processes.tag import bearers, read_tag
from orcha.utils.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Iterable, Iterator

MAX_EMPTY_ROUNDS = 20
"""Empty rounds in a row that are enough where other programs start processes all the time."""
MAX_PAUSE_SECONDS = 0.2
"""The longest pause between two rounds while a process lives on that a signal did not end, or that nothing can kill.

A round looks at every process of the machine. The end of such a process ends a pause: a long one delays nothing.
"""
_PAUSE_WITHOUT_PIDFD_SECONDS = 0.01
"""The pause where no descriptor is free, so that nothing tells the end of a process."""
SURVIVOR_LOOK_SECONDS = 1.0
"""Time between two looks at processes that nothing can kill."""
_MAX_PIDS_SINCE = 500
"""The most pids that are looked at one by one; more would take as long as a look at all processes."""
_MAX_HIDDEN_PIDS = 1 << 18
"""The most pids that are looked at by number where /proc hides processes; one look takes about 0.2 s."""
_LOADAVG = "/proc/loadavg"
_LOADAVG_BYTES = 128
"""More than the file has."""
_loadavg: int | None = None
"""The descriptor of that file, where it stays open."""


class Swept(NamedTuple):
    """The result of a sweep."""

    killed: tuple[int, ...]
    """Pids of processes that got the signal and have ended."""
    survivors: tuple[int, ...]
    """Pids of processes that lived at the deadline; empty where it is proven that none is left."""


def living(match: range, spare: Collection[int] = (), *, since: int = 0) -> list[Identity]:
    """Return the processes whose tag matches, as one look finds them, without dead ones and this process.

    Where /proc hides processes, hidden ones with a pid from `since` on are found too.
    """
    found = []
    for pid in bearers(_all_pids(_Newest(), since), match):
        if pid not in spare and pid != os.getpid():
            identity = _identify(pid)
            if identity is not None and identity not in found and _is_process(pid):
                found.append(identity)
    return found


def tagged_since(match: range, first: int) -> bool | None:
    """Return whether a process with a matching tag and a pid after `first` lives; None where that is not known.

    Every pid that was handed out since then is looked at, also pids that are handed out meanwhile, so that a process
    that forks and exits is not missed. The answer is not known where these pids are too many or have come round, or
    where the newest pid is unknown.
    """
    begin, own = first + 1, os.getpid()
    for _ in range(MAX_EMPTY_ROUNDS):
        newest = newest_pid()
        if newest is None or not begin - 1 <= newest < first + _MAX_PIDS_SINCE:
            return None
        if newest == begin - 1:
            return False
        for pid in bearers(range(begin, newest + 1), match):
            if pid != own and _identify(pid) is not None and _is_process(pid):
                return True
        begin = newest + 1
    return None


def signal_tagged(pid: int, match: range, number: int) -> bool:
    """Send a signal to the process of this pid, if its tag matches; False where no such process runs.

    Raises PermissionError where the process is another user's, and OSError where no descriptor is free for a pidfd.
    """
    descriptor = open_pidfd_of(pid)
    if descriptor is None:
        return False
    try:
        if read_tag(pid) not in match or not _runs(pid, descriptor):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def sweep(
    match: range,
    *,
    spare: Collection[int] = (),
    signal: int = signal.SIGKILL,
    deadline: float = 1.0,
    since: int = 0,
) -> Swept:
    """Kill every process whose tag matches, and the processes they start meanwhile, until none is left.

    `match` comes from :func:`orcha._processes.tag.exactly`, :func:`~orcha._processes.tag.all_of` or
    :func:`~orcha._processes.tag.attempts_of`; `deadline` is in seconds from now. This process and those in `spare` are
    never touched. Each process is held by a pidfd and its tag is read again before the signal goes, so that a stranger
    who got the pid lives on. `since` is as :func:`living` says. Raises OSError when /proc cannot be read, as where no
    descriptor is free.

    Example::

        gone, left = sweep(exactly(tag_of(nonce, ordinal)))
    """
    return _Sweep(match, frozenset(spare) | {os.getpid()}, signal, since).run(time.monotonic() + deadline)


def outlast(match: range, closed: threading.Event, *, since: int = 0) -> bool:
    """Wait until no process whose tag matches is left, and kill what can be killed; False where `closed` came first."""
    left = True
    while left and not closed.wait(SURVIVOR_LOOK_SECONDS):
        with contextlib.suppress(OSError):  # no descriptor is free: the next look may have one
            left = bool(sweep(match, deadline=0.1, since=since).survivors)
    return not left


def wait_for_ends(pids: Iterable[int], seconds: float) -> None:
    """Wait until all of these processes have ended, but for so many seconds at most."""
    until = time.monotonic() + seconds
    poller = select.poll()
    running: set[int] = set()
    """Their pidfds."""
    try:
        for pid in pids:
            descriptor = open_pidfd_of(pid)
            if descriptor is not None:
                running.add(descriptor)
                poller.register(descriptor, select.POLLIN)  # readable when the process has ended (pidfd_open(2))
        while running and (left := until - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(left * 1000):
                poller.unregister(descriptor)
                running.discard(descriptor)
                os.close(descriptor)
    except OSError:
        time.sleep(min(seconds, _PAUSE_WITHOUT_PIDFD_SECONDS))
    finally:
        for descriptor in running:
            os.close(descriptor)


class _Sweep:
    """The state of one sweep."""

    def __init__(self, match: range, spare: frozenset[int], number: int, since: int) -> None:
        self.match = match
        self.since = since
        self.spare = spare
        self.number = number
        self.newest = _Newest()
        self.signalled: set[int] = set()

    def run(self, until: float) -> Swept:
        """Repeat rounds until no process is left, or the time is over."""
        empty, still, pause = 0, 0, 0.0005
        newest = self.newest.of_others()
        while True:
            known = len(self.signalled)
            left = self._round()
            before, newest = newest, self.newest.of_others()
            empty = 0 if left else empty + 1
            still = 0 if left or newest is None else (still + 1 if newest == before else 0)
            if still >= 2 or empty >= MAX_EMPTY_ROUNDS:
                return Swept(tuple(sorted(self.signalled)), ())
            if left and time.monotonic() >= until:
                return Swept(tuple(sorted(self.signalled - left)), tuple(sorted(left)))
            if left and len(self.signalled) == known:
                # every process has got the signal, and needs the processor to exit, or cannot get the signal
                wait_for_ends(left, min(pause, max(0.0, until - time.monotonic())))
                pause = min(pause * 2, MAX_PAUSE_SECONDS)

    def _round(self) -> set[int]:
        """Signal every process that one look finds; return the pids of the processes that lived."""
        match, spare, pids = self.match, self.spare, _all_pids(self.newest, self.since)
        return {pid for pid in bearers(pids, match) if pid not in spare and self._strike(pid)}

    def _strike(self, pid: int) -> bool:
        """Signal one process; False where there is no process to signal."""
        try:
            sent = signal_tagged(pid, self.match, self.number)
        except OSError:  # another user's process, or no descriptor is free: the next round tries again
            return True
        if sent:
            self.signalled.add(pid)
        return sent


class _Newest:
    """The pid that was handed out last."""

    def __init__(self) -> None:
        self._taken = 0

    def pid(self) -> int | None:
        """Return the pid; None where it is unknown."""
        newest = newest_pid()
        if newest is None and (newest := _pid_of_a_thread()) is not None:
            self._taken += 1
        return newest

    def of_others(self) -> int | None:
        """Return a number that changes only when another program gets a pid; None where it is unknown."""
        newest = self.pid()
        return None if newest is None else newest - self._taken


def _all_pids(newest: _Newest, since: int = 0) -> Iterator[int]:
    """Yield all pids of /proc, ascending, then pids around the newest one, and the hidden ones from `since` on."""
    shown = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - pathlib starts slowly
    yield from shown
    last = newest.pid()
    if last is not None:
        yield from range(last - 1, last + 3)
        if since and hides_processes():
            known = frozenset(shown)
            yield from (pid for pid in _handed_out(since, last) if pid not in known)


def _handed_out(since: int, last: int) -> Iterator[int]:
    """Yield the pids from `since` to `last` in the order of handing out; none where they are too many to look at."""
    ranges = [range(since, last + 1)] if since <= last else [range(since, _pid_limit()), range(2, last + 1)]
    if sum(map(len, ranges)) <= _MAX_HIDDEN_PIDS:
        for pids in ranges:
            yield from pids


def started_tasks() -> int:
    """Return how many processes and threads have been started on this machine (proc_stat(5)); 0 for unknown."""
    try:
        with open("/proc/stat", "rb") as file:  # noqa: PTH123 - pathlib starts slowly; it is large on large machines
            return next((int(line.split()[1]) for line in file if line.startswith(b"processes ")), 0)
    except (OSError, ValueError, IndexError):
        return 0


def hidden_since(pid: int, tasks: int) -> int | None:
    """Return from which pid on a sweep has to look for hidden processes that were started after the process `pid`.

    Before that process `tasks` tasks had been started. None where these pids are too many to look at, or nobody knows.
    """
    newest = newest_pid()
    if not pid or not tasks or newest is None:
        return None
    limit, started = _pid_limit(), started_tasks() - tasks
    if 0 <= started < min(_MAX_HIDDEN_PIDS, limit):
        return pid
    return newest + 1 if limit <= _MAX_HIDDEN_PIDS else None  # they may have come round: all of them


def _pid_limit() -> int:
    """Return the number before which pids come round (proc(5), pid_max)."""
    try:
        return int(read_small("/proc/sys/kernel/pid_max"))
    except (OSError, ValueError):
        return 1 << 22


def _identify(pid: int) -> Identity | None:
    """Return the identity of the process that has this pid now, also where /proc does not show the process."""
    found = identify(pid)
    return Identity(pid, UNSEEN) if found is None and hides_processes() and runs_unseen(pid) else found


def _runs(pid: int, descriptor: int) -> bool:
    """Return whether the process of a pidfd runs."""
    stat = read_stat(pid)
    if stat is None:
        return hides_processes() and not has_ended(descriptor)
    return not stat.is_dead


def _is_process(pid: int) -> bool:
    """Return whether a pid is a process's; the newest one may be a thread's, for which pidfd_open(2) fails."""
    try:
        os.close(os.pidfd_open(pid))
    except OSError as error:
        return error.errno not in NO_SUCH_PROCESS
    return True


def newest_pid() -> int | None:
    """Read the pid that was handed out last (proc_loadavg(5)); None where another file system imitates that file."""
    try:
        if _is_imitated():
            return None
        text = read_small(_LOADAVG) if _loadavg is None else os.pread(_loadavg, _LOADAVG_BYTES, 0)
        return int(text[text.rindex(b" ") :])
    except (OSError, ValueError):
        return None


def keep_newest_open() -> None:
    """Have :func:`newest_pid` read a descriptor that stays open: for a process that asks for each of many commands.

    Opening and closing the file takes more time than reading it.
    """
    global _loadavg  # noqa: PLW0603 - the descriptor is the process's
    if _loadavg is None:
        with contextlib.suppress(OSError):
            _loadavg = os.open(_LOADAVG, os.O_RDONLY | os.O_CLOEXEC)


@functools.cache
def _is_imitated() -> bool:
    """Tell whether another file system imitates /proc/loadavg, as it was at the first call."""
    return os.stat(_LOADAVG).st_dev != os.stat("/proc/self/stat").st_dev  # noqa: PTH116 - pathlib starts slowly


def _pid_of_a_thread() -> int | None:
    """Start a thread that ends at once; return its id, the next pid (clone(2)), or None where no thread starts."""
    pids: list[int] = []
    done = _thread.allocate_lock()
    done.acquire()

    def note() -> None:
        pids.append(_thread.get_native_id())
        done.release()

    try:
        _thread.start_new_thread(note, ())
    except RuntimeError:
        return None
    done.acquire()
    return pids[0]
