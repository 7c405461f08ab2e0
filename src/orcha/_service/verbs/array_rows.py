"""What people are told of arrays and their elements, beside what they are told of every petition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core.array_items import spec_of
from orcha._core.arrays import counts_of
from orcha._core.reasons import ConditionSaidNo, MachineFull
from orcha._core.record import Record
from orcha._core.state import State
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER

if TYPE_CHECKING:
    from orcha._core.reasons import Reason
    from orcha._service.arrays.array_book import LiveArray
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

MAX_LOOKED_AT_PETITIONS = 50
"""Petitions of one id that are looked at for an array."""
_BEGUN_STATES = 1 << State.STARTING | 1 << State.RUNNING
_QUEUED_STATE = 1 << State.QUEUED
_ANY_STATE = sum(1 << state for state in State)


def described(engine: Engine, row: Row) -> dict[str, Any]:
    """Give what is told of an array: its state, and how many of its elements are where; nothing for other petitions."""
    if row.manager != ARRAY_MANAGER:
        return {}
    entry = engine.arrays.get(row.seq)
    if entry is not None:
        spec, counts, running = entry.spec, entry.array.counts(), len(engine.arrays.running(entry))
    elif (kept := engine.store.arrays([row.seq]).get(row.seq)) is not None:
        spec, counts, running = spec_of(kept.spec), counts_of(engine.store.array_ends(row.seq), kept.total, 0), 0
    else:
        return {}
    known: dict[str, Any] = {
        "elements": counts.total,
        "last_element": spec.number_of(spec.total - 1),
        "elements_waiting": counts.waiting + counts.live - running,
        "elements_running": running,
        "elements_succeeded": counts.succeeded,
        "elements_failed": counts.failed,
        "elements_cancelled": counts.cancelled,
        "elements_at_most": spec.bounds.at_most,
    }
    return known | ({"state": "running"} if running and row.state is not State.ENDED else {})


def array_of(row: Row) -> str:
    """Give the id of the array of an element."""
    return row.id.rpartition(".")[0]


def why(engine: Engine, entry: LiveArray) -> Reason | None:
    """Give why nothing of an array runs; None where something does."""
    if engine.arrays.running(entry):
        return None
    held = engine.admission.held_by(entry.array.seq, entry.record.group, entry.record.owner)
    if held is not None:
        return held
    records = (engine.petitions.records.get(seq) for seq in entry.array.live.values())
    found = next((record.why for record in records if record is not None and record.why is not None), None)
    # An element is a command, whose condition says no only where the machine is full.
    return MachineFull(engine.managers.by_name[COMMAND_MANAGER].most) if isinstance(found, ConditionSaidNo) else found


def seq_of(engine: Engine, name: str) -> int | None:
    """Give the sequence number of the array of an id: the array that has not ended, else the newest; None for none."""
    known = engine.petitions.live.get(name)
    if isinstance(known, Record) and known.manager == ARRAY_MANAGER:
        return known.seq
    rows = engine.store.page(states=_ANY_STATE, limit=MAX_LOOKED_AT_PETITIONS, id=name)
    return next((row.seq for row in rows if row.manager == ARRAY_MANAGER), None)


def that_run(engine: Engine, states: int) -> list[int]:
    """Give the arrays with running elements, where what runs is asked for and what waits is not."""
    if not states & _BEGUN_STATES or states & _QUEUED_STATE:
        return []
    return [entry.array.seq for entry in engine.arrays.all() if engine.arrays.running(entry)]
