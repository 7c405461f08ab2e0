"""The way to the shims of commands: it is made when the first command needs it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orcha._core.record import Record
    from orcha._store.contract import Row
    from orcha._supervisor.command_executor import CommandExecutor
    from orcha._supervisor.contract import Event, FoundAttempt

    OnEvents = Callable[[list[Event]], None]
    """Takes the reports of shims, on the thread that reads them."""


class Shims:
    """Reaches the supervisor's side; any thread may use it."""

    def __init__(self) -> None:
        """Reach nothing before `connect`."""
        self._lock = threading.Lock()
        self._make: Callable[[OnEvents], CommandExecutor] | None = None
        self.executor: CommandExecutor | None = None
        """The supervisor's side; None before the first command, and at the end. A forked child may read this."""
        self.on_events: OnEvents = lambda _: None
        """Where events go; set before the first command."""
        self.rebooted = False
        """Whether the system was started again since the last start of the service."""

    def connect(self, make: Callable[[OnEvents], CommandExecutor]) -> None:
        """Reach shims by what `make` gives, once a command needs it; `make` is told where events go."""
        self._make = make

    def reach(self) -> CommandExecutor:
        """Give the supervisor's side, made now where no command needed it before."""
        executor = self.executor
        if executor is not None:
            return executor
        with self._lock:
            if self.executor is None:
                assert self._make is not None, "nobody said how commands are run"
                self.executor = self._make(self.on_events)
            return self.executor

    def let_go(self) -> CommandExecutor | None:
        """Let go of the supervisor's side; give it, so that the caller closes it."""
        with self._lock:
            executor, self.executor, self._make = self.executor, None, None
        return executor

    def kill(self, record: Record, why: str) -> None:
        """Kill the command of a petition's current attempt, without waiting for its graces."""
        self.reach().kill(record.seq, record.attempt, why)

    def write(self, record: Record, offset: int, data: bytes) -> None:
        """Write to the standard input or terminal of a command, at an offset from its beginning."""
        self.reach().write(record.seq, record.attempt, offset, data)

    def close_stdin(self, record: Record, offset: int) -> None:
        """Close the standard input of a command after a number of bytes."""
        self.reach().close_stdin(record.seq, record.attempt, offset)

    def descriptors(self) -> list[int]:
        """Give what a forked child must not keep; takes no lock."""
        return [] if self.executor is None else self.executor.descriptors()

    def recovered(self) -> None:
        """Note that what was made of the attempts that were found is kept."""
        if self.executor is not None:
            self.executor.recovered()

    def find(self, folder: Path) -> list[FoundAttempt]:
        """Give the attempts that outlived an earlier start of the service; what dead shims left is swept then."""
        return self.reach().adopt() if self._make is not None and (folder / "shims").is_dir() else []

    def may_have_run(self, row: Row, attempt: int) -> bool:
        """Tell whether an attempt that was not found may have been executed; after a reboot nobody knows."""
        if self.rebooted:
            return True
        return self.executor is None or self.executor.may_have_run(row.seq, attempt, epoch=row.epoch)


__all__ = ["Shims"]
