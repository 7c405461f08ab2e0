"""Which petitions may go before an earlier petition that waits for a resource, and delay nobody: conservative backfill.

Each of the first waiting petitions gets the time at which it is foretold to start, by the known lengths of what runs
and of what waits before it. A later petition of a known length starts now where it ends before what it takes is needed,
or where that is not needed then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.converted import known_seconds
from orcha._core.granted import LENT
from orcha._core.overtaking import Overtaking, Run
from orcha._core.record import Record
from orcha._core.resource_lines import aside
from orcha._core.state import State
from orcha._core.things import RESOURCE, Things
from orcha._core.tuples import new_tuple
from orcha.interfaces.needs import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orcha._core.granted import Grant
    from orcha._core.group_admission import GroupAdmission
    from orcha._core.inventory import Inventory
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Key
    from orcha._core.resource_lines import Lines, Waiter
    from orcha._core.things import Thing
    from orcha._core.waiting_elsewhere import WaitingElsewhere
    from orcha.interfaces.needs import Amount

    _HasRoom = Callable[[Mapping[str, int | str]], bool]

MAX_PLANNED_PETITIONS = 32
"""Waiting petitions whose starts are foretold, at most: a petition that has more before it goes before none of them."""
_STARTED = frozenset((State.STARTING, State.RUNNING))


class HeldFor(NamedTuple):
    """The petition for which something is held free."""

    first: str
    """Its id."""
    due: float | None
    """When it is foretold to start, on the clock on the wall; None where that is not known."""
    overdue: tuple[str, ...]
    """What runs longer than was expected of it."""


class _Let(NamedTuple):
    """A petition that came forward to go before others, and all by which that was decided."""

    waiter: Waiter
    before: list[Waiter] | None
    """The petitions before it, but for those that start when they are asked just before it. None where all are of
    one owner and need one resource alone: then no others are before it while nothing has changed."""
    granted: list[int]
    """The sequences of all that run when it is asked, in the order in which they started."""
    now: Moment
    changes: tuple[int, int, int]
    """How often petitions have entered lines, left lines, and begun or ceased to wait elsewhere when it is asked: the
    petitions that start just before it leave their lines, and are known elsewhere until they have started."""
    there_is: Mapping[str, int]
    """How much there is of what it, and those before it, take."""


class Backfill:
    """Foretells the starts of the first ones in the lines for resources; the lines are read with their lock."""

    def __init__(
        self,
        petitions: Petitions,
        inventory: Inventory,
        lines: Lines,
        elsewhere: WaitingElsewhere,
        *,
        of_groups: GroupAdmission,
        lines_of: Callable[[str], Iterable[str]],
        stands: Callable[[], Callable[[Waiter], bool]],
        now: Callable[[], Moment],
    ) -> None:
        """Take what runs and waits.

        Args:
            petitions: what runs.
            inventory: what there is of resources.
            lines: who waits for them.
            elsewhere: who needs them, and waits in no line.
            of_groups: how many petitions of each group may run.
            lines_of: gives the lines for a resource: there may be lines for devices about which needs say the same.
            stands: gives what tells at this moment whether a petition waits still, for resources and not for people.
            now: gives the time.

        """
        self._petitions = petitions
        self._inventory = inventory
        self._lines = lines
        self._elsewhere = elsewhere
        self._lines_of = lines_of
        self._stands = stands
        self._now = now
        self._of_groups = of_groups
        self._let: dict[int, _Let] = {}
        """The petitions that came forward last, by sequence."""
        self.put_back = 0
        """The version of the petitions when those that came forward last had left their lots. While it is the same, no
        other petition has ended, or has been held back or moved."""
        self.found: tuple[Key, list[Waiter] | None] | None = None
        """The place of the petition of which `may_go` has just been asked, and who is before it."""

    # --- may it go? ---------------------------------------------------------------------------------------------

    def may_go(self, small: Waiter) -> bool:
        """Tell whether a petition for which enough is free, and behind others in line, may start before them."""
        self._forget_more()
        let = self._let.pop(small.place[1], None) if self._let else None
        if let is not None and not self._is_as_before(let, small):
            let = None
        if let is not None and let.before is None:
            return True
        before = self._before(small.place, small.needs)
        self.found = small.place, before
        if before is None or small.seconds is None:
            return False
        if let is not None and let.before == before:
            return True
        runs, _ = self._running()
        others = len(self._lines.waiters) + self._elsewhere.count() - len(before)
        if self._gap(runs, before, small, max(0, others)).fits(small):
            return True
        everybody = self._before(small.place, None) if others > 0 else None
        return everybody is not None and self._gap(runs, everybody, small, 0).fits(small)

    def come_forward(self, resources: Iterable[str], has_room: _HasRoom) -> list[Waiter]:
        """Give the petitions that may start before others in the lines for these resources, and note that they do.

        `has_room` tells of what a petition needs whether all of that is free. Each is asked, and `may_go` decides.
        """
        self._let = {}
        found: list[Waiter] = []
        done: set[str] = set()
        if not self._lines.may_have_room(has_room):
            return []  # too little is free for any: the petitions need not be found
        for resource in resources:
            if resource in done:
                continue
            firsts, names = self._firsts([resource], MAX_PLANNED_PETITIONS)
            done |= names
            found += self._go(firsts[: MAX_PLANNED_PETITIONS + 1], has_room)
        return found

    def _go(self, waiters: list[Waiter], has_room: _HasRoom) -> list[Waiter]:
        """Give the petitions among these, which wait in this order, that may start before those ahead of them."""
        state = self._petitions.starts, len(self._petitions.granted), len(self._lines.waiters)
        rooms: dict[tuple[tuple[str, int | str], ...], bool] = {}
        could_go = []
        for at, waiter in enumerate(waiters):
            # It stands in line, says how long it takes, and was not tried in this state.
            if waiter.asked or waiter.seconds is None or not waiter.lines or waiter.tried == state:
                continue
            said = waiter.needed  # of many petitions that wait most need the same
            if said not in rooms:
                rooms[said] = has_room(waiter.needs)
            if rooms[said]:
                could_go.append(at)
        if not could_go:
            return []
        things = self._things()
        gap = Overtaking(things, self._inventory, self._running()[0])
        found: list[Waiter] = []
        ahead = 0
        for at in could_go:
            waiter = waiters[at]
            if gap.is_refused(waiter):
                continue
            for each in waiters[ahead:at]:
                gap.wait(each)
            ahead = at
            if gap.fits(waiter):
                waiter.asked, waiter.tried = True, state  # it may be refused still, and comes once for each state
                self._note_let(waiter, waiters[:at], found, things)
                found.append(waiter)
        return found

    def _note_let(self, waiter: Waiter, before: list[Waiter], found: list[Waiter], things: Things) -> None:
        """Note by what it was decided that a petition may go, where `may_go` would decide by the same.

        It would where nothing but amounts of resources counts. The petitions that were found before it run when it is
        asked, and they were planned as if they ran. Where there is one resource only, so were the petitions that are
        first in its line and go.
        """
        if self._petitions.lent or any(kind != RESOURCE for kind, *_ in things.most):
            return
        names = [name for _, name in things.most]
        if self._inventory.are_devices(names) or any(map(self._elsewhere.are_more, names)):
            return
        is_one = len(names) == 1
        goes = [each for each in before if each.asked] if is_one else found
        if any(each.seconds is None for each in goes):
            return
        gone = [each.place[1] for each in goes]
        granted = [*self._petitions.granted.key_of, *gone]
        are_known = is_one and self._petitions.fairness is None and not self._who_need(WHOLE, 1)
        left = None if are_known else [each for each in before if each.place[1] not in gone]
        entered, gone_before, elsewhere = self._changes()
        changes = entered, gone_before + len(goes), elsewhere + len(goes)
        there_is = {name: self._inventory.capacity(name) for name in names}
        self._let[waiter.place[1]] = _Let(waiter, left, granted, self._now(), changes, there_is)

    def _changes(self) -> tuple[int, int, int]:
        return self._lines.changes, self._lines.leavings, self._elsewhere.changes

    def _is_as_before(self, let: _Let, small: Waiter) -> bool:
        """Tell whether all is as it was when it was decided that a petition may go: then it may."""
        known = let.waiter
        return (
            let.now == self._now()
            and self._petitions.version == self.put_back
            and let.changes == self._changes()
            and let.granted == [*self._petitions.granted.key_of]
            and (known.place, known.needs, known.seconds) == (small.place, small.needs, small.seconds)
            and (known.manager, known.group, known.owner) == (small.manager, small.group, small.owner)
            and all(self._inventory.capacity(name) == amount for name, amount in let.there_is.items())
            and not any(map(self._elsewhere.are_more, let.there_is))
        )

    def held_for(
        self, place: Key, needs: Mapping[str, int | str], resource: str, *, is_asked: bool = False
    ) -> HeldFor | None:
        """Give for whom a resource is held free, where that is the first in line; None where too many are before it.

        With `is_asked` the petition is asked at this moment.
        """
        self._forget_more()
        found = self.found if is_asked else None
        before = (found[1] if found is not None and found[0] == place else self._before(place, needs)) or []
        at = next((at for at, waiter in enumerate(before) if resource in waiter.lines), None)
        if at is None:
            return None
        runs, overdue = self._running()
        begin = self._gap(runs, before, None, 0).start_of(at, resource)
        return HeldFor(before[at].place[2], None if begin is None else self._now().wall + begin, overdue)

    def _gap(self, runs: Sequence[Run], before: Sequence[Waiter], small: Waiter | None, others: int) -> Overtaking:
        """Take all that waits before a petition, and `others`: how many more do of which nothing is known."""
        things = self._things()
        gap = Overtaking(things, self._inventory, runs)
        for waiter in before:
            gap.wait(waiter)
        if small is not None:
            things.of(small)
        unknown: dict[Thing, Amount] = {}
        for thing, most in things.most.items():
            if thing[0] != RESOURCE:
                unknown[thing] = things.parked(thing) + others
            elif self._elsewhere.are_more(thing[1]):
                unknown[thing] = most
        gap.wait_somewhere({thing: amount for thing, amount in unknown.items() if amount})
        return gap

    # --- what runs ----------------------------------------------------------------------------------------------

    def _things(self) -> Things:
        return Things(self._petitions, self._inventory, self._of_groups, self._now().steady)

    def _running(self) -> tuple[list[Run], tuple[str, ...]]:
        """Give all that runs, and what of that runs longer than was expected."""
        petitions, now, things = self._petitions, self._now(), self._things()
        records, all_lent = petitions.records, petitions.lent
        runs: list[Run] = []
        overdue: list[str] = []
        for grant in petitions.granted.grants():
            record, lent = records.get(grant.seq), all_lent.get(grant.seq)
            seconds = _seconds_left(grant, record, now)
            if seconds is not None and seconds <= 0:
                seconds = None
                overdue += [] if record is None else [record.key]
            back = None if lent is None else things.of(lent)
            runs.append(new_tuple(Run, (things.of(grant, runs=True), grant.devices or {}, seconds, back)))
        return runs, tuple(overdue)

    # --- who is before it? --------------------------------------------------------------------------------------

    def _forget_more(self) -> None:
        """Have all that wait elsewhere be known, where no petition is parked."""
        if not self._petitions.waiting.parked:
            self._elsewhere.are_no_more()

    def _before(self, place: Key, needs: Iterable[str] | None) -> list[Waiter] | None:
        """Give the petitions before a place that need any of this, or what others of these need; with None all.

        None where there are too many.
        """
        if needs is None:
            resources = {line.partition("@")[0] for line in self._lines.names()} | {*self._elsewhere.names()}
        else:
            resources = {*needs, WHOLE}
        found, _ = self._firsts(resources, MAX_PLANNED_PETITIONS, place)
        return None if len(found) > MAX_PLANNED_PETITIONS else found

    def _firsts(self, resources: Iterable[str], most: int, before: Key | None = None) -> tuple[list[Waiter], set[str]]:
        """Give the first petitions that need some resources, or what others of them need; and all of these resources.

        There may be more than `most`: then not all are given. With `before` only petitions before that place count.
        """
        lines = self._lines
        names: set[str] = set()
        found: dict[int, Waiter] = {}
        left = list(resources)
        while left and (before is None or len(found) <= most):
            name = left.pop()
            if name in names:
                continue
            names.add(name)
            some = self._who_need(name, most + 1)
            for waiter in some if before is None else lines.earlier(some, before):
                seq = waiter.place[1]
                if seq not in found:
                    found[seq] = waiter
                    left += [each for each in waiter.needs if each not in names]
        return lines.in_order(found.values()), names

    def _who_need(self, resource: str, most: int) -> list[Waiter]:
        """Give the first petitions in the lines for a resource, and all that need the resource and wait elsewhere."""
        firsts, stands = self._lines.firsts, self._stands()
        found: list[Waiter] = []
        for line in (*self._lines_of(resource), aside(resource)):
            found += firsts(line, most, stands)
        waiters = self._lines.waiters
        found += [each for each in self._elsewhere.who_need(resource) if each.place[1] not in waiters]
        return found


def _seconds_left(grant: Grant, record: Record | None, now: Moment) -> float | None:
    """Give how long what was granted goes on, by what was said of it; None where that is not known."""
    if grant.manager == LENT:  # it stands still
        return None
    if record is None or record.state is State.QUEUED:
        return grant.seconds
    seconds = known_seconds(record)
    if seconds is None or record.started is None or record.state not in _STARTED:
        return None
    return min(seconds, record.started + seconds - now.wall)  # the clock on the wall may have been set back


__all__ = ["MAX_PLANNED_PETITIONS", "Backfill", "HeldFor"]
