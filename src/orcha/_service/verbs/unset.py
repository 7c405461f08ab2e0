"""Have the configuration hold again for a group or a resource that people have set while the service ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.messages import Reply, Verdict
from orcha._service.verbs.petition_lookup import refuse

if TYPE_CHECKING:
    from orcha._protocol.messages import Unset
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def unset(engine: Engine, peer: Peer, message: Unset) -> None:
    """Forget what people have set; answered when that is kept."""
    kept_by = engine.admitting if message.kind == "group" else engine.stocktaking
    if kept_by.unset(message.name):
        engine.reply(peer, Reply(message.request, Verdict.OK))
        return
    text = f"nobody has set the {message.kind} {message.name!a:.80} while the service ran: orcha {message.kind} ls"
    refuse(engine, peer, message.request, Verdict.REFUSED, text)


__all__ = ["unset"]
