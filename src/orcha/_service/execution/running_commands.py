"""The attempts at commands that run now, and what the service knows of each."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.admission import petition_name
from orcha._core.state import State
from orcha._service.execution.command_attempt import Attempt, limits_now
from orcha._service.execution.retries import tries_after

if TYPE_CHECKING:
    from orcha._core.admission import Admission
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.execution.command_output import CommandsOutput
    from orcha._service.execution.shims import Shims
    from orcha._service.execution.standard_input import StandardInput
    from orcha._service.outbox import Outbox
    from orcha._store.contract import AttemptRow, Store
    from orcha._supervisor.contract import (
        CommandEnded,
        CommandLost,
        CommandNotStarted,
        CommandOutput,
        CommandStarted,
    )

    Reported = CommandStarted | CommandOutput | CommandEnded | CommandNotStarted | CommandLost

_ENDED = State.ENDED


class RunningCommands:
    """Knows the current attempts, by the sequence numbers of their petitions; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        store: Store,
        shims: Shims,
        outbox: Outbox,
        admission: Admission,
        output: CommandsOutput,
        standard_input: StandardInput,
    ) -> None:
        """Know no attempt.

        Args:
            petitions: the petitions whose attempts these are.
            store: has what is kept of earlier attempts.
            shims: are told what becomes of their attempts.
            outbox: calls what is to happen once this batch is kept.
            admission: knows which petitions are paused.
            output: acknowledges nothing of an attempt that is over.
            standard_input: is told that nobody reads any more.

        """
        self._petitions = petitions
        self._store = store
        self._shims = shims
        self._outbox = outbox
        self._admission = admission
        self._output = output
        self._standard_input = standard_input
        self._attempts: dict[int, Attempt] = {}
        self._outlived: dict[tuple[int, int], CommandLost] = {}
        """Losses whose consequence waits until nothing of the attempt lives."""
        self._gone: set[tuple[int, int]] = set()
        """Attempts whose end or loss is not taken yet, and whose survivors have ended."""

    def live(self, event: Reported) -> tuple[Record, Attempt] | None:
        """Give petition and attempt of an event; None where that attempt is over, and nothing of it is wanted."""
        record = transitions.command.unfinished(self._petitions, event.seq, event.attempt)
        if record is not None:
            return record, self.of(record)
        seq, number = event.seq, event.attempt  # what ended the attempt may not be kept yet
        if not self._is_outlived(seq, number):
            self._outbox.after(lambda: self._shims.reach().discard(seq, number))
        return None

    def _is_outlived(self, seq: int, number: int) -> bool:
        """Tell whether an attempt has ended, and something of it may live: its shim is to tell when that has ended."""
        record = self._petitions.records.get(seq)
        return record is not None and record.attempt == number and record.is_outlived

    def of(self, record: Record) -> Attempt:
        """Give what is known of the petition's current attempt."""
        known = self._attempts.get(record.seq)
        if known is None or known.attempt != record.attempt:
            row = self._store.attempts([record.seq]).get(record.seq) if record.attempt > 1 else None
            known = self._attempts[record.seq] = Attempt(record, row)
        return known

    def take_over(self, record: Record, row: AttemptRow) -> Attempt:
        """Know an attempt that an earlier start of the service began, by what is kept of it."""
        transitions.retry.take_tries(record, tries_after(record, row))
        attempt = self._attempts[record.seq] = Attempt(record, row)
        return attempt

    def knows(self, seq: int, attempt: int) -> bool:
        """Tell whether this attempt is not over."""
        known = self._attempts.get(seq)
        return known is not None and known.attempt == attempt

    def is_silent(self, seq: int) -> bool:
        """Tell whether the shim of a petition's command has not answered for a while."""
        attempt = self._attempts.get(seq)
        return attempt is not None and attempt.is_silent

    def is_apart(self, seq: int) -> bool:
        """Tell whether the shim of a petition's command takes no orders: it is of a build with another protocol."""
        attempt = self._attempts.get(seq)
        return attempt is not None and attempt.is_apart

    def stand_still(self, record: Record) -> None:
        """Stop every process of a running command whose petition is paused: while it started that came too early."""
        paused = self._admission.paused
        if paused and petition_name(record.seq) in paused:
            self._shims.reach().signal(record.seq, record.attempt, signal.SIGSTOP)

    def limit_anew(self, record: Record) -> None:
        """Tell the shim of an adopted command its limits, where people changed the petition: that may not be known.

        The service that kept the change may have died before it told the shim.
        """
        if self._store.alterations(record.seq):
            self._shims.reach().limit(record.seq, record.attempt, limits_now(record))

    # --- when an attempt is over ---------------------------------------------------------------------------------

    def let_go(self, record: Record) -> None:
        """Know nothing any more of a petition's current attempt, and have its shim forget it once its end is kept."""
        seq, number, channel = record.seq, record.attempt, record.channel
        self._attempts.pop(seq, None)
        self._gone.discard((seq, number))
        self._standard_input.over(record, is_last=record.state is _ENDED)
        self._output.over(record)
        known = self._petitions.records.get(seq)
        lives = known is not None and bool(known.survivors)

        def forget() -> None:
            self._output.is_kept(channel, seq, number)
            executor = self._shims.executor
            if executor is not None and not lives:  # a shim's box tells a later start what lives on
                executor.forget(seq, number)

        self._outbox.after(forget)

    def forget(self, seq: int, number: int) -> None:
        """Have the shim of an attempt, or its box, forgotten once this batch is kept."""
        self._outbox.after(lambda: self._shims.reach().forget(seq, number))

    def put_off(self, loss: CommandLost) -> None:
        """Have the consequence of a loss wait until nothing of the attempt lives."""
        self._outlived[loss.seq, loss.attempt] = loss

    def take_loss(self, seq: int, attempt: int) -> CommandLost | None:
        """Take out the loss of an attempt whose consequence waits."""
        return self._outlived.pop((seq, attempt), None)

    def note_gone(self, seq: int, attempt: int) -> None:
        """Note that nothing of an attempt lives, before the service has decided what follows on its end or loss."""
        self._gone.add((seq, attempt))

    def is_gone(self, seq: int, attempt: int) -> bool:
        """Tell whether nothing lives any more of an attempt whose end or loss names survivors."""
        return (seq, attempt) in self._gone


__all__ = ["RunningCommands"]
