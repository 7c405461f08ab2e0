"""Call a function that the manager registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.messages import Call, Reply, Verdict
from orcha._service.hooks.visit import FunctionCall

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._service.hooks.visit import Returned


def call(engine: Engine, peer: Peer, message: Call) -> None:
    """Have it called on the hook thread, which answers."""
    functions = engine.visits.functions
    own = f"{message.manager}:{message.name}"
    name = own if own in functions else message.name
    if name not in functions:
        whose = message.manager or "the service"
        reason = f"{whose}'s manager registered no function {message.name!r}"
        engine.reply(peer, Reply(message.request, Verdict.UNKNOWN, None, reason))
        return
    engine.visits.call(FunctionCall(peer, message.request, name, message.args, message.kwargs))


def answer_call(engine: Engine, result: Returned) -> None:
    """Answer with what the function returned, or what it raised."""
    asked = result.call
    verdict = Verdict.OK if result.error is None else Verdict.RAISED
    engine.reply(asked.peer, Reply(asked.request, verdict, result.value, result.error))
