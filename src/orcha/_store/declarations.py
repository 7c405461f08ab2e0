"""What petitions declare and get, and what people decide.

Declared are groups, needs, keys, expectations, dependencies and arrays, got are devices. People decide about
priorities, pauses, slots and schedules, with what came of these.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orcha._core.state import IfFails
from orcha._store.checksums import checksum
from orcha._store.contract import MAX_ALTERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.changes import Changes


def write(changes: Changes, ask: Callable[..., Any]) -> None:
    """Keep declarations and decisions, in a transaction that holds the new petitions and the steps already.

    `ask` runs a named query with its parameters.
    """
    _write_declarations(changes, ask)
    if changes.schedules or changes.firings:
        _write_schedules(changes, ask)
    _write_arrays(changes, ask)
    if changes.held_for:
        ask("hold_dependents", json.dumps(changes.held_for), IfFails.HELD)
    for seq, priority in changes.priorities.items():
        ask("set_priority", seq, priority)
    if changes.altered:
        _write_alterations(changes, ask)
    for name, paused in changes.pauses.items():
        ask("pause" if paused else "unpause", name)
    for decided, text in changes.decided.items():
        ask("forget_decided", *decided)
        if text is not None:
            ask("insert_decided", *decided, text)
    _write_audit(changes, ask)
    if changes.slots is not None:
        ask("forget_slots")
        ask("insert_slots", json.dumps(list(changes.slots.items())))


def _write_audit(changes: Changes, ask: Callable[..., Any]) -> None:
    """Keep what clients did, and no more of it than may be left."""
    for entry in changes.audit:
        ask("insert_audit", *entry[:6], json.dumps(entry.ids), entry.total, json.dumps(entry.owners), *entry[9:])
    if changes.audit_left is not None:
        ask("forget_audit", *changes.audit_left)
        ask("forget_audited_submits", changes.audit_left.most)
        ask("forget_audited_deeds", changes.audit_left.most)


def _write_declarations(changes: Changes, ask: Callable[..., Any]) -> None:
    if changes.groups:
        ask("insert_groups", json.dumps(list(changes.groups.items())))
    if changes.needs:
        needs = [(seq, *need) for seq, needs in changes.needs.items() for need in needs.items()]
        ask("insert_needs", json.dumps(needs))
    if changes.devices:
        devices = [
            (*attempt, resource, ",".join(names))
            for attempt, granted in changes.devices.items()
            for resource, names in granted.items()
        ]
        ask("insert_devices", json.dumps(devices))
    if changes.once:
        ask("insert_once", json.dumps(list(changes.once.items())))
    if changes.expected:
        ask("insert_expected", json.dumps(list(changes.expected.items())))
    if changes.dependencies:
        rows = [(seq, *dependency) for seq, dependencies in changes.dependencies.items() for dependency in dependencies]
        ask("insert_dependencies", json.dumps(rows))


def _write_alterations(changes: Changes, ask: Callable[..., Any]) -> None:
    """Keep what people changed of petitions, with a checksum anew, and who did that."""
    for seq, new in changes.altered.items():
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
            ask("insert_needs", json.dumps([(seq, *need) for need in new.needs.items()]))
        if new.expect is not None:
            ask("insert_expected", json.dumps([(seq, new.expect)]))
        if new.dependencies is not None:
            ask("forget_dependencies", seq)
            ask("insert_dependencies", json.dumps([(seq, *dependency) for dependency in new.dependencies]))
    for alteration in changes.alterations:
        ask("insert_alteration", *alteration)
        ask("forget_alterations", alteration.petition, MAX_ALTERATIONS)


def _write_schedules(changes: Changes, ask: Callable[..., Any]) -> None:
    for name, schedule in changes.schedules.items():
        if schedule is None:
            ask("forget_schedule", name)
        else:
            ask("keep_schedule", *schedule)
    for firing in changes.firings:
        ask("insert_firing", *firing[:-1])
        if firing.fired_until is not None:
            ask("note_fired", firing.schedule, firing.fired_until)


def _write_arrays(changes: Changes, ask: Callable[..., Any]) -> None:
    """Keep what there is of arrays and their elements."""
    for seq, array in changes.arrays.items():
        ask("insert_array", seq, array.total, array.spec)
        for part, data in enumerate(array.items):
            ask("insert_array_items", seq, part, data)
    if changes.elements:
        ask("insert_elements", json.dumps([(seq, *element) for seq, element in changes.elements.items()]))
    for (seq, part), ends in changes.array_ends.items():
        ask("keep_array_end", seq, part, ends)
    for seq, stop in changes.array_stops.items():
        ask("stop_array", seq, *stop)
