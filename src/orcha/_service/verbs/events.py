"""Tell what clients did, and tried."""

from __future__ import annotations

import math
import pwd
from functools import partial
from typing import TYPE_CHECKING, Any

from orcha._core.authority import may_act_for_all
from orcha._core.permissions import Sight
from orcha._protocol.messages import Reply, Verdict
from orcha._service.audit_book import LOGIN
from orcha._service.reports.explanations import describe
from orcha._service.reports.user_names import user
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs.petition_lookup import refuse, row_of
from orcha._service.verbs.sights import Sights
from orcha._store.contract import EventFilter
from orcha.interfaces.roles import ADMIN

if TYPE_CHECKING:
    from orcha._core.changes import AuditEntry
    from orcha._protocol.messages import ListEvents
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

MAX_TOLD_EVENTS = 1_000
"""Events of one answer."""


def list_events(engine: Engine, peer: Peer, message: ListEvents) -> None:
    """Answer with maps, as `docs/wire.md` says: a client's own deeds, and deeds on its petitions.

    Operators see all but logins, and admins those, too.
    """
    who = message.who
    if who is None or ":" in who:  # as in uid:7 and key:build; passwd(5) has no name like that
        _search(engine, peer, message, who)
    else:
        engine.lookups.begin(lambda: _identity(who), partial(_search_or_refuse, engine, peer, message))


def _identity(who: str) -> str:
    """Give the identity of a user of this machine; what is no user's name stays as it is. On a thread of lookups."""
    try:
        return f"uid:{pwd.getpwnam(who).pw_uid}"
    except (KeyError, ValueError):
        return who


def _search_or_refuse(engine: Engine, peer: Peer, message: ListEvents, found: str | Exception) -> None:
    if isinstance(found, Exception):
        refuse(engine, peer, message.request, Verdict.BUSY, f"{describe(found)}: try again, or give uid:NUMBER")
    else:
        _search(engine, peer, message, found)


def _search(engine: Engine, peer: Peer, message: ListEvents, who: str | None) -> None:
    wanted = EventFilter(
        message.since,
        math.inf if message.before is None else message.before,
        who,
        message.verb,
        message.id,
        None if may_act_for_all(peer) else peer.identity,
        min(message.limit, MAX_TOLD_EVENTS),
        without=None if peer.role == ADMIN else LOGIN,
    )
    engine.searches.begin(lambda: engine.store.events(wanted), partial(_answer, engine, peer, message))


def _answer(engine: Engine, peer: Peer, message: ListEvents, found: list[tuple[AuditEntry, int]] | Exception) -> None:
    if isinstance(found, TimeoutError):
        refuse(engine, peer, message.request, Verdict.BUSY, describe(found))
        return
    if isinstance(found, Exception):
        raise found
    if engine.users.when_known((entry.who for entry, _ in found), partial(_answer, engine, peer, message, found)):
        return
    sights = Sights(engine, peer)
    told = [_described(sights, peer, entry, number) for entry, number in found]
    if message.id is not None and sights.of_others is Sight.NOTHING and not _is_own(engine, peer, message):
        told = [each for each in told if message.id in each["ids"]]
    engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer({"events": told})))


def _is_own(engine: Engine, peer: Peer, message: Any) -> bool:
    """Tell whether the client asks about a petition of its own: any other id would tell it that there is a petition."""
    return row_of(engine, message, peer.identity) is not None


def _described(sights: Sights, peer: Peer, entry: AuditEntry, number: int) -> dict[str, Any]:
    """Give an event; whose petition somebody else's is, is for operators to know.

    What one deed was done to together with petitions of others is named as far as the client sees all of these.
    """
    owners = [owner for owner in entry.owners if owner == peer.identity or may_act_for_all(peer)]
    names_all = entry.who == peer.identity or all(map(sights.sees, entry.owners))
    told = {name: value for name, value in entry._asdict().items() if name != "petition"}
    told["door"] = entry.door or _door_of_a_submit(entry)
    return told | {"number": number, "user": user(entry.who), "ids": list(entry.ids) * names_all, "owners": owners}


def _door_of_a_submit(entry: AuditEntry) -> str:
    """Give the door of a submit that is told from its row: a submit by any other door has an entry of its own.

    A schedule asks for its petitions by no door, and their ids have an @. Where a client takes an @ into an id, that
    submit has an entry of its own as well.
    """
    return "socket" if entry.verb == "submit" and not any("@" in each for each in entry.ids) else ""


__all__ = ["list_events"]
