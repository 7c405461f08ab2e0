"""All that keeps a petition from starting now: each reason with what ends it, and who holds what it waits for."""

from __future__ import annotations

import time
from dataclasses import fields
from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING, Any

from orcha._core.owner_turns import owner_first
from orcha._core.quotas import RUNNING, SLOTS
from orcha._core.reasons import (
    ConditionSaidNo,
    EverythingPaused,
    GroupFull,
    GroupTextIsFalse,
    HeldAfterInterruption,
    InOrder,
    MachineFull,
    MachineTaken,
    ManagerNotServed,
    NeedsShort,
    NotAlone,
    QuotaInUse,
    RestingUntil,
    ServiceStops,
    ShareShort,
    StartsLater,
    TextIsFalse,
    UserFull,
    with_names,
)
from orcha._core.record import Phase, Record
from orcha._core.state import State
from orcha._service.reports.lease_text import until
from orcha._service.reports.user_names import user
from orcha._service.verbs import array_rows, lease_rows, preempted_rows
from orcha._service.verbs.blocked_since import since
from orcha.interfaces.built_in import COMMAND_MANAGER, LEASE_MANAGER, WATCHDOG_MANAGER
from orcha.interfaces.needs import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.reasons import Reason
    from orcha._core.record import Key
    from orcha._service.engine import Engine
    from orcha._service.verbs.sights import Sights
    from orcha._store.contract import Row

MAX_HOLDERS = 20
"""Petitions that are named as holders of what another one waits for."""


def blocking(engine: Engine, row: Row, record: Record | None, sights: Sights) -> list[dict[str, Any]]:
    """Give all reasons why a live petition does not start, as maps of the keys that `docs/wire.md` names.

    Petitions that hold what this one waits for are named as far as the client may know of them;
    leases are named to everybody.
    """
    may_see = sights.sees
    reasons = [with_names(reason, sights.named) for reason in reasons_of(engine, row, record)]
    found = [_described(engine, reason, record) for reason in reasons]
    if record is not None:
        for reason, known in zip(reasons, found, strict=True):
            known.update(since(engine, reason, record, known.get("holders", ())))
    for known in found:
        if "first" in known:
            known["first"] = _first(engine, known["first"], may_see)
        if "holders" in known:
            known["holders"] = _named(engine, known["holders"], may_see)
        if "overdue" in known:
            known["overdue"] = _named(engine, list(known["overdue"]), may_see)
        if "resource" in known and "holders" in known:
            known["held"] = [_held(engine, name, known["resource"]) for name in known["holders"]]
    return found


def _of_account(engine: Engine, reason: QuotaInUse) -> list[str]:
    """Give the petitions that hold what a quota limits."""
    granted, quotas = engine.petitions.granted, engine.petitions.quotas
    if quotas is None:
        return []
    counted = {seq for seq, needs in quotas.counted(reason.whose) if reason.what in {RUNNING, SLOTS, *needs}}
    return [key for key in granted if (each := engine.petitions.live.get(key)) and _seq(each) in counted]


def _seq(known: Record | Key) -> int:
    return known.seq if isinstance(known, Record) else known[1]


def _named(engine: Engine, names: list[str], may_see: Callable[[str], bool]) -> list[str]:
    live = engine.petitions.live
    there = [record for name in names if isinstance(record := live.get(name), Record)]
    seen = (record.key for record in there if record.manager == LEASE_MANAGER or may_see(record.owner))
    return list(islice(seen, MAX_HOLDERS))


def _first(engine: Engine, name: str, may_see: Callable[[str], bool]) -> dict[str, Any] | None:
    """Give the petition that comes first, if the client may know of it."""
    record = engine.find(name)
    if record is None or not (record.manager == LEASE_MANAGER or may_see(record.owner)):
        return None
    return {"id": name, "user": user(record.owner), "lease": lease_rows.told(record)}


def _held(engine: Engine, name: str, resource: str) -> dict[str, Any]:
    """Give which devices a petition holds, and until when at the latest, as far as that is known."""
    record = engine.petitions.live[name]
    assert isinstance(record, Record)
    return {
        "id": name,
        "devices": list((record.devices or {}).get(resource, ())),
        "until": until(record),
        "expected": _expected(record),
        "lease": lease_rows.told(record),
    }


