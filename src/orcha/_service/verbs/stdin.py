"""Standard input of a running command, and the size of its terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.state import State
from orcha._protocol.messages import Reply, Resize, Stdin, Verdict
from orcha._service.execution.standard_input import has_not
from orcha._service.verbs.petition_lookup import is_somebody_elses, refuse
from orcha.interfaces.built_in import LEASE_MANAGER

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

_GONE = "no command runs in this attempt"
MAX_STDIN_BYTES = 1 << 20
"""Bytes of one message."""


def stdin(engine: Engine, peer: Peer, message: Stdin) -> None:
    """Hand bytes over once, in their order; answered when there is room for more."""
    record = _running(engine, peer, message)
    if record is None:
        return
    if len(message.data) > MAX_STDIN_BYTES:
        refuse(engine, peer, message.request, Verdict.REFUSED, f"at most {MAX_STDIN_BYTES} bytes at once")
    else:
        engine.standard_input.take(peer, message, record)


def resize(engine: Engine, peer: Peer, message: Resize) -> None:
    """Set the size of the command's terminal."""
    record = _running(engine, peer, message)
    if record is None:
        return
    if has_not(record, "tty"):
        refuse(engine, peer, message.request, Verdict.REFUSED, f"{record.key!r} has no terminal: start it with --tty")
        return
    engine.commands.resize(record, message.rows, message.columns)
    engine.reply(peer, Reply(message.request, Verdict.OK))


def _running(engine: Engine, peer: Peer, message: Stdin | Resize) -> Record | None:
    """Give the command that runs in this attempt; None where the caller has been answered."""
    record = engine.petitions.records.get(message.seq)
    if is_somebody_elses(engine, peer, message, _GONE):
        return None
    live = record is not None and record.attempt == message.attempt and record.state is State.RUNNING
    if record is None or not live or not record.command or record.manager == LEASE_MANAGER:
        refuse(engine, peer, message.request, Verdict.GONE, _GONE)
        return None
    return record
