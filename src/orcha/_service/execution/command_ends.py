"""The ends of attempts at commands whose shim lived to report them: an outcome, or another attempt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from orcha._core import transitions
from orcha._core.retry import Ended as RetryEnded
from orcha._core.retry import depends_on_output
from orcha._core.state import Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha._service.execution import command_attempt as attempts
from orcha._service.execution.output_patterns import Matching
from orcha._supervisor.contract import OUTSIDE

if TYPE_CHECKING:
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.execution.command_attempt import Attempt
    from orcha._service.execution.command_interruptions import CommandInterruptions
    from orcha._service.execution.command_output import CommandsOutput
    from orcha._service.execution.retries import Resting
    from orcha._service.execution.running_commands import RunningCommands
    from orcha._service.mailbox import Mailbox
    from orcha._supervisor.contract import CommandEnded, CommandNotStarted

PATTERN_TOOK_TOO_LONG = "orcha: the pattern of --retry-output took too long to look for: it counts as not found\n"


class CommandEnds:
    """Decides what follows on the end of an attempt; the engine thread's."""

    def __init__(
        self,
        running: RunningCommands,
        output: CommandsOutput,
        petitions: Petitions,
        interruptions: CommandInterruptions,
        resting: Resting,
        mailbox: Mailbox,
    ) -> None:
        """Decide about `running` attempts.

        Args:
            running: the attempts.
            output: gets lines for people, and has the last of what an attempt wrote.
            petitions: the petitions that end, or wait for another attempt.
            interruptions: takes an end by a shutdown from outside, and knows whether another attempt may follow.
            resting: has petitions wait again when their time has come.
            mailbox: takes whether a pattern was found.

        """
        self._running = running
        self._output = output
        self._petitions = petitions
        self._interruptions = interruptions
        self._resting = resting
        self._mailbox = mailbox
        self._matching = Matching(mailbox.end_with)

    def ended(self, record: Record, attempt: Attempt, event: CommandEnded) -> None:
        """Take the end of an attempt, whose pattern may have to be looked for first."""
        if event.why == OUTSIDE and record.state is not State.CANCELLING:
            self._interruptions.interrupted(record, attempt, event)
            return
        if record.tries is None:
            self._decide(record, attempt, event, found=False)
            return
        seen = RetryEnded(attempts.end_of(record, event)[0], event.code, event.signal)
        if not depends_on_output(record.tries.retry, seen, retries=record.tries.retries):
            self._decide(record, attempt, event, found=False)
        elif not attempt.looked:  # else it is told once more
            attempt.looked = True
            pattern = (record.tries.retry.output or "").encode()
            told = partial(self._mailbox.post, self._searched, event)
            self._matching.ask(pattern, self._output.last_of(record, attempt), told)

    def _searched(self, event: CommandEnded, found: bool | None) -> None:
        """Decide what follows on an end, now that it is known whether the pattern was found."""
        live = self._running.live(event)
        if live is None:
            return
        record, attempt = live
        if self._running.is_gone(event.seq, event.attempt):
            event = event._replace(survivors=[])
        if found is None:
            self._output.say(record, PATTERN_TOOK_TOO_LONG)
        self._decide(record, attempt, event, found=bool(found))

    def _decide(self, record: Record, attempt: Attempt, event: CommandEnded, *, found: bool) -> None:
        outcome, code, reason = attempts.end_of(record, event)
        if outcome is Outcome.SUCCEEDED and attempt.is_cut:
            outcome, code, reason = attempts.CUT
        self._output.tell_losses(record, event)
        due = None
        if record.tries is not None:
            due = self._due(record, RetryEnded(outcome, event.code, event.signal, found))
        end = CommandEnd(outcome, code, reason, event.why is None, due, tuple(event.survivors))
        self._over(record, attempt, attempts.described(event), end)

    def _due(self, record: Record, seen: RetryEnded) -> float | None:
        """Give the time of the next attempt; None where there is none, or it would not get the same standard input."""
        due = transitions.retry.next_due(record, seen, self._petitions.now)
        if due is not None and (why := self._interruptions.why_not_again(record)) is not None:
            self._output.say(record, f"orcha: it is not tried again: {why}\n")
            return None
        return due

    def not_started(self, record: Record, attempt: Attempt, event: CommandNotStarted) -> None:
        """Take that a program could not be executed."""
        reason = attempts.shown(record, event.reason)
        end = CommandEnd(Outcome.BROKEN, attempts.not_started(event.code), reason, by_itself=False)
        self._over(record, attempt, {"code": event.code, "why": reason}, end)

    def _over(self, record: Record, attempt: Attempt, known: dict[str, Any], end: CommandEnd) -> None:
        """Keep how an attempt ended, in the transaction of its petition's end or of the decision to try it again."""
        petitions = self._petitions
        tries = record.tries
        again = transitions.command.ended(petitions, record.seq, record.attempt, end, petitions.now)
        petitions.keep_attempt(
            attempt.step.over(
                attempt.note_end(petitions.now.wall, known),
                retries=tries.retries + 1 if again and tries is not None else None,
                due=end.due if again else None,
            )
        )
        if again:
            self._resting.rise(record)
        self._running.let_go(record)


__all__ = ["CommandEnds"]