def _expected(record: Record) -> float | None:
    """Give the wall-clock time at which a petition that runs was said to end; None where nobody said so."""
    return None if record.expect is None or record.started is None else record.started + record.expect


def reasons_of(engine: Engine, row: Row, record: Record | None) -> list[Reason]:
    """Give all reasons why a petition does not start; none where it does not wait."""
    if row.state not in {State.QUEUED, State.HELD}:
        stands = preempted_rows.why(engine, row)
        return [] if stands is None else [stands]
    if (entry := engine.arrays.get(row.seq)) is not None:
        reason = array_rows.why(engine, entry)
        return [] if reason is None else [reason]
    if not engine.managers.serves(row.manager):
        return [ManagerNotServed(row.manager)]
    if record is None or record.phase not in {Phase.WAITING, Phase.RESTING}:
        return []
    found = _everything_waits(engine)
    if record.state is State.HELD:
        found.append(HeldAfterInterruption())
    if isinstance(record.why, RestingUntil | StartsLater) and record.phase is Phase.RESTING:
        found.append(record.why)
    found += _declared(engine, record)
    found += _said_no(engine, record)
    found += _others_first(engine, record)
    if not found:
        found.append(InOrder(engine.petitions.waiting.place(record.place)))
    return found


def _declared(engine: Engine, record: Record) -> list[Reason]:
    """Give what blocks a petition by what it declares."""
    if record.petition is not None:
        return engine.admission.reasons(record)
    seqs = [record.seq]  # since the service started it was not converted, and its record does not say what it declares
    group, needs = engine.store.groups(seqs).get(record.seq), engine.store.needs(seqs).get(record.seq)
    return engine.admission.reasons(record, group, needs)


def _others_first(engine: Engine, record: Record) -> list[Reason]:
    first = owner_first(engine.petitions, record) if record.state is State.QUEUED else None
    return [] if first is None else [first]


def _everything_waits(engine: Engine) -> list[Reason]:
    """Give why nothing starts at all."""
    stops = ServiceStops(engine.draining) if engine.draining else None
    drained = None if engine.drains.drained is None else engine.drains.drained.reason
    found = (stops, drained, EverythingPaused() if engine.paused else None)
    return [reason for reason in found if reason is not None]


def _said_no(engine: Engine, record: Record) -> list[Reason]:
    """Give what the petition's own condition says; of commands that is known without asking it."""
    if record.manager == COMMAND_MANAGER:
        manager = engine.managers.of(record)
        return [MachineFull(manager.most)] if manager.running_processes >= manager.most else []
    return [record.why] if isinstance(record.why, ConditionSaidNo) else []


def _described(engine: Engine, reason: Reason, record: Record | None) -> dict[str, Any]:
    given = {field.name: getattr(reason, field.name) for field in fields(reason)}  # type: ignore[arg-type]  # all are
    names = {"id": quote(record.key) if record is not None else "", "group": quote(str(given.get("group", "")))}
    known: dict[str, Any] = {"kind": reason.kind(), "text": reason.text()}
    known |= {"remedy": reason.remedy.format_map(names) or None, **given}
    if isinstance(reason, ConditionSaidNo) and record is not None and record.asked is not None:
        known["asked_ago"] = round(time.monotonic() - record.asked, 3)
    if isinstance(reason, TextIsFalse | GroupTextIsFalse) and (age := engine.sampling.age_of(reason)) is not None:
        known["asked_ago"] = round(age, 3)
    granted = engine.petitions.granted
    if isinstance(reason, GroupFull):
        known["holders"] = granted.holders(group=reason.group)
    elif isinstance(reason, UserFull):
        known["holders"] = granted.holders(group=reason.group, owner=reason.owner)
    elif isinstance(reason, QuotaInUse):
        known["holders"] = _of_account(engine, reason)
    elif isinstance(reason, NeedsShort | ShareShort):
        need = None if record is None else (record.needs or {}).get(reason.resource)
        known["holders"] = granted.holders(resource=reason.resource, need=need)
    elif isinstance(reason, MachineTaken):
        known |= {"resource": WHOLE, "holders": granted.holders(resource=WHOLE)}
    elif isinstance(reason, NotAlone):
        others = granted.of_manager(WATCHDOG_MANAGER)
        known |= {"resource": WHOLE, "holders": [name for name in granted if name not in others]}
    elif isinstance(reason, MachineFull):
        known["holders"] = list(granted.of_manager(COMMAND_MANAGER))
    return known
