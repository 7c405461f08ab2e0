"""What holds petitions back, whatever their conditions say: pauses, slots of groups, and resources.

What is held back for such a reason is put on a shelf: it is asked no more, hides nobody, and costs nothing until that
reason is gone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from orcha._core import groups as core
from orcha._core.reasons import GroupFull, GroupPaused, GroupUnknown, PetitionPaused, ReplacesAnother
from orcha._core.state import State
from orcha._service.hooks.resources import Resources
from orcha._service.lifecycle.stored_records import record_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.reasons import Reason
    from orcha._core.record import Key, Record
    from orcha._service.engine import Engine

ALL = "all"
AT_ONCE = 1_000
"""Petitions that are taken off a shelf in one batch."""
_UNKNOWN = -1
LOOKED_AT = 1_000
"""Petitions beside a shelf that are looked at for others of the same group, to tell how many are before one."""


def group_name(group: str) -> str:
    """Give the name under which the pause of a group is kept, and of its shelf."""
    return f"group:{group}"


def petition_name(seq: int | str) -> str:
    """Give the name under which the pause of a petition is kept, and of its shelf."""
    return f"petition:{seq}"


class Groups:
    """Pauses and slots. The engine thread's, except `why_not`, which the hook thread asks."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._slots: Mapping[str, int | None] = {}
        self.resources = Resources(engine, self._is_paused)
        self.paused: set[str] = set()
        """What is paused: `all`, `group:<name>`, `petition:<seq>`."""
        self._opening: set[str] = set()
        self._seen = -1
        self._due = False

    def load(self) -> None:
        """Take over what is kept as paused, and the groups as they were set, where they are not set anew."""
        engine = self._engine
        self.paused = engine.store.pauses()
        engine.paused = ALL in self.paused
        kept, settings = engine.store.slots(), engine.settings
        self._slots = core.declared(kept, settings.slots, settings.forgotten_groups)
        if self._slots != kept:
            engine.machine.changes.slots = self._slots
        before = {name: count for name, count in self._slots.items() if name not in settings.slots}
        if before:
            engine.report(logging.INFO, "groups are as they were set before: %s", core.spelled(before))

    def refusal(self, group: str) -> GroupUnknown | None:
        """Tell why nothing of a group can be taken, where there is no such group."""
        known = group in self._slots or group_name(group) in self.paused
        return None if known else GroupUnknown.among(group, self._slots)

    # --- may it start? ------------------------------------------------------------------------------------------

    def why_not(self, record: Record) -> Reason | None:
        """Tell why a petition may not start whatever its condition says, if that is so."""
        why = self._before_needs(record)
        return self.resources.why_not(record, record.needs) if why is None and record.needs else why

    def _before_needs(self, record: Record) -> Reason | None:
        if record.once is not None and self._engine.once.waits(record):
            return ReplacesAnother()
        return self.held_by(record.seq, record.group)

    def _is_paused(self, seq: int, group: str | None) -> bool:
        paused = self.paused
        return petition_name(seq) in paused or (group is not None and group_name(group) in paused)

    def held_by(self, seq: int, group: str | None) -> Reason | None:
        """Tell which pause, or which group without a free slot, holds back a petition now, if any does."""
        if self.paused:
            if petition_name(seq) in self.paused:
                return PetitionPaused()
            if group is not None and group_name(group) in self.paused:
                return GroupPaused(group)
        if group is None:
            return None
        slots = self._slots.get(group, _UNKNOWN)
        if slots == _UNKNOWN:
            return self.refusal(group)
        if slots is None or self._engine.granted.in_group(group) < slots:
            return None
        return GroupFull(group, slots)

    def after_no(self, record: Record) -> None:
        """Put a petition that may not start onto the shelf of what holds it."""
        name = petition_name(record.seq)
        if self.paused and name in self.paused:
            self._engine.machine.park(record, name)
        elif record.group is not None:
            name = group_name(record.group)
            if self._before_needs(record) is not None:
                self._engine.machine.park(record, name)
            elif self._engine.machine.waiting.parked_in(name):
                self._open(name, 1)  # its own condition said no, or its needs: another one of the group may go
        if record.needs:
            self.resources.after_no(record)

    def look(self) -> None:
        """Let as many wait with the others again as have slots and resources now; called often."""
        machine = self._engine.machine
        if not machine.waiting.parked or machine.version == self._seen:
            return
        self._warm(self.resources.look())
        for group, slots in self._slots.items():
            name = group_name(group)
            if slots is None:
                continue
            free = slots - self._engine.granted.in_group(group)
            if free > 0 and name not in self.paused and machine.waiting.parked_in(name):
                self._open(name, free)
        self._seen = machine.version

    def _open(self, name: str, count: int) -> None:
        self._warm(self._engine.machine.unpark(name, count))

    def _warm(self, cold: list[Key]) -> None:
        if cold:
            for row in self._engine.store.rows([key[1] for key in cold]):
                self._engine.machine.load(record_of(row))

    # --- decisions of people ------------------------------------------------------------------------------------

    def pause(self, name: str) -> None:
        """Hold back what this names, from now on, also after a restart of the service."""
        self._decide(name, paused=True)

    def resume(self, name: str) -> None:
        """Hold it back no more."""
        self._decide(name, paused=False)
        if name != ALL:
            self._opening.add(name)
            self._go_on()

    def _decide(self, name: str, *, paused: bool) -> None:
        self.paused = self.paused | {name} if paused else self.paused - {name}  # the hook thread reads it
        self._engine.machine.changes.pauses[name] = paused
        if name == ALL:
            self._engine.pause(paused)
        self._engine.machine.version += 1

    def _go_on(self) -> None:
        """Open the shelves of what goes on, a part at a time: a million may wait there."""
        for name in list(self._opening):
            self._open(name, AT_ONCE)
            if name in self.paused or not self._engine.machine.waiting.parked_in(name):
                self._opening.discard(name)
        if self._opening:
            self._engine.post(self._go_on)

    # --- for people ---------------------------------------------------------------------------------------------

    def before(self, record: Record, group: str | None) -> int | None:
        """Tell how many wait for the same as one that waits, and come before it; None where nobody has to go first."""
        waiting = self._engine.machine.waiting
        shelf = waiting.lot_of(record.place)
        if petition_name(record.seq) in self.paused:
            return None
        if shelf is None or group is None or shelf != group_name(group):
            in_line = self.resources.before(record.seq)
            never = in_line is None and self.resources.is_shelf(shelf)
            return waiting.place(record.place) if in_line is None and not never else in_line
        records = self._engine.machine.records
        others = (records.get(key[1]) for key in waiting.before(record.place, LOOKED_AT))
        return waiting.place(record.place) + sum(1 for each in others if each is not None and each.group == group)

    def holds(self, seq: int, group: str | None, state: State) -> bool:
        """Tell whether a petition is paused, or what it waits with is: its group, or everything.

        A pause of more than one petition starts nothing more, and what runs goes on.
        """
        if state in (State.CANCELLING, State.ENDED):
            return False
        names = {petition_name(seq)}
        if state in (State.QUEUED, State.HELD):
            names |= {ALL} if group is None else {ALL, group_name(group)}
        return not self.paused.isdisjoint(names)

    def describe(self) -> list[dict[str, Any]]:
        """Give each group that has slots, is paused, or of which something runs or is held back."""
        granted, waiting = self._engine.granted, self._engine.machine.waiting
        prefix = group_name("")
        paused = {name.removeprefix(prefix) for name in self.paused if name.startswith(prefix)}
        held = {name.removeprefix(prefix) for name in waiting.lots() if name.startswith(prefix)}
        return [
            {
                "group": group,
                "slots": self._slots.get(group),
                "running": granted.in_group(group),
                "waiting": waiting.parked_in(group_name(group)),
                "paused": group in paused,
            }
            for group in sorted({*self._slots, *paused, *held, *granted.groups()})
        ]
