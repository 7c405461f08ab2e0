"""Reports of shims about commands: each report is an event for the engine."""

from __future__ import annotations

import time
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from orcha._core import transitions
from orcha._protocol.shown_reasons import SILENT
from orcha._service.execution.command_attempt import ANSWERS_AGAIN
from orcha._supervisor.contract import (
    CommandEnded,
    CommandLost,
    CommandNotStarted,
    CommandOutput,
    CommandStarted,
    CommandStopped,
    InputTaken,
    Silent,
    SurvivorsGone,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.execution.command_attempt import Attempt
    from orcha._service.execution.command_ends import CommandEnds
    from orcha._service.execution.command_losses import CommandLosses
    from orcha._service.execution.command_output import CommandsOutput
    from orcha._service.execution.running_commands import RunningCommands
    from orcha._service.execution.shims import Shims
    from orcha._service.execution.standard_input import StandardInput
    from orcha._service.execution.starts_ahead import StartsAhead
    from orcha._service.mailbox import Mailbox
    from orcha._supervisor.contract import Event

GATHER_SECONDS = 0.003
"""How long the end of a short command may wait for the ends of other short commands: about a transaction's time on a
busy disk. One transaction keeps all of them, and what starts in their places."""
MAX_SHORT_SECONDS = 0.02
"""A command that ran no longer than this is short."""


class CommandReports:
    """Brings reports to the mailbox, and each one there to the part that it is about."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is the part that some reports are about
        self,
        shims: Shims,
        mailbox: Mailbox,
        running: RunningCommands,
        petitions: Petitions,
        output: CommandsOutput,
        ends: CommandEnds,
        losses: CommandLosses,
        standard_input: StandardInput,
        starts_ahead: StartsAhead,
    ) -> None:
        """Take what `shims` say, and call the others in the batches of `mailbox`."""
        self._shims = shims
        self._mailbox = mailbox
        self._running = running
        self._petitions = petitions
        self._output = output
        self._losses = losses
        self._standard_input = standard_input
        self._starts_ahead = starts_ahead
        self.stopped: Callable[[Record], object] = lambda _: None
        """Called when each process of a command has been stopped, so that others may have its place."""
        self._gathers_until = 0.0
        """Until when the transaction of these events may wait for ends of short commands, on the monotonic clock."""
        self._has_looked = False
        """Whether what shims have said since these events was looked for."""
        self._of_attempts: dict[type[Any], Callable[[Record, Attempt, Any], None]] = {
            CommandStarted: self.started,
            CommandOutput: output.take,
            CommandEnded: ends.ended,
            CommandNotStarted: ends.not_started,
            CommandStopped: self._stopped,
        }
        """Kinds of reports that are ignored where the attempt is over."""
        self._others: dict[type[Any], Callable[[Any], None]] = {
            InputTaken: standard_input.wrote,
            CommandLost: losses.lost,
            SurvivorsGone: losses.gone,
            Silent: self._silent,
        }
        shims.on_events = self._take

    def _take(self, events: list[Event]) -> None:
        """Take events, on the thread that reads them."""
        self._gathers_until = time.monotonic() + GATHER_SECONDS
        self._has_looked = False
        self._mailbox.run_or_post(self._handle, events, may_keep=True, ends=True, more=self._more)

    def _more(self) -> bool:
        """Handle what shims have said since, so that it goes into the same transaction; False for nothing.

        Where petitions wait for the places of short commands, this waits for other ends of short commands for a moment.
        """
        ahead = self._starts_ahead
        awaits_ends = ahead.ends and self._petitions.waiting and ahead.may_gather
        wait = max(0.0, self._gathers_until - time.monotonic()) if awaits_ends else 0.0
        commands = self._shims.executor
        if commands is None or (self._has_looked and not wait):
            return False
        self._has_looked = True
        events = commands.more(wait, MAX_SHORT_SECONDS)
        self._handle(events)
        return bool(events)

    def _handle(self, events: list[Event]) -> None:
        begun = None
        for event, following in zip_longest(events, events[1:]):
            if type(event) is CommandStarted and type(following) is CommandEnded and following.seq == event.seq:
                begun = event
                continue
            self.take(event, begun)
            begun = None
            if type(event) is CommandEnded and event.usage.wall <= MAX_SHORT_SECONDS:
                self._starts_ahead.note_end()

    def take(self, event: Event, begun: CommandStarted | None = None) -> None:
        """Call the part that an event is about.

        With the end of a command comes how it has `begun`, where both are told together: one transaction keeps both,
        and nobody meets the petition as running.
        """
        handle = self._of_attempts.get(type(event))
        if handle is None:
            self._others[type(event)](event)
        elif (live := self._running.live(event)) is not None:  # type: ignore[arg-type]  # the table says which they are
            record, attempt = live
            if begun is not None:
                attempt.note_start(begun)
            handle(record, attempt, event)
        elif isinstance(event, CommandEnded):
            self._losses.told_again(event)

    def started(self, record: Record, attempt: Attempt, event: CommandStarted) -> None:
        """Take that the first process of a command runs."""
        petitions = self._petitions
        attempt.note_start(event)
        petitions.keep_attempt(attempt.step)
        transitions.command.running(petitions, event.seq, event.attempt, petitions.now)
        if record.attempt > 1:
            self._standard_input.began(record)
        self._running.stand_still(record)

    def _stopped(self, record: Record, *_: object) -> None:
        self.stopped(record)

    def _silent(self, event: Silent) -> None:
        """Tell people that the shim of a command does not answer, or answers again."""
        record = transitions.command.unfinished(self._petitions, event.seq, event.attempt)
        if record is not None:
            self._running.of(record).is_silent = event.is_silent
            self._output.say(record, f"orcha: {SILENT if event.is_silent else ANSWERS_AGAIN}\n")


__all__ = ["CommandReports"]
