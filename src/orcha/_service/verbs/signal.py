"""Send a signal to what a petition runs."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING

from orcha._core.state import State
from orcha._protocol.messages import Reply, Signal, Verdict
from orcha._service.reports.state_names import word
from orcha._service.verbs.petition_lookup import find, refuse
from orcha.interfaces.built_in import LEASE_MANAGER

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

OF_PAUSES = {Signals.SIGSTOP: "pause", Signals.SIGCONT: "resume"}
"""Signals that have a verb, which also remembers them."""


def send_signal(engine: Engine, peer: Peer, message: Signal) -> None:
    """Send the signal to every process of the running attempt."""
    found = find(engine, peer, message)
    if found is None:
        return
    reason = send(engine, found.row, found.record, message.signal)
    if reason is not None:
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
    else:
        engine.reply(peer, Reply(message.request, Verdict.OK))


def send(engine: Engine, row: Row, record: Record | None, number: int) -> str | None:
    """Send a signal to what a petition runs; give why not, where it gets none."""
    reason = _cannot(row, record, number)
    if reason is None and record is not None:
        engine.commands.signal(record, number)
    return reason


def _cannot(row: Row, record: Record | None, number: int) -> str | None:
    """Tell why a petition gets no such signal, if that is so."""
    if number in OF_PAUSES:
        verb = OF_PAUSES[Signals(number)]
        return f"{Signals(number).name} is what orcha {verb} sends: use that, so that it is remembered"
    state = row.state if record is None else record.state
    if row.manager == LEASE_MANAGER:
        return f"{row.id!r} is a lease, and runs nothing: orcha unlock gives it back"
    if record is not None and state is State.STARTING and not record.command:
        return f"{record.key!r} runs in the service's own process, which gets no signal: cancel it, or let it run"
    if state is not State.RUNNING:
        return f"{row.id!r} is {word(state, record)}: only a command that runs gets a signal"
    return None
