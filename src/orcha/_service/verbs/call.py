"""Call a function that the manager registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.messages import Call, Reply, Verdict
from orcha._service.hooks.visit import FunctionCall
from orcha._service.reports.command_text import quoted

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def call(engine: Engine, peer: Peer, message: Call) -> None:
    """Have the function called on the hook thread, which answers."""
    functions = engine.hooks.functions
    own = f"{message.manager}:{message.name}"
    name = own if own in functions else message.name
    if name not in functions:
        whose = message.manager or "the service"
        reason = f"{whose}'s manager registered no function {quoted(message.name)}"
        engine.reply(peer, Reply(message.request, Verdict.UNKNOWN, None, reason))
        return
    engine.visits.call(FunctionCall(peer, message.request, name, message.args, message.kwargs))
