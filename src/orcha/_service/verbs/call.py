"""Call a function that the manager registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._wire.messages import Call, Reply, Verdict

if TYPE_CHECKING:
    from orcha._service.engine import Engine
    from orcha._wire.server import Peer


def call(engine: Engine, peer: Peer, message: Call) -> None:
    """Have it called on the hook thread, which answers."""
    if message.name not in engine.visits.functions:
        reason = f"the service's manager registered no function {message.name!r}"
        engine.reply(peer, Reply(message.request, Verdict.UNKNOWN, None, reason))
        return
    engine.visits.call(peer, message.request, message.name, message.args, message.kwargs)
