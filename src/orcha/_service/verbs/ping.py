"""Answer a client that asks whether the service is there."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from orcha._protocol import values
from orcha._protocol.messages import Ping, Reply, Verdict
from orcha._service.reports.user_names import user

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def ping(engine: Engine, peer: Peer, message: Ping) -> None:
    """Answer, and say whose user the service runs as, and who the client is to it."""
    own = f"uid:{os.geteuid()}"
    if engine.users.when_known([own], partial(engine.handle, ping, peer, message)):
        return
    name = user(own)
    described = name if name.startswith("uid ") else f"{name} (uid {os.geteuid()})"
    engine.reply(peer, Reply(message.request, Verdict.OK, values.encode({"user": described, "you": peer.identity})))
