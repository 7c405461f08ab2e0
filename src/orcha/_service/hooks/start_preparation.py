"""What the hook thread does for a petition beside calling the manager: it has time while the engine awaits the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._client.attempt_channel import AttemptChannel
from orcha._service.execution.action_threads import Run
from orcha._service.hooks.petition_marks import attach, set_state
from orcha.interfaces.built_in import COMMAND_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record
    from orcha._service.execution.action_threads import ActionPool
    from orcha._service.execution.attempt_ending import Ending
    from orcha._service.execution.attempt_port import AttemptPort
    from orcha._service.execution.command_runner import CommandRunner
    from orcha._service.reports.journal import Journal


class Steps:
    """Prepares starts, and hands over what runs."""

    def __init__(
        self,
        port: AttemptPort,
        ending: Ending,
        actions: ActionPool,
        commands: CommandRunner,
        journal: Journal,
        report: Callable[..., None],
    ) -> None:
        """Have actions run by `actions`, which reach the engine by `port`, and commands by `commands`."""
        self._port = port
        self._ending = ending
        self._actions = actions
        self._commands = commands
        self._journal = journal
        self._report = report

    def prepare(self, record: Record) -> None:
        """Make the petition ready to run."""
        petition = record.petition
        assert petition is not None
        record.run = run = Run(self._port, record, petition, self._ending.take_ordinal())
        queue = getattr(petition, "queue", None)
        if isinstance(queue, AttemptChannel) and record.manager != COMMAND_MANAGER:  # which puts nothing there
            self._ending.bind(queue, run)
        attach(petition, run, self._report)

    def mark(self, record: Record) -> None:
        """Show the petition where it is."""
        set_state(record, self._report)

    def go(self, record: Record) -> None:
        """Hand it to an action thread, or a command to those who execute it."""
        set_state(record, self._report)
        self._journal.began(record)
        if record.command:
            self._commands.go(record)
        else:
            self._actions.go(record.run)
