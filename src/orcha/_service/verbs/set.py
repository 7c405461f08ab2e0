"""Change an accepted command: all that decides about its start while it waits, its limits while it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core import alterations, transitions
from orcha._core.array_items import item_at, message_of, unpacked
from orcha._core.authority import may_act_for
from orcha._core.changes import Altered, NewAlteration
from orcha._core.record import Phase
from orcha._core.state import State
from orcha._core.waiting_queue import checked_priority
from orcha._protocol import values
from orcha._protocol.messages import Reply, Verdict
from orcha._service.hooks.dependents import Change
from orcha._service.reports.explanations import cleaned
from orcha._service.verbs.petition_lookup import find, refuse
from orcha._service.verbs.priority import move
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER, LEASE_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.changes import NewPetition
    from orcha._core.converted import Converted
    from orcha._core.record import Record
    from orcha._protocol.messages import Set
    from orcha._server.server import Peer
    from orcha._service.arrays.array_book import LiveArray
    from orcha._service.engine import Engine
    from orcha._service.hooks.dependents import ChangedDependencies
    from orcha._store.contract import Row

_RUNNING_STATES = (State.STARTING, State.RUNNING)
_LOOKED_UP = frozenset(("group", "needs", "when", "pin"))
"""Fields whose new values name what there has to be."""


class _Wanted(NamedTuple):
    """What somebody wants changed."""

    asked: Mapping[str, Any]
    names: set[str]
    """The fields that change."""
    who: str
    may_name: Callable[[str], bool]


class _Plan(NamedTuple):
    """What a change makes of one petition, checked; nothing is changed yet."""

    converted: Converted
    altered: Altered
    note: NewAlteration
    dependencies: ChangedDependencies | None


class _KeptChannel:
    """Stands for a channel in a message that is encoded anew."""

    def __init__(self, identity: bytes) -> None:
        self.__orcha_channel__ = identity


class _RefusedError(Exception):
    """Why a petition is not changed."""


def set_petition(engine: Engine, peer: Peer, message: Set) -> None:
    """Change one petition; answered when that is kept."""
    engine.handle_when_free(_set, peer, message)


def _set(engine: Engine, peer: Peer, message: Set) -> None:
    if message.seq is None and message.id is not None and (waits := _unmade(engine, peer, message.id)) is not None:
        refuse(engine, peer, message.request, Verdict.REFUSED, waits)
        return
    found = find(engine, peer, message)
    if found is None:
        return
    try:
        do = changing(peer, values.decode(message.arguments))
    except (ValueError, TypeError) as error:
        refuse(engine, peer, message.request, Verdict.REFUSED, cleaned(str(error)))
        return
    reason = do(engine, *found)
    if reason is not None:
        refuse(engine, peer, message.request, Verdict.REFUSED, cleaned(reason))
    else:
        engine.reply(peer, Reply(message.request, Verdict.OK))


def _unmade(engine: Engine, peer: Peer, identity: str) -> str | None:
    """Give why an element of an array cannot be changed that is no petition yet; None for all else."""
    element = engine.arrays.element(identity)
    if element is None or identity in engine.petitions.live or not may_act_for(peer, element[0].record.owner):
        return None
    name = element[0].array.key
    return f"{identity!r} is no petition yet, or has ended: orcha set {name} changes all elements of {name!r} that wait"


def changing(peer: Peer, asked: Any) -> Callable[[Engine, Row, Record | None], str | None]:
    """Give what changes a petition, and gives why it did not.

    Raises:
        ValueError, TypeError: what is asked for makes no sense for any petition.

    """
    wanted = _wanted(peer, asked)
    return lambda engine, row, record: change(engine, row, record, wanted)


def changing_unmade(peer: Peer, asked: Any) -> Callable[[Engine, LiveArray, Row], str | None]:
    """Give what changes the elements of an array that are no petitions yet, and gives why it did not.

    Raises:
        ValueError, TypeError: as for `changing`.

    """
    wanted = _wanted(peer, asked)

    def change_them(engine: Engine, entry: LiveArray, row: Row) -> str | None:
        try:
            _change_unmade(engine, entry, row, wanted, (row.seq,))
        except _RefusedError as refusal:
            return str(refusal)
        return None

    return change_them


def _wanted(peer: Peer, asked: Any) -> _Wanted:
    if not isinstance(asked, dict):
        raise ValueError("what is to be changed is a map of fields to values")  # noqa: TRY004 - as the other faults
    names = alterations.named(asked)
    if "priority" in asked:
        checked_priority(asked["priority"])
    return _Wanted(asked, names, peer.identity, partial(may_act_for, peer))


def change(engine: Engine, row: Row, record: Record | None, wanted: _Wanted) -> str | None:
    """Change a petition, an array with its elements; give why not, where that cannot be."""
    try:
        _change(engine, row, record, wanted)
    except _RefusedError as refusal:
        return str(refusal)
    return None


def _change(engine: Engine, row: Row, record: Record | None, wanted: _Wanted) -> None:
    if row.manager not in {ARRAY_MANAGER, COMMAND_MANAGER}:
        _move_only(engine, row, record, wanted)
        return
    state = row.state if record is None else record.state
    if record is None or state in {State.CANCELLING, State.ENDED}:
        raise _RefusedError(_why_not(row, state))
    entry = engine.arrays.get(row.seq)
    if entry is not None:
        _change_array(engine, entry, row, wanted)
        return
    if state in _RUNNING_STATES and (refusal := alterations.refusal_of_what_runs(wanted.names, row.id)) is not None:
        raise _RefusedError(refusal)
    if record.attempt and not {"at", "delay"}.isdisjoint(wanted.names):
        raise _RefusedError(f"{row.id!r} has been tried already: a time is that of the first attempt alone")
    _apply(engine, record, _plan(engine, row, record, wanted, (row.seq,)), wanted)


def _why_not(row: Row, state: State) -> str:
    if state is State.ENDED:
        return f"{row.id!r} has ended: only what waits or runs can be changed; orcha retry {row.id} runs it once more"
    if state is State.CANCELLING:
        return f"{row.id!r} is being ended: only what waits or runs can be changed"
    return f"{row.id!r} belongs to {row.manager}, which is not served now: serve its plugin too"


def _move_only(engine: Engine, row: Row, record: Record | None, wanted: _Wanted) -> None:
    if wanted.names != {"priority"} and row.manager == LEASE_MANAGER:
        raise _RefusedError(
            f"{row.id!r} is a lease: only its priority can be changed, and orcha extend has it last longer"
        )
    if wanted.names != {"priority"}:
        theirs = f"{row.id!r} is made by the code of its plugin, which says the rest: only its priority can be changed"
        raise _RefusedError(theirs)
    reason = move(engine, row, record, checked_priority(wanted.asked["priority"]))
    if reason is not None:
        raise _RefusedError(reason)


# --- what it comes to ---------------------------------------------------------------------------------------------


def _plan(
    engine: Engine,
    row: Row | NewPetition,
    record: Record,
    wanted: _Wanted,
    seqs: tuple[int, ...],
    array: LiveArray | None = None,
) -> _Plan:
    """Find out what a petition becomes; `seqs` begin with the petition."""
    now = engine.petitions.now
    gathered = engine.petitions.changes.altered.get(row.seq)
    fields = _fields(row.extras if gathered is None else gathered.extras)
    priority = checked_priority(wanted.asked["priority"]) if "priority" in wanted.names else record.given_priority
    named_priority = {"priority": priority} if "priority" in wanted.names else {}
    try:
        known = fields if record.timeout is None else {"timeout": record.timeout} | fields  # perhaps that of its group
        new = alterations.altered(known if "timeout_by" in wanted.asked else fields, wanted.asked, now.wall)
        new |= named_priority
        sent: dict[str, Any] = new
        identity: str | int = record.id
        if array is not None:
            part = engine.store.array_items(row.seq, 0)
            item = item_at(array.spec, 0, None if part is None else unpacked(part))
            sent, identity = message_of(new, item), f"{row.id}.{item.number}"
    except (ValueError, TypeError) as error:
        raise _RefusedError(f"{row.id!r} is not changed: {error}") from None
    converted = engine.new_arrays.convert(
        identity, row.token, row.owner, values.encode(sent), is_new=not _LOOKED_UP.isdisjoint(wanted.names)
    )
    if isinstance(converted, str):
        raise _RefusedError(f"{row.id!r} is not changed: {converted}")
    if converted.group is not None and new.get("timeout") is None:
        given = engine.admission.of_groups.timeout_of(converted.group, row.seq, None)
        converted = replace(converted, timeout=given)
    if "timeout" in wanted.names and converted.group is not None:
        longer = engine.admission.of_groups.too_long(converted.group, new.get("timeout"))
        if longer is not None:
            raise _RefusedError(f"{row.id!r} is not changed: {longer.text()}")
    changed = _dependencies(engine, new, wanted, seqs)
    kept = Altered(
        values.encode(new),
        priority,
        converted.group,
        converted.needs,
        converted.expect,
        None if changed is None else changed.kept,
    )
    old = {**fields, "priority": record.given_priority}
    what = alterations.difference(_for_people(old), _for_people({**new, "priority": priority}))
    note = NewAlteration(row.seq, now.wall, wanted.who, json.dumps(what))
    return _Plan(converted, kept, note, changed)


def _fields(extras: bytes) -> dict[str, Any]:
    try:
        fields = values.decode(extras, channel=_KeptChannel)
    except ValueError:
        raise _RefusedError("what was kept of its message is damaged: send it again") from None
    assert isinstance(fields, dict)
    return fields


def _for_people(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give what can be changed of a message."""
    shown = ("group", "needs", "after", "after_ok", "if_dependency_fails", "at", "delay", "timeout", "expect", "retry")
    return {name: fields.get(name) for name in (*shown, "label", "when", "priority", "pin", *alterations.LIMITS)}


