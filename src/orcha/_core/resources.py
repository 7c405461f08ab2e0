"""Resources: how much the service has of each, and which petitions wait for how much.

A petition that waits for a resource is parked in the resource's lot, where it costs nothing until it can go. Petitions
that come later may not take what it waits for, so that small ones never starve a large one.
One file, since all that one lock guards is decided here: what is free, who stands in which line, and who may go.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.backfill import Backfill
from orcha._core.converted import known_seconds
from orcha._core.inventory import Inventory
from orcha._core.moment import Moment
from orcha._core.needs import beyond
from orcha._core.reasons import (
    BehindAnother,
    BehindExclusive,
    Drained,
    HeldFree,
    MachineTaken,
    NeedsShort,
    NeverEnough,
    NoSuchShare,
    NotAlone,
    ShareShort,
)
from orcha._core.record import Phase, Record
from orcha._core.resource_lines import RESOURCE_LOT, Lines, Waiter, aside
from orcha._core.state import State
from orcha._core.transitions import hold
from orcha._core.waiting_elsewhere import WaitingElsewhere, waiting
from orcha.interfaces.built_in import ARRAY_MANAGER, WATCHDOG_MANAGER
from orcha.interfaces.needs import WHOLE, read, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from orcha._core.converted import Candidate
    from orcha._core.group_admission import GroupAdmission
    from orcha._core.inventory import Stock
    from orcha._core.petitions import Petitions
    from orcha._core.reasons import Reason
    from orcha._core.record import Key
    from orcha.interfaces.needs import Amount, Need

    Needs = Mapping[str, int | str]

# Looked up once: an attribute of an enumeration costs ten times a global name.
_CONVERTING, _WAITING = Phase.CONVERTING, Phase.WAITING
_QUEUED = State.QUEUED

_NOTHING: Mapping[str, Amount] = MappingProxyType({})
MAX_LINES_OF_DEVICES = 100
"""Lines of a resource, by what its devices must be, before empty lines are forgotten."""
_GO_THROUGH = (WATCHDOG_MANAGER, ARRAY_MANAGER)
"""Managers whose petitions wait for no exclusive one: signs of life, and arrays, whose elements wait instead."""


def resource_lot(resource: str) -> str:
    """Give the name of a resource's lot."""
    return f"{RESOURCE_LOT}{resource}"


class ResourceUse(NamedTuple):
    """What people are told of one resource."""

    resource: str
    capacity: int
    held: int | float
    waiting: int


