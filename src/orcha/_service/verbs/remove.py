"""Forget an ended petition before its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.state import State
from orcha._protocol.messages import Remove, Reply, Verdict
from orcha._service.reports.state_names import word
from orcha._service.verbs.petition_lookup import find, refuse

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def remove(engine: Engine, peer: Peer, message: Remove) -> None:
    """Forget it, with its output; answered when that is kept. Its followers are told that the channel is gone."""
    found = find(engine, peer, message, "remove")
    if found is None:
        return
    row, changes = found.row, engine.petitions.changes
    owes, holds = changes.flags.get(row.seq, (row.hook_pending, row.slot_held))  # newer than the row
    if row.state is not State.ENDED:
        reason = f"{row.id!r} is {word(row.state, found.record)}: cancel it first"
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
    elif owes or holds or row.seq in engine.petitions.records:
        refuse(
            engine,
            peer,
            message.request,
            Verdict.BUSY,
            f"{row.id!r} has ended, but something of it is still there: try again when that has gone",
        )
    else:
        if row.seq not in changes.deleted:
            engine.petitions.forget_ended([row.seq])
        engine.reply(peer, Reply(message.request, Verdict.OK))