def _dependencies(
    engine: Engine, new: Mapping[str, Any], wanted: _Wanted, seqs: tuple[int, ...]
) -> ChangedDependencies | None:
    if alterations.OF_AN_ARRAY.isdisjoint(wanted.names):
        return None
    named = dict.fromkeys(map(str, wanted.asked.get("after") or ()), False)
    named |= dict.fromkeys(map(str, wanted.asked.get("after_ok") or ()), True)
    keeps = "after" not in alterations.named_unset(wanted.asked)
    change = Change(keeps, wanted.may_name, engine.arrays.elements_of)
    planned = engine.dependents.plan(seqs, named, new.get("if_dependency_fails"), change)
    if isinstance(planned, str):
        raise _RefusedError(planned)
    return planned


def _apply(engine: Engine, record: Record, plan: _Plan, wanted: _Wanted) -> None:
    if plan.converted.group is not None:
        engine.admitting.appear(plan.converted.group, record)
    if plan.dependencies is not None:
        engine.dependents.change(record.seq, plan.dependencies)
    petitions, resources = engine.petitions, engine.admission.resources
    transitions.alter.alter(
        petitions, resources, record, plan.converted, plan.altered, plan.note, wanted.names, petitions.now
    )
    if transitions.alter.rests_for_its_time(record) and not {"at", "delay"}.isdisjoint(wanted.names):
        engine.appointments.wait(record)
    if "queue_timeout" in wanted.names:
        engine.ending.change_wait(record)
    if record.state in _RUNNING_STATES and not alterations.OF_ITS_SHIM.isdisjoint(wanted.names):
        engine.after_batch(partial(engine.commands.limit, record))


