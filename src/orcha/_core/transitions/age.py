"""Petitions of groups that age: each gains priority by the time that it has waited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.resource_lines import RESOURCE_LOT
from orcha._core.transitions.hold import MAX_LOADED_PETITIONS

if TYPE_CHECKING:
    from orcha._core.ageing import Aged
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Key, Record


def step(petitions: Petitions, now: Moment, most: int) -> list[Key]:
    """Give up to `most` petitions that are due the priority that they have gained.

    Gives the keys whose records are to be loaded.
    """
    ageing = petitions.ageing
    spilled: list[Key] = []
    if ageing is None:
        return spilled
    for _ in range(most):
        found = ageing.take_due(now.wall)
        if found is None:
            break
        seq, known = found
        if not ageing.waits(seq, known):
            ageing.drop(seq)
            continue
        gained = ageing.note_steps(seq, known, now.wall) - known.steps
        there = petitions.live[known.key]
        if not gained:
            continue
        if isinstance(there, tuple):
            spilled += _move_key(petitions, there, gained)
        else:
            _move(petitions, there, known, gained)
    return spilled


def _move(petitions: Petitions, record: Record, known: Aged, gained: int) -> None:
    """Have a petition whose record is in memory go to its new place, where it has one."""
    old, waits = record.place, petitions.waits(record)
    stays = waits and _stays_in_lot(petitions, old)
    if waits:
        if not stays:
            petitions.dequeue(record)
        petitions.keep_loaded(record)
    given, steps = record.given_priority, known.steps + gained
    record.priority, record.unaged = (given - steps, given) if steps else (given, None)
    if not waits:
        return
    if stays:
        petitions.waiting.move_parked(old, record.place)
        if petitions.waiting.parked_in(petitions.waiting.lot_of(old) or "") > MAX_LOADED_PETITIONS:
            petitions.unload([record.place])
    else:
        record.why = None
        petitions.enqueue(record)
    petitions.note_change()


def _move_key(petitions: Petitions, key: Key, gained: int) -> list[Key]:
    """Have a petition that is only a key go to its new place; give that key where its record is wanted there."""
    moved = (key[0] - gained, *key[1:])
    petitions.note_change()
    petitions.move_unloaded(key, moved)
    if _stays_in_lot(petitions, key):
        petitions.waiting.move_parked(key, moved)
        return []
    petitions.waiting.remove(key)
    return [moved] if petitions.waiting.add(moved) else []


def _stays_in_lot(petitions: Petitions, key: Key) -> bool:
    """Tell whether a petition goes on waiting in its lot: in the line for a resource, others may block it no more."""
    lot = petitions.waiting.lot_of(key)
    return lot is not None and not lot.startswith(RESOURCE_LOT)


__all__ = ["step"]
