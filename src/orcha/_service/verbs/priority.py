"""Give a waiting petition another priority."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.waiting_queue import checked_priority
from orcha._protocol.messages import Priority, Reply, Verdict
from orcha._service.reports.state_names import word
from orcha._service.verbs.petition_lookup import find, refuse

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.arrays.array_book import LiveArray
    from orcha._service.engine import Engine
    from orcha._store.contract import Row


def set_priority(engine: Engine, peer: Peer, message: Priority) -> None:
    """Move the petition to its new place; answered when that is kept."""
    found = find(engine, peer, message)
    if found is None:
        return
    try:
        priority = checked_priority(message.priority)
    except ValueError:
        refuse(engine, peer, message.request, Verdict.REFUSED, "a priority is a number")
        return
    reason = move(engine, found.row, found.record, priority)
    if reason is not None:
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
    else:
        engine.reply(peer, Reply(message.request, Verdict.OK))


def move_unmade(engine: Engine, entry: LiveArray, priority: float) -> None:
    """Have the elements of an array that are no petitions yet get another priority."""
    transitions.array.reprioritize(engine.petitions, entry.record, priority)


def move(engine: Engine, row: Row, record: Record | None, priority: float) -> str | None:
    """Give a petition another priority, of an array all elements that wait; give why not, where it does not wait."""
    entry, resources = engine.arrays.get(row.seq), engine.admission.resources
    if entry is not None:
        move_unmade(engine, entry, priority)
        for element in engine.arrays.live_elements(entry):
            transitions.hold.reprioritize(engine.petitions, resources, element, priority)
        return None
    if record is not None and transitions.hold.reprioritize(engine.petitions, resources, record, priority):
        return None
    state = word(row.state if record is None else record.state, record)
    return f"{row.id!r} is {state}: only what waits has a place to change"
