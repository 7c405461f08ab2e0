"""What the engine does about a batch beside keeping it: the last records of what ends, and the effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core.effects import Do
from orcha._protocol import values
from orcha._protocol.messages import Kind
from orcha._service.verbs.submit import accepted, refused

if TYPE_CHECKING:
    from orcha._core.effects import Final
    from orcha._core.record import Record
    from orcha._service.engine import Engine

# Looked up once: an attribute of an enumeration costs ten times a global name.
_CLOSED, _FINAL, _NOTICE = Kind.CLOSED, Kind.FINAL, Kind.NOTICE
_ACCEPT, _ANSWER, _END_PROCESSES, _ON_FINISH, _ON_START, _REFUSE, _SWEEP = (
    Do.ACCEPT,
    Do.ANSWER,
    Do.END_PROCESSES,
    Do.ON_FINISH,
    Do.ON_START,
    Do.REFUSE,
    Do.SWEEP,
)


def append_final(engine: Engine, final: Final) -> None:
    """Add a petition's last records to the transaction in the making."""
    record = final.record
    channel = engine.channels.get(record.channel) or engine.channels.create(
        record.channel, record.owner, own=record.channel == record.token
    )
    if final.line is not None:
        engine.channels.append(channel, _NOTICE, record.seq, values.encode(final.line))
    engine.channels.append(channel, _FINAL, record.seq, values.encode(final.value))
    if channel.own:
        engine.channels.append(channel, _CLOSED, record.seq, values.encode(None))


def perform(engine: Engine, do: Do, record: Record, detail: Any) -> None:
    """Have one effect."""
    if do is _ACCEPT:
        accepted(engine, record)
    elif do is _ON_START:
        engine.visits.on_start(record)
    elif do is _ON_FINISH:
        engine.visits.on_finish(record)
    elif do is _REFUSE:
        refused(engine, record, *detail)
    elif do is _END_PROCESSES:
        (engine.commands if record.command else engine.ending).end(record)
    elif do is _SWEEP:
        engine.ending.sweep(record)
    elif do is _ANSWER:
        detail(record)
