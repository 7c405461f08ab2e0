"""How petitions are ended from outside: by a cancel, a limit, or the end of the service."""

from __future__ import annotations

from typing import Any

from orcha._core.commanding import Commanding
from orcha._core.ledger import CANCELLING, QUEUED, RUNNING, STARTING
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.retrying import is_decided
from orcha._core.state import Outcome, State


class Cancelling(Commanding):
    """One operation, valid in every state; what it answers is how the petition ended."""

    def cancel(self, record: Record, cancellation: Cancellation, waiter: Any = None) -> None:
        """End a live petition, whatever it is doing; the waiter is answered with the outcome."""
        if waiter is not None:
            record.waiters.append(waiter)
        if record.phase is Phase.CONVERTING:
            record.cancellation = record.cancellation or cancellation
        elif is_decided(record):
            record.phase = Phase.ACTION
            self._cancel_attempt(record, self._overruled(record, cancellation), QUEUED)
        elif record.state in (State.QUEUED, State.HELD):
            self._end_waiting(record, cancellation.outcome, cancellation.code, cancellation.reason)
        elif record.state in (State.STARTING, State.RUNNING):
            self._cancel_starting(record, cancellation)
        elif record.state is State.CANCELLING:
            self._cancel_again(record, cancellation)
        else:
            self._answer_when_gone(record)

    def _cancel_starting(self, record: Record, cancellation: Cancellation) -> None:
        if record.tries is not None and cancellation.outcome is Outcome.TIMED_OUT:
            cancellation = self._or_tried_again(record, cancellation)
        self._cancel_attempt(record, cancellation, STARTING | RUNNING)

    def _cancel_attempt(self, record: Record, cancellation: Cancellation, states: int) -> None:
        record.state = State.CANCELLING
        record.may_start = False
        self._decide(record, cancellation, states)
        if record.phase is Phase.ACTION:
            self._end_processes(record)

    def _decide(self, record: Record, cancellation: Cancellation, states: int) -> None:
        record.cancellation = cancellation
        self._step(record, states, State.CANCELLING, cancellation.outcome, cancellation.code, cancellation.reason)

    def _cancel_again(self, record: Record, cancellation: Cancellation) -> None:
        """Keep one that is to wait again from it; any other ends as was decided first."""
        decided = record.cancellation
        if decided is None or decided.requeue is None or cancellation.requeue is not None:
            return
        if self.leaving.pop(record.seq, None) is None:
            self._decide(record, cancellation, CANCELLING)
            return
        self._end(record, cancellation.outcome, cancellation.code, cancellation.reason, CANCELLING)
        self._forget(record)

    def _answer_when_gone(self, record: Record) -> None:
        """End what a finished petition has left; whoever cancels it is answered when that is gone."""
        if record.processes_gone:
            self._end_processes(record)
        elif record.command and record.survivors:
            self._answer(record)  # nothing could kill them: the outcome is all that there is to tell
