"""One process group for all processes of attempts, apart from the service's group.

A signal from a terminal to its foreground (Ctrl+C), or from kill(2) to a group, then reaches the service alone, and the
service decides what becomes of an attempt. Otherwise an action would find its child dead before the service heard of
the signal, and report a part of its work as the whole.

The group's leader is multiprocessing's resource tracker, which lives as long as the service. So no child of an attempt
leads the group, and each may still make a session of its own (setsid(2)), as daemons and `preexec_fn=os.setsid` do.
"""

from __future__ import annotations

import _posixsubprocess
import contextlib
import os
import signal
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_NEW_SESSION, PROCESS_GROUP = 15, 16
"""Positions among the arguments of `_posixsubprocess.fork_exec`."""
SENT_TO_GROUPS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})


class OwnGroup:
    """The attempts' process group, once there is one."""

    def __init__(self) -> None:
        """Begin without a group."""
        self._leader = 0

    def lead(self, leader: int) -> None:
        """Start processes in the group that this process leads; 0 ends that."""
        self._leader = leader

    @contextlib.contextmanager
    def led_by_next(self) -> Iterator[None]:
        """Make the next program of multiprocessing the leader of a group, and start later ones in that group.

        The caller names the leader by `lead` as soon as its pid is known.
        """
        original: Callable[..., int] = _posixsubprocess.fork_exec

        def start(*arguments: Any) -> int:
            if self._leader:
                return original(*self.started_in(arguments))
            return original(*arguments[:PROCESS_GROUP], 0, *arguments[PROCESS_GROUP + 1 :])

        setattr(_posixsubprocess, "fork_exec", start)  # noqa: B010 - its type says that it is always the same
        try:
            yield
        finally:
            setattr(_posixsubprocess, "fork_exec", original)  # noqa: B010 - as above

    @property
    def number(self) -> int:
        """The group's number; 0 where there is no group, or no more."""
        leader = self._leader
        if leader:
            try:
                if os.getpgid(leader) == leader:
                    return leader
            except ProcessLookupError:
                pass
        return 0

    def enter(self) -> None:
        """Leave the service's group in a forked child, while signals to groups are blocked, and drop pending ones.

        A signal that arrives between the fork and this call was meant for the service's group.
        """
        leader = self._leader
        if not leader:
            return
        with contextlib.suppress(OSError):  # it leads a session of its own, or the group has ended
            os.setpgid(0, leader)
            while pending := SENT_TO_GROUPS & signal.sigpending():
                signal.sigtimedwait(pending, 0)

    def started_in(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return arguments of `_posixsubprocess.fork_exec` with this group, unless they name a group or a session."""
        if arguments[START_NEW_SESSION] or arguments[PROCESS_GROUP] != -1 or not (group := self.number):
            return arguments
        return (*arguments[:PROCESS_GROUP], group, *arguments[PROCESS_GROUP + 1 :])


group = OwnGroup()
"""The group of this process's attempts."""


def ignore_terminal() -> None:
    """Let processes outside the foreground group fail where they read from the terminal; else they stop for ever."""
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        if signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # not on the main thread
                signal.signal(number, signal.SIG_IGN)
