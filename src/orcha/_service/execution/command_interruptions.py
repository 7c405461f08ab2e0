"""Commands that are interrupted: by a shutdown from outside, or by the death of their shim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._service.execution import command_attempt as attempts
from orcha._supervisor.contract import CommandLost

if TYPE_CHECKING:
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.execution.command_attempt import Attempt
    from orcha._service.execution.command_output import CommandsOutput
    from orcha._service.execution.running_commands import RunningCommands
    from orcha._service.execution.standard_input import StandardInput
    from orcha._supervisor.contract import CommandEnded


class CommandInterruptions:
    """Has the policy of each interrupted petition decide, once nothing of its attempt lives; the engine thread's."""

    def __init__(
        self,
        output: CommandsOutput,
        petitions: Petitions,
        standard_input: StandardInput,
        running: RunningCommands,
    ) -> None:
        """Decide about nothing yet.

        Args:
            output: gets lines for people.
            petitions: the petitions that end, are held, or run again.
            standard_input: knows whether another attempt would get what this one got.
            running: lets go of attempts that are over.

        """
        self._output = output
        self._petitions = petitions
        self._standard_input = standard_input
        self._running = running

    def interrupted(self, record: Record, attempt: Attempt, event: CommandEnded) -> None:
        """Have the policy of interruption decide about a command that a shutdown from outside has ended."""
        petitions, reason = self._petitions, transitions.command.OUTSIDE
        self._output.tell_losses(record, event)
        self.note_again(record)
        history = attempt.note_end(petitions.now.wall, attempts.described(event))
        petitions.keep_attempt(attempt.step._replace(history=history, losses=0))
        if event.survivors:
            survivors = tuple(event.survivors)
            self.outlived(CommandLost(event.seq, event.attempt, executed=True, survivors=survivors), reason)
            return
        transitions.command.lost(petitions, event.seq, event.attempt, petitions.now, executed=True, reason=reason)
        self._running.let_go(record)

    def outlived(self, loss: CommandLost, reason: str) -> None:
        """Note that something of an interrupted attempt lives that nothing can kill: the rest may have to wait."""
        petitions = self._petitions
        if not transitions.command.outlived(petitions, loss.seq, loss.attempt, loss.survivors, reason, petitions.now):
            self._running.put_off(loss)

    def why_not_again(self, record: Record) -> str | None:
        """Tell why no other attempt may follow on the current one."""
        return self._standard_input.why_not_again(record)

    def note_again(self, record: Record) -> None:
        """Have an interrupted petition not run again where its next attempt would not get the same standard input."""
        why = self.why_not_again(record)
        if why is not None:
            transitions.command.never_again(record)
            self._output.say(record, f"orcha: it does not run again: {why}\n")


__all__ = ["CommandInterruptions"]
