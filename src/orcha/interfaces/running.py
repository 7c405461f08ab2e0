"""One run of a service: start, await, obey signals, leave with a code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Never, Protocol

from orcha.utils import event_log, systemd
from orcha.utils.stop_signal import stop_signal
from orcha.utils.threads import guarded, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from orcha.utils.threads import DeadThreadError


MAX_SIGNALS_AT_ONCE = 4096
"""Signals that ask for the same, and are answered together."""
_ENDED_BY_A_STOP = frozenset({"orcha-commands", "orcha-log", "orcha-loop"})
"""Names of threads that are there after a stop only where that failed."""


class Serving(Protocol):
    """What a service needs of a manager; nothing else is known of it here."""

    def start(self) -> object:
        """Serve, and return."""

    def join(self) -> object:
        """Return when it has stopped."""

    def shutdown(self) -> object:
        """Stop in good order."""


class ServiceRun:
    """One service from its start to the end of the process."""

    def __init__(self, manager: Serving, *, notifies: bool) -> None:
        """Hold still until `serve`."""
        self._manager = manager
        systemd.wish.tells = notifies
        self._started = threading.Event()
        self._asked = threading.Event()
        self._hastened = threading.Event()

    @property
    def reloads(self) -> bool:
        """Whether the service has a configuration that it can read again."""
        return bool(getattr(self._manager, "reloads", False))

    def serve(self, signals: Iterable[int], *, reload_signal: int | None = None) -> Never:
        """Start, wait until it has stopped, exit.

        Args:
            signals: the signals that stop it.
            reload_signal: the signal for which it reads its configuration again; None for none.

        """
        _name_crashes()
        try:
            event_log.set_up(event_log.wanted_kind(os.environ))
            if threading.current_thread() is threading.main_thread():
                if reload_signal is not None:
                    self._watch_for_reload(reload_signal)
                self._watch(signals)
            self._manager.start()
            self._started.set()
            self._say_ready()
            self._manager.join()
        except Exception as error:  # noqa: BLE001 - whatever it is, the document discards it: this is where it ends
            self._fail(error)
        _leave(0)

    def _say_ready(self) -> None:
        """Tell people and systemd that it serves."""
        place = getattr(self._manager, "place", None) or _place_of(self._manager)
        what = getattr(self._manager, "title", None) or type(self._manager).__name__
        say(f"orcha: serving {what} on {place}")
        self._notify(systemd.READY)

    def _fail(self, error: Exception) -> Never:
        """Leave with one line and the error's code."""
        from orcha.exceptions import OrchaError
        from orcha.utils.logging_utils import get_logger

        code = getattr(error, "exit_code", 1)
        code = code if isinstance(code, int) and code else 1
        if _log_is_stuck():
            _leave(code)
        get_logger().debug("%s failed", type(self._manager).__name__, exc_info=error)
        text = " ".join(str(error).split())
        if not isinstance(error, OrchaError):
            text = f"{type(error).__name__}: {text}"
        say(f"orcha: {text}", logging.ERROR)
        self._notify(systemd.status(text))
        _leave(code)

    def _notify(self, state: str) -> None:
        """Tell systemd, where it wants to know."""
        if systemd.wish.tells:
            systemd.notify(state)

    def _watch(self, signals: Iterable[int]) -> None:
        """Let a thread stop the manager for signals: a handler must not take locks, so it only writes to a pipe."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        process = os.getpid()

        def note(number: int, _: FrameType | None) -> None:
            if os.getpid() != process:  # a forked child that has not got handlers of its own yet
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
                return
            stop_signal.note(time.monotonic())
            try:
                os.write(writer, bytes((number,)))
            except BlockingIOError:
                return  # the pipe holds thousands of signals that say the same

        for number in signals:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) wants it
                signal.signal(number, note)
        for name, target in (
            ("orcha-signals", lambda: self._obey(reader)),
            ("orcha-stop", self._stop),
            ("orcha-stop-now", self._hurry),
        ):
            start(guarded(name, target, end_process))

    def _watch_for_reload(self, number: int) -> None:
        """Have a thread read the configuration again for a signal; signals that come meanwhile count as one."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        process = os.getpid()

        def note(number: int, _: FrameType | None) -> None:
            if os.getpid() != process:  # as for the signals that stop the service
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
                return
            with contextlib.suppress(BlockingIOError):
                os.write(writer, bytes((number,)))

        signal.signal(number, note)
        start(guarded("orcha-reload", lambda: self._reload(reader), end_process))

    def _reload(self, reader: int) -> Never:
        """Read the configuration again, whenever a signal asks for that, once the service serves."""
        manager: Any = self._manager
        while True:
            os.read(reader, MAX_SIGNALS_AT_ONCE)
            self._started.wait()
            if systemd.wish.tells:
                with systemd.reloading(time.monotonic()):
                    manager.reload()
            else:
                manager.reload()

    def _obey(self, reader: int) -> None:
        """First signal: an orderly stop. Second: at once. Third, or second before it serves: leave the process."""
        if _read_signal(reader) == signal.SIGHUP:
            with contextlib.suppress(OSError):  # it may be the terminal that has gone
                say("orcha: the terminal hung up (SIGHUP): the service stops in good order")
        self._asked.set()
        second = _read_signal(reader)
        if not self._started.is_set():
            os._exit(128 + second)
        self._hastened.set()
        os._exit(128 + _read_signal(reader))

    def _stop(self) -> None:
        """Stop in good order what has been started, once that is asked for."""
        self._asked.wait()
        self._started.wait()
        self._notify(systemd.STOPPING)
        self._manager.shutdown()

    def _hurry(self) -> None:
        """Stop at once, once that is asked for, where the manager can."""
        self._hastened.wait()
        hurried = _hurried(self._manager)
        if hurried is not None:
            hurried()


