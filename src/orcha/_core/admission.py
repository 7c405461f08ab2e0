"""Whether what a petition declares lets it start now: pauses, its key, the slots of its group, and what it needs.

A petition's own condition is asked only where nothing of this blocks it. What blocks a petition here is known to the
service at every moment, so the petition is parked in a lot named after that, is asked no more, and hides nobody, until
that is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.conditions.book import ConditionBook
from orcha._core.conditions.kinds import Unknown
from orcha._core.conditions.terms import BUILT_IN
from orcha._core.dependencies import Dependencies, waits_for
from orcha._core.once_keys import OnceKeys
from orcha._core.reasons import (
    DependencyFailed,
    GroupFull,
    GroupPaused,
    GroupUnknown,
    InOrder,
    PetitionPaused,
    ReplacesAnother,
    StartsLater,
    TextIsFalse,
)
from orcha._core.record import Phase
from orcha._core.resources import Resources
from orcha._core.state import State
from orcha._core.transitions import hold
from orcha._core.waiting_queue import MAX_READY_PETITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from orcha._core.conditions.book import ServiceValues
    from orcha._core.conditions.terms import Vocabulary
    from orcha._core.converted import Candidate
    from orcha._core.dependencies import FailedDependency
    from orcha._core.inventory import Stock
    from orcha._core.petitions import Petitions
    from orcha._core.reasons import Reason
    from orcha._core.record import Key, Record
    from orcha._core.state import Outcome

# Looked up once: an attribute of an enumeration costs ten times a global name.
_CONVERTING = Phase.CONVERTING

ALL = "all"
"""The name under which the pause of the whole service is kept."""
_GROUP = "group:"
_PETITION = "petition:"
_TEXT = "when:"
MAX_UNPARKED_PETITIONS = 1_000
"""Petitions that leave a lot in one batch when a pause ends: a million may wait there."""
MIN_READY_PETITIONS_OF_A_TEXT = 96
"""Petitions of one condition that has come to hold, and that wait with the others, at least: a round asks so many."""
MAX_LOOKED_AT_PETITIONS = 1_000
"""Ready petitions that are looked at for others of the same group, to tell how many are before one."""


def group_name(group: str) -> str:
    """Give the name under which the pause of a group is kept, and of its lot."""
    return f"{_GROUP}{group}"


def petition_name(seq: int) -> str:
    """Give the name under which the pause of a petition is kept, and of its lot."""
    return f"{_PETITION}{seq}"


def _replacing_name(seq: int) -> str:
    """Give the lot of a petition that waits until what it replaces has gone."""
    return f"replaces:{seq}"


def _after_name(seq: int) -> str:
    """Give the lot of petitions that wait for the end of another one."""
    return f"after:{seq}"


def text_name(text: str) -> str:
    """Give the lot of petitions that wait until a condition in text holds."""
    return f"{_TEXT}{text}"


def is_petition_name(name: str) -> bool:
    """Tell whether a pause holds back one petition alone."""
    return name.startswith(_PETITION)


def _starts_later(record: Candidate) -> Reason | None:
    """Give why a new petition may not start that names a time; whether that has come is known once it is accepted."""
    if record.phase is not _CONVERTING or (record.at is None and record.delay is None):
        return None
    return StartsLater(record.starts_after)


class GroupUse(NamedTuple):
    """What people are told of one group."""

    group: str
    slots: int | None
    running: int
    waiting: int
    paused: bool


class Admission:
    """Pauses, groups, keys and resources, over the petitions there are and the book of granted slots.

    The hook thread asks `blocked_by`; all else is the engine's.
    """

    def __init__(
        self,
        petitions: Petitions,
        *,
        resources: Mapping[str, Stock] | None = None,
        lock: AbstractContextManager[object] | None = None,
        vocabulary: Vocabulary = BUILT_IN,
    ) -> None:
        """Pause nothing, and know no group; there is so much of each of the `resources`, or there are these devices.

        Conditions in text are read with the `vocabulary`.
        """
        self._petitions = petitions
        self.groups: Mapping[str, int | None] = {}
        """How many petitions of each group may run at once; None for any number."""
        self.paused: frozenset[str] = frozenset()
        """What is paused: `all`, `group:<name>`, `petition:<seq>`."""
        self.keys = OnceKeys(petitions.granted)
        self.dependencies = Dependencies()
        self.resources = Resources(petitions, resources or {}, self._is_paused, lock)
        self.conditions = ConditionBook(self._service_values(), vocabulary)
        self._holding: set[str] = set()
        """Conditions that hold, and for which petitions are parked still."""
        self._seen_counts = (-1, -1)
        self._opening: set[str] = set()
        """Lots whose pause has ended."""
        self._replacing: set[int] = set()
        """Petitions that are parked until what they replace has gone, by sequence."""
        self._seen_version = -1

    def load(self, paused: Iterable[str], groups: Mapping[str, int | None]) -> None:
        """Take over what is paused, and which groups there are."""
        self.paused = frozenset(paused)
        self.groups = groups

    # --- may it start? ------------------------------------------------------------------------------------------

    def refusal(self, group: str | None, needs: Mapping[str, int | str] | None) -> Reason | None:
        """Give why a petition that declares this can never start, if that is so."""
        never = self.resources.refusal(needs) if needs else None
        return self.unknown(group) if never is None and group is not None else never

    def unknown(self, group: str) -> GroupUnknown | None:
        """Give why nothing of a group can start, where there is no such group."""
        known = group in self.groups or group_name(group) in self.paused
        return None if known else GroupUnknown.among(group, self.groups)

    def blocked_by(self, record: Candidate) -> Reason | None:
        """Give why a petition may not start, whatever its condition says; None where its condition decides."""
        if (
            record.group is record.once is None
            and not record.needs
            and not self.paused
            and record.after is None
            and record.at is record.delay is None
            and record.when is None
        ):
            return None
        blocked = self._before_needs(record)
        if blocked is None and record.needs:
            return self.resources.blocked_by(record.place, record.needs, record.group)
        return blocked

    def _before_needs(self, record: Candidate) -> Reason | None:
        if record.once is not None and self.keys.replaces(record.seq):
            return ReplacesAnother()
        return (
            self._paused_by(record.seq, record.group)
            or _starts_later(record)
            or (self._others_first(record) if record.after else None)
            or (None if record.when is None else self.conditions.blocked_by(record.when))
            or self._group_blocks(record.group, record.place)
        )

    def _others_first(self, record: Candidate) -> Reason | None:
        """Give why a petition that names others may not start; what these have come to is known once it is accepted."""
        if record.phase is _CONVERTING and record.after:
            return waits_for(record.after)
        return self.dependencies.blocks(record.seq)

    def held_by(self, seq: int, group: str | None) -> Reason | None:
        """Give what holds back a petition now, whose record need not be in memory: it enters no line for that."""
        return (
            self._paused_by(seq, group)
            or self.dependencies.blocks(seq)
            or self._text_blocks(seq)
            or self._group_blocks(group)
            or self.resources.held_by(seq)
        )

    def _text_blocks(self, seq: int) -> TextIsFalse | None:
        """Give what is false in the condition that a petition is parked for; None where that holds, or it has none."""
        text = self.text_of(seq)
        if text is None:
            return None
        reason = self.conditions.reason(self.conditions.read_again(text))
        return reason if reason.parts else None

    def text_of(self, seq: int) -> str | None:
        """Give the condition that a petition is parked for, if it is."""
        lot = self._petitions.waiting.lot_of((0, seq, ""))
        return lot.removeprefix(_TEXT) if lot is not None and lot.startswith(_TEXT) else None

    def reasons(self, record: Record) -> list[Reason]:
        """Give all that blocks a waiting petition now, whatever its condition says; it enters no line for that."""
        seq, group = record.seq, record.group
        found: list[Reason | None] = [self._paused_by(seq, None)]
        if group is not None and group_name(group) in self.paused:
            found.append(GroupPaused(group))
        if self.keys.replaces(seq):
            found.append(ReplacesAnother())
        found.append(self.dependencies.blocks(seq))
        if record.when is not None and (reason := self.conditions.reason(record.when)).parts:
            found.append(reason)
        found.append(self._group_blocks(group))
        if record.needs:
            found += self.resources.reasons(record.place, record.needs)
        return [reason for reason in found if reason is not None]

    def _paused_by(self, seq: int, group: str | None) -> Reason | None:
        paused = self.paused
        if not paused:
            return None
        if petition_name(seq) in paused:
            failed = self.dependencies.held.get(seq)
            return PetitionPaused() if failed is None else DependencyFailed(failed)
        return GroupPaused(group) if group is not None and group_name(group) in paused else None

    def _is_paused(self, seq: int, group: str | None) -> bool:
        return self._paused_by(seq, group) is not None

    def _group_blocks(self, group: str | None, place: Key | None = None) -> Reason | None:
        if group is None:
            return None
        if group not in self.groups:
            return self.unknown(group)
        slots = self.groups[group]
        if slots is None:
            return None
        if self._petitions.granted.in_group(group) >= slots:
            return GroupFull(group, slots)
        first = None if place is None else self._petitions.waiting.first_parked(group_name(group))
        if place is not None and first is not None and first < place:
            return InOrder(1)  # its slot has become free since the round began, and it is asked in the next one
        return None

    # --- lots ---------------------------------------------------------------------------------------------------

    def park(self, record: Record) -> list[Key]:
        """Park a petition that may not start, where something of this blocks it.

        Where its own condition said no, another petition of its group may go instead. Gives the keys of the petitions
        whose records are to be loaded.
        """
        petitions = self._petitions
        freed: list[Key] = []
        if not self._park_apart(record) and record.group is not None:
            name = group_name(record.group)
            if self._before_needs(record) is not None:
                hold.park(petitions, record, name)
            elif petitions.waiting.parked_in(name):
                freed = hold.unpark(petitions, name, 1)
        if record.needs:
            self.resources.park(record)
        return freed

    def _park_apart(self, record: Record) -> bool:
        """Park a petition that waits for neither group nor resource; tell whether it does not."""
        petitions, seq = self._petitions, record.seq
        if record.once is not None and self.keys.replaces(seq):
            self._replacing.add(seq)
            name = _replacing_name(seq)
        elif petition_name(seq) in self.paused:
            name = petition_name(seq)
        elif (other := self.dependencies.first(seq)) is not None:
            name = _after_name(other)
        elif record.when is not None and isinstance(record.why, TextIsFalse):
            if record.when.holds(self.conditions):  # since it was asked: nobody would notice that in the lot
                petitions.note_change()
                return False
            self.conditions.waits(record.when)
            name = text_name(record.when.text)
        else:
            return False
        hold.park(petitions, record, name)
        if petitions.waiting.parked > MAX_READY_PETITIONS:  # each of a million may wait for a text of its own
            petitions.unload([record.place])
        return True

    def unpark(self) -> list[Key]:
        """Let as many wait with the others again as there are slots and resources for; called often.

        Gives the keys of the petitions whose records are to be loaded.
        """
        petitions = self._petitions
        if not petitions.waiting.parked:
            return []
        counts = (petitions.starts, len(petitions.waiting))
        if petitions.version == self._seen_version and counts == self._seen_counts:
            return []
        self._seen_counts = counts
        unloaded = self._unpark_true()
        if petitions.version == self._seen_version:
            return unloaded
        unloaded += self.resources.unpark()
        for seq in [seq for seq in self._replacing if not self.keys.replaces(seq)]:
            self._replacing.discard(seq)
            unloaded += hold.unpark(petitions, _replacing_name(seq), 1)
        for group, slots in self.groups.items():
            name = group_name(group)
            parked = petitions.waiting.parked_in(name)
            if not parked or name in self.paused:
                continue
            free = parked if slots is None else slots - petitions.granted.in_group(group)
            if free > 0:
                unloaded += hold.unpark(petitions, name, free)
        self._seen_version = petitions.version
        return unloaded

    def _unpark_true(self) -> list[Key]:
        """Let the first petitions wait with the others again whose conditions in text have come to hold.

        Of many that are parked for one text not all do at once, since the start of one may make it false for the
        others; but none that is parked for a text that holds is among the first that a round asks.
        """
        petitions, conditions = self._petitions, self.conditions
        waiting, unloaded = petitions.waiting, []
        self._holding |= conditions.take_true()
        for text in list(self._holding):
            name, condition = text_name(text), conditions.read_again(text)
            first = waiting.first_parked(name)
            if first is not None and not condition.holds(conditions):
                conditions.waits(condition)
                first = None
            if first is not None and (missing := MIN_READY_PETITIONS_OF_A_TEXT - waiting.index(first)) > 0:
                unloaded += hold.unpark(petitions, name, missing)
                first = waiting.first_parked(name)
            if first is None:
                self._holding.discard(text)
        return unloaded

    def park_stored(self, keys: Iterable[Key]) -> None:
        """Park petitions that wait for the ends of others, and whose keys have just been taken from the store."""
        for key in keys:
            other = self.dependencies.first(key[1])
            if other is not None:
                self._petitions.waiting.park(key, _after_name(other))

    def note_end(self, seq: int, outcome: Outcome | None) -> list[FailedDependency]:
        """Note that a petition ended, for which others wait; give the petitions that fail by that.

        `unpark_resumed` lets the others wait with petitions that may start. The outcome is None where it is unknown.
        """
        failed = self.dependencies.ended(seq, outcome)
        self._opening.add(_after_name(seq))
        self._petitions.note_change()
        return failed

    def hold_failed(self, failed: FailedDependency) -> None:
        """Have a petition that failed by another one's end wait for what people decide; it is to be paused, too."""
        self.dependencies.hold(failed.petition, failed.on.id)
        self._opening.add(_after_name(failed.on.seq))

    # --- decisions of people ------------------------------------------------------------------------------------

    def pause(self, name: str) -> None:
        """Hold back what this names, from now on, also after a restart of the service."""
        self.paused |= {name}
        self._note_pause(name, paused=True)

    def resume(self, name: str) -> None:
        """Hold it back no more; `unpark_resumed` lets go what waits in its lot."""
        self.paused -= {name}
        if is_petition_name(name):
            self.dependencies.held.pop(int(name.removeprefix(_PETITION)), None)
        self._note_pause(name, paused=False)
        if name != ALL:
            self._opening.add(name)

    def _note_pause(self, name: str, *, paused: bool) -> None:
        self._petitions.keep_pause(name, paused=paused)
        self._petitions.note_change()

    def unpark_resumed(self) -> tuple[list[Key], bool]:
        """Let a part of what goes on wait with the others again; tell whether there is more.

        Gives the keys of the petitions whose records are to be loaded.
        """
        unloaded = []
        for name in list(self._opening):
            unloaded += hold.unpark(self._petitions, name, MAX_UNPARKED_PETITIONS)
            if name in self.paused or not self._petitions.waiting.parked_in(name):
                self._opening.discard(name)
        return unloaded, bool(self._opening)

    # --- what conditions in text know of the service ------------------------------------------------------------

    def _service_values(self) -> ServiceValues:
        """Give what looks up the names of conditions whose values the service itself knows."""
        waiting, granted = self._petitions.waiting, self._petitions.granted
        return {
            "queued": lambda: len(waiting) + waiting.parked,
            "running": lambda: len(granted),
            "running_in": lambda group: granted.in_group(group) if group in self.groups else _no_group(group),
            "slots.free": self._free_slots,
            "resource.free": self._free_of,
        }

    def _free_slots(self, group: str) -> int | Unknown:
        if group not in self.groups:
            return _no_group(group)
        slots = self.groups[group]
        if slots is None:
            return Unknown(f"the group {group} has any number of slots")
        return max(0, slots - self._petitions.granted.in_group(group))

    def _free_of(self, resource: str) -> int | float | Unknown:
        free = self.resources.free(resource)
        return Unknown(f"the service has no {resource}") if free is None else free

    # --- for people ---------------------------------------------------------------------------------------------

    def before(self, record: Record, group: str | None) -> int | None:
        """Give how many wait for the same as a petition and come before it; None where nobody has to go first."""
        waiting = self._petitions.waiting
        lot = waiting.lot_of(record.place)
        if petition_name(record.seq) in self.paused or lot == _replacing_name(record.seq):
            return None
        if self.dependencies.first(record.seq) is not None or self.text_of(record.seq) is not None:
            return None
        if lot is None or group is None or lot != group_name(group):
            in_line = self.resources.before(record.seq)
            never = in_line is None and self.resources.is_lot(lot)
            return waiting.place(record.place) if in_line is None and not never else in_line
        records = self._petitions.records
        others = (records.get(key[1]) for key in waiting.before(record.place, MAX_LOOKED_AT_PETITIONS))
        return waiting.place(record.place) + sum(1 for each in others if each is not None and each.group == group)

    def is_paused(self, seq: int, group: str | None, state: State) -> bool:
        """Tell whether a petition is paused, or what it waits with is: its group, or everything.

        A pause of more than one petition starts nothing more, and what runs goes on.
        """
        if state in (State.CANCELLING, State.ENDED):
            return False
        names = {petition_name(seq)}
        if state in (State.QUEUED, State.HELD):
            names |= {ALL} if group is None else {ALL, group_name(group)}
        return not self.paused.isdisjoint(names)

    def groups_in_use(self) -> list[GroupUse]:
        """Give each group that has slots, is paused, or has petitions that run or are held back."""
        granted, waiting = self._petitions.granted, self._petitions.waiting
        paused = {name.removeprefix(_GROUP) for name in self.paused if name.startswith(_GROUP)}
        parked = {name.removeprefix(_GROUP) for name in waiting.lots() if name.startswith(_GROUP)}
        return [
            GroupUse(
                group,
                self.groups.get(group),
                granted.in_group(group),
                waiting.parked_in(group_name(group)),
                group in paused,
            )
            for group in sorted({*self.groups, *paused, *parked, *granted.groups()})
        ]


def _no_group(group: str) -> Unknown:
    return Unknown(f"there is no group {group}")


__all__ = ["ALL", "Admission", "GroupUse", "group_name", "is_petition_name", "petition_name", "text_name"]
