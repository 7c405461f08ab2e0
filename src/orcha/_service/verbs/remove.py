"""Forget an ended petition before its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.state import State
from orcha._protocol.messages import Remove, Reply, Verdict
from orcha._service.reports.state_names import word
from orcha._service.verbs.petition_lookup import find, refuse

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row


def remove(engine: Engine, peer: Peer, message: Remove) -> None:
    """Forget the petition and its output; answered when that is kept. Followers are told that the channel is gone."""
    found = find(engine, peer, message)
    if found is None:
        return
    refusal = forget(engine, found.row, found.record)
    if refusal is not None:
        refuse(engine, peer, message.request, *refusal)
    else:
        engine.reply(peer, Reply(message.request, Verdict.OK))


def forget(engine: Engine, row: Row, record: Record | None) -> tuple[int, str] | None:
    """Forget an ended petition, with its output; give why not, where something of it is there."""
    changes = engine.petitions.changes
    owes, holds = changes.flags.get(row.seq, (row.hook_pending, row.slot_held))  # newer than the row
    if row.state is not State.ENDED:
        return Verdict.REFUSED, f"{row.id!r} is {word(row.state, record)}: cancel it first"
    if owes or holds or row.seq in engine.petitions.records:
        there = f"{row.id!r} has ended, but something of it is still there: try again when that has gone"
        return Verdict.BUSY, there
    if row.seq not in changes.deleted:
        engine.petitions.forget_ended([row.seq])
    return None
