"""Petitions of groups that age: each gains priority by the time that it has waited."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orcha._core.reasons import (
    BehindAnother,
    BehindExclusive,
    BehindPreempted,
    ConditionSaidNo,
    HeldFree,
    InOrder,
    MachineFull,
)
from orcha._core.resource_lines import RESOURCE_LOT
from orcha._core.transitions.hold import MAX_LOADED_PETITIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Key, Record
    from orcha._core.resources import Resources


_OF_ITS_CONDITION = frozenset((ConditionSaidNo, MachineFull))
"""Reasons of petitions that nothing of what they declare keeps waiting."""
_OVER_BY_ORDER = frozenset((BehindAnother, BehindExclusive, BehindPreempted, HeldFree, InOrder))
"""Reasons that may be over for a petition that has come before others, whatever these wait for."""


def step(petitions: Petitions, resources: Resources, now: Moment, most: int) -> list[Key]:
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
        before = known.steps
        steps = ageing.note_steps(seq, known, now.wall)
        if steps == before:
            continue
        there = petitions.live[known.key]
        if isinstance(there, tuple):
            spilled += _move_key(petitions, resources, there, steps - before)
        else:
            _move(petitions, resources, there, steps)
    return spilled


def _move(petitions: Petitions, resources: Resources, record: Record, steps: int) -> None:
    """Have a petition whose record is in memory go to its new place, where it has one."""
    old, given = record.place, record.given_priority
    priority, unaged = (given - steps, given) if steps else (given, None)
    moved = (priority, *old[1:])

    def enter() -> None:
        record.priority, record.unaged = priority, unaged

    if not petitions.waits(record):
        enter()
        return
    petitions.keep_loaded(record)
    lot = petitions.waiting.lot_of(old)
    if lot is None:
        resources.move_asked(old, moved, enter)
        if _passes_nobody(petitions, record, old):
            return
    elif _stays_in_lot(resources, lot, old, moved, enter):
        _move_parked(petitions, old, moved)
        if petitions.waiting.parked_in(lot) > MAX_LOADED_PETITIONS:
            petitions.unload([moved])
        return
    petitions.waiting.remove(old)
    lacks_slot = lot is None and _lacks_slot(petitions, resources, record)
    may_start = lot is not None or type(record.why) in _OVER_BY_ORDER
    if not lacks_slot:
        record.why = None
    # Where it is spilled nobody asks it: so nobody waits behind it.
    has_left = not petitions.enqueue(record) and resources.leave(record.seq)
    if may_start or has_left or (not lacks_slot and _is_asked(petitions, moved)):
        petitions.note_change()


def _lacks_slot(petitions: Petitions, resources: Resources, record: Record) -> bool:
    """Tell whether a petition lacks a slot of its manager, and nothing else of what it declares can keep it waiting.

    None is free, so that its place decides nothing before another petition ends: a gain costs no round.
    """
    if type(record.why) not in _OF_ITS_CONDITION or record.needs or record.once or record.when:
        return False
    return petitions.are_slots_taken(record.manager) and not resources.may_hold_back(record)


def _is_asked(petitions: Petitions, place: Key) -> bool:
    """Tell whether a round may ask the petition that has come to a place: most petitions of a long queue are not."""
    ageing = petitions.ageing
    return ageing is None or petitions.waiting.is_among_firsts(place, ageing.most_heads)


def _passes_nobody(petitions: Petitions, record: Record, old: Key) -> bool:
    """Have a ready petition that passes no other one be at its new place, where nothing starts earlier for that.

    So most gains cost no round: petitions that were accepted one after the other gain one after the other.
    """
    if petitions.fairness is not None or type(record.why) in _OVER_BY_ORDER:
        return False
    return petitions.waiting.stay(old, record.place)


def _move_key(petitions: Petitions, resources: Resources, key: Key, gained: int) -> list[Key]:
    """Have a petition that is only a key go to its new place; give that key where its record is wanted there."""
    moved = (key[0] - gained, *key[1:])
    lot = petitions.waiting.lot_of(key)
    enter = partial(petitions.move_unloaded, key, moved)
    if lot is None:
        resources.move_asked(key, moved, enter)
    elif _stays_in_lot(resources, lot, key, moved, enter):
        _move_parked(petitions, key, moved)
        return []
    petitions.waiting.remove(key)
    if not petitions.waiting.add(moved):
        if resources.leave(key[1]):  # it is spilled still, and nobody asks it: so nobody waits behind it
            petitions.note_change()
        return []
    if lot is not None or _is_asked(petitions, moved):
        petitions.note_change()
    return [moved]


def _move_parked(petitions: Petitions, key: Key, moved: Key) -> None:
    """Have a petition be at its new place of the lot in which it stays.

    What it waits for is not there: its place decides only when it is. But one quota may have room for a petition, and
    not for a petition that is before it.
    """
    petitions.waiting.move_parked(key, moved)
    if petitions.quotas is not None:
        petitions.note_change()


def _stays_in_lot(resources: Resources, lot: str, place: Key, moved: Key, enter: Callable[[], None]) -> bool:
    """Have a parked petition be at its new place, as `Resources.move` does; tell whether it stays in its lot.

    In the line for a resource others may block it no more.
    """
    if lot.startswith(RESOURCE_LOT):
        return resources.move(place, moved, enter)
    enter()
    return True


__all__ = ["step"]
