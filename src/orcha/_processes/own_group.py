"""One process group for all that attempts start, apart from that of the service.

What a terminal sends to its foreground (Ctrl+C), and what kill(2) sends to a group, then reaches the service alone: it
decides what becomes of an attempt. Otherwise an action would find its child dead before the service heard of the
signal, and tell a part of its work as all of it.

The group is that of multiprocessing's resource tracker, which lives as long as the service and is its leader. So no
child leads it, and each may still make a session of its own (setsid(2)), as daemons and `preexec_fn=os.setsid` do.
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
    """The group, once there is one."""

    def __init__(self) -> None:
        """Have none."""
        self._leader = 0

    def lead(self, leader: int) -> None:
        """Have processes started in the group of this process, which is its leader; 0 for no longer."""
        self._leader = leader

    @contextlib.contextmanager
    def led_by_next(self) -> Iterator[None]:
        """Have the next program that multiprocessing starts lead a group, and those after it be in that group.

        The caller names the leader, by `lead`, as soon as it is known.
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
        """The group, or 0 where there is none (any more)."""
        leader = self._leader
        if leader:
            try:
                if os.getpgid(leader) == leader:
                    return leader
            except ProcessLookupError:
                pass
        return 0

    def enter(self) -> None:
        """In a forked child, with the signals that go to groups held back: leave the service's group, and forget them.

        One that comes in the moment between was not meant for it.
        """
        leader = self._leader
        if not leader:
            return
        with contextlib.suppress(OSError):  # it leads a session of its own, or the group has gone
            os.setpgid(0, leader)
            while pending := SENT_TO_GROUPS & signal.sigpending():
                signal.sigtimedwait(pending, 0)

    def started_in(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Give the arguments of `_posixsubprocess.fork_exec` with this group, unless they name one or a session."""
        if arguments[START_NEW_SESSION] or arguments[PROCESS_GROUP] != -1 or not (group := self.number):
            return arguments
        return (*arguments[:PROCESS_GROUP], group, *arguments[PROCESS_GROUP + 1 :])


group = OwnGroup()
"""That of this process."""


def ignore_terminal() -> None:
    """Let what is in no foreground group fail where it reads from the terminal: else it would stop for ever."""
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        if signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # not on the main thread
                signal.signal(number, signal.SIG_IGN)
