"""Leases in listings: operators see all, everybody sees the holder, the purpose, the devices and the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core.state import State
from orcha._protocol import values
from orcha._service.reports import lease_text
from orcha._service.reports.user_names import user
from orcha.interfaces.built_in import LEASE_MANAGER

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._service.engine import Engine
    from orcha._store.contract import Row

_HELD_STATES = (State.STARTING, State.RUNNING, State.CANCELLING)


def told(record: Record) -> dict[str, Any] | None:
    """Give what everybody may know of a lease that is held; None where a petition is no lease."""
    if record.manager != LEASE_MANAGER:
        return None
    return {"user": user(record.owner), "why": getattr(record.petition, "why", ""), "what": lease_text.what(record)}


def in_row(engine: Engine, row: Row) -> dict[str, Any]:
    """Give the keys that only the rows of leases have."""
    if row.manager != LEASE_MANAGER:
        return {}
    record = engine.petitions.records.get(row.seq)
    if record is None or row.state is State.ENDED:
        return {"until": None}
    return {"until": lease_text.until(record), "expect": record.expect}


def of(engine: Engine, row: Row) -> dict[str, Any] | None:
    """Give a lease's purpose, and its devices while it is held; None where a petition is no lease."""
    if row.manager != LEASE_MANAGER:
        return None
    fields = values.fields_of(row.extras)
    record = engine.petitions.records.get(row.seq)
    known = {"why": fields.get("why") or "", "while_attached": bool(fields.get("while_attached"))}
    if record is None or row.state not in _HELD_STATES:
        return known | {"what": None}
    return known | {"what": lease_text.what(record)}
