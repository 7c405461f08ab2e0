"""Stop for a while: one petition, a group, or everything; and go on, also with what a crash interrupted."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.admission import ALL, group_name, petition_name
from orcha._core.state import State
from orcha._protocol.messages import Pause, Reply, Resume, Verdict
from orcha._service.reports.state_names import state_of
from orcha._service.verbs.petition_lookup import find, refuse
from orcha.interfaces.built_in import LEASE_MANAGER
from orcha.interfaces.policy import MAX_NAME_CHARACTERS, is_name

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

_RUNNING_STATES = (State.STARTING, State.RUNNING)


def pause(engine: Engine, peer: Peer, message: Pause) -> None:
    """Stop the processes of a running command, or start no more of what is named; answered when it is kept."""
    _change(engine, peer, message, paused=True)


def resume(engine: Engine, peer: Peer, message: Resume) -> None:
    """Go on with what is named; a petition that was interrupted and is held waits for another attempt."""
    _change(engine, peer, message, paused=False)


def _change(engine: Engine, peer: Peer, message: Pause | Resume, *, paused: bool) -> None:
    change = partial(engine.admitting.pause, who=peer.identity) if paused else engine.admitting.resume
    if message.id is None and message.seq is None:
        if message.group is not None and not is_name(message.group):
            unnamed = f"a group has a name of 1 to {MAX_NAME_CHARACTERS} characters"
            refuse(engine, peer, message.request, Verdict.REFUSED, unnamed)
        else:
            refusal = None if message.group is None else engine.admission.unknown(message.group)
            if refusal is not None:
                refuse(engine, peer, message.request, Verdict.UNKNOWN, refusal.text())
                return
            change(ALL if message.group is None else group_name(message.group))
            engine.reply(peer, Reply(message.request, Verdict.OK))
        return
    found = find(engine, peer, message)
    if found is None:
        return
    reason = change_one(engine, found.row, found.record, paused=paused, who=peer.identity)
    if reason is not None:
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
    else:
        engine.reply(peer, Reply(message.request, Verdict.OK))


def change_one(engine: Engine, row: Row, record: Record | None, *, paused: bool, who: str | None = None) -> str | None:
    """Pause or resume one petition, as somebody wants; give why not, where that cannot be."""
    reason = (
        _cannot(record) if record is not None else f"{row.id!r} does not wait or run here: orcha ps shows what does"
    )
    if reason is not None or record is None:
        return reason
    if paused:
        engine.admitting.pause(petition_name(record.seq), who)
    else:
        engine.admitting.resume(petition_name(record.seq))
        transitions.hold.release(engine.petitions, record, engine.petitions.now)
    if record.state in _RUNNING_STATES:
        if paused:
            engine.after_batch(lambda: engine.running_commands.stand_still(record))
        elif record.seq not in engine.petitions.preempted:
            # At once: where this is not kept, the next start of the service stops it again.
            engine.commands.signal(record, signal.SIGCONT)
    return None


def _cannot(record: Record) -> str | None:
    """Tell why a petition cannot be paused or resumed, if that is so."""
    if record.state in (State.CANCELLING, State.ENDED):
        return f"{record.key!r} is {state_of(record)}"
    if record.state in _RUNNING_STATES and record.manager == LEASE_MANAGER:
        return f"{record.key!r} is a lease, and runs nothing: orcha unlock gives it back"
    if record.state in _RUNNING_STATES and not record.command:
        return f"{record.key!r} runs in the service's own process, which cannot be stopped: cancel it, or let it run"
    return None
