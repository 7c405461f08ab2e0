"""Makes a forked child of the service an ordinary process before any other code runs in it.

Otherwise a SIGTERM to the child would run the service's handler, or write to the pipe that wakes the service's loop
(asyncio and uvloop share it with the child), and the child would hold port and lock after the service's end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable

from orcha.utils.interrupts import interrupt

FATAL_EXIT_CODE = 70
"""The exit code of a child that could not close what belongs to the service (EX_SOFTWARE)."""

_HANDLED = frozenset(
    {
        signal.SIGALRM,
        signal.SIGCHLD,
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
    }
)
"""The signals that services and their loops handle. All signals would cost 0.4 ms a fork: Python makes them enums."""
_OPEN_IN_CHILD = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD})

SPAWNING = threading.RLock()
"""Held while a program is started and while this process forks.

A child forked in between would keep the pipes that `subprocess` has open at that moment. Then `subprocess` would
wait for that child's end to learn whether its program started, and a reader of the program's output for an end of file.
"""
_PATIENCE_SECONDS = 5.0


class _Mask(threading.local):
    """The signal mask that a forking thread had, and whether the thread holds the lock."""

    saved: set[int] | None = None
    holds = False


_mask = _Mask()
_registered = False
_before: Callable[[], None] | None = None
_in_child: Callable[[], tuple[Iterable[int], tuple[Callable[[], None], ...]]] | None = None


def install(
    before: Callable[[], None], in_child: Callable[[], tuple[Iterable[int], tuple[Callable[[], None], ...]]]
) -> None:
    """Handle each fork of this process from now on.

    `before` runs in the parent. `in_child` runs in the child, and returns descriptors to close and functions to call.
    """
    global _registered, _before, _in_child  # noqa: PLW0603 - Python keeps fork handlers for the process, for ever
    _before, _in_child = before, in_child
    if not _registered:
        os.register_at_fork(before=_prepare, after_in_parent=_restore, after_in_child=_become_ordinary)
        _registered = True


def uninstall() -> None:
    """Stop handling forks."""
    global _before, _in_child  # noqa: PLW0603 - see install
    _before = _in_child = None


def _prepare() -> None:
    """Block signals, so that none reaches the child while it has the service's handlers."""
    if _before is not None:
        _mask.holds = SPAWNING.acquire(timeout=_PATIENCE_SECONDS)
        _mask.saved = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        _before()


def _restore() -> None:
    if _mask.saved is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask.saved)
        _mask.saved = None
        _let_go()


def _let_go() -> None:
    if _mask.holds:
        _mask.holds = False
        SPAWNING.release()


def _become_ordinary() -> None:
    """Run in the child, which exits here if any step fails."""
    saved, in_child = _mask.saved, _in_child
    if saved is None or in_child is None:
        return
    _mask.saved = None
    uninstall()
    _let_go()
    try:
        signal.set_wakeup_fd(-1)
        _default_handlers()
        descriptors, calls = in_child()
        _close(descriptors)
        for call in calls:
            call()
        signal.pthread_sigmask(signal.SIG_SETMASK, saved - _OPEN_IN_CHILD)
    except BaseException:  # noqa: BLE001 - whatever it was, a child that keeps the service's things must not run
        traceback.print_exc(file=sys.stderr)
        os._exit(FATAL_EXIT_CODE)


def _default_handlers() -> None:
    """Reset the service's handlers to the defaults; ignored signals stay ignored."""
    for number in _HANDLED:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, interrupt)


def _close(descriptors: Iterable[int]) -> None:
    """Put /dev/null in each descriptor's place.

    The numbers stay in use, since Python objects in the child still own them: these would later close a file of the
    child that had got the number.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        if descriptor >= 0:
            os.dup2(null, descriptor, inheritable=False)
    os.close(null)