# --- arrays -------------------------------------------------------------------------------------------------------


def _change_array(engine: Engine, entry: LiveArray, row: Row, wanted: _Wanted) -> None:
    """Change what later elements become, and the elements that wait; of elements that run, what can be changed."""
    elements = engine.arrays.live_elements(entry)
    of_each = wanted._replace(names=wanted.names - alterations.OF_AN_ARRAY)
    plans = []
    kept = engine.store.rows([each.seq for each in elements])
    rows: dict[int, Row | NewPetition] = {each.seq: each for each in kept}
    rows |= {each.seq: each for each in engine.petitions.changes.petitions}
    for element in elements:
        narrowed = _narrowed(element, of_each)
        if element.seq in rows and narrowed.names:
            plans.append((element, _plan(engine, rows[element.seq], element, narrowed, (element.seq,)), narrowed))
    dependencies = _change_unmade(engine, entry, row, wanted, (row.seq, *(each.seq for each in elements)))
    if dependencies is not None:
        for element in elements:
            if element.state is State.QUEUED:
                engine.dependents.change(element.seq, dependencies)
    for element, of_element, narrowed in plans:
        _apply(engine, element, of_element, narrowed)
    for element in elements:
        if element.phase is Phase.CONVERTING:
            engine.arrays.make_anew(entry, element)


def _change_unmade(
    engine: Engine, entry: LiveArray, row: Row, wanted: _Wanted, seqs: tuple[int, ...]
) -> ChangedDependencies | None:
    """Change what later elements become, which the array's own row says; give what its elements wait for since."""
    plan = _plan(engine, row, entry.record, wanted, seqs, entry)
    if plan.dependencies is not None:
        engine.dependents.change(row.seq, plan.dependencies)
    if plan.converted.group is not None:
        engine.admitting.appear(plan.converted.group, entry.record)
    transitions.alter.alter_array(engine.petitions, entry.record, plan.converted, plan.altered, plan.note)
    engine.arrays.changed(entry)
    return plan.dependencies


def _narrowed(element: Record, wanted: _Wanted) -> _Wanted:
    """Give what is changed of one element: less of a running element than of a waiting element."""
    left = wanted.names
    if element.state in _RUNNING_STATES:
        left = left & alterations.OF_WHAT_RUNS
    elif element.attempt:
        left = left - {"at", "delay"}
    elif element.state not in {State.QUEUED, State.HELD}:
        left = set()
    unset = [name for name in wanted.asked.get("unset") or () if name in left]
    asked = {name: value for name, value in wanted.asked.items() if name.removesuffix("_by") in left}
    return wanted._replace(asked=asked | ({"unset": unset} if unset else {}), names=left)