def end_process(death: DeadThreadError) -> None:
    """End the process: nothing would stop it any more. What was accepted is kept."""
    with contextlib.suppress(OSError):
        say(f"orcha: the service failed: {death}", logging.CRITICAL)
    os._exit(death.exit_code)


def _place_of(manager: Serving) -> str:
    """Give where a manager listens."""
    address, port = getattr(manager, "listen_address", None), getattr(manager, "port", None)
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _name_crashes() -> None:
    """Have a crash in C code write the stacks of all threads to stderr, for a daemon its log; the crash stays one."""
    import faulthandler

    if sys.stderr is not None and not faulthandler.is_enabled():
        with contextlib.suppress(OSError, ValueError):  # a stderr of a plugin's own, which has no descriptor
            faulthandler.enable()


def _read_signal(reader: int) -> int:
    """Wait for the next signal's number."""
    return os.read(reader, 1)[0]


def _hurried(manager: Serving) -> Callable[[], object] | None:
    """Give what stops a manager at once, None where its shutdown takes no ``now``."""
    import inspect

    shutdown: Callable[..., Any] = manager.shutdown
    parameters = inspect.signature(shutdown).parameters.values()
    if any(each.name == "now" or each.kind is each.VAR_KEYWORD for each in parameters):
        return lambda: shutdown(now=True)
    return None


def _log_is_stuck() -> bool:
    """Tell whether the thread that writes the service's log has outlived the service: nobody reads what it writes."""
    return any(thread.name == "orcha-log" for thread in threading.enumerate())


def _leave(code: int) -> Never:
    """End the process; at once where a thread is left that a stop ends.

    The end of the interpreter would wait for the log's, and pull the ground from under the others, which then crash.
    """
    if any(thread.name in _ENDED_BY_A_STOP for thread in threading.enumerate()):
        os._exit(code)
    raise SystemExit(code)


def say(line: str, level: int = logging.INFO) -> None:
    """Write a line to stderr, where there is one; of this level where the log is one for programs."""
    told = getattr(sys.stderr, "say", None)
    if told is not None:
        told(line, level)
    elif sys.stderr is not None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
