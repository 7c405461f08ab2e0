"""What follows on each end of an attempt at a command: people are told what is lost or left, and all let go of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orcha._core.state import State
from orcha._service.execution import command_attempt as attempts

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.execution.command_output import CommandsOutput
    from orcha._service.execution.running_commands import RunningCommands
    from orcha._service.execution.shims import Shims
    from orcha._service.execution.standard_input import StandardInput
    from orcha._service.outbox import Outbox
    from orcha._supervisor.contract import CommandEnded


class FinishedCommands:
    """Lets go of attempts once their ends are kept; the engine thread's."""

    def __init__(
        self,
        running: RunningCommands,
        output: CommandsOutput,
        petitions: Petitions,
        standard_input: StandardInput,
        shims: Shims,
        outbox: Outbox,
        report: Callable[..., None],
    ) -> None:
        """Let go of nothing yet.

        Args:
            running: knows the attempts that are not over.
            output: gets lines for people, and acknowledges nothing of an attempt that is over.
            petitions: know what lives on.
            standard_input: is told that nobody reads any more.
            shims: forget an attempt once its end is kept.
            outbox: calls what is to happen then.
            report: writes to the log.

        """
        self._running = running
        self._output = output
        self._petitions = petitions
        self._standard_input = standard_input
        self._shims = shims
        self._outbox = outbox
        self._report = report

    def tell_losses(self, record: Record, event: CommandEnded) -> None:
        """Tell people what of its output is lost, and which processes it left."""
        if event.dropped > event.placed:
            self._output.say(record, attempts.dropped(record, event.dropped - event.placed))
        if event.left:
            self._output.say(record, f"{attempts.left_behind(event)}\n")
        if event.survivors:
            text = "petition %s: nothing could kill these of its processes: %s"
            self._report(logging.ERROR, text, record.key, event.survivors)

    def let_go(self, record: Record) -> None:
        """Let go of a petition's current attempt once its end is kept."""
        seq, number, channel = record.seq, record.attempt, record.channel
        if record.state is State.ENDED:
            self._standard_input.done(record)
        self._running.drop(seq)
        self._output.over(record)
        self._standard_input.over(seq)
        known = self._petitions.records.get(seq)
        lives = known is not None and bool(known.survivors)

        def forget() -> None:
            self._output.is_kept(channel, seq, number)
            if not lives:  # a shim's box tells a later start what lives on
                self._shims.reach().forget(seq, number)

        self._outbox.after(forget)

    def forget(self, seq: int, number: int) -> None:
        """Have the shim of an attempt, or its box, forgotten once this batch is kept."""
        self._outbox.after(lambda: self._shims.reach().forget(seq, number))


__all__ = ["FinishedCommands"]
