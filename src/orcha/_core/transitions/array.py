"""Arrays as petitions: one is accepted, rests while its elements go their ways, and ends with the last of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.changes import NewChannel
from orcha._core.effects import Do, Effect
from orcha._core.petitions import QUEUED
from orcha._core.record import Phase
from orcha._core.transitions.submit import keep

if TYPE_CHECKING:
    from orcha._core.changes import ArrayStop, NewArray
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record


def accept(petitions: Petitions, record: Record, new: NewArray, *, new_channel: bool) -> None:
    """Keep an array: none of its elements is a petition yet."""
    if new_channel:
        own = record.token == record.channel
        petitions.changes.channels.append(NewChannel(record.channel, record.owner, own=own))
    record.phase = Phase.RESTING
    record.petition, record.command = None, False  # of its first element, which said what all declare
    petitions.changes.arrays[record.seq] = new
    keep(petitions, record)
    petitions.effects.append(Effect(Do.ACCEPT, record))


def load(petitions: Petitions, record: Record) -> None:
    """Take a stored array that has not ended."""
    record.phase = Phase.RESTING
    petitions.enter(record)


def reprioritize(petitions: Petitions, record: Record, priority: int | float) -> None:  # noqa: PYI041 - an int stays one
    """Have elements that become petitions later come with another priority."""
    record.priority = priority
    petitions.changes.priorities[record.seq] = priority


def stop(petitions: Petitions, record: Record, why: ArrayStop) -> None:
    """Have no more elements of an array start."""
    petitions.changes.array_stops[record.seq] = why


def end(petitions: Petitions, record: Record, ending: ArrayStop, now: Moment) -> None:
    """End an array whose elements have all ended."""
    petitions.end(record, ending.outcome, ending.code, ending.reason, QUEUED, now, hook_pending=False)
    petitions.forget(record)
