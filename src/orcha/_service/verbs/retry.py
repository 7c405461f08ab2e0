"""Ask for an ended petition once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.reasons import DECIDE
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Item, Reply, Retry, Verdict
from orcha._protocol.wire_types import Code
from orcha._service.reports.state_names import word
from orcha._service.verbs.petition_lookup import find, refuse
from orcha._service.verbs.submit import SOMEBODY_ELSES, Asked, enter

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

_FIXEXT16 = b"\xd8"
"""How msgpack begins an extension of 16 bytes: then come its code and the bytes."""


class Again:
    """Who waits for the answer of a Retry: a `Submission` of one message."""

    credit = 0
    plugin = None

    def __init__(self, peer: Peer, request: int, token: bytes, row: Row) -> None:
        """Ask for this row's petition again."""
        self.peer = peer
        self._request = request
        self._token = token
        self._row = row

    def answer(self, engine: Engine, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Answer, once this batch is kept."""
        del position
        if verdict == Verdict.KNOWN and self._token not in engine.store.tokens([self._token]):
            there = {"seq": None, "id": self._row.id, "channel": channel, "retried": self._row.seq}
            engine.reply(self.peer, Reply(self._request, Verdict.OK, values.encode(there)))  # attached to another one
        elif verdict in {Verdict.ACCEPTED, Verdict.KNOWN}:
            engine.after_batch(lambda: self._accepted(engine))
        else:
            refuse(engine, self.peer, self._request, verdict, reason or "refused")

    def _accepted(self, engine: Engine) -> None:
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
    again = Again(peer, message.request, message.token, row)
    undecided = engine.undecided.get(message.token)
    known = engine.store.tokens([message.token]).get(message.token)
    if undecided is not None or known is not None:
        _again(engine, again, message, row, known)
    elif row.state is not State.ENDED:
        refuse(engine, peer, message.request, Verdict.REFUSED, _has_not_ended(row, found.record))
    elif not engine.managers.serves(row.manager):
        reason = f"{row.id!r} belongs to {row.manager}, which is not served now: serve its plugin too"
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
    elif (refusal := engine.refuses()) is not None:
        refuse(engine, peer, message.request, refusal[0], refusal[2])
    else:
        identity: str | int = int(row.id) if row.id_is_int else row.id
        extras = _with_channel(row.extras, row.channel, message.token)
        item = Item(message.token, identity, extras, None)
        # `Again` answers as a submission does
        enter(engine, again, 0, item, (row.manager, row.owner))  # type: ignore[arg-type]


def _has_not_ended(row: Row, record: Record | None) -> str:
    if row.state is State.HELD:
        return f"{row.id!r} was interrupted and is held: {DECIDE}"
    return f"{row.id!r} is {word(row.state, record)}: only what has ended can be tried again"


def _again(engine: Engine, again: Again, message: Retry, row: Row, known: Row | None) -> None:
    """Answer the same Retry once more."""
    owner = known.owner if known is not None else engine.undecided[message.token].record.owner
    if owner != row.owner:
        refuse(engine, again.peer, message.request, Verdict.REFUSED, SOMEBODY_ELSES)
    elif known is not None:
        again.answer(engine, 0, Verdict.KNOWN, None, None)
    else:
        engine.undecided[message.token].asked.append(Asked(again, 0, None))  # type: ignore[arg-type]


def _with_channel(extras: bytes, old: bytes, new: bytes) -> bytes:
    """Put one channel in another's place in encoded extras: both are extensions of 16 bytes."""
    head = _FIXEXT16 + bytes((Code.CHANNEL,))
    return extras.replace(head + old, head + new)
