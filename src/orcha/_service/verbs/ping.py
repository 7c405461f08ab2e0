"""Answer a client that asks whether the service is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orcha._protocol import values
from orcha._protocol.messages import Ping, Reply, Verdict
from orcha.utils.users import described

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def ping(engine: Engine, peer: Peer, message: Ping) -> None:
    """Answer, and say whose user the service runs as, and who the client is to it."""
    known = {"user": described(os.geteuid()), "you": peer.identity}
    engine.reply(peer, Reply(message.request, Verdict.OK, values.encode(known)))
