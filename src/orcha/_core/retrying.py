"""How petitions whose action failed are tried again.

Whether that is so is decided where the attempt's outcome is, in the transaction that would have been the petition's
end: it is QUEUED from then on, with the time of its next attempt. But it rests, and keeps slot and id, until nothing of
the attempt lives; then its on_finish is called, and when that is back and its time has come it waits again.
"""

from __future__ import annotations

from orcha._core.changes import AttemptStep
from orcha._core.effects import Do, Effect
from orcha._core.ledger import CANCELLING, STARTING, Ledger
from orcha._core.reasons import RestingUntil
from orcha._core.record import Cancellation, Phase, Record
from orcha._core.retry import remembered
from orcha._core.state import Outcome, State


class Retrying(Ledger):
    """Decisions about attempts that are actions; nothing here is asked about a petition without `tries`."""

    def _is_tried_again(self, record: Record, code: int | None, reason: str | None) -> bool:
        """Decide what follows on an action that failed; False where its petition ends."""
        assert record.tries is not None
        due = record.tries.due(Outcome.FAILED, code, self.now)
        if due is None:
            return False
        record.outcome, record.code, record.reason = Outcome.FAILED, code, reason
        self._queue_again(record, STARTING, due, self._steadily(due))
        record.phase = Phase.FINISHED
        return True

    def _queue_again(self, record: Record, states: int, due: float, rests_until: float) -> None:
        """Have it queued, from `due` on, with what is known of its attempt."""
        tries, outcome = record.tries, record.outcome
        assert tries is not None
        assert outcome is not None
        history = remembered(
            tries.history,
            record.attempt,
            started=record.started,
            ended=self.now,
            outcome=outcome.name.lower(),
            code=record.code,
            reason=record.reason,
        )
        self._step(record, states, State.QUEUED, hook_pending=True)
        self._keep_retry(record, due, history)
        record.state = State.QUEUED
        record.due, record.rests_until = due, rests_until
        record.why = RestingUntil(record.attempt, record.code, due)

    def _keep_retry(self, record: Record, due: float, history: str | None = None) -> None:
        assert record.tries is not None
        self.changes.attempts[record.seq] = AttemptStep(
            record.seq,
            record.attempt,
            due=due,
            retries=record.tries.retries + 1,
            history=history,
            is_command=record.command,
        )

    def _or_tried_again(self, record: Record, cancellation: Cancellation) -> Cancellation:
        """Give what becomes of an attempt that has taken too long, where its petition may be tried again.

        That is kept at once, as the limit is: also a service that dies while the attempt is ended knows it then.
        """
        assert record.tries is not None
        due = record.tries.due(cancellation.outcome, cancellation.code, self.now)
        if due is None:
            return cancellation
        self._keep_retry(record, due)
        return _again(cancellation, due, self._steadily(due))

    def _overruled(self, record: Record, cancellation: Cancellation) -> Cancellation:
        """Give what becomes of one that is to be tried again, and whose action has not returned, when it is ended.

        One that takes too long to return is tried again all the same, if it does return.
        """
        due, record.due = record.due, None
        until, record.rests_until = record.rests_until, None
        record.outcome = record.code = record.reason = record.why = None
        if cancellation.outcome is not Outcome.TIMED_OUT or due is None or until is None:
            return cancellation
        return _again(cancellation, due, until)

    def _end_for_good(self, record: Record) -> None:
        """Have one whose on_start hangs not tried again: its on_finish, for which that would wait, may never come."""
        decided = record.cancellation
        assert decided is not None
        if decided.due is not None:
            record.cancellation = Cancellation(decided.outcome, decided.code, decided.reason)

    def _end_timed_out(self, record: Record, cancellation: Cancellation, due: float) -> None:
        """Have an attempt that took too long, and of which nothing lives any more, followed by another one."""
        record.cancellation = None
        record.outcome, record.code, record.reason = cancellation.outcome, cancellation.code, cancellation.reason
        until = self._steadily(due) if cancellation.rests_until is None else cancellation.rests_until
        self._queue_again(record, CANCELLING, due, until)
        self._rest(record)

    def _rest(self, record: Record) -> None:
        """Let one that is queued again rest: nothing of its attempt lives, and its on_finish is called."""
        record.phase = Phase.RESTING
        record.tries = None
        record.outcome = record.code = record.reason = None
        self.owing[record.seq] = record
        self._ungrant(record)
        self.version += 1
        self.effects.append(Effect(Do.ON_FINISH, record))


def is_decided(record: Record) -> bool:
    """Tell whether it is to be tried again, and something of its last attempt may still live."""
    return record.phase is Phase.FINISHED and record.state is State.QUEUED


def _again(decided: Cancellation, due: float, until: float) -> Cancellation:
    again = {"requeue": State.QUEUED, "due": due, "rests_until": until}
    return Cancellation(decided.outcome, decided.code, decided.reason, **again)  # type: ignore[arg-type]  # by their names
