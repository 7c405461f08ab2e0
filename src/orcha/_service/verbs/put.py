"""Values from another process of an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._protocol.messages import Put, Reply, Verdict
from orcha._service.verbs.petition_lookup import is_somebody_elses

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine


def put(engine: Engine, peer: Peer, message: Put) -> None:
    """Keep the values once, however often the same Put comes, and answer when they are kept."""
    if is_somebody_elses(engine, peer, message):
        return
    record = engine.petitions.writable(message.seq, message.attempt)
    if record is None or record.channel != message.channel or record.run is None:
        engine.reply(peer, Reply(message.request, Verdict.GONE))
        return
    writers = record.run.writers
    last = writers.get(message.writer, 0)
    if message.number > last + 1:
        reason = f"Put {message.number} came after {last}: the numbers of a writer have no gaps"
        engine.reply(peer, Reply(message.request, Verdict.DENIED, None, reason))
        return
    if message.number == last + 1:
        writers[message.writer] = message.number
        if not engine.port.append(message.seq, message.attempt, message.values):
            engine.reply(peer, Reply(message.request, Verdict.GONE))
            return
    engine.reply(peer, Reply(message.request, Verdict.OK))
