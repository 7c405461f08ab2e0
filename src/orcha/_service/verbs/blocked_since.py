"""Since when a reason keeps a petition from starting, and by whose wish."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orcha._core.admission import ALL, group_name, petition_name
from orcha._core.reasons import (
    AfterOthers,
    DependencyFailed,
    Drained,
    EverythingPaused,
    GroupFull,
    GroupPaused,
    InOrder,
    MachineFull,
    NeedsShort,
    PetitionPaused,
    PreemptedBy,
    QuotaInUse,
    RateReached,
    Reason,
    ReplacesAnother,
    ServiceDrained,
    ServiceStops,
    ShareShort,
    StartsLater,
    UserFull,
)
from orcha._core.record import Record
from orcha._service.reports.user_names import user
from orcha.interfaces.needs import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._service.engine import Engine

_ABOUT: tuple[tuple[tuple[type[Reason], ...], tuple[str, ...]], ...] = (
    ((AfterOthers,), ("after", "after_ok")),
    ((StartsLater,), ("at", "delay")),
    ((Drained, NeedsShort, ShareShort), ("needs",)),
    ((GroupFull, RateReached, UserFull), ("group",)),
)
"""What people can change of a petition so that a reason keeps it from starting from then on."""
_SINCE_IT_CAME = (AfterOthers, InOrder, ReplacesAnother, StartsLater)
_PAUSES = (PetitionPaused, DependencyFailed, GroupPaused, EverythingPaused)
_FULL = (GroupFull, UserFull, MachineFull, QuotaInUse)


def since(engine: Engine, reason: Reason, record: Record, holders: Iterable[str]) -> dict[str, Any]:
    """Give since when a reason keeps a petition from starting: a wall-clock time, or None where that is not known.

    `by` is who paused what is paused. The `holders` hold what the petition waits for: what is full is full since the
    last of them started.
    """
    if isinstance(reason, _PAUSES):
        who, when = engine.admitting.paused_by.get(_name_of(reason, record), (None, None))
        by = None if who is None else user(who)
        return {"since": None if when is None else max(when, record.submitted), "by": by}
    if isinstance(reason, PreemptedBy):
        mark = engine.petitions.preempted.get(record.seq)
        return {"since": None if mark is None else mark.at}
    if isinstance(reason, ServiceDrained):
        drained = engine.drains.drained
        since = None if drained is None else max(drained.since, record.submitted)
        return {"since": since, "by": None if drained is None else user(drained.who)}
    if isinstance(reason, ServiceStops):
        return {"since": max(engine.draining_since, record.submitted)}
    begun = _begun(engine, reason, record, holders)
    return {"since": None if begun is None else max(begun, record.submitted, _changed(engine, reason, record))}


def _changed(engine: Engine, reason: Reason, record: Record) -> float:
    """Give when people last changed what a reason is about; 0 where they never did."""
    fields = set(next((fields for kinds, fields in _ABOUT if isinstance(reason, kinds)), ()))
    if not fields:
        return 0.0
    return max(
        (at for at, _, what in engine.store.alterations(record.seq) if fields & {*json.loads(what)}), default=0.0
    )


def _name_of(reason: Reason, record: Record) -> str:
    """Give the name under which a pause is kept."""
    if isinstance(reason, GroupPaused):
        return group_name(reason.group)
    return ALL if isinstance(reason, EverythingPaused) else petition_name(record.seq)


def _begun(engine: Engine, reason: Reason, record: Record, holders: Iterable[str]) -> float | None:
    if isinstance(reason, _SINCE_IT_CAME):
        return record.submitted
    if isinstance(reason, RateReached):
        log = engine.granted.start_logs.get(reason.group)
        return None if log is None else max(log.walls(engine.petitions.now), default=None)
    if isinstance(reason, Drained):
        drains = engine.admission.resources.inventory.drains.get(reason.resource, {})
        return max((drain.since for drain in drains.values()), default=None)
    live = engine.petitions.live
    held = sorted(
        (each.started, each.key)
        for name in holders
        if isinstance(each := live.get(name), Record) and each.started is not None
    )
    if isinstance(reason, _FULL) and held:
        return held[-1][0]
    if isinstance(reason, NeedsShort | ShareShort) and held:
        return _short_since(engine, reason, held)
    return record.since if type(record.why) is type(reason) else None


def _short_since(engine: Engine, reason: NeedsShort | ShareShort, held: list[tuple[float, str]]) -> float:
    """Give when the first of the holders started with which too little of a resource is left."""
    left = float(engine.admission.resources.inventory.capacity(reason.resource))
    for begun, name in held:
        record = engine.petitions.live[name]
        assert isinstance(record, Record)
        left -= float(read((record.needs or {}).get(reason.resource, 0)).amount)
        if left < reason.amount:
            return begun
    return held[-1][0]


__all__ = ["since"]
