"""Whether a petition may start before earlier petitions that wait, and leaves the start of each of them as it is.

What there is enough of for all of them keeps nobody waiting. For each other thing that the petition takes, one of two
must hold. Either the earlier petitions that compete for it go in their order, whatever happens: then a plan tells when
each of them starts, and the petition has to leave that as it is. Or none of the earlier petitions that need the thing
can start before the petition ends, however soon others are done.
"""

from __future__ import annotations

from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.devices import fitting
from orcha._core.reservations import Plan, Want
from orcha._core.things import RESOURCE, SLOTS, Claim, Thing, is_enough, keeps_line, resource
from orcha._core.tuples import new_tuple
from orcha.interfaces.needs import WHOLE, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orcha._core.devices import Devices
    from orcha._core.inventory import Inventory
    from orcha._core.resource_lines import Waiter
    from orcha._core.things import Things
    from orcha.interfaces.needs import Amount


class Run(NamedTuple):
    """A petition that runs."""

    claim: Claim
    devices: Devices
    seconds: float | None
    """How long it goes on; None where that is not known."""
    comes_back_for: Claim | None = None
    """What a petition that stands still takes again at any time."""


class _Ahead(NamedTuple):
    """An earlier petition that waits."""

    waiter: Waiter
    claim: Claim
    lines: frozenset[str]
    """The resources in whose lines it stands."""
    kind: _Kind


class _Kind(NamedTuple):
    """What decides whether an earlier petition may be passed: of many petitions that wait most are of a few kinds."""

    takes: frozenset[Thing]
    """The things that it takes."""
    lines: frozenset[str]


class _Planned:
    """A plan for petitions that wait, named by their places among all that do."""

    __slots__ = ("_amounts", "_compared", "are_ordered", "kinds", "made", "rivals", "starts")

    def __init__(self, made: Plan, *, are_ordered: bool) -> None:
        self.made = made
        self.are_ordered = are_ordered
        """Whether no petition can pass an earlier one with which it competes, unless it delays none either."""
        self.rivals: tuple[int, ...] = ()
        self.kinds: set[_Kind] = set()
        """The kinds of the rivals."""
        self.starts: dict[int, float | None] = {}
        """In how many seconds each of them starts; None where that is not known."""
        self._amounts: dict[int, dict[Thing, Amount]] = {}
        """What petitions take of what is planned, by the identity of their claims: many have the same."""
        self._compared: dict[tuple[int, int], int] = {}
        """How many kinds a petition of a kind and a claim may not pass, by the identities of the two."""

    def add(self, place: int, ahead: _Ahead) -> None:
        """Plan for the next rival, which waits at a place among all that do."""
        claim, kind, there_is = ahead.claim, ahead.kind, self.made.there_is
        if self.are_ordered:
            alike = id(kind), id(claim)
            if self._compared.get(alike) != len(self.kinds):
                passes = any(_may_pass(each, ahead, there_is) for each in self.kinds)
                self.are_ordered = bool(ahead.lines) and not passes
                self._compared[alike] = len(self.kinds)
        self.kinds.add(kind)
        amounts = self._amounts.get(id(claim))
        if amounts is None:
            amounts = {thing: amount for thing, amount in claim.takes.items() if thing in there_is}
            self._amounts[id(claim)] = amounts
        self.starts[place] = self.made.reserve(new_tuple(Want, (amounts, ahead.waiter.seconds)))

    def refuses(self, thing: Thing, amount: Amount, seconds: float) -> bool:
        """Tell whether a petition surely delays a petition that is planned so far, whatever others wait behind those.

        The amount is free now, and not for `seconds`: a planned petition starts before that, and starts no later in any
        other order of the petitions either.
        """
        made = self.made
        return made.is_possible and made.is_free(thing, amount) and not made.has_gap(thing, amount, seconds)


_NOTHING = Claim({}, {})


