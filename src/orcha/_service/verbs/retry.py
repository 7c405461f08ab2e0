"""Ask for an ended petition once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.array_items import ITEMS_PER_PART, spec_of
from orcha._core.arrays import without, without_failures
from orcha._core.reasons import DECIDE
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Item, Reply, Retry, Verdict
from orcha._protocol.wire_types import Code
from orcha._service.reports.state_names import word
from orcha._service.submissions import SOMEBODY_ELSES, Asked
from orcha._service.verbs.give_secrets import settle, take
from orcha._service.verbs.petition_lookup import find, refuse
from orcha._service.verbs.submit import enter, of_somebodys_firing, taken_by
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER, LEASE_MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.arrays.array_book import LiveArray
    from orcha._service.engine import Engine
    from orcha._service.verbs.petition_lookup import Found
    from orcha._store.contract import Row

_NONE_FAILED = "no element of {!r} ended without success"
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

    The new petition belongs to the same user, no matter which user asks. Its own channel replaces the channel in the
    message's extras.
    """
    found = find(engine, peer, message)
    if found is None:
        return
    row = found.row
    again = Again(engine, peer, message.request, message.token, row)
    if message.secrets is not None:
        wrong = take(engine, peer, message.token, message.secrets)
        if wrong is not None:
            refuse(engine, peer, message.request, Verdict.REFUSED, wrong)
            return
    _ask(engine, peer, message, again, found)
    if message.secrets is not None:
        settle(engine, message.token)


def _ask(engine: Engine, peer: Peer, message: Retry, again: Again, found: Found) -> None:
    row = found.row
    known = engine.store.tokens([message.token]).get(message.token)
    if known is not None or message.token in engine.submissions.undecided:
        _again(engine, again, message, row, known)
    elif message.failed and row.manager != ARRAY_MANAGER:
        refuse(engine, peer, message.request, Verdict.REFUSED, f"{row.id!r} is no array: only those have elements")
    elif message.failed and (entry := engine.arrays.get(row.seq)) is not None:
        _failed_of(engine, peer, message, entry)
    elif row.state is not State.ENDED:
        refuse(engine, peer, message.request, Verdict.REFUSED, _has_not_ended(row, found.record))
    elif (refusal := ask_again(engine, Asked(again, 0, None), row, message.token, failed=message.failed)) is not None:
        refuse(engine, peer, message.request, *refusal)


def ask_again(engine: Engine, asked: Asked, row: Row, token: bytes, *, failed: bool = False) -> tuple[int, str] | None:
    """Ask for an ended petition once more; give why not, where no such message is taken now.

    With `failed` an array runs only its elements once more that did not succeed.
    """
    if not engine.managers.serves(COMMAND_MANAGER if row.manager == ARRAY_MANAGER else row.manager):
        reason = f"{row.id!r} belongs to {row.manager}, which is not served now: serve its plugin too"
        return Verdict.REFUSED, reason
    kept_for = of_somebodys_firing(engine, asked.asker.peer, row.id)
    if kept_for is not None or row.manager == LEASE_MANAGER:
        return Verdict.REFUSED, kept_for or f"{row.id!r} was a lease: ask for another one with orcha lock"
    if (refusal := engine.refuses()) is not None:
        return refusal[0], refusal[2]
    if row.manager == ARRAY_MANAGER:
        return _array_again(engine, asked, row, token, failed=failed)
    if engine.beside.fields_of(row.extras) is not None:
        return Verdict.REFUSED, f"{row.id!r} ran beside another command: orcha exec runs a command there again"
    identity: str | int = int(row.id) if row.id_is_int else row.id
    item = Item(token, identity, _with_channel(row.extras, row.channel, token), None)
    enter(engine, asked, item, (row.manager, row.owner))
    return None


def _failed_of(engine: Engine, peer: Peer, message: Retry, entry: LiveArray) -> None:
    """Have the elements of an array that has not ended run once more that failed."""
    record = entry.record
    if entry.array.stop is not None:
        reason = f"{record.key!r} starts no more elements, and has not ended: wait for its end"
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
    elif not engine.arrays.again(entry):
        refuse(engine, peer, message.request, Verdict.REFUSED, _NONE_FAILED.format(record.key))
    else:
        known = {"seq": record.seq, "id": record.key, "channel": record.channel, "retried": record.seq}
        engine.reply(peer, Reply(message.request, Verdict.OK, values.encode(known)))


def _array_again(engine: Engine, asked: Asked, row: Row, token: bytes, *, failed: bool) -> tuple[int, str] | None:
    """Make a new array of an ended one, with all its elements, or the elements that did not succeed."""
    if (taken := taken_by(engine, row.id, asked.asker.peer)) is not None:
        return Verdict.REFUSED, taken
    ends = b""
    if failed:
        before = engine.store.array_ends(row.seq)
        ends = without_failures(before)
        if ends == before:
            return Verdict.REFUSED, _NONE_FAILED.format(row.id)
    return _new_array(engine, asked, row, token, ends)


def array_of_these(
    engine: Engine, asked: Asked, row: Row, token: bytes, positions: Iterable[int]
) -> tuple[int, str] | None:
    """Make a new array of an ended array, in which only these elements wait; give why that cannot be now."""
    if not engine.managers.serves(COMMAND_MANAGER):
        return Verdict.REFUSED, f"{row.id!r} is an array of commands, which are not served now"
    if (refusal := engine.refuses()) is not None:
        return refusal[0], refusal[2]
    return _new_array(engine, asked, row, token, without(engine.store.array_ends(row.seq), positions))


def _new_array(engine: Engine, asked: Asked, row: Row, token: bytes, ends: bytes) -> tuple[int, str] | None:
    spec = spec_of(engine.store.arrays([row.seq])[row.seq].spec)
    count = -(-spec.total // ITEMS_PER_PART) if spec.are_listed else 0
    parts = [engine.store.array_items(row.seq, part) or b"" for part in range(count)]
    fields = values.decode(row.extras, channel=bytes) | {"array": spec.sent(parts)}
    item = Item(token, row.id, row.extras, None)
    wrong = engine.new_arrays.take(asked, item, row.owner, fields, ends)
    return None if wrong is None else (Verdict.REFUSED, wrong)


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
