"""The service's side of the watcher: starts it when it is needed, and again when it has died."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading

from orcha._processes.attempt_tracking import apart
from orcha._processes.identity import identify
from orcha._processes.system import read_small
from orcha._processes.tag import new_nonce, tag_of, tag_process
from orcha.utils.threads import NoThreadError, guarded, ignore_death, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha.utils.threads import OnDeath

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "watcher.py")  # noqa: PTH100, PTH118, PTH120

_log = logging.getLogger("orcha")


class Watcher:
    """The watcher of one start of the service.

    Example::

        watcher = Watcher(nonce)
        install(ServiceState(population, on_child=watcher.need))
    """

    def __init__(self, nonce: int, on_death: OnDeath = ignore_death) -> None:
        """Prepare; :meth:`need` starts the watcher. `on_death` is told where the thread dies."""
        self.nonce = nonce
        self._on_death = on_death
        self.pid: int | None = None
        """The watcher's pid; None while it does not run."""
        self._lock = threading.Lock()
        self._wanted = False
        self._thread: threading.Thread | None = None

    def need(self) -> None:
        """Have a watcher from now on; this costs 0.1 us where it runs, and never waits for its start (some 20 ms).

        Where no thread can be started, the next call tries again.
        """
        if self._wanted or not self._first_to_want():
            return
        thread = guarded("orcha-watcher", self._run, self._on_death)
        try:
            start(thread)
        except NoThreadError as error:
            self._wanted = False
            _log.error("the watcher was not started: %s", error)
        else:
            self._thread = thread

    def got_sigterm(self) -> bool:
        """Return whether the watcher has got SIGTERM, which waits there for ever (proc_pid_status(5))."""
        pid = self.pid
        if pid is None:
            return False
        try:
            text = read_small(f"/proc/{pid}/status")
        except OSError:
            return False
        return any(
            int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1
            for line in text.splitlines()
            if line.startswith((b"SigPnd:", b"ShdPnd:"))
        )

    def stop(self) -> None:
        """End the watcher without a sweep; afterwards nobody ends the processes that the service leaves."""
        thread = self._thread
        while thread is not None and thread.is_alive():
            with self._lock:  # the watcher is not reaped while this is held, so that the pid is its own
                if self.pid is not None:
                    os.kill(self.pid, signal.SIGKILL)
            thread.join(0.01)

    def _first_to_want(self) -> bool:
        with self._lock:
            before, self._wanted = self._wanted, True
        return not before

    def _run(self) -> None:
        """Start a watcher and wait for its end, after which :meth:`need` starts another one."""
        try:
            pid = self._start()
        except OSError as error:
            _log.error("the watcher was not started: %s", error)
            self._wanted = False
            return
        self.pid = pid
        with contextlib.suppress(ChildProcessError):  # a plugin's SIGCHLD handler may have reaped it
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self.pid = None
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._wanted = False

    def _start(self) -> int:
        """Start a watcher by posix_spawn: `subprocess` waits for a pipe that a child forked meanwhile keeps open."""
        own = identify(os.getpid())
        if own is None:
            raise FileNotFoundError("/proc is not mounted")
        command = [sys.executable, "-I", "-S", _PROGRAM, str(own.pid), str(own.start_time), str(self.nonce)]
        null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        with apart():
            blocked = (signal.SIGTERM,)
            pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=null, setsigmask=blocked)
        tag_process(pid, tag_of(new_nonce(), 0))
        return pid