class Resources:
    """The capacities, and the lines of the petitions that wait.

    The hook thread asks `blocked_by`, which puts a petition into lines; all else is the engine's. A lock keeps the two
    apart.
    """

    def __init__(
        self,
        petitions: Petitions,
        stock: Mapping[str, Stock],
        is_paused: Callable[[int, str | None], bool],
        of_groups: GroupAdmission,
        lock: AbstractContextManager[object] | None = None,
        now: Callable[[], Moment] = lambda: Moment(0.0, 0.0),
        are_any_paused: Callable[[], bool] = lambda: True,
    ) -> None:
        """Have nobody wait; `is_paused` tells of a sequence and a group whether people hold the petition back.

        `are_any_paused` tells whether people may hold any petition back. `of_groups` knows which slots there are
        beside, and `now` gives the time, by which starts are foretold.
        """
        self._petitions = petitions
        self.inventory = petitions.granted.inventory = Inventory(stock)
        self._is_paused = is_paused
        self._are_any_paused = are_any_paused
        self._of_groups = of_groups
        self._lock = lock if lock is not None else nullcontext()
        self._lines = Lines(self._waits, lambda: petitions.fairness)
        self._elsewhere = WaitingElsewhere(self._place_elsewhere, self._has_gone)
        self.backfill = Backfill(
            petitions,
            self.inventory,
            self._lines,
            self._elsewhere,
            of_groups=of_groups,
            lines_of=self._all_lines,
            stands=self._standing,
            now=now,
        )
        self._in_gap: int | None = None
        """The sequence of the petition that was let go last before others, whom it does not delay."""
        self._paused: list[Waiter] = []
        """Petitions that were found in line though people hold them back."""
        self.left: list[Needs] = []
        """What petitions need that have left their lines: those behind them may go."""
        self._wheres: dict[str, dict[str, None]] = {}
        """What needs say of devices that wait, or have waited, by resource."""
        self.line_parkings = 0
        """Rises with `Petitions.parkings` whenever that petition was parked for a resource."""
        self._nobody_goes: tuple[int, int, int] | None = None
        """What had changed when nobody in line could go: nobody can until more has."""
        self.whole_waits = False
        """Whether a petition may wait for the whole machine."""

    # --- may it start? ------------------------------------------------------------------------------------------

    def refusal(self, needs: Needs) -> NeverEnough | NoSuchShare | None:
        """Give why nothing that needs this can ever start, if that is so."""
        wanted = {name: read(need) for name, need in needs.items()}
        for resource, need in wanted.items():
            if need.amount > 1 and need.amount.denominator != 1 and self.inventory.devices(resource) is not None:
                return NoSuchShare(resource, shown(need.amount))
        most = {name: self.inventory.most(name, need) for name, need in wanted.items()}
        name = beyond({name: need.amount for name, need in wanted.items()}, most)
        if name is None:
            return None
        capacity = most[name] if wanted[name].where else self.inventory.capacity(name)
        where = _where(needs[name]) if name in self.inventory.names() else ""
        return NeverEnough(name, shown(wanted[name].amount), shown(capacity), where)

    def blocked_by(self, candidate: Candidate) -> Reason | None:
        """Give for what a petition that may start otherwise has to wait; if it has to, it is in line from now on."""
        place, needs, group = candidate.place, candidate.needs or {}, candidate.group
        with self._lock:
            names = self._lacking(place, needs)
            may_be_refused = names or self.inventory.are_devices(needs)  # what is free of an amount, there is
            never = (self.refusal(needs) or self._drained(needs)) if may_be_refused else None
            if never is not None:  # nobody has to wait behind what does not go, however much ends
                self._lines.enter(place, needs, group, (), never.resource)
                self._elsewhere.drop(place[1])
                return never
            seconds, self.backfill.found = known_seconds(candidate) if names else None, None
            if seconds is not None and not self._short(needs) and self.backfill.may_go(waiting(candidate)):
                names, self._in_gap = [], place[1]
            if names:
                lines, manager, owner = self._lines_of(needs, names), candidate.manager, candidate.owner
                self._elsewhere.drop(place[1])
                self._lines.enter(place, needs, group, lines, names[0], seconds=seconds, manager=manager, owner=owner)
                self.whole_waits |= WHOLE in names
                for name in names:
                    self._forget_empty_lines(name)
                return self._reason(place, needs, names[0], seconds, is_asked=True)
            self._leave(place[1])
            self._elsewhere.add(candidate)  # it may lack a slot still, or its condition may say no
        return None

    def waits_elsewhere(self, candidate: Candidate) -> None:
        """Note that a petition waits for its group or a quota: it is in no line, and needs what it needs."""
        with self._lock:
            self._elsewhere.add(candidate)

    def waits_for_others(self, seq: int) -> None:
        """Note that a petition waits for people, a time, other petitions or a condition: nothing is kept for it."""
        with self._lock:
            self._elsewhere.drop(seq)

    def _place_elsewhere(self, candidate: Candidate) -> Key | None:
        """Give the place of a petition that stood in no line; None where it waits no more, or for people."""
        seq, key = candidate.seq, candidate.key
        known, granted = self._petitions.live.get(key), self._petitions.granted
        if known is None or granted.has(seq) or self._is_paused(seq, candidate.group):
            return None
        if isinstance(known, Record):
            if known.state is not _QUEUED or known.phase not in (_WAITING, _CONVERTING):
                return None
            known = known.place if known.phase is _WAITING else candidate.place
        return known if known[1] == seq else None

    def _has_gone(self, candidate: Candidate) -> bool:
        """Tell whether a petition lives no more."""
        known = self._petitions.live.get(candidate.key)
        return known is None or (known.seq if isinstance(known, Record) else known[1]) != candidate.seq

    def whole_blocks(self, record: Candidate) -> MachineTaken | BehindExclusive | None:
        """Give why a petition may not start since another has the whole machine, or is the first that waits for it.

        So small petitions cannot keep that one waiting, as long as they come after it in the order of the queue.
        """
        if record.manager in _GO_THROUGH or WHOLE in (record.needs or ()):
            return None
        if self._petitions.granted.whole:
            return MachineTaken()
        with self._lock:
            first = self._lines.first(WHOLE)
            if first is None:
                self.whole_waits = False
                return None
            return BehindExclusive(first.place[2]) if first.place < record.place else None

    def note_taken(self, place: Key, needs: Needs) -> None:
        """Note that a petition has taken what it needs, where there are several owners."""
        if place[1] == self._in_gap:
            return  # it delays nobody
        with self._lock:
            for name, wanted in needs.items():
                for where in {_where(wanted), *self._wheres.get(name, ())}:
                    self._lines.note_taken(_line(name, where), place)

    def _drained(self, needs: Needs) -> Drained | None:
        """Give why a petition with these needs cannot be placed, however much ends, since people do not want it."""
        return next(self._all_drained(needs), None) if self.inventory.drains else None

    def _all_drained(self, needs: Needs) -> Iterator[Drained]:
        """Give that of each resource."""
        for name, wanted in needs.items():
            need = read(wanted)
            left = self.inventory.placeable(name, need)
            if left < need.amount:
                drains = self.inventory.drains.get(name, {})
                named = tuple((name if device is None else f"{name}:{device}", drains[device].why) for device in drains)
                yield Drained(name, shown(need.amount), shown(left), named)

    def rearrange(self) -> None:
        """Have those stand in line that can be placed, and no others: what there is, or may be used, has changed."""
        with self._lock:
            for waiter in self._lines.waiters.values():
                if self.refusal(waiter.needs) is not None or self._drained(waiter.needs) is not None:
                    waiter.stand_in(())
                elif not waiter.lines:
                    besides = [aside(name) for name in waiter.needs if len(waiter.needs) > 1]
                    waiter.stand_in([*self._lines_of(waiter.needs, [waiter.at]), *besides])
            self._lines.rebuild()
        self._petitions.granted.count_anew()
        self._petitions.note_change()

    def see(self, occupied: Mapping[str, Mapping[str, str]]) -> None:
        """Take which processes are seen on devices, by resource and device."""
        self.inventory.occupied = occupied
        self._petitions.note_change()

    def reasons(self, place: Key, needs: Needs, seconds: float | None = None) -> list[Reason]:
        """Give all that a petition that takes `seconds` has to wait for; it enters no line for that."""
        never = self.refusal(needs)
        if never is not None:
            return [never]
        drained = [*self._all_drained(needs)]
        others = {name: each for name, each in needs.items() if name not in {each.resource for each in drained}}
        with self._lock:
            return [*drained, *(self._reason(place, needs, name, seconds) for name in self._lacking(place, others))]

    def is_behind(self, place: Key, needs: Needs) -> bool:
        """Tell whether another petition that waits for any of this comes before the one at a place."""
        with self._lock:
            return any(self._is_behind(name, wanted, place) for name, wanted in needs.items())

    def goes_before(self, place: Key) -> bool:
        """Tell whether a petition in line for a resource may go by now, and comes before the one at a place.

        With several owners that changes with each start: what another owner waits for is kept for the first in line.
        """
        lines = self._lines
        if not lines.waiters:
            return False
        with self._lock:
            if not lines.may_have_room(self._has_room):
                return False
            firsts = [first for name in lines.names() if (first := lines.first(name)) is not None and not first.asked]
            return any(
                lines.is_before(first.place, place) and not self._lacking(first.place, first.needs) for first in firsts
            )

    def held_by(self, seq: int) -> Reason | None:
        """Give for what a petition waits now, where it waits for a resource."""
        with self._lock:
            waiter = self._lines.waiters.get(seq)
            if waiter is None or not self._waits(waiter):
                return None
            never = self.refusal(waiter.needs) or self._drained(waiter.needs)
            if never is not None:
                return never
            names = self._lacking(waiter.place, waiter.needs)
            return self._reason(waiter.place, waiter.needs, names[0], waiter.seconds) if names else None

    def free(self, resource: str) -> int | float | None:
        """Give how much of a resource is free; None where there is none of it."""
        return shown(self._room(resource, read(1))) if resource in self.inventory.names() else None

    @staticmethod
    def is_lot(name: str | None) -> bool:
        """Tell whether a lot is a resource's."""
        return name is not None and name.startswith(RESOURCE_LOT)

    def before(self, seq: int) -> int | None:
        """Give how many a petition has before it in the line for what it lacks; None where it waits for nothing."""
        with self._lock:
            waiter = self._lines.waiters.get(seq)
            if waiter is None or not self._stands(waiter):
                return None
            if self.refusal(waiter.needs) is not None or self._drained(waiter.needs) is not None:
                return None
            names = self._lacking(waiter.place, waiter.needs)
            line = next(self._lines_of(waiter.needs, names), None)
            return None if line is None else self._lines.before(waiter.place, line, self._stands)

    def _lacking(self, place: Key, needs: Needs, taken: Mapping[str, Amount] = _NOTHING) -> list[str]:
        """Name what a petition has to wait for, where `taken` is taken beside what is held, by line."""
        return [
            name
            for name, wanted in needs.items()
            if self._is_short(name, wanted, taken) or self._is_behind(name, wanted, place)
        ]

    def _short(self, needs: Needs, taken: Mapping[str, Amount] = _NOTHING) -> bool:
        """Tell whether too little of anything is free for any petition; `taken` is as `_lacking` has it."""
        for name, wanted in needs.items():  # noqa: SIM110 - asked at each end and gain, in half of the time of `any`
            if self._is_short(name, wanted, taken):
                return True
        return False

    def _has_room(self, needs: Needs) -> bool:
        """Tell whether enough of everything is free for a petition with these needs, whoever is before it."""
        return not self._short(needs)

    def _is_short(self, name: str, wanted: int | str, taken: Mapping[str, Amount]) -> bool:
        need = read(wanted)
        free = self._room(name, need)
        if taken:
            free -= taken.get(_line(name, _where(wanted)), 0)
        return need.amount > free

    def _is_behind(self, name: str, wanted: int | str, place: Key) -> bool:
        """Tell whether another petition comes first that waits for what a petition at a place would get of a resource.

        This is asked last: mostly too little is free, and the heads of the lines need not be found then.
        """
        line = _line(name, _where(wanted))
        if not self._lines.is_first_known(line) and self._lines.is_surely_behind(line, place):
            return True
        first = self._first_for(name, wanted)
        return first is not None and self._lines.is_before(first, place)

    def _all_lines(self, name: str) -> list[str]:
        """Give all lines for a resource."""
        return [_line(name, where) for where in self._wheres.get(name, ("",))]

    def _lines_of(self, needs: Needs, names: Iterable[str]) -> Iterator[str]:
        """Give the lines for what is needed of resources: devices that must be the same have a line of their own.

        So who waits for one device does not keep others from the devices beside it.
        """
        for name in names:
            where = _where(needs.get(name, 1))
            if where:
                self._wheres.setdefault(name, {"": None})[where] = None
            yield _line(name, where)

    def _first_for(self, name: str, wanted: int | str) -> Key | None:
        """Give the first petition that waits for what a petition with such a need would get of a resource."""
        where, wheres = _where(wanted), self._wheres.get(name)
        first = self._lines.first(_line(name, where))
        places = [] if first is None else [first.place]
        if wheres is not None or where:
            wheres = wheres or {"": None}
            others = (self._lines.first(_line(name, each)) for each in wheres if each != where)
            places += [each.place for each in others if each is not None and self._competes(name, wanted, each)]
        return min(places, key=self._lines.rank, default=None)

    def _forget_empty_lines(self, name: str) -> None:
        """Look no more at lines in which nobody stands, where there have been many."""
        wheres = self._wheres.get(name, ())
        if len(wheres) > MAX_LINES_OF_DEVICES:
            self._wheres[name] = {"": None} | {each: None for each in wheres if self._lines.first(_line(name, each))}

    def _competes(self, name: str, wanted: int | str, other: Waiter) -> bool:
        """Tell whether a need can be met now by a device for which another petition waits."""
        free = self.inventory.free(name, read(wanted), self._petitions.granted.used(name))
        return not {*free}.isdisjoint(self.inventory.fitting(name, read(other.needs[name])))

    def _room(self, name: str, need: Need) -> Amount:
        granted = self._petitions.granted
        if name == WHOLE:
            return 0 if self._others() else 1
        return self.inventory.room(name, need, granted.held(name), granted.used(name))

    def _others(self) -> int:
        """Count the petitions that run, but for signs of life: with these even who runs alone is alone."""
        granted = self._petitions.granted
        return len(granted) - len(granted.of_manager(WATCHDOG_MANAGER))

    def _reason(self, place: Key, needs: Needs, name: str, seconds: float | None, *, is_asked: bool = False) -> Reason:
        if name == WHOLE:
            first = self._lines.first(WHOLE)
            is_behind = first is not None and first.place < place
            return BehindExclusive(first.place[2]) if first is not None and is_behind else NotAlone(self._others())
        need, where = read(needs[name]), _where(needs[name])
        free, amount = self._room(name, need), shown(need.amount)
        if free < need.amount and need.is_share and self.inventory.devices(name) is not None:
            return ShareShort(name, amount, shown(free), where)
        capacity = shown(self.inventory.most(name, need) if where else self.inventory.capacity(name))
        if free >= need.amount:
            held = self.backfill.held_for(place, needs, name, is_asked=is_asked) if seconds is not None else None
            if held is None or (held.due is None and not held.overdue):
                return BehindAnother(name, amount, shown(free), capacity, where)
            due = None if held.due is None else float(round(held.due))
            return HeldFree(name, amount, shown(free), capacity, where, held.first, due, held.overdue)
        foreign = self.inventory.foreign(name, self._petitions.granted.used(name))
        if foreign:
            fitting = self.inventory.fitting(name, need)
            foreign = {device: who for device, who in foreign.items() if device in fitting}
        seen = tuple((f"{name}:{device}", who) for device, who in sorted(foreign.items()))
        return NeedsShort(name, amount, shown(free), capacity, where, seen)

    def _waits(self, waiter: Waiter) -> bool:
        """Tell whether a petition waits still, for resources and not for people or a quota; called with the lock."""
        if not self._is_there(waiter):
            return False
        if self._is_held_back(waiter):
            self._paused.append(waiter)
            return False
        return True

    def _stands(self, waiter: Waiter) -> bool:
        """Tell the same of a petition that is only counted."""
        return self._is_there(waiter) and not self._is_held_back(waiter)

    def _standing(self) -> Callable[[Waiter], bool]:
        """Give what tells it of each petition at this moment: mostly neither people nor quotas hold any back."""
        may_be_held = self._petitions.quotas is not None or self._are_any_paused()
        return self._stands if may_be_held else self._is_there

    def _is_held_back(self, waiter: Waiter) -> bool:
        """Tell whether people, or the quotas of its owner, hold a petition back."""
        quotas = self._petitions.quotas
        return self._is_paused(waiter.place[1], waiter.group) or (quotas is not None and quotas.holds_back(waiter))

    def _is_there(self, waiter: Waiter) -> bool:
        known = self._petitions.live.get(waiter.place[2])
        if not isinstance(known, Record):
            return known == waiter.place
        if known.phase is _CONVERTING:  # its record does not say yet which priority its conversion found out
            return known.seq == waiter.place[1]
        priority, seq, _ = waiter.place
        is_at_place = known.priority == priority and known.seq == seq
        return is_at_place and known.state is _QUEUED and known.phase is _WAITING

    # --- lots ---------------------------------------------------------------------------------------------------

    def park(self, record: Record) -> list[Key]:
        """Park a petition that waits for a resource in the lot of that.

        Gives the keys of the petitions whose records are to be loaded: where another owner's turn has come, a petition
        of that owner goes instead.
        """
        petitions = self._petitions
        with self._lock:
            waiter = self._lines.waiters.get(record.seq)
            if waiter is not None and petitions.waiting.is_parked(record.place):  # for its group, or by people
                self._lines.leave(record.seq)
                waiter = None
            elif waiter is not None and waiter.place != record.place:  # it was given another one while it was asked
                self._lines.leave(record.seq)
                waiter = None
                petitions.note_change()
        if waiter is not None and not waiter.asked:
            self.line_parkings += hold.park(petitions, record, resource_lot(waiter.at))
        is_behind = petitions.fairness is not None and isinstance(record.why, BehindAnother)
        return self.unpark() if is_behind else []

    def move(self, place: Key, moved: Key, enter: Callable[[], None]) -> bool:
        """Have a parked petition be at another place of its lines; tell whether nothing may start for that.

        `enter` has the petition itself be at that place. It is called with the lock: where the two places differ, a
        look by the hook thread takes the petition for one that waits no more, and drops it from its lines.

        Nothing may where the petition lacks something whatever its place is, or stays behind another one for the only
        resource that it needs: then it need not be asked. Petitions that are behind it now were no earlier before. A
        petition that its group keeps from starting leaves its lines when it is asked, for the petitions behind it; and
        where lengths are known another order may open a gap. A petition that is to be asked, and needs several
        resources, keeps its places until then: it may lack one of them alone, and enters the line of that one alone.
        """
        with self._lock:
            waiter = self._lines.waiters.get(place[1])
            stays = waiter is not None and waiter.place == place and self._stays(waiter, moved)
            waiter = self._lines.waiters.get(place[1])  # it may have been found paused, and is in no line then
            if waiter is not None and waiter.place == place and (stays or len(waiter.needs) > 1):
                self._lines.move(waiter, moved)
                waiter.asked = not stays
            enter()
        return stays and waiter is not None

    def _stays(self, waiter: Waiter, moved: Key) -> bool:
        """Tell whether a parked petition goes on waiting in its lot at another place of its lines."""
        if waiter.asked or not waiter.lines or WHOLE in waiter.needs or self._lines.are_timed:
            return False
        if self.whole_waits or self._petitions.granted.whole or self._petitions.quotas is not None:
            return False
        return not self._is_held_by_group(waiter) and (self._short(waiter.needs) or self._stays_behind(waiter, moved))

    def move_asked(self, place: Key, moved: Key, enter: Callable[[], None]) -> None:
        """Have a petition that stands in lines and is to be asked be at another place of them, as `move` does."""
        with self._lock:
            waiter = self._lines.waiters.get(place[1])
            if waiter is not None and waiter.place == place and waiter.asked and len(waiter.needs) > 1:
                self._lines.move(waiter, moved)
            enter()

    def move_to_be_asked(self, place: Key, moved: Key, enter: Callable[[], None]) -> None:
        """Have a petition be at another place, which people gave it, and be asked there; `enter` is as `move` has it.

        It keeps its place in each line until then, behind petitions that are before it now. So no petition that is
        behind it takes what it waits for.
        """
        with self._lock:
            waiter = self._lines.waiters.get(place[1])
            if waiter is not None and waiter.place == place:
                self._lines.move(waiter, moved)
                waiter.asked = True
            enter()

    def may_hold_back(self, record: Record) -> bool:
        """Tell whether something beside the condition of a petition that needs nothing may keep it waiting."""
        petitions = self._petitions
        if petitions.quotas is not None or petitions.lent or self.whole_waits or petitions.granted.whole:
            return True
        return self._is_paused(record.seq, record.group) or self._of_groups.may_hold_back(record.group)

    def _is_held_by_group(self, waiter: Waiter) -> bool:
        """Tell whether its group keeps a petition from starting; mostly it has nothing by which it could."""
        groups = self._of_groups
        may_be_held = groups.may_hold_back(waiter.group) or bool(groups.lots(waiter.group or ""))
        return may_be_held and groups.holds_back(waiter)

    def _stays_behind(self, waiter: Waiter, moved: Key) -> bool:
        """Tell whether a petition that needs one resource, of which there is one line, is behind another one in that.

        Its group must not be able to keep it waiting: it would leave its lines for that when it is asked.
        """
        names = [*waiter.needs]
        if len(names) > 1 or names[0] in self._wheres or self._of_groups.may_hold_back(waiter.group):
            return False
        return self._lines.is_surely_behind(names[0], moved)

    def leave(self, seq: int) -> bool:
        """Have a petition stand in no line any more, until it is asked anew; tell whether it stood in any."""
        with self._lock:
            return self._leave(seq)

    def _leave(self, seq: int) -> bool:
        waiter = self._lines.leave(seq)
        if waiter is not None:
            self.left.append(waiter.needs)
        return waiter is not None

    def note_left(self) -> None:
        """Have the petitions behind looked at, where one has left its line and another one may go for that.

        Mostly the petition that left has started, and nothing is free: then a look at the first ones of its lines
        spares a round of asking, which is a quarter of what a start costs.
        """
        left, self.left = self.left, []
        if left and self._may_follow(left):
            self._petitions.note_change()

    def _may_follow(self, left: Iterable[Needs]) -> bool:
        """Tell whether another petition may go since petitions that needed this have left their lines."""
        if self._petitions.fairness is not None or (self._lines.are_timed and self._others_wait):
            return True
        names = {name for needs in left for name in needs}
        granted = self._petitions.granted
        are_free = [name for name in names if granted.held(name) < self.inventory.capacity(name)]
        with self._lock:
            firsts = (self._lines.first(line) for name in are_free for line in self._all_lines(name))
            follows = (
                self._lines.may_have_room(self._has_room)  # not only the first one of a line may go
                if self._lines.are_timed
                else any(first is not None and not self._short(first.needs) for first in firsts)
            )
            return follows or WHOLE in names or bool(self._paused)

    def unpark(self) -> list[Key]:
        """Let those at the heads of the lines wait with the others again, where they can go now; called often.

        Gives the keys of the petitions whose records are to be loaded.
        """
        petitions = self._petitions
        if not (self._lines.waiters or self._paused):
            return []
        state = self._state()
        if self._is_over(state):
            return []
        is_lack_enough = self._is_lack_enough()
        if is_lack_enough:
            with self._lock:
                may_go = self._lines.may_have_room(self._has_room)
            if not may_go:
                self._nobody_goes, self.backfill.put_back = state, petitions.version
                return []
        with self._lock:
            forward = self._forward(is_lack_enough=is_lack_enough)
            self._nobody_goes = None if forward else state
            keys = [waiter.place for waiter in forward]
            keys += [waiter.place for waiter in self._paused if self._is_there(waiter)]  # it may have another place now
            self._paused = []
        keys = sorted({key for key in keys if self.is_lot(petitions.waiting.lot_of(key))})
        unloaded = hold.unpark_these(petitions, keys)
        self.backfill.put_back = petitions.version
        return unloaded

    def _state(self) -> tuple[int, int, int]:
        """Give what changes whenever more may be free for those in line: it counts no petition that was parked."""
        petitions = self._petitions
        return petitions.version - petitions.parkings, petitions.starts, self._lines.leavings

    def _is_over(self, state: tuple[int, int, int]) -> bool:
        """Tell whether nobody in line could go, and nobody can since nothing has changed.

        Since then petitions have entered the lines, for which too little was free.
        """
        return state == self._nobody_goes and not (self._paused or self._lines.are_timed or self._owners_change())

    def _is_lack_enough(self) -> bool:
        """Tell whether a look at the lines finds nothing out where too little is free for anybody in line.

        Else a petition that lacks another resource by now enters the line of that as well, and a petition that people
        or quotas hold back leaves its lines.
        """
        lines = self._lines
        if self._paused or lines.are_timed or not lines.are_of_one:
            return False
        return self._petitions.quotas is None and not self._are_any_paused()

    @property
    def _others_wait(self) -> bool:
        """Whether petitions may wait to be asked, for the whole machine, or for groups or quotas.

        Whether these may go depends on who else is parked or starts.
        """
        petitions = self._petitions
        is_any = bool(petitions.waiting) or self.whole_waits or self._of_groups.are_any_parked
        return is_any or petitions.quotas is not None

    def nobody_follows(self) -> bool:
        """Tell whether nobody in line can go, as far as is known without a look at the lines."""
        if self._others_wait:
            return False
        with self._lock:
            return not self._paused and (self._is_over(self._state()) or not self._lines.may_have_room(self._has_room))

    def _owners_change(self) -> bool:
        """Tell whether owners may be compared otherwise though nothing has started or ended."""
        fairness = self._petitions.fairness
        return fairness is not None and (fairness.counts_past or fairness.has_weights)

    def _forward(self, *, is_lack_enough: bool) -> list[Waiter]:
        taken: dict[str, Amount] = {}

        def goes(waiter: Waiter) -> bool:
            names = self._lacking(waiter.place, waiter.needs, taken)
            if names:  # by now perhaps another one than that for which it came
                self._lines.stand(waiter, self._lines_of(waiter.needs, names))
            else:
                for name, wanted in waiter.needs.items():
                    line = _line(name, _where(wanted))
                    taken[line] = taken.get(line, 0) + read(wanted).amount
            return not names

        def has_room(needs: Needs) -> bool:
            return not self._short(needs, taken)

        def may_go_on() -> bool:
            return not is_lack_enough or self._lines.may_have_room(has_room)

        forward = self._lines.come_forward(goes, may_go_on)
        if self._lines.are_timed:
            granted = self._petitions.granted
            resources = {line.partition("@")[0]: None for line in self._lines.names()}
            are_free = [name for name in resources if granted.held(name) < self.inventory.capacity(name)]
            forward += self.backfill.come_forward(are_free, has_room)
        return forward

    # --- for people ---------------------------------------------------------------------------------------------

    def in_use(self) -> list[ResourceUse]:
        """Give each resource that there is, that something holds, or that something waits for."""
        waiting, granted = self._petitions.waiting, self._petitions.granted
        wanted = (name.removeprefix(RESOURCE_LOT) for name in waiting.lots() if self.is_lot(name))
        return [
            ResourceUse(
                name,
                self.inventory.capacity(name),
                shown(granted.held(name)),
                waiting.parked_in(resource_lot(name)),
            )
            for name in sorted({*self.inventory.names(), *wanted, *granted.resources()})
        ]


def _line(resource: str, where: str) -> str:
    """Give the name of the line for devices that are as a need says."""
    return f"{resource}@{where}" if where else resource


def _where(need: int | str) -> str:
    """Give what a need says of the devices."""
    return need.partition("@")[2].replace("@", " and ") if isinstance(need, str) else ""


__all__ = ["ResourceUse", "Resources", "resource_lot"]
