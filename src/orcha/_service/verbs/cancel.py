"""End a petition, whatever it is doing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.authority import may_act_for
from orcha._core.state import Outcome, State
from orcha._protocol import values
from orcha._protocol.messages import Cancel, Reply, Verdict
from orcha._service.reports.command_text import quoted
from orcha._service.reports.explanations import cleaned
from orcha._service.verbs.petition_lookup import refuse, somebody_elses
from orcha._service.verbs.sights import Sights
from orcha.interfaces.built_in import LEASE_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.record import Record
    from orcha._server.server import Peer
    from orcha._service.arrays.array_book import LiveArray
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

TOMBSTONE_SECONDS = 600.0
"""How long the cancel of a submit that has not come is remembered."""


BEFORE_IT_CAME = "cancelled before it came"


def _reason(peer: Peer, why: str) -> str:
    """Tell who cancelled, and why."""
    return cleaned(f"cancelled by {peer.identity}: {why}") if why else f"cancelled by {peer.identity}"


def cancel(engine: Engine, peer: Peer, message: Cancel) -> None:
    """Cancel by token or id; answered with the outcome when it is decided and, where it ran, nothing of it lives."""
    if message.id is None and message.token is None:
        refuse(engine, peer, message.request, Verdict.REFUSED, "a cancel names a petition, by its token or its id")
        return
    record = find_live(engine, message)
    if record is not None and message.token is None and not Sights(engine, peer).sees(record.owner):
        _unknown(engine, peer, message)
        return
    if record is None:
        _not_live(engine, peer, message)
        return
    if not may_act_for(peer, record.owner):
        refuse(engine, peer, message.request, Verdict.DENIED, somebody_elses(peer, record.key))
        return

    def answer(ended: Record) -> None:
        _answer(engine, peer, message.request, ended.outcome)

    end(engine, peer, record, message.why, answer, at_once=message.at_once)


def end(
    engine: Engine, peer: Peer, record: Record, why: str, answer: Callable[[Record], None], *, at_once: bool
) -> None:
    """Cancel a petition for a client; `answer` is called when its end is kept."""
    entry = engine.arrays.entries.get(record.seq)
    if entry is not None:
        hurry = (lambda each: engine.after_batch(partial(_hurry, engine, each))) if at_once else None
        engine.arrays.cancel(entry, _reason(peer, why), answer, hurry)
        return
    cancellation = transitions.cancel.cancelled(_reason(peer, why))
    transitions.cancel.cancel(engine.petitions, record, cancellation, engine.petitions.now, answer)
    if at_once:
        engine.after_batch(lambda: _hurry(engine, record))


def _hurry(engine: Engine, record: Record) -> None:
    """Kill what a petition that is being cancelled runs, without asking it to end first."""
    if record.state is not State.CANCELLING or record.manager == LEASE_MANAGER:
        return
    if record.command:
        engine.commands.hurry(record)
    elif record.run is not None:
        engine.ending.sweep(record)


def find_live(engine: Engine, message: Cancel) -> Record | None:
    """Give the petition that a cancel names and that has not ended; None where there is none."""
    if message.id is not None:
        return engine.find(message.id)
    if message.token is None:
        return None
    record = engine.petitions.of_token(message.token)
    if record is not None:
        return record
    row = engine.store.tokens([message.token]).get(message.token)
    found = engine.find(row.id) if row is not None and row.state is not State.ENDED else None
    return found if found is not None and found.token == message.token else None


def _not_live(engine: Engine, peer: Peer, message: Cancel) -> None:
    if message.token is None:
        element = engine.arrays.element(message.id or "")
        if element is not None and _cancel_element(engine, peer, message, *element):
            return
        _unknown(engine, peer, message)
        return
    row = engine.store.tokens([message.token]).get(message.token)
    if row is not None:
        _answer_kept(engine, peer, message, row)
        return
    engine.tombstones[message.token] = engine.petitions.now.steady + TOMBSTONE_SECONDS
    engine.petitions.keep_tombstone(message.token, engine.petitions.now.wall + TOMBSTONE_SECONDS)
    engine.reply(peer, Reply(message.request, Verdict.OK, values.encode("cancelled"), None))


def _unknown(engine: Engine, peer: Peer, message: Cancel) -> None:
    reason = f"no petition with the id {quoted(message.id)} waits or runs: orcha ps shows the petitions that do"
    engine.reply(peer, Reply(message.request, Verdict.UNKNOWN, None, reason))


def _cancel_element(engine: Engine, peer: Peer, message: Cancel, entry: LiveArray, position: int) -> bool:
    """Cancel an element that is no petition yet; False where it has ended."""
    if not Sights(engine, peer).sees(entry.record.owner):
        return False
    if not may_act_for(peer, entry.record.owner):
        refuse(engine, peer, message.request, Verdict.DENIED, somebody_elses(peer, message.id or ""))
        return True
    if not engine.arrays.cancel_element(entry, position):
        return False
    engine.reply(peer, Reply(message.request, Verdict.OK, values.encode("cancelled"), None))
    return True


def _answer_kept(engine: Engine, peer: Peer, message: Cancel, row: Row) -> None:
    """Answer about a petition that is not live here: it has ended, in this very batch perhaps, or is not ours."""
    if not may_act_for(peer, row.owner):
        refuse(engine, peer, message.request, Verdict.DENIED, somebody_elses(peer, row.id))
    elif row.state is not State.ENDED and not engine.managers.serves(row.manager):
        reason = f"{row.id!r} belongs to {row.manager}, which is not served now: serve its plugin too"
        engine.reply(peer, Reply(message.request, Verdict.UNKNOWN, None, reason))
    else:

        def answer() -> None:
            now = engine.store.rows([row.seq])
            _answer(engine, peer, message.request, now[0].outcome if now else row.outcome)

        engine.after_batch(answer)


def _answer(engine: Engine, peer: Peer, request: int, outcome: Outcome | None) -> None:
    word = outcome.name.lower().replace("_", " ") if outcome is not None else None
    engine.reply(peer, Reply(request, Verdict.OK, values.encode(word)))
