"""Which petitions may go before an earlier petition that waits for a resource, and delay nobody: conservative backfill.

Each of the first waiting petitions gets the time at which it is foretold to start, by the known lengths of what runs
and of what waits before it. A later petition of a known length starts now where it ends before what it takes is needed,
or where that is not needed then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.granted import LENT
from orcha._core.record import Record
from orcha._core.reservations import Plan, Want
from orcha._core.state import State
from orcha.interfaces.needs import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from orcha._core.converted import Candidate
    from orcha._core.devices import Devices
    from orcha._core.granted import Grant
    from orcha._core.inventory import Inventory
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Key
    from orcha._core.resource_lines import Lines, Waiter

MAX_PLANNED_PETITIONS = 32
"""Waiting petitions whose starts are foretold, at most: a petition that has more before it goes before none of them."""
_GROUP = "group:"
_COMMANDS = "commands of "
_STARTED = frozenset((State.STARTING, State.RUNNING))


def known_seconds(candidate: Candidate) -> float | None:
    """Give how long a petition is said to take: what is expected, else its limit; None where neither is known."""
    return candidate.timeout if candidate.expect is None else candidate.expect


class HeldFor(NamedTuple):
    """The petition for which something is held free."""

    first: str
    """Its id."""
    due: float | None
    """When it is foretold to start, on the clock on the wall; None where that is not known."""
    overdue: tuple[str, ...]
    """What runs longer than was expected of it."""


class _Starts:
    """Which petitions of a plan may start before others that are held something for which they are not in line."""

    def __init__(self) -> None:
        self._loose: list[tuple[Collection[str], set[str]]] = []

    def may_pass(self, waiter: Waiter) -> bool:
        """Take the next petition; tell whether it may take what an earlier one is held free, and does not wait for."""
        lines = {line.partition("@")[0] for line in waiter.names}
        needs = waiter.needs.keys()
        found = any(not needs.isdisjoint(theirs) and needs.isdisjoint(stood) for theirs, stood in self._loose)
        if needs != lines:
            self._loose.append((needs, lines))
        return found


class Backfill:
    """Foretells the starts of the first ones in the lines for resources; the lines are read with their lock."""

    def __init__(
        self,
        petitions: Petitions,
        inventory: Inventory,
        lines: Lines,
        *,
        lines_of: Callable[[str], Iterable[str]],
        stands: Callable[[Waiter], bool],
        now: Callable[[], Moment],
    ) -> None:
        """Take what runs and waits.

        Args:
            petitions: what runs.
            inventory: what there is of resources.
            lines: who waits for them.
            lines_of: gives the lines for a resource: there may be lines for devices about which needs say the same.
            stands: tells whether a petition waits still, for resources and not for people.
            now: gives the time.

        """
        self._petitions = petitions
        self._inventory = inventory
        self._lines = lines
        self._lines_of = lines_of
        self._stands = stands
        self._now = now
        self.groups: Mapping[str, int | None] = {}
        """How many petitions of each group may run at once."""

    # --- may it go? ---------------------------------------------------------------------------------------------

    def may_go(self, place: Key, want: Want) -> bool:
        """Tell whether a petition for which enough is free, and behind others in line, may start before them."""
        before = self._before(place, want.needs)
        if before is None:
            return False
        plan, starts = self._plan()[0], _Starts()
        for waiter in before:
            self._foretell(plan, starts, waiter)
        return plan.has_gap(want, self._devices(want))

    def come_forward(self, resources: Iterable[str], has_room: Callable[[Waiter], bool]) -> list[Waiter]:
        """Give the petitions that may start before others in the lines for these resources, and note that they do.

        `has_room` tells whether all that a petition needs is free.
        """
        found: list[Waiter] = []
        done: set[str] = set()
        for resource in resources:
            if resource in done:
                continue
            firsts, names = self._firsts([resource], MAX_PLANNED_PETITIONS)
            done |= names
            first = firsts[: MAX_PLANNED_PETITIONS + 1]
            if any(not waiter.asked and waiter.seconds is not None and has_room(waiter) for waiter in first):
                found += self._go(first, has_room)
        return found

    def _go(self, waiters: list[Waiter], has_room: Callable[[Waiter], bool]) -> list[Waiter]:
        plan, starts, found = self._plan()[0], _Starts(), []
        state = self._petitions.starts, len(self._petitions.granted), len(self._lines.waiters)
        for waiter in waiters:
            want = self.want(waiter)
            may_go = not waiter.asked and want.seconds is not None and WHOLE not in want.needs and has_room(waiter)
            if may_go and waiter.tried != state and plan.has_gap(want, self._devices(want)):
                waiter.asked, waiter.tried = True, state  # it may be refused still, and comes once for each state
                found.append(waiter)
            self._foretell(plan, starts, waiter)
        return found

    def held_for(self, place: Key, needs: Mapping[str, int | str], resource: str) -> HeldFor | None:
        """Give for whom a resource is held free, where that is the first in line; None where too many are before it."""
        before = self._before(place, needs)
        if not before:
            return None
        plan, overdue = self._plan()
        starts = _Starts()
        now, first = self._now().wall, None
        for waiter in before:
            begin = self._foretell(plan, starts, waiter)
            if first is None and resource in waiter.needs:
                first = HeldFor(waiter.place[2], None if begin is None else now + begin, overdue)
        return first

    def _devices(self, want: Want) -> Devices:
        """Give the devices that a petition would get now."""
        return self._inventory.choose(want.needs, self._petitions.granted.all_used()) or {}

    # --- the plan -----------------------------------------------------------------------------------------------

    def want(self, waiter: Waiter) -> Want:
        """Give what a waiting petition would take."""
        return Want(waiter.needs, waiter.seconds, self.slots(waiter.group, waiter.manager))

    def slots(self, group: str | None, manager: str) -> tuple[str, ...]:
        """Name what a petition takes a slot of, as far as there is a limit."""
        found = () if self._petitions.slots_of.get(manager) is None else (f"{_COMMANDS}{manager}",)
        if group is None or self.groups.get(group) is None:
            return found
        return (*found, f"{_GROUP}{group}")

    def _foretell(self, plan: Plan, starts: _Starts, waiter: Waiter) -> float | None:
        """Give when a waiting petition starts, in seconds from now; None where that is not known."""
        want = self.want(waiter)
        if waiter.asked:
            plan.starts(want)
            return 0.0
        if starts.may_pass(waiter):
            plan.close(want, 0.0)
            return None
        return plan.reserve(want)

    def _plan(self) -> tuple[Plan, tuple[str, ...]]:
        """Give a plan with all that runs, and what of that runs longer than was expected."""
        petitions, now = self._petitions, self._now()
        slots = {f"{_GROUP}{group}": count for group, count in self.groups.items() if count is not None}
        known = petitions.slots_of.items()
        slots |= {f"{_COMMANDS}{manager}": count for manager, count in known if count is not None}
        plan, overdue = Plan(self._inventory, petitions.granted.all_used(), slots), []
        for grant in petitions.granted.grants():
            record = petitions.records.get(grant.seq)
            seconds = _seconds_left(grant, record, now)
            if seconds is not None and seconds <= 0:
                seconds = None
                overdue += [] if record is None else [record.key]
            plan.runs(Want(grant.needs or {}, seconds, self.slots(grant.group, grant.manager)), grant.devices)
        return plan, tuple(overdue)

    # --- who is before it? --------------------------------------------------------------------------------------

    def _before(self, place: Key, needs: Mapping[str, int | str]) -> list[Waiter] | None:
        """Give the petitions before a place in the lines for these needs, and in the lines for what those need.

        None where there are too many.
        """
        rank = self._lines.rank(place)
        found, _ = self._firsts(needs, MAX_PLANNED_PETITIONS, lambda each: self._lines.rank(each.place) < rank)
        return None if len(found) > MAX_PLANNED_PETITIONS else found

    def _firsts(
        self, resources: Iterable[str], most: int, counts: Callable[[Waiter], bool] | None = None
    ) -> tuple[list[Waiter], set[str]]:
        """Give the first petitions of some lines, and of the lines for all that these need; and those resources.

        There may be more than `most`: then not all are given.
        """
        names: set[str] = set()
        found: dict[int, Waiter] = {}
        left = list(resources)
        while left and (counts is None or len(found) <= most):
            name = left.pop()
            if name in names:
                continue
            names.add(name)
            for line in self._lines_of(name):
                for waiter in self._lines.firsts(line, most + 1, self._stands):
                    if waiter.place[1] not in found and (counts is None or counts(waiter)):
                        found[waiter.place[1]] = waiter
                        left.extend(waiter.needs)
        return sorted(found.values(), key=lambda waiter: self._lines.rank(waiter.place)), names


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


__all__ = ["MAX_PLANNED_PETITIONS", "Backfill", "HeldFor", "known_seconds"]
