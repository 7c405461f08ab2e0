"""Let what runs come to its end and start nothing more; or start petitions again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.messages import Reply, Verdict
from orcha._service.hooks.draining import ServiceDrain
from orcha._service.reports.explanations import cleaned
from orcha._service.verbs.petition_lookup import refuse

if TYPE_CHECKING:
    from orcha._protocol.messages import DrainService
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

MAX_WHY_CHARACTERS = 200
MAX_SECONDS = 100 * 366 * 86_400.0
"""Seconds for which a service may be drained that is not drained without an end."""


def drain(engine: Engine, peer: Peer, message: DrainService) -> None:
    """Have nothing more started, or petitions started again; answered when that is kept."""
    if not message.drained:
        if engine.drains.drained is None:
            refuse(engine, peer, message.request, Verdict.REFUSED, "the service is not drained")
        else:
            engine.drains.set(None)
            engine.reply(peer, Reply(message.request, Verdict.OK))
    elif message.seconds is not None and not 0 < message.seconds <= MAX_SECONDS:
        refuse(engine, peer, message.request, Verdict.REFUSED, "give a time above zero, and of at most a hundred years")
    elif len(message.why) > MAX_WHY_CHARACTERS:
        text = f"give a reason of at most {MAX_WHY_CHARACTERS} characters"
        refuse(engine, peer, message.request, Verdict.REFUSED, text)
    else:
        now = engine.petitions.now.wall
        until = None if message.seconds is None else now + message.seconds
        engine.drains.set(ServiceDrain(cleaned(message.why), peer.identity, now, until))
        engine.reply(peer, Reply(message.request, Verdict.OK))


__all__ = ["drain"]
