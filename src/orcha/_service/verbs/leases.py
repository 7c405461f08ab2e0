"""Give leases back, and have them last longer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.authority import may_act_for, may_act_for_all
from orcha._core.record import Record
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Reply, Verdict
from orcha._service.reports import lease_text
from orcha._service.reports.command_text import quoted
from orcha._service.reports.explanations import cleaned
from orcha._service.verbs.petition_lookup import refuse, somebody_elses
from orcha._service.verbs.sights import Sights
from orcha.interfaces.built_in import LEASE_MANAGER
from orcha.interfaces.policy import MAX_DURATION_SECONDS

if TYPE_CHECKING:
    from orcha._protocol.messages import ChangeLease
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

_CHANGING_STATES = (State.STARTING, State.RUNNING)


def change_lease(engine: Engine, peer: Peer, message: ChangeLease) -> None:
    """Have one lease end or last longer; answered when that is kept."""
    record = _find(engine, peer, message)
    if record is None:
        return
    reason = _give_back(engine, peer, record) if message.seconds is None else _extend(engine, record, message.seconds)
    if reason is not None:
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
        return
    known = {"seq": record.seq, "id": record.key, "until": lease_text.until(record), "behind": _behind(engine, record)}
    engine.reply(peer, Reply(message.request, Verdict.OK, values.encode(known)))


def _find(engine: Engine, peer: Peer, message: ChangeLease) -> Record | None:
    """Give the lease that is meant; None where the caller has been answered."""
    named = engine.find(message.name)
    found = _having(engine, peer, message.name) if named is None else [named]
    if not found or (found[0].manager != LEASE_MANAGER and not Sights(engine, peer).sees(found[0].owner)):
        text = f"no lease has the id {quoted(message.name)}, and you have none of that: orcha resource ls shows leases"
        refuse(engine, peer, message.request, Verdict.UNKNOWN, text)
    elif len(found) > 1:
        names = ", ".join(record.key for record in found)
        refuse(engine, peer, message.request, Verdict.REFUSED, f"several leases have that: name one by its id: {names}")
    elif not may_act_for(peer, found[0].owner):
        refuse(engine, peer, message.request, Verdict.DENIED, somebody_elses(peer, found[0].key, what="lease"))
    elif found[0].manager != LEASE_MANAGER:
        text = f"{found[0].key!r} is no lease: orcha cancel ends it"
        refuse(engine, peer, message.request, Verdict.REFUSED, text)
    else:
        return found[0]
    return None


def _having(engine: Engine, peer: Peer, name: str) -> list[Record]:
    """Give the client's leases that have this; where the client has none of it, and is an operator, anybody's."""
    held = [record for record in engine.leases.held.values() if _has(record, name)]
    mine = [record for record in held if record.owner == peer.identity]
    return mine or (held if may_act_for_all(peer) else [])


def _has(record: Record, name: str) -> bool:
    """Tell whether a lease has what a text names: a resource, or a device."""
    if name in (record.needs or {}):
        return True
    devices = (record.devices or {}).items()
    return any(name in {f"{resource}:{each}", f"{resource}={each}"} for resource, names in devices for each in names)


def _give_back(engine: Engine, peer: Peer, record: Record) -> str | None:
    who = cleaned(f"given back by {peer.identity}")
    if record.state in _CHANGING_STATES and record.seq in engine.leases.held:
        engine.leases.end_well(record, who)
    else:
        transitions.cancel.cancel(engine.petitions, record, transitions.cancel.cancelled(who), engine.petitions.now)
    return None


def _extend(engine: Engine, record: Record, seconds: float) -> str | None:
    """Have a lease last longer; give why not, where that cannot be."""
    if record.state not in {State.QUEUED, *_CHANGING_STATES}:
        return f"{record.key!r} is ending"
    if record.timeout is None:
        return f"{record.key!r} has no end: it lasts until it is given back"
    if not 0 < seconds <= MAX_DURATION_SECONDS - record.timeout:
        return f"a lease lasts at most {MAX_DURATION_SECONDS} seconds, and is extended by more than 0"
    engine.leases.extend(record, seconds)
    return None


def _behind(engine: Engine, record: Record) -> int:
    """Count the petitions that wait for anything of what a lease has."""
    wanted = record.needs or {}
    return sum(use.waiting for use in engine.admission.resources.in_use() if use.resource in wanted)
