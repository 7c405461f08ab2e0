"""What petitions take while they run, thing by thing: resources, slots of groups and managers, parts of quotas."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, Protocol

from orcha._core.groups import NO_RULES
from orcha._core.resource_lines import Waiter
from orcha.interfaces.needs import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from orcha._core.group_admission import GroupAdmission
    from orcha._core.inventory import Inventory
    from orcha._core.petitions import Petitions
    from orcha.interfaces.needs import Amount

Thing = tuple[str, ...]
"""Its kind, then its name."""
RESOURCE, SLOTS = "resource", "slots"
_GROUP, _USER, _RATE, _QUOTA = "group", "user", "rate", "quota"


class Taker(Protocol):
    """A petition that waits or runs, as far as it says what it takes."""

    @property
    def manager(self) -> str:
        """The manager whose slots it takes."""

    @property
    def group(self) -> str | None:
        """The group whose slots it takes."""

    @property
    def needs(self) -> Mapping[str, int | str] | None:
        """What it needs of resources."""

    @property
    def owner(self) -> str:
        """The owner whose quotas it takes part of."""


class Claim(NamedTuple):
    """What a petition takes."""

    takes: Mapping[Thing, Amount]
    """How much of each thing that has a limit, at most: of devices a share counts as one."""
    needs: Mapping[str, Amount]
    """How much of each resource."""


def resource(name: str) -> Thing:
    """Give the thing that a resource is."""
    return RESOURCE, name


def _said(taker: Taker, *, runs: bool) -> tuple[object, ...]:
    """Give all that a petition says of what it takes."""
    return runs, taker.manager, taker.group, taker.owner, *(taker.needs or {}).items()


def keeps_line(thing: Thing) -> bool:
    """Tell whether a petition that lacks a thing stays in the lines for resources in which it stands.

    >>> keeps_line((RESOURCE, "gpu")), keeps_line(("group", "rig"))
    (True, False)
    """
    return thing[0] in (RESOURCE, SLOTS)


class Things:
    """How much there is of each thing that has a limit, and how much of it a petition takes.

    Of resources and of the slots of a manager all that there is counts, of other things what is free now. Of a resource
    that is devices as many count as the petition with the fewest devices has, and a share counts as a whole device: so
    what is enough is enough whichever devices others get.
    """

    def __init__(self, petitions: Petitions, inventory: Inventory, of_groups: GroupAdmission, steady: float) -> None:
        """Look at what is set and granted now; `steady` is the time by which rates of groups count."""
        self._petitions = petitions
        self._inventory = inventory
        self._of_groups = of_groups
        self._steady = steady
        self.most: dict[Thing, Amount] = {}
        """How much there is of each thing that petitions took by `of`."""
        self._claims: dict[tuple[object, ...], Claim] = {}
        """What petitions take, by all that they say of that: many say the same."""

    def of(self, taker: Taker, *, runs: bool = False) -> Claim:
        """Give what a petition takes; of a petition that runs, what its end gives back."""
        if isinstance(taker, Waiter):
            said = taker.said = taker.said or _said(taker, runs=False)
        else:
            said = _said(taker, runs=runs)
        found = self._claims.get(said)
        if found is None:
            found = self._claims[said] = self._reckon(taker, runs=runs)
        return found

    def _reckon(self, taker: Taker, *, runs: bool) -> Claim:
        takes: dict[Thing, Amount] = {}
        needs: dict[str, Amount] = {}
        for name, wanted in (taker.needs or {}).items():
            need, thing = read(wanted), resource(name)
            devices = self._inventory.usable(name, need, self._petitions.granted.used(name))
            needs[name] = need.amount
            takes[thing] = need.amount if devices is None else ceil(need.amount)
            if devices is None:
                self.most[thing] = self.there_is(name)
            elif not runs:
                self.most[thing] = min(self.most.get(thing, len(devices)), len(devices))
        slots = self._petitions.slots_of.get(taker.manager)
        if slots is not None:
            takes[SLOTS, taker.manager] = 1
            self.most[SLOTS, taker.manager] = slots
        if not runs:
            for thing, amount, free in self._others(taker):
                takes[thing] = amount
                self.most[thing] = free
        return Claim(takes, needs)

    def used(self, resource: str) -> Mapping[str, Amount]:
        """Give which share of each device of a resource is in use."""
        return self._petitions.granted.used(resource)

    def there_is(self, resource: str) -> Amount:
        """Give how much there is of a resource, or more where more is held since before a restart."""
        return max(self._inventory.capacity(resource), self._petitions.granted.held(resource))

    def _others(self, taker: Taker) -> Iterator[tuple[Thing, Amount, Amount]]:
        """Give what a petition takes of groups and quotas, how much, and how much of that is free."""
        granted, group, owner = self._petitions.granted, taker.group, taker.owner
        if group is not None:
            slots, rules = self._of_groups.slots.get(group), self._of_groups.rules.get(group, NO_RULES)
            if slots is not None:
                yield (_GROUP, group), 1, slots - granted.in_group(group)
            if rules.per_user is not None:
                yield (_USER, group, owner), 1, rules.per_user - granted.in_group_of(group, owner)
            log = granted.start_logs.get(group)
            if log is not None:
                yield (_RATE, group), 1, log.free(self._steady)
        quotas = self._petitions.quotas
        if quotas is not None:
            for name, amount, free in quotas.wanted(owner, taker.manager, taker.needs or {}):
                yield (_QUOTA, name), amount, free

    def parked(self, thing: Thing) -> int:
        """Give how many petitions that are parked for groups and quotas may take a thing once they go on, at most."""
        groups, (kind, name, *_) = self._of_groups, thing
        if kind == _QUOTA:
            return self._petitions.waiting.parked_in(name)
        if kind != SLOTS:
            return groups.parked_in(name)
        at_once = ((groups.parked_in(group), slots) for group, slots in groups.slots.items())
        return sum(parked if slots is None else min(parked, slots) for parked, slots in at_once)


def is_enough(thing: Thing, most: Amount, claims: Sequence[Claim], there_is: Callable[[str], Amount]) -> bool:
    """Tell whether `most` of a thing is enough for these petitions: none of them waits for it, whichever of them run.

    There is, where all of them can have it at once. There is also where the petitions can never run all at once, since
    they need a resource as well of which `there_is` less: what can run at once leaves enough of the thing for one more.

    >>> three = [Claim({("resource", "cpu"): 4}, {"gpu": 1, "cpu": 4})] * 3
    >>> is_enough(("resource", "cpu"), 12, three, {"gpu": 3, "cpu": 12}.get)
    True
    >>> [is_enough(("resource", "cpu"), cpus, three, {"gpu": 1, "cpu": cpus}.get) for cpus in (7, 8)]
    [False, True]
    """
    amounts = [claim.takes.get(thing, 0) for claim in claims]
    if sum(amounts) <= most:
        return True
    most -= max(amounts)
    others = {name for claim in claims if thing in claim.takes for name in claim.needs if name != thing[-1]}
    return any(_at_once(thing, claims, name, there_is(name)) <= most for name in others)


def _at_once(thing: Thing, claims: Iterable[Claim], resource: str, most: Amount) -> Amount:
    """Give an upper bound of what petitions take of a thing at once, since there is only `most` of a resource."""
    found: Amount = 0
    both: list[tuple[float | Fraction, Amount, Amount]] = []
    for claim in claims:
        amount, beside = claim.takes.get(thing, 0), claim.needs.get(resource, 0)
        if not beside:
            found += amount
        elif amount:
            both.append((amount / beside, amount, beside))
    for _, amount, beside in sorted(both, reverse=True):
        if beside > most:
            return found + Fraction(amount) * most / beside
        found, most = found + amount, most - beside
    return found


__all__ = ["RESOURCE", "SLOTS", "Claim", "Taker", "Thing", "Things", "is_enough", "keeps_line", "resource"]
