"""Which petition a verb is about, and whether its caller may say so: its own user, operators and admins alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from orcha._core.authority import ATTEMPT
from orcha._core.permissions import Deed, Entrance, Whose, may, refusal
from orcha._core.record import Record
from orcha._protocol.messages import Follow, Gone, Reply, Result, Submit, Submitted, Verdict
from orcha._service.reports.command_text import quoted
from orcha._service.verbs.marks import deed_of
from orcha._service.verbs.sights import Sights

if TYPE_CHECKING:
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

ANY_STATE = 0b1111110


class Naming(Protocol):
    """A message about one petition."""

    @property
    def request(self) -> int:
        """Its number."""

    @property
    def id(self) -> str | None:
        """The petition's id."""

    @property
    def seq(self) -> int | None:
        """Its sequence number; it goes before the id."""


class OfAnAttempt(Protocol):
    """A message about one attempt."""

    @property
    def request(self) -> int:
        """Its number."""

    @property
    def seq(self) -> int:
        """The sequence number of its petition."""


class Found(NamedTuple):
    """A petition that its caller may see and change."""

    row: Row
    """As it is kept."""
    record: Record | None
    """As it lives; None where it has ended, or is another manager's."""


class NamedPetition(NamedTuple):
    """A petition that a message names: what never changes of it."""

    seq: int
    id: str
    owner: str
    manager: str


def refuse(engine: Engine, peer: Peer, request: int, verdict: int, reason: str) -> None:
    """Answer that something is not done."""
    engine.reply(peer, Reply(request, verdict, None, reason))


def find(engine: Engine, peer: Peer, message: Naming) -> Found | None:
    """Give the petition a message names; None where the caller has been answered why not.

    Args:
        engine: whose petitions they are.
        peer: who asks.
        message: names it by sequence number, else by id: the live one of that id, else the newest.

    """
    row = row_of(engine, message)
    if row is not None and message.seq is None and not Sights(engine, peer).sees(row.owner):
        row = row_of(engine, message, peer.identity)  # the id may also be that of an ended petition of the client's own
    if row is None or not Sights(engine, peer).sees(row.owner):
        refuse(engine, peer, message.request, Verdict.UNKNOWN, _unknown(engine, peer, message))
        return None
    deed = deed_of(message)
    if not may_do(engine, peer, deed, row.owner):
        refuse(engine, peer, message.request, Verdict.DENIED, somebody_elses(peer, row.id, deed))
        return None
    live = engine.find(row.id)
    return Found(row, live if live is not None and live.seq == row.seq else None)


def _unknown(engine: Engine, peer: Peer, message: Naming) -> str:
    """Give why a message names no petition that its caller may know of."""
    if message.seq is not None or message.id is None:
        return f"there is no petition number {message.seq}: orcha ps --all shows the petitions that are kept"
    entry, position = engine.arrays.element(message.id) or (None, 0)
    if entry is not None and Sights(engine, peer).sees(entry.record.owner) and entry.array.is_to_come(position):
        most, array = entry.array.bounds.at_most, quoted(entry.record.key)
        bound = "" if most is None else f", and at most {most} of them wait or run at once"
        return f"{quoted(message.id)} is no petition yet: others of the array {array} come before it{bound}"
    return f"there is no petition with the id {quoted(message.id)}: orcha ps --all shows the petitions that are kept"


def is_somebody_elses(engine: Engine, peer: Peer, message: OfAnAttempt, gone: str | None = None) -> bool:
    """Tell whether an attempt is that of another user's petition; a client of whom that is so has been answered.

    An attempt's own processes have been looked at by their connection. `gone` is the reason of an
    answer about a petition that the client may not know of.
    """
    record = engine.petitions.records.get(message.seq)
    if peer.role == ATTEMPT or record is None or may_do(engine, peer, deed_of(message), record.owner):
        return False
    if Sights(engine, peer).sees(record.owner):
        refuse(engine, peer, message.request, Verdict.DENIED, somebody_elses(peer, record.key, deed_of(message)))
    else:
        engine.reply(peer, Reply(message.request, Verdict.GONE, None, gone))
    return True


def may_do(engine: Engine, peer: Peer, deed: Deed | None, owner: str) -> bool:
    """Tell whether a client may do a deed to a petition of this owner."""
    whose = Whose.OWN if peer.identity == owner else Whose.OTHERS
    return deed is not None and may(deed, peer.role, whose, Entrance(peer.door), engine.settings.visibility)


def somebody_elses(peer: Peer, identity: str, deed: Deed | None = Deed.CHANGE, what: str = "petition") -> str:
    """Give why a client may not do a deed to a petition: whose petition it is, and which role the deed takes."""
    why = "" if deed is None else f": {refusal(deed, peer.role, Whose.OTHERS)}"
    return f"{identity!r} is somebody else's {what}{why}"


def refuse_deed(engine: Engine, peer: Peer, message: Any, deed: Deed | None) -> str:
    """Answer that a client may not send a message, whatever the message is about; give why."""
    name = type(message).__name__
    reason = f"nobody may send a {name} here" if deed is None else refusal(deed, peer.role)
    request = getattr(message, "request", None)
    if isinstance(message, Follow):
        engine.reply(peer, Gone(message.channel, reason))
    elif isinstance(message, Submit):
        results = [Result(position, Verdict.REFUSED, None, reason) for position in range(len(message.items))]
        engine.reply(peer, Submitted(message.request, results))
    elif request is not None:
        refuse(engine, peer, request, Verdict.DENIED, reason)
    return reason


def named_petition(engine: Engine, message: Any) -> NamedPetition | None:
    """Give the petition that a message names by `seq` or `id`, of an id the live petition, else the newest.

    The store is asked only where the petition is not in memory.
    """
    seq, identity = getattr(message, "seq", None), getattr(message, "id", None)
    if seq is None and identity is None:
        return None
    petitions = engine.petitions
    record = petitions.live.get(str(identity)) if seq is None else petitions.records.get(seq)
    if isinstance(record, Record):
        return NamedPetition(record.seq, record.key, record.owner, record.manager)
    row = row_of(engine, message)
    return None if row is None else NamedPetition(row.seq, row.id, row.owner, row.manager)


def row_of(engine: Engine, message: Naming, owner: str | None = None) -> Row | None:
    """Give what is kept of the petition that a message names; of an id the live petition, else the newest.

    With an `owner` it is the newest petition with the id that this owner has asked for.
    """
    seq = getattr(message, "seq", None)  # a Cancel has none
    if seq is None and message.id is not None and owner is None:
        known = engine.petitions.live.get(message.id)
        seq = known.seq if isinstance(known, Record) else None if known is None else known[1]
    if seq is not None:
        return next(iter(engine.store.rows([seq])), None)
    if message.id is None:
        return None
    return next(iter(engine.store.page(states=ANY_STATE, limit=1, id=message.id, owner=owner)), None)