class Overtaking:
    """Tells what may go before the petitions that wait, which are added in their order."""

    def __init__(self, things: Things, inventory: Inventory, runs: Sequence[Run]) -> None:
        """Have nobody wait beside what runs."""
        self._things = things
        self._inventory = inventory
        self._runs = runs
        self._ahead: list[_Ahead] = []
        self._places: dict[frozenset[Thing], list[int]] = {}
        """The places of the petitions that wait, by what they take."""
        self._in_lines: set[Thing] = set()
        """The resources for which any of them stands in line."""
        self._wanted: set[Thing] = set()
        """What any of them takes."""
        self._is_whole_wanted = False
        self._unknown = _NOTHING
        """What others take of whom nothing else is known."""
        self._plans: dict[object, _Planned | None] = {}
        self._kinds: dict[tuple[int, frozenset[str]], _Kind] = {}
        """The kinds of the petitions that wait, by the identity of what they take, and by their lines."""
        self._refused: dict[int, float] = {}
        """The most seconds for which the gap is open in which a petition was refused that delays others surely, by the
        identity of what it takes: as petitions are added, the gap closes sooner, and never later. Claims are kept as
        long as this object, and petitions that take the same have one."""

    def wait(self, waiter: Waiter) -> None:
        """Add the next petition that waits."""
        claim, lines = self._things.of(waiter), waiter.lines
        kind = self._kinds.get((id(claim), lines))
        if kind is None:
            kind = self._kinds[id(claim), lines] = _Kind(frozenset(claim.takes), lines)
            self._wanted |= kind.takes
            self._in_lines.update(map(resource, lines))
            self._is_whole_wanted |= WHOLE in claim.needs
        self._places.setdefault(kind.takes, []).append(len(self._ahead))
        self._ahead.append(new_tuple(_Ahead, (waiter, claim, lines, kind)))

    def wait_somewhere(self, takes: Mapping[Thing, Amount]) -> None:
        """Add petitions of which nothing more is known than what they take together, at most."""
        self._unknown = Claim(takes, {})

    # --- may it go? ---------------------------------------------------------------------------------------------

    def is_refused(self, small: Waiter) -> bool:
        """Tell whether a petition is too long for a gap in which one that takes the same was refused.

        It delays others surely, whatever waits behind those, so that nobody has to look.
        """
        seconds, known = small.seconds, self._refused.get(id(self._things.of(small)))
        return known is not None and seconds is not None and seconds > known

    def fits(self, small: Waiter) -> bool:
        """Tell whether a petition for which enough is free may start before others that wait, and delays none."""
        seconds, claim = small.seconds, self._things.of(small)
        if seconds is None or self._is_whole_wanted or WHOLE in claim.needs:
            return False
        scarce = self._scarce(claim)
        for thing, amount in claim.takes.items():
            if thing in scarce and (thing in self._wanted or thing in self._unknown.takes):
                rivals, contested = self._rivals(thing, scarce)
                plan = self._plan(rivals, contested, small)
                if plan is not None and plan.refuses(thing, amount, seconds):
                    self._refused[id(claim)] = plan.made.gap(thing, amount)
                    return False
                if plan is None or not self._go_on(plan, rivals):
                    if not self._is_later(thing, seconds):
                        return False
                elif not plan.made.has_gap(thing, amount, seconds):
                    self._refused[id(claim)] = plan.made.gap(thing, amount)
                    return False
        return True

    def start_of(self, place: int, name: str) -> float | None:
        """Give when the petition that was added at a place starts, in seconds; None where that is not known.

        `name` is a resource in whose line it stands.
        """
        if WHOLE in self._ahead[place].claim.needs:
            return None
        rivals, contested = self._rivals(resource(name), self._scarce(_NOTHING))
        plan = self._plan(rivals, contested, None)
        return None if plan is None or not self._go_on(plan, rivals) else plan.starts[place]

    # --- who competes for what ----------------------------------------------------------------------------------

    def _scarce(self, small: Claim) -> set[Thing]:
        """Give the things of which there is too little for all, or for which somebody stands in line."""
        found = set(self._in_lines)
        others = self._wanted.union(self._unknown.takes, small.takes) - found
        if others:
            waiting = [each.claim for each in self._ahead]
            claims = [*(run.claim for run in self._runs), *waiting, self._unknown, small]
            things = self._things
            found.update(thing for thing in others if not is_enough(thing, things.most[thing], claims, things.there_is))
        return found

    def _rivals(self, thing: Thing, scarce: set[Thing]) -> tuple[tuple[int, ...], set[Thing]]:
        """Give who competes for a thing, and for whatever else these compete for; and all that they compete for."""
        if len(self._places) == 1:  # most that wait take the same things
            ((takes, places),) = self._places.items()
            return (tuple(places), {thing} | (takes & scarce)) if thing in takes else ((), {thing})
        contested, left, rivals = {thing}, list(self._places), list[int]()
        while found := [takes for takes in left if not contested.isdisjoint(takes)]:
            left = [takes for takes in left if contested.isdisjoint(takes)]
            for takes in found:
                rivals += self._places[takes]
                contested |= takes & scarce
        return tuple(sorted(rivals)), contested

    # --- a plan for petitions that go in their order --------------------------------------------------------------

    def _plan(self, rivals: tuple[int, ...], contested: set[Thing], small: Waiter | None) -> _Planned | None:
        """Give the plan for petitions, as far as it was made; None where nobody knows in which order they go."""
        if not contested.isdisjoint(self._unknown.takes):
            return None
        there_is: dict[Thing, Amount] = {}
        alike: dict[Thing, frozenset[str]] = {}
        for thing in contested:
            there_is[thing] = self._things.most[thing]
            if thing[0] == RESOURCE and self._inventory.devices(thing[1]) is not None:
                devices = self._alike(thing[1], [*(self._ahead[place].waiter for place in rivals), small])
                if devices is None:
                    return None
                there_is[thing], alike[thing] = len(devices), devices
        planned = self._plans.get(key := (frozenset(there_is.items()), frozenset(alike.items())))
        if planned is None or planned.rivals != rivals[: len(planned.rivals)]:
            planned = self._plans[key] = self._begun(contested, there_is, alike)
        return planned

    def _begun(
        self, contested: set[Thing], there_is: Mapping[Thing, Amount], alike: Mapping[Thing, frozenset[str]]
    ) -> _Planned:
        """Begin a plan with what runs."""
        plan = Plan(there_is)
        known: dict[int, dict[Thing, Amount]] = {}
        for run in self._runs:
            amounts = known.get(id(run.claim))
            if amounts is None:
                amounts = {thing: amount for thing, amount in run.claim.takes.items() if thing in there_is}
                known[id(run.claim)] = amounts
            if alike:
                amounts = dict(amounts)
                for thing, devices in alike.items():
                    amounts[thing] = len(devices.intersection(run.devices.get(thing[1], ())))
            plan.runs(new_tuple(Want, (amounts, run.seconds)))
        back = (run.comes_back_for.takes for run in self._runs if run.comes_back_for is not None)
        are_ordered = all(map(keeps_line, contested)) and all(contested.isdisjoint(takes) for takes in back)
        return _Planned(plan, are_ordered=are_ordered)

    def _go_on(self, planned: _Planned, rivals: tuple[int, ...]) -> bool:
        """Plan for petitions behind the petitions of a plan; tell whether all keep their order."""
        new, planned.rivals = rivals[len(planned.rivals) :], rivals
        for place in new:
            planned.add(place, self._ahead[place])
        return planned.are_ordered

    def _alike(self, name: str, waiters: Iterable[Waiter | None]) -> frozenset[str] | None:
        """Give the devices of a resource that petitions need, where any of them does for each; else None."""
        needs = {read(each.needs[name]) for each in waiters if each is not None and name in each.needs}
        used = self._things.used(name)
        found = {frozenset(self._inventory.usable(name, need, used) or ()) for need in needs}
        if len(found) != 1 or any(need.is_share for need in needs):
            return None
        devices, seen = found.pop(), self._inventory.foreign(name, used)
        there_are = self._inventory.devices(name) or ()
        if seen and any(not seen.keys().isdisjoint(fitting(there_are, need)) for need in needs):
            return None  # those may be free at any time
        return None if any(used.get(device, 0) not in (0, 1) for device in devices) else devices

    # --- when can others start? ---------------------------------------------------------------------------------

    def _is_later(self, thing: Thing, seconds: float) -> bool:
        """Tell whether no petition that needs a thing starts within some seconds, or enters its line for want of it."""
        if thing in self._unknown.takes or not keeps_line(thing):  # what lacks another thing would leave its lines
            return False
        return all(self._starts_later(each, thing, seconds) for each in self._ahead if thing in each.claim.takes)

    def _starts_later(self, ahead: _Ahead, thing: Thing, seconds: float) -> bool:
        waiter, takes = ahead.waiter, ahead.claim.takes
        if self._earliest(waiter, thing, takes[thing]) >= seconds:
            return True
        if thing[0] == RESOURCE and thing[1] not in ahead.lines:
            return False
        return any(self._earliest(waiter, other, takes[other]) >= seconds for other in filter(keeps_line, takes))

    def _earliest(self, waiter: Waiter, thing: Thing, amount: Amount) -> float:
        """Give the first time at which a petition may have enough of a thing, where all of unknown length end now."""
        if thing[0] == RESOURCE and self._inventory.devices(thing[1]) is not None:
            return self._earliest_of_devices(thing[1], waiter.needs[thing[1]])
        taken = [(run.seconds, run.claim.takes.get(thing, 0)) for run in self._runs if run.seconds is not None]
        return _free_at(taken, self._things.most[thing] - amount)

    def _earliest_of_devices(self, name: str, wanted: int | str) -> float:
        need, devices = read(wanted), self._inventory.devices(name) or ()
        most = 1 - need.amount if need.is_share else 0
        times = []
        for device in fitting(devices, need, self._inventory.drains.get(name, ())):
            taken = [
                (run.seconds, min(1, run.claim.needs[name]))
                for run in self._runs
                if run.seconds is not None and device in run.devices.get(name, ())
            ]
            times.append(_free_at(taken, most))
        count = 1 if need.is_share else int(need.amount)
        return sorted(times)[count - 1] if len(times) >= count else inf


def _may_pass(one: _Kind, later: _Ahead, contested: Mapping[Thing, Amount]) -> bool:
    """Tell whether a petition may start before an earlier one, since it stands behind it in no line, and delay it."""
    shared = contested.keys() & one.takes & later.kind.takes
    if not shared:
        return False
    if one.lines.isdisjoint(later.claim.needs):
        return True
    # The earlier one leaves its lines where only a slot is missing, and the later one may need no such slot.
    return any(thing[0] == SLOTS and thing in contested and thing not in shared for thing in one.takes)


def _free_at(taken: list[tuple[float, Amount]], most: Amount) -> float:
    """Give the first time from which no more than `most` is taken, where each part is taken for its seconds.

    >>> _free_at([(60.0, 1), (90.0, 2)], 2), _free_at([(60.0, 1)], 1), _free_at([], -1)
    (60.0, 0.0, inf)
    """
    left = sum(amount for _, amount in taken)
    time = 0.0
    for seconds, amount in sorted(taken, key=_seconds):
        if left <= most:
            return time
        left, time = left - amount, seconds
    return time if left <= most else inf


_seconds = itemgetter(0)

__all__ = ["Overtaking", "Run"]
