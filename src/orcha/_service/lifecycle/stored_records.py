"""From what is stored back to what lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.record import Phase, Record

if TYPE_CHECKING:
    from orcha._store.contract import Row


def record_of(row: Row) -> Record:
    """Make the live record of a stored petition, not yet converted."""
    identity: str | int = int(row.id) if row.id_is_int else row.id
    record = Record(row.seq, row.token, identity, row.manager, row.owner, row.channel, row.extras, row.submitted)
    record.priority = row.priority
    record.state = row.state
    record.phase = Phase.WAITING
    record.attempt = row.attempt
    record.on_interrupt = row.on_interrupt
    record.started = row.started
    record.outcome = row.outcome
    record.code = row.code
    record.reason = row.reason
    return record
