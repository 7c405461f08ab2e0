"""A verb for all petitions that meet a selector: they are found and changed in one transaction."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core.authority import may_act_for_all
from orcha._core.record import Record
from orcha._core.selector import Described, Selector
from orcha._core.state import Outcome, State
from orcha._core.waiting_queue import checked_priority
from orcha._protocol import values
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Reply, Verdict
from orcha._service.reports.command_text import listed
from orcha._service.reports.explanations import cleaned
from orcha._service.reports.state_names import word
from orcha._service.submissions import Asked
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs.array_rows import seq_of
from orcha._service.verbs.authorizing import ONE_BY_ONE, is_asked
from orcha._service.verbs.cancel import end
from orcha._service.verbs.pause import change_one
from orcha._service.verbs.petition_lookup import refuse
from orcha._service.verbs.priority import move, move_unmade
from orcha._service.verbs.remove import forget
from orcha._service.verbs.retry import ask_again
from orcha._service.verbs.selected_elements import CHANGES, do_to_elements, elements_met
from orcha._service.verbs.selected_rows import Search, heads_of, live_arrays_named
from orcha._service.verbs.set import changing, changing_unmade
from orcha._service.verbs.signal import send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._protocol.messages import Select
    from orcha._server.server import Peer
    from orcha._service.arrays.array_book import LiveArray
    from orcha._service.engine import Engine
    from orcha._service.verbs.selected_elements import MetElements
    from orcha._store.contract import Row

MAX_SELECTED_PETITIONS = 10_000
"""Petitions that one message is about; the answer says from where a client goes on."""
_LIVE = sum(1 << state for state in State if state is not State.ENDED)
_ENDED = 1 << State.ENDED
_STATES = {"cancel": _LIVE, "pause": _LIVE, "resume": _LIVE, "rm": _ENDED, "retry": _ENDED}
_STATES |= {"set": _LIVE, "priority": 1 << State.QUEUED, "signal": 1 << State.RUNNING}
"""In which states a verb's petitions are looked for."""


class _Met(NamedTuple):
    """A petition that meets a selector."""

    row: Row
    record: Record | None


def select(engine: Engine, peer: Peer, message: Select) -> None:
    """Find the petitions, and do the verb to each; answered when all is kept, and what is cancelled has ended."""
    if message.verb is not None and message.verb not in _STATES:
        reason = cleaned(f"{message.verb!r:.80} is no verb for several petitions: there are {', '.join(_STATES)}")
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
        return
    selector = Selector(tuple(message.ids), message.group, message.label, message.owner, tuple(message.states))
    if selector.is_empty and message.array is None:
        parts = "ids, a group, an array, a label, an owner or states"
        reason = f"a selector that names nothing means every petition: name {parts}"
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
        return
    try:
        do = _verb(engine, peer, message)
    except (ValueError, TypeError, KeyError) as error:
        reason = cleaned(f"the arguments of {message.verb} cannot be used: {error}")
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
        return
    search = _search(engine, peer, message, selector)
    page = engine.store.page
    engine.searches.begin(
        lambda: search.run(page),
        lambda found: engine.handle_when_free(partial(_take, search, found, do), peer, message),
    )


def _search(engine: Engine, peer: Peer, message: Select, selector: Selector) -> Search:
    """Give what is looked for."""
    owner = selector.owner if may_act_for_all(peer) else peer.identity
    heads, patterns = heads_of(message.ids)
    named = [seq_of(engine, name) for name in ([message.array] if message.array is not None else heads)]
    arrays = {seq for seq in named if seq is not None}
    if message.array is None and patterns:
        arrays |= {*live_arrays_named(patterns, engine.arrays.all())}
    return Search(
        selector,
        _STATES.get(message.verb or "", _LIVE | _ENDED),
        owner,
        message.before,
        MAX_SELECTED_PETITIONS,
        message.verb == "retry",
        tuple(sorted(arrays)),
        message.array is not None,
    )


