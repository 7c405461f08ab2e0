"""Ask for an ended petition once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.reasons import DECIDE
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Item, Reply, Retry, Verdict
from orcha._protocol.wire_types import Code
from orcha._service.reports.state_names import word
from orcha._service.submissions import SOMEBODY_ELSES, Asked
from orcha._service.verbs.petition_lookup import find, refuse
from orcha._service.verbs.submit import enter

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

_FIXEXT16 = b"\xd8"
"""How msgpack begins an extension of 16 bytes: then come its code and the bytes."""


class Again:
    """Who waits for the answer of a Retry, which is a submit of one message."""

    credit = 0

    def __init__(self, engine: Engine, peer: Peer, request: int, token: bytes, row: Row) -> None:
        """Ask for this row's petition again."""
        self._engine = engine
        self.peer = peer
        self._request = request
        self._token = token
        self._row = row

    def answer(self, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Answer, once this batch is kept."""
        del position
        engine = self._engine
        if verdict == Verdict.KNOWN and self._token not in engine.store.tokens([self._token]):
            there = {"seq": None, "id": self._row.id, "channel": channel, "retried": self._row.seq}
            engine.reply(self.peer, Reply(self._request, Verdict.OK, values.encode(there)))  # attached to another one
        elif verdict in {Verdict.ACCEPTED, Verdict.KNOWN}:
            engine.after_batch(self._accepted)
        else:
            refuse(engine, self.peer, self._request, verdict, reason or "refused")

    def _accepted(self) -> None:
        engine = self._engine
        row = engine.store.tokens([self._token])[self._token]
        known = {"seq": row.seq, "id": row.id, "channel": row.channel, "retried": self._row.seq}
        engine.reply(self.peer, Reply(self._request, Verdict.OK, values.encode(known)))


def retry(engine: Engine, peer: Peer, message: Retry) -> None:
    """Make a new petition of an ended one's message; answered when that is kept.

    It is the same user's, whoever asks, and has a channel of its own in place of the one in the message's extras.
    """
    found = find(engine, peer, message, "retry")
    if found is None:
        return
    row = found.row
    again = Again(engine, peer, message.request, message.token, row)
    known = engine.store.tokens([message.token]).get(message.token)
    if known is not None or message.token in engine.submissions.undecided:
        _again(engine, again, message, row, known)
    elif row.state is not State.ENDED:
        refuse(engine, peer, message.request, Verdict.REFUSED, _has_not_ended(row, found.record))
    elif (refusal := ask_again(engine, Asked(again, 0, None), row, message.token)) is not None:
        refuse(engine, peer, message.request, *refusal)


def ask_again(engine: Engine, asked: Asked, row: Row, token: bytes) -> tuple[int, str] | None:
    """Ask for an ended petition once more; give why not, where no such message is taken now."""
    if not engine.managers.serves(row.manager):
        reason = f"{row.id!r} belongs to {row.manager}, which is not served now: serve its plugin too"
        return Verdict.REFUSED, reason
    if (refusal := engine.refuses()) is not None:
        return refusal[0], refusal[2]
    identity: str | int = int(row.id) if row.id_is_int else row.id
    item = Item(token, identity, _with_channel(row.extras, row.channel, token), None)
    enter(engine, asked, item, (row.manager, row.owner))
    return None


def _has_not_ended(row: Row, record: Record | None) -> str:
    if row.state is State.HELD:
        return f"{row.id!r} was interrupted and is held: {DECIDE}"
    return f"{row.id!r} is {word(row.state, record)}: only what has ended can be tried again"


def _again(engine: Engine, again: Again, message: Retry, row: Row, known: Row | None) -> None:
    """Answer the same Retry once more."""
    undecided = engine.submissions.undecided
    owner = known.owner if known is not None else undecided[message.token].record.owner
    if owner != row.owner:
        refuse(engine, again.peer, message.request, Verdict.REFUSED, SOMEBODY_ELSES)
    elif known is not None:
        again.answer(0, Verdict.KNOWN, None, None)
    else:
        undecided[message.token].asked.append(Asked(again, 0, None))


def _with_channel(extras: bytes, old: bytes, new: bytes) -> bytes:
    """Put one channel in another's place in encoded extras: both are extensions of 16 bytes."""
    head = _FIXEXT16 + bytes((Code.CHANNEL,))
    return extras.replace(head + old, head + new)
