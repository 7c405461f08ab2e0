"""Petitions that are tried again: between the core, which decides, and the store and the clock."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

from orcha._core import transitions
from orcha._core.changes import AttemptStep
from orcha._core.reasons import RestingUntil, StartsLater
from orcha._core.retry import Tries, decided_at, final_value, remaining, remembered
from orcha._core.state import Outcome, State
from orcha.interfaces.command import CommandPetition, Retry

if TYPE_CHECKING:
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.timers import Timers
    from orcha._store.contract import AttemptRow, Row, Store
    from orcha.interfaces.petition import Petition
    from orcha.interfaces.policy import Policy


def retry_of(petition: Petition, policy: Policy | None) -> Retry | None:
    """Give when a petition is tried again; None for never.

    Raises:
        ValueError: it asks for what an action does not have.

    """
    retry = policy.retry if policy is not None else None
    if isinstance(petition, CommandPetition):
        return petition.retry if petition.retry is not None else retry
    for name, given in (("signals", retry.signals), ("output", retry.output)) if retry is not None else ():
        if given:
            error = f"retry.{name} is about commands, and this petition has an action: it fails by its final value only"
            raise ValueError(error)
    return retry


def tries_of(store: Store, record: Record) -> Tries | None:
    """Give what decides about the attempt that begins, once its start is kept; None where it is not tried again."""
    if record.retry is None:
        return None
    return tries_after(record, store.attempts([record.seq]).get(record.seq) if record.attempt > 1 else None)


def tries_after(record: Record, kept: AttemptRow | None) -> Tries | None:
    """Give the same by the stored history of the petition's attempts, if there is one."""
    if record.retry is None:
        return None
    chance = random.random()  # noqa: S311 - it spreads load, and guards nothing
    retries, history = (0, None) if kept is None else (kept.retries, kept.history)
    return Tries(record.retry, retries, history, chance)


class Resting:
    """Has petitions that rest wait again when their time has come; the engine thread's."""

    def __init__(self, petitions: Petitions, store: Store, timers: Timers) -> None:
        """Have `timers` call when the time of one of the `petitions` has come."""
        self._petitions = petitions
        self._store = store
        self._timers = timers

    def rest(self, record: Record) -> None:
        """Have a petition whose action failed wait again then, made again of its message."""
        if record.due is None or record.command:
            return
        transitions.retry.take_message(record, self._store.rows([record.seq])[0].extras)
        self.rise(record)

    def rise(self, record: Record) -> None:
        """Have a petition that rests wait again when its time has come."""
        until = record.rests_until
        if until is not None:
            self._timers.at(until, partial(self._rise, record.seq, until))

    def _rise(self, seq: int, until: float) -> None:
        begun = self._petitions.now  # when the batch began: that may have been a moment before
        now = begun._replace(steady=max(until, begun.steady))
        transitions.retry.time_came(self._petitions, seq, now)


def due_of(store: Store, petitions: Petitions, row: Row) -> float | None:
    """Give the time of the next attempt after a timeout that was being carried out; None for no further attempt.

    Nothing of that attempt lives any more, so it is among those that are known.
    """
    if row.state is not State.CANCELLING or row.outcome is not Outcome.TIMED_OUT:
        return None
    kept = store.attempts([row.seq]).get(row.seq)
    if kept is None or kept.due is None or kept.attempt != row.attempt:
        return None
    known: dict[str, Any] = {"started": row.started, "ended": petitions.now.wall, "outcome": "timed_out"}
    history = remembered(kept.history, row.attempt, **known, code=row.code, reason=row.reason)
    petitions.keep_attempt(
        AttemptStep(row.seq, row.attempt, due=kept.due, retries=kept.retries, history=history, is_command=False)
    )
    return kept.due


def resting(store: Store, now: float) -> dict[int, RestingUntil | StartsLater]:
    """Give the petitions that wait for the time of their first or next attempt, by sequence number, with that reason.

    The clock may have been set back while no service ran: no petition waits longer than was decided.
    """
    found: dict[int, RestingUntil | StartsLater] = {}
    for row in store.resting():
        if not row.attempt:
            found[row.seq] = StartsLater(row.due or 0.0)
            continue
        due = now + remaining(row.due or 0.0, now, decided_at(row.history))
        found[row.seq] = RestingUntil(row.attempt, final_value(row.history, row.attempt), due)
    return found