def _take(
    search: Search,
    found: tuple[list[Row], int | None] | Exception,
    do: Callable[[_Selection, _Met], None] | None,
    engine: Engine,
    peer: Peer,
    message: Select,
) -> None:
    """Do the verb to each petition that was found and meets the selector still."""
    if isinstance(found, Exception):
        raise found
    rows, last = found
    seqs = [row.seq for row in rows]
    now = rows if message.verb is None else engine.store.rows(seqs)
    groups = engine.store.groups(seqs)
    arrays = engine.store.elements(seqs) if message.verb == "retry" else {}
    met = []
    for row in now:
        each = _look(engine, row)
        if message.verb == "retry" and (row.id in engine.petitions.live or row.seq in arrays):
            continue  # of an id the newest, unless that has not ended; elements run again with their array
        if _is_in(each, search.states) and search.selector.meets(_described(each, groups.get(row.seq))):
            met.append(each)
    elements = elements_met(engine, search, message.verb) if message.before is None else []
    _Selection(engine, peer, message, met, last, elements).run(do)


def _is_in(met: _Met, states: int) -> bool:
    """Tell whether a petition is in one of these states now."""
    return bool(states >> (met.row.state if met.record is None else met.record.state) & 1)


def _look(engine: Engine, row: Row) -> _Met:
    known = engine.petitions.live.get(row.id)
    return _Met(row, known if isinstance(known, Record) and known.seq == row.seq else None)


def _described(met: _Met, group: str | None) -> Described:
    row, record = met
    state = row.state if record is None else record.state
    outcome = row.outcome if record is None else record.outcome
    ended = None if state is not State.ENDED or outcome is None else outcome.name.lower()
    return Described(row.id, group, listed(row, record).label, row.owner, word(state, record), ended)


class _Selection:
    """The petitions of one message, and what has become of them so far."""

    def __init__(
        self,
        engine: Engine,
        peer: Peer,
        message: Select,
        met: list[_Met],
        last: int | None,
        elements: list[MetElements],
    ) -> None:
        self.peer = peer
        self._engine = engine
        self._message = message
        self._met = met
        self._last = last
        self._elements = elements
        self._refused: list[tuple[str, str]] = []
        self._left = 1

    def run(self, do: Callable[[_Selection, _Met], None] | None) -> None:
        """Do the verb to each petition; answer when the last one is done."""
        for met in self._met if do is not None else ():
            record = met.record
            if record is None and met.row.state is not State.ENDED:  # loaded only where something is done to it
                live = self._engine.find(met.row.id)
                record = live if live is not None and live.seq == met.row.seq else None
            assert do is not None
            if is_asked(self._engine, self.peer, met.row.manager):
                self.refuse(met.row.id, ONE_BY_ONE)
                continue
            do(self, _Met(met.row, record))
        for elements in self._elements if do is not None else ():
            if self._message.verb in CHANGES:
                change = _changing_unmade(self.peer, self._message)
                self.refuse(elements.row.id, elements.change(self._engine, change))
            else:
                do_to_elements(self._engine, elements, self._message.verb, self)
        if do is not None:
            ids = self._ids()
            owners = [met.row.owner for met in self._met]
            owners += [elements.row.owner for elements in self._elements]
            self._engine.audit.selected(self.peer, self._message.request, ids, owners, len(self._refused))
        self.done()

    def wait(self) -> None:
        """Have the answer wait for one more petition, which is `done` later."""
        self._left += 1

    def refuse(self, identity: str, reason: str | None) -> None:
        """Note why nothing was done to a petition; None where it was done."""
        if reason is not None:
            self._refused.append((identity, cleaned(reason)))

    def asker(self, identity: str) -> _AskedAgain:
        """Give who is told about a petition that is asked for again."""
        return _AskedAgain(self, identity)

    def done(self) -> None:
        """Note that a petition which was waited for is done."""
        self._left -= 1
        if not self._left:
            self._engine.after_batch(self._answer)

    def _ids(self) -> list[str]:
        """Name the petitions that were met."""
        elements = (identity for elements in self._elements for identity in elements.ids())
        return [*(met.row.id for met in self._met), *elements]

    def _answer(self) -> None:
        known = {
            "met": self._ids(),
            "refused": [list(each) for each in self._refused],
            "last": self._last,
        }
        self._engine.reply(self.peer, Reply(self._message.request, Verdict.OK, fitting.answer(known)))


