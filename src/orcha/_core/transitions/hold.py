"""What people decide about petitions that wait: another priority, what is held back, and what runs again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.petitions import HELD
from orcha._core.record import Key, Phase, Record
from orcha._core.state import State

if TYPE_CHECKING:
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.resources import Resources

MAX_LOADED_PETITIONS = 1_000
"""Petitions of a lot whose records stay in memory; of the others only the keys do."""


def reprioritize(
    petitions: Petitions,
    resources: Resources,
    record: Record,
    priority: int | float,  # noqa: PYI041 - an int stays one
) -> bool:
    """Give a waiting petition another priority, where it is asked anew; False for a petition that does not wait."""
    if not petitions.waits(record):
        return False
    petitions.dequeue(record)
    petitions.keep_loaded(record)
    record.why = None
    petitions.changes.priorities[record.seq] = priority
    wait_at(petitions, resources, record, priority)
    petitions.note_change()
    return True


def wait_at(petitions: Petitions, resources: Resources, record: Record, given: int | float) -> None:  # noqa: PYI041 - as above
    """Have a petition that was taken out of the queue wait at the place of another priority, also in its lines."""
    old = record.place
    priority, unaged = petitions.aged(record, given)

    def enter() -> None:
        record.priority, record.unaged = priority, unaged

    resources.move_to_be_asked(old, (priority, *old[1:]), enter)
    if not petitions.enqueue(record):
        resources.leave(record.seq)  # nobody asks it: so nobody waits behind it


def release(petitions: Petitions, record: Record, now: Moment) -> bool:
    """Have a held petition wait for its next attempt; False for a petition that is not held.

    Where the on_finish of its last attempt is owed still, the petition waits as soon as that is back.
    """
    if record.state is not State.HELD:
        return False
    petitions.step(record, HELD, State.QUEUED, now, hook_pending=record.seq in petitions.owing)
    record.state = State.QUEUED
    record.why = None
    if record.phase is Phase.WAITING:
        petitions.enqueue(record)
    petitions.note_change()
    return True


def park(petitions: Petitions, record: Record, lot: str) -> bool:
    """Have a waiting petition parked in a lot, and asked no more; False for a petition that does not wait."""
    if not petitions.waits(record) or petitions.waiting.is_parked(record.place):
        return False
    petitions.waiting.park(record.place, lot)
    if petitions.waiting.parked_in(lot) > MAX_LOADED_PETITIONS:
        petitions.unload([record.place])
    petitions.parkings += 1
    petitions.note_change()
    return True


def unpark(petitions: Petitions, lot: str, count: int) -> list[Key]:
    """Let the first `count` of a lot wait with the others again; give the keys whose records are to be loaded."""
    return _put_back(petitions, petitions.waiting.unpark(lot, count))


def unpark_these(petitions: Petitions, keys: list[Key]) -> list[Key]:
    """Let parked petitions wait with the others again; give the keys whose records are to be loaded."""
    petitions.waiting.unpark_these(keys)
    return _put_back(petitions, keys)


def _put_back(petitions: Petitions, keys: list[Key]) -> list[Key]:
    spilled = []
    for key in keys:
        if not petitions.waiting.add(key):
            petitions.unload([key])
        elif key[1] not in petitions.records:
            spilled.append(key)
    if keys:
        petitions.note_change()
    return spilled
