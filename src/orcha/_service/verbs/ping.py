"""Are you there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._wire.messages import Ping, Reply, Verdict

if TYPE_CHECKING:
    from orcha._service.engine import Engine
    from orcha._wire.server import Peer


def ping(engine: Engine, peer: Peer, message: Ping) -> None:
    """Answer."""
    engine.reply(peer, Reply(message.request, Verdict.OK))
