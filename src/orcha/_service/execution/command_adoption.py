"""Commands that an earlier start of the service left, and that go on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.state import State
from orcha._supervisor.contract import FOREIGN, LOST, CommandLost, CommandStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record
    from orcha._service.execution.command_losses import CommandLosses
    from orcha._service.execution.command_output import CommandsOutput
    from orcha._service.execution.command_reports import CommandReports
    from orcha._service.execution.running_commands import RunningCommands
    from orcha._service.execution.shims import Shims
    from orcha._service.execution.standard_input import StandardInput
    from orcha._service.reports.journal import Journal
    from orcha._store.contract import AttemptRow
    from orcha._supervisor.contract import FoundAttempt

APART_LINE = "orcha: it goes on under another build of Orcha: what it writes from now on is not passed on, its end is\n"


class Adopted(NamedTuple):
    """An attempt whose petition is being made again."""

    row: AttemptRow
    there: FoundAttempt


class CommandAdoption:
    """Takes over attempts, each once its petition is made again; the engine thread's."""

    def __init__(
        self,
        running: RunningCommands,
        reports: CommandReports,
        output: CommandsOutput,
        losses: CommandLosses,
        standard_input: StandardInput,
        shims: Shims,
        journal: Journal,
        report: Callable[..., None],
    ) -> None:
        """Take over no attempt yet.

        Args:
            running: knows the attempts from then on.
            reports: takes a start that was reported, and not kept.
            output: gets lines for people.
            losses: takes what a dead shim saw of an end.
            standard_input: is told that an earlier start of the service handed over what the shim has.
            shims: are asked for what they have not told yet.
            journal: tells that a command goes on.
            report: writes to the log.

        """
        self._running = running
        self._reports = reports
        self._output = output
        self._losses = losses
        self._standard_input = standard_input
        self._shims = shims
        self._journal = journal
        self._report = report
        self.goes_on: Callable[[Record], None] = lambda _: None
        """Told of each command that goes on: it may have been preempted."""
        self._waiting: dict[int, Adopted] = {}
        """By the sequence numbers of the petitions."""

    def adopt(self, record: Record, row: AttemptRow, there: FoundAttempt) -> None:
        """Note an attempt that goes on; its petition is to be made again."""
        self._waiting[record.seq] = Adopted(row, there)
        self._running.take_over(record, row)
        self._standard_input.adopted(record)

    def converted(self, record: Record, reason: str | None = None) -> None:
        """Note that a petition was made again, or why not: then nothing but its command is known of it."""
        if reason is not None:
            text = "petition %s: its command goes on, but it cannot be made again: %s"
            self._report(logging.ERROR, text, record.key, reason)
        adopted = self._waiting.pop(record.seq, None)
        if adopted is None or not self._running.knows(record.seq, adopted.there.attempt):
            return
        row, there = adopted
        self._running.take_over(record, row).is_apart = there.phase == FOREIGN
        if there.phase == LOST:
            self._losses.lost(
                CommandLost(record.seq, record.attempt, there.executed, there.ended, there.failure, there.survivors)
            )
            return
        if there.pid and record.state is State.STARTING:  # the shim told the start, and no transaction kept it
            self._reports.take(
                CommandStarted(record.seq, record.attempt, there.pid, there.start_time, there.boot_id, there.shim)
            )
        self._journal.found(record)
        if there.phase == FOREIGN:
            self._output.say(record, APART_LINE)
            self.goes_on(record)
        else:
            self._shims.reach().resume(record.seq, record.attempt, after_chunk=row.last_chunk)
            self._running.stand_still(record)
            self.goes_on(record)
            if reason is None:
                self._running.limit_anew(record)


__all__ = ["CommandAdoption"]
