"""What the hook thread does for a petition beside calling the manager: it has time while the engine awaits the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._client.attempt_channel import AttemptChannel
from orcha._service.execution.action_threads import Run
from orcha._service.hooks.petition_marks import attach, set_state
from orcha.interfaces.built_in import COMMAND_MANAGER

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._service.engine import Engine


class Steps:
    """The steps of one engine's petitions."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine

    def prepare(self, record: Record) -> None:
        """Make the petition ready to run."""
        engine = self._engine
        petition = record.petition
        assert petition is not None
        record.run = run = Run(engine, record, petition, engine.ending.take_ordinal())
        queue = getattr(petition, "queue", None)
        if isinstance(queue, AttemptChannel) and record.manager != COMMAND_MANAGER:  # which puts nothing there
            engine.ending.bind(queue, run)
        attach(petition, run, engine.report)

    def mark(self, record: Record) -> None:
        """Show the petition where it is."""
        set_state(record, self._engine.report)

    def go(self, record: Record) -> None:
        """Hand it to an action thread, or a command to those who execute it."""
        set_state(record, self._engine.report)
        self._engine.journal.began(record)
        if record.command:
            self._engine.commands.go(record)
        else:
            self._engine.actions.go(record.run)
