"""The final value of an attempt, from another process of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._protocol.messages import Finish, Reply, Verdict
from orcha._service.verbs.petition_lookup import is_somebody_elses

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def finish(engine: Engine, peer: Peer, message: Finish) -> None:
    """Decide the outcome, unless it has been decided; answered when that is kept."""
    if is_somebody_elses(engine, peer, message):
        return
    won = transitions.finish.finish(engine.petitions, message.seq, message.attempt, message.value, engine.petitions.now)
    engine.reply(peer, Reply(message.request, Verdict.OK if won else Verdict.GONE))
