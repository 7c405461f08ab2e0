"""Stop the service in good order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.messages import Reply, Stop, Verdict

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def stop(engine: Engine, peer: Peer, message: Stop) -> None:
    """Begin to stop; asked again with `now`, hurry up."""
    if message.keep_commands:
        engine.commands.keep = engine.settings.durable  # else the next start would know nothing of them
    elif message.end_commands or message.now:
        engine.commands.keep = False
    engine.reply(peer, Reply(message.request, Verdict.OK))
    engine.on_stop(now=message.now)
