"""The ends of attempts whose shim died, and the consequences once the processes that outlived it have ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._service.execution import command_attempt as attempts
from orcha._service.lifecycle.stored_records import record_of
from orcha._supervisor.contract import SurvivorsGone

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.execution.command_ends import CommandEnds
    from orcha._service.execution.command_interruptions import CommandInterruptions
    from orcha._service.execution.command_output import CommandsOutput
    from orcha._service.execution.running_commands import RunningCommands
    from orcha._store.contract import AttemptRow, Row
    from orcha._supervisor.contract import CommandEnded, CommandLost


class CommandLosses:
    """Decides what follows on the loss of an attempt; the engine thread's."""

    def __init__(
        self,
        running: RunningCommands,
        output: CommandsOutput,
        petitions: Petitions,
        interruptions: CommandInterruptions,
        ends: CommandEnds,
        report: Callable[..., None],
        wake: Callable[[], None],
    ) -> None:
        """Decide about `running` attempts.

        Args:
            running: the attempts.
            output: has what dead shims left.
            petitions: the petitions that end, are held, or run again.
            interruptions: has policies decide, and knows whether another attempt may follow.
            ends: takes the end of an attempt that its shim saw before it died.
            report: writes to the log.
            wake: has petitions that wait asked again.

        """
        self._running = running
        self._output = output
        self._petitions = petitions
        self._interruptions = interruptions
        self._ends = ends
        self._report = report
        self._wake = wake

    def lost(self, event: CommandLost) -> None:
        """Take that a shim died with its attempt."""
        if self._running.is_gone(event.seq, event.attempt):
            event = event._replace(survivors=())
        if self.told_again(event):
            return
        record = transitions.command.unfinished(self._petitions, event.seq, event.attempt)
        if record is not None and event.ended is not None:
            self._output.look_for_gaps(record, self._running.of(record), event.ended.last_chunk)
        if event.survivors:
            self._tell_outlived(event)
        if event.ended is not None:
            self._ended(event.ended._replace(survivors=list(event.survivors)) if event.survivors else event.ended)
        elif event.survivors:
            self._interruptions.outlived(event, attempts.loss(event.failure))
        elif (live := self._running.live(event)) is not None:
            self._keep_loss(event, *live)

    def _ended(self, event: CommandEnded) -> None:
        """Take the end of an attempt that its shim saw before it died."""
        live = self._running.live(event)
        if live is not None:
            self._ends.ended(*live, event)

    def _keep_loss(self, event: CommandLost, record: Record, attempt: attempts.Attempt) -> None:
        petitions = self._petitions
        losses = 0 if event.executed else attempt.losses + 1
        if event.executed:
            self._output.pass_on_left(record, attempt)
            self._interruptions.note_again(record)
        known = {"why": "lost", "executed": event.executed} | ({"failure": event.failure} if event.failure else {})
        step = attempt.step._replace(history=attempt.note_end(petitions.now.wall, known), losses=losses)
        transitions.command.lost(
            petitions,
            event.seq,
            event.attempt,
            petitions.now,
            executed=event.executed,
            losses=losses,
            reason=attempts.loss(event.failure),
        )
        petitions.keep_attempt(step)
        self._running.let_go(record)

    def note_earlier(self, row: Row, command: AttemptRow, losses: int) -> None:
        """Keep that nothing is left of an attempt that an earlier start of the service began."""
        record = record_of(row)
        attempt = attempts.Attempt(record, command)
        if not losses:
            self._output.pass_on_left(record, attempt)
        history = attempt.note_end(self._petitions.now.wall, {"why": "lost", "executed": not losses})
        self._petitions.keep_attempt(attempt.step._replace(history=history, losses=losses))

    # --- processes that nothing can kill ------------------------------------------------------------------------

    def _tell_outlived(self, event: CommandLost) -> None:
        record = self._petitions.records.get(event.seq)
        if record is not None:
            text = "petition %s: nothing can kill these of its processes, it keeps its place until they have ended: %s"
            self._report(logging.ERROR, text, record.key, list(event.survivors))

    def told_again(self, event: CommandEnded | CommandLost) -> bool:
        """Take what outlives an attempt that had ended before; False where the event is about no such attempt."""
        survivors = tuple(event.survivors)
        keeps = transitions.command.told_of(self._petitions, event.seq, event.attempt, survivors)
        if keeps and not survivors:
            self.gone(SurvivorsGone(event.seq, event.attempt))
        return keeps

    def gone(self, event: SurvivorsGone) -> None:
        """Free what an attempt held, once the processes that outlived it have ended.

        The service may not have taken the end or the loss of the attempt yet: it looks for the pattern of a retry, or
        makes the petition again. It takes that end or loss without survivors then.
        """
        lost = self._running.take_loss(event.seq, event.attempt)
        if not transitions.command.gone(self._petitions, event.seq, event.attempt):
            if lost is not None:
                self.lost(lost._replace(survivors=()))
            elif self._running.knows(event.seq, event.attempt):
                self._running.note_gone(event.seq, event.attempt)
                return
        self._running.forget(event.seq, event.attempt)
        self._wake()


__all__ = ["CommandLosses"]
