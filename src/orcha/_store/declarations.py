"""What petitions declare and get, and what people decide.

Declared are groups, needs, keys, expectations, dependencies and arrays, got are devices. People decide about
priorities, pauses, slots and schedules, with what came of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orcha._core.state import IfFails
from orcha._store.checksums import checksum
from orcha._store.contract import MAX_ALTERATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.changes import (
        Altered,
        ArrayStop,
        AuditBounds,
        AuditEntry,
        Changes,
        NewAlteration,
        NewArray,
        NewDependency,
        NewFiring,
        Schedule,
    )

Ask = Callable[..., Any]
"""Runs a named query with its parameters."""


def write(changes: Changes, ask: Ask) -> None:
    """Keep declarations and decisions, in a transaction that holds the new petitions and the steps already."""
    made = vars(changes)  # the fields that anybody asked for: to ask for one of the others would make that
    for name, write_field in WRITERS.items():
        if made.get(name):
            write_field(made[name], ask)
    if changes.slots is not None:
        ask("forget_slots")
        ask("insert_slots", json.dumps(list(changes.slots.items())))


# --- what petitions declare and get -------------------------------------------------------------------------------


def _write_pairs(query: str) -> Callable[[Mapping[int, Any], Ask], None]:
    """Give the function that keeps one value for each petition."""

    def write_pairs(values: Mapping[int, Any], ask: Ask) -> None:
        ask(query, json.dumps(list(values.items())))

    return write_pairs


def _write_needs(needs: Mapping[int, Mapping[str, int | str]], ask: Ask) -> None:
    rows = [(seq, *need) for seq, of_one in needs.items() for need in of_one.items()]
    ask("insert_needs", json.dumps(rows))


def _write_devices(devices: Mapping[tuple[int, int], Mapping[str, tuple[str, ...]]], ask: Ask) -> None:
    rows = [
        (*attempt, resource, ",".join(names))
        for attempt, granted in devices.items()
        for resource, names in granted.items()
    ]
    ask("insert_devices", json.dumps(rows))


def _write_dependencies(dependencies: Mapping[int, list[NewDependency]], ask: Ask) -> None:
    rows = [(seq, *dependency) for seq, of_one in dependencies.items() for dependency in of_one]
    ask("insert_dependencies", json.dumps(rows))


def _hold_dependents(seqs: list[int], ask: Ask) -> None:
    ask("hold_dependents", json.dumps(seqs), IfFails.HELD)


# --- schedules and arrays -----------------------------------------------------------------------------------------


def _write_schedules(schedules: Mapping[str, Schedule | None], ask: Ask) -> None:
    for name, schedule in schedules.items():
        if schedule is None:
            ask("forget_schedule", name)
        else:
            ask("keep_schedule", *schedule)


def _write_firings(firings: list[NewFiring], ask: Ask) -> None:
    for firing in firings:
        ask("insert_firing", *firing[:-1])
        if firing.fired_until is not None:
            ask("note_fired", firing.schedule, firing.fired_until)


def _write_arrays(arrays: Mapping[int, NewArray], ask: Ask) -> None:
    for seq, array in arrays.items():
        ask("insert_array", seq, array.total, array.spec)
        for part, data in enumerate(array.items):
            ask("insert_array_items", seq, part, data)


def _write_elements(elements: Mapping[int, tuple[int, int]], ask: Ask) -> None:
    ask("insert_elements", json.dumps([(seq, *element) for seq, element in elements.items()]))


def _write_array_ends(ends: Mapping[tuple[int, int], bytes], ask: Ask) -> None:
    for part, data in ends.items():
        ask("keep_array_end", *part, data)


def _write_array_stops(stops: Mapping[int, ArrayStop], ask: Ask) -> None:
    for seq, stop in stops.items():
        ask("stop_array", seq, *stop)


# --- what people decide -------------------------------------------------------------------------------------------


def _write_priorities(priorities: Mapping[int, int | float], ask: Ask) -> None:
    for seq, priority in priorities.items():
        ask("set_priority", seq, priority)


def _write_altered(altered: Mapping[int, Altered], ask: Ask) -> None:
    """Keep what people changed of petitions, with a checksum anew."""
    for seq, new in altered.items():
        identity = ask("identity", seq)
        if identity is None:
            raise ValueError(f"there is no petition {seq} to change")
        token, name, is_int, manager, owner, channel = identity
        anew = checksum(token, name, is_int, manager, owner, channel, new.extras)
        ask("alter_petition", seq, new.extras, anew, new.priority)
        for forget in ("forget_group", "forget_needs", "forget_expected"):
            ask(forget, seq)
        if new.group is not None:
            ask("insert_groups", json.dumps([(seq, new.group)]))
        if new.needs:
            _write_needs({seq: new.needs}, ask)
        if new.expect is not None:
            ask("insert_expected", json.dumps([(seq, new.expect)]))
        if new.dependencies is not None:
            ask("forget_dependencies", seq)
            _write_dependencies({seq: new.dependencies}, ask)


def _write_alterations(alterations: list[NewAlteration], ask: Ask) -> None:
    for alteration in alterations:
        ask("insert_alteration", *alteration)
        ask("forget_alterations", alteration.petition, MAX_ALTERATIONS)


def _write_pauses(pauses: Mapping[str, bool], ask: Ask) -> None:
    for name, paused in pauses.items():
        ask("pause" if paused else "unpause", name)


def _write_decided(decided: Mapping[tuple[str, str], str | None], ask: Ask) -> None:
    for which, text in decided.items():
        ask("forget_decided", *which)
        if text is not None:
            ask("insert_decided", *which, text)


def _write_audit(entries: list[AuditEntry], ask: Ask) -> None:
    for entry in entries:
        ask("insert_audit", *entry[:6], json.dumps(entry.ids), entry.total, json.dumps(entry.owners), *entry[9:])


def _forget_audit(left: AuditBounds, ask: Ask) -> None:
    ask("forget_audit", *left)
    ask("forget_audited_submits", left.most)
    ask("forget_audited_deeds", left.most)


WRITERS: dict[str, Callable[[Any, Ask], None]] = {
    "groups": _write_pairs("insert_groups"),
    "needs": _write_needs,
    "devices": _write_devices,
    "once": _write_pairs("insert_once"),
    "expected": _write_pairs("insert_expected"),
    "dependencies": _write_dependencies,
    "schedules": _write_schedules,
    "firings": _write_firings,
    "arrays": _write_arrays,
    "elements": _write_elements,
    "array_ends": _write_array_ends,
    "array_stops": _write_array_stops,
    "held_for": _hold_dependents,
    "priorities": _write_priorities,
    "altered": _write_altered,
    "alterations": _write_alterations,
    "pauses": _write_pauses,
    "decided": _write_decided,
    "audit": _write_audit,
    "audit_left": _forget_audit,
}
"""What keeps each field of the changes, in the order in which the fields are kept."""
