"""Asking the manager of a petition whether a client may change the petition: a plugin may deny what the roles allow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from orcha._core.authority import ADMIN
from orcha._protocol import messages
from orcha._protocol.messages import Verdict
from orcha._service.hooks.visit import PermissionCall
from orcha._service.reports.explanations import cleaned
from orcha._service.verbs.cancel import find_live
from orcha._service.verbs.deed_names import named
from orcha._service.verbs.petition_lookup import may_do, named_petition, refuse

if TYPE_CHECKING:
    from orcha._core.permissions import Deed
    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._service.verbs.petition_lookup import NamedPetition

VERBS: dict[type, str] = {
    messages.Cancel: "cancel",
    messages.Set: "set",
    messages.Priority: "priority",
    messages.Pause: "pause",
    messages.Resume: "resume",
    messages.Remove: "rm",
    messages.Retry: "retry",
    messages.Signal: "signal",
}
"""What a manager is told of a message: the verb of `orcha`."""
ONE_BY_ONE = "its plugin decides about each petition: name it by its id, without a selector"


def is_asked(engine: Engine, peer: Peer, manager: str) -> bool:
    """Tell whether a manager is asked whether this client may change its petitions; about admins nobody is asked."""
    return manager in engine.managers.asked and peer.role != ADMIN


def ask_first(engine: Engine, peer: Peer, message: Any, deed: Deed | None) -> bool:
    """Have the manager of the petition asked, and the message handled after that; False where nobody has to be asked.

    A petition to which the client may not do the deed is left to the verb, which says so.
    """
    verb = VERBS.get(type(message))
    meant = None if verb is None else _meant(engine, message)
    if verb is None or meant is None or not is_asked(engine, peer, meant.manager):
        return False
    if not may_do(engine, peer, deed, meant.owner):
        return False
    live = engine.find(meant.id)
    petition = _petition(live) if live is not None and live.seq == meant.seq else None
    manager = engine.managers.by_name[meant.manager]

    def go_on() -> None:
        now = _meant(engine, message)
        if now is not None and now.seq != meant.seq:
            refuse(engine, peer, message.request, Verdict.BUSY, f"{meant.id!r} is another petition by now: try again")
        else:
            engine.handle_noted(peer, message, deed)

    def then(denied: str | None) -> None:
        if denied is None:
            engine.post(go_on)
        else:
            reason = cleaned(f"{meant.id!r}: {verb} is denied: {denied}")
            refuse(engine, peer, message.request, Verdict.DENIED, reason)
            engine.audit.refused(peer, named(engine, peer, message, deed), reason)

    asks = partial(manager.authorize, peer.identity, verb, petition)
    engine.visits.call(PermissionCall(peer, message.request, f"authorize of {meant.id}", b"", b"", asks, then))
    return True


def _meant(engine: Engine, message: Any) -> NamedPetition | None:
    """Give the petition that a message means, by its number, its id or its token."""
    if not isinstance(message, messages.Cancel) or message.token is None:
        return named_petition(engine, message)
    record = find_live(engine, message)
    return None if record is None else named_petition(engine, record)


def _petition(record: Record) -> object:
    return record.petition


__all__ = ["ONE_BY_ONE", "VERBS", "ask_first", "is_asked"]