class _AskedAgain:
    """Who waits for the answer of one retry among others."""

    credit = 0

    def __init__(self, selection: _Selection, identity: str) -> None:
        self.peer = selection.peer
        self._selection = selection
        self._id = identity

    def answer(self, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Take the verdict of the retry."""
        del position, channel
        if verdict not in {Verdict.ACCEPTED, Verdict.KNOWN}:
            self._selection.refuse(self._id, reason or "refused")
        self._selection.done()


def _verb(engine: Engine, peer: Peer, message: Select) -> Callable[[_Selection, _Met], None] | None:
    """Give what is done to each petition; None where the client only asks which there are.

    Raises:
        ValueError, TypeError, KeyError: an argument is missing or wrong.

    """
    arguments = _arguments(message)
    verb = message.verb
    if verb is None or message.dry_run:
        return None
    if verb in {"cancel", "retry"}:
        return _lasting(engine, peer, verb, arguments)
    return _immediate(engine, peer, verb, arguments)


def _arguments(message: Select) -> Mapping[str, Any]:
    """Give the arguments of the verb by their names.

    Raises:
        ValueError: they cannot be read.
        TypeError: they are a value of another kind.

    """
    arguments: object = values.decode(message.arguments or values.encode({}), channel=bytes)
    if not isinstance(arguments, dict):
        raise TypeError("they are no table")
    return arguments


def _immediate(
    engine: Engine, peer: Peer, verb: str, arguments: Mapping[str, Any]
) -> Callable[[_Selection, _Met], None]:
    """Give the function that does the verb to a petition, where that is decided at once."""
    if verb == "priority":
        priority = checked_priority(arguments["priority"])
        return lambda selection, met: selection.refuse(met.row.id, move(engine, *met, priority))
    if verb == "set":
        do = changing(peer, arguments)
        return lambda selection, met: selection.refuse(met.row.id, do(engine, *met))
    if verb == "signal":
        number = int(arguments["signal"])
        return lambda selection, met: selection.refuse(met.row.id, send(engine, *met, number))
    if verb == "rm":
        return lambda selection, met: selection.refuse(met.row.id, (forget(engine, *met) or (0, None))[1])
    paused, who = verb == "pause", peer.identity
    return lambda selection, met: selection.refuse(met.row.id, change_one(engine, *met, paused=paused, who=who))


def _changing_unmade(peer: Peer, message: Select) -> Callable[[Engine, LiveArray, Row], str | None]:
    """Give what changes elements that are no petitions yet; the arguments have been looked at before."""
    arguments = _arguments(message)
    if message.verb == "set":
        return changing_unmade(peer, arguments)
    return lambda engine, entry, _: move_unmade(engine, entry, checked_priority(arguments["priority"]))


def _lasting(engine: Engine, peer: Peer, verb: str, arguments: Mapping[str, Any]) -> Callable[[_Selection, _Met], None]:
    """Give the function that does the verb to a petition, where that is decided later."""
    if verb == "cancel":
        why, at_once = str(arguments.get("why", "")), bool(arguments.get("at_once"))
        return lambda selection, met: _cancel(engine, peer, selection, met, why=why, at_once=at_once)
    return lambda selection, met: _retry(engine, selection, met)


def _cancel(engine: Engine, peer: Peer, selection: _Selection, met: _Met, *, why: str, at_once: bool) -> None:
    if met.record is None:
        selection.refuse(met.row.id, f"{met.row.id!r} belongs to {met.row.manager}, which is not served now")
        return
    selection.wait()
    end(engine, peer, met.record, why, lambda _: selection.done(), at_once=at_once)


def _retry(engine: Engine, selection: _Selection, met: _Met) -> None:
    selection.wait()
    asker = _AskedAgain(selection, met.row.id)
    fails = met.row.outcome is not Outcome.SUCCEEDED
    refusal = ask_again(engine, Asked(asker, 0, None), met.row, new_identity(), failed=fails)
    if refusal is not None:
        asker.answer(0, refusal[0], None, refusal[1])
