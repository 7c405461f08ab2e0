"""Whose petition comes first among petitions of one priority: the petition of the owner who has least in use.

What an owner has in use is a share: of the slots of the service, or of a resource, whichever is larger (dominant
resource fairness: Ghodsi and others, NSDI 2011). Of two owners who have as much in use the one comes first whose last
start was earlier: where one petition runs at a time, the owners take turns. Where what was used before counts too
(`past_use`), its share is added to that. None of this is done while all petitions are of one owner, and the past counts
nothing.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from orcha._core.past_use import NEGLIGIBLE_SHARE, SLOTS, decay, passed
from orcha._core.weights import ALONE
from orcha.interfaces.needs import WHOLE, read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping

    from orcha._core.converted import Candidate
    from orcha._core.past_use import PastUse, Seconds
    from orcha._core.record import Key
    from orcha._core.weights import OwnerWeight
    from orcha.interfaces.needs import Amount

Lane = str | None
"""An owner; None for the first owner that had a petition, whose petitions need not be noted."""
Standing = tuple[float, int, float, int]
"""What an owner and the other members of its group have in use, and the number of their last start; then the same of
the owner alone. Where the owner has no group, the first two are the owner's, and the others are 0."""
NO_USE: Standing = (0.0, 0, 0.0, 0)
"""The standing of an owner who has and had nothing in use, and neither has the owner's group."""
Rank = tuple[int | float, float, int, float, int, int]
"""The order of petitions of several owners: priority, the standing of the owner, sequence; lower first."""


class _Use:
    """What the petitions of one owner hold, or of all members of a group, and what they used before."""

    __slots__ = ("at", "group", "held", "petitions", "share", "standing", "turn", "used", "weight")

    def __init__(self, at: float = 0.0) -> None:
        self.weight = ALONE
        self.group: _Use | None = None
        """What all members of the owner's group have in use; None where the owner is compared alone."""
        self.at = at
        self.used: Seconds = {}
        """What the owner had used at the time `at`; empty while that counts nothing."""
        self.turn = 0
        self.petitions = 0
        self.held: dict[str, Amount] = {}
        self.share = 0.0
        self.standing = NO_USE
        """How the owner is compared, where the owner has no group."""


class Fairness:
    """What each of several owners has in use, and which of their petitions comes first.

    >>> fairness = Fairness("ann", {"gpu": 4}.get, slots=10)
    >>> fairness.enter(2, "bob")
    >>> fairness.count("ann", {"gpu": 1}, 1)
    >>> fairness.share(fairness.lane(1)), fairness.share(fairness.lane(2))
    (0.25, 0.0)
    >>> fairness.is_before((0, 2, "two"), (0, 1, "one")), fairness.is_before((0, 2, "two"), (-1, 1, "one"))
    (True, False)
    """

    def __init__(self, first: str, capacity: Callable[[str], int | None], *, slots: int, starts: int = 0) -> None:
        """Know of nothing that is in use.

        Args:
            first: the owner of the petitions that were there before.
            capacity: gives how much there is of a resource.
            slots: how many petitions may run at once, as far as that is known.
            starts: how many petitions of the first owner have started.

        """
        self._first = first
        self._capacity = capacity
        self._slots = max(1, slots)
        self._lanes: dict[int, str] = {}
        """The owners of live petitions, by sequence, but for the first owner's."""
        self.lane: Callable[[int], Lane] = self._lanes.get
        """Gives whose a live petition is, by sequence: an attribute, since it is asked for each head of a round."""
        self._uses: dict[Lane, _Use] = {None: _Use()}
        self._uses[None].turn = starts
        self._uses[None].standing = (0.0, starts, 0.0, 0)
        self.turn = starts
        """How many petitions have started."""
        self.changes = 0
        """Rises whenever an owner has more or less in use, or is compared otherwise."""
        self._past: PastUse | None = None
        self._window = 1.0
        self._counted_at = 0.0
        """When all shares were reckoned last, where what was used before counts."""
        self._has_weights = False
        self._has_groups = False

    # --- whose petition is it? ----------------------------------------------------------------------------------

    def enter(self, seq: int, owner: str) -> None:
        """Note whose a petition is."""
        if owner != self._first:
            self._lanes[seq] = owner

    def forget(self, seq: int) -> None:
        """Know of a petition no more."""
        self._lanes.pop(seq, None)

    # --- what is in use -----------------------------------------------------------------------------------------

    def count(self, owner: str, needs: Mapping[str, int | str] | None, sign: int) -> None:
        """Count a slot and what a petition needs as in use by an owner, or with the sign -1 as in use no more."""
        use = self._use_of(owner)
        if sign > 0:
            self.turn += 1
        self._count(use, needs, sign)
        if use.group is not None:
            self._count(use.group, needs, sign)

    def _count(self, use: _Use, needs: Mapping[str, int | str] | None, sign: int) -> None:
        if self._past is not None:
            self._pass_time(use, self._past, self._past.now())
        use.petitions += sign
        if sign > 0:
            use.turn = self.turn
        for name, wanted in (needs or {}).items():
            use.held[name] = use.held.get(name, 0) + sign * read(wanted).amount
        self._settle(use)

    def _use_of(self, owner: str) -> _Use:
        """Give what an owner has in use, from the first petition on."""
        lane = self._lane_of(owner)
        use = self._uses.get(lane)
        if use is None:
            use = self._uses[lane] = _Use(0.0 if self._past is None else self._past.now())
        return use

    def _lane_of(self, owner: str) -> Lane:
        return None if owner == self._first else owner

    def count_anew(self) -> None:
        """Reckon all shares again, since there is more or less of something, or time has passed."""
        past, uses = self._past, [*self._uses.values(), *(self._together() if self._has_groups else ())]
        if past is not None:
            now = self._counted_at = past.now()
            for use in uses:
                self._pass_time(use, past, now)
        for use in uses:
            self._settle(use)

    def pass_time(self) -> None:
        """Reckon all shares again where what was used before counts, and time has passed since that was done last."""
        if self._past is not None and self._past.now() != self._counted_at:
            self.count_anew()

    def _together(self) -> list[_Use]:
        """Give what the members of each group have in use."""
        return list({id(use.group): use.group for use in list(self._uses.values()) if use.group is not None}.values())

    def _settle(self, use: _Use) -> None:
        self.changes += 1
        use.share = self._reckon(use)
        use.standing = (use.share / use.weight.weight, use.turn, 0.0, 0)

    def _reckon(self, use: _Use) -> float:
        if self._past is not None and use.used:
            return self._with_past(use)
        if not use.held:
            return use.petitions / self._slots
        shares = [use.petitions / self._slots]
        shares += [float(amount) / (self._capacity(name) or 1) for name, amount in use.held.items()]
        return max(shares)

    # --- what was used before -----------------------------------------------------------------------------------

    @property
    def counts_past(self) -> bool:
        """Whether what was used before counts."""
        return self._past is not None

    def weigh_past(self, past: PastUse | None) -> None:
        """Have what was used before count, or with None have it count nothing."""
        self._past = past
        self._window = 1.0 if past is None else past.window
        for use in self._uses.values():
            use.used = {}
            if past is not None:
                use.at = past.now()
        for owner, used in ({} if past is None else past.kept).items():
            assert past is not None
            use = self._use_of(owner)
            use.used, use.at = dict(used), past.at
        self.count_anew()
        self._gather()

    def add_past(self, owner: str, needs: Mapping[str, int | str] | None, seconds: float) -> None:
        """Count what a petition used in the last seconds, while nobody counted."""
        own = self._uses[self._lane_of(owner)]
        assert self._past is not None
        held = [(SLOTS, 1), *((name, read(wanted).amount) for name, wanted in (needs or {}).items())]
        for use in (own,) if own.group is None else (own, own.group):
            for name, used in passed({}, held, self._past.half_life, seconds).items():
                use.used[name] = use.used.get(name, 0.0) + used
            self._settle(use)

    def used_before(self) -> dict[str, Seconds]:
        """Give what each owner has used until now; nothing of owners for whom that makes no difference."""
        self.count_anew()
        found = {self._first if lane is None else lane: use.used for lane, use in self._uses.items()}
        return {owner: dict(used) for owner, used in found.items() if self._most_used(used)[2] > NEGLIGIBLE_SHARE}

    def most_used(self, lane: Lane, *, together: bool = False) -> tuple[str, float]:
        """Give the resource that an owner used the largest share of before, and the units times seconds of it.

        With `together` it is what all members of the owner's group used, where the owner has a group.
        """
        use = self._uses.get(lane)
        if together and use is not None and use.group is not None:
            use = use.group
        return (SLOTS, 0.0) if use is None else self._most_used(use.used)[:2]

    def _most_used(self, used: Seconds) -> tuple[str, float, float]:
        shares = (
            (name, seconds, seconds / most / self._window)
            for name, seconds in used.items()
            if (most := self._most(name))
        )
        return max(shares, key=lambda each: each[2], default=(SLOTS, 0.0, 0.0))

    def _most(self, name: str) -> int:
        """Give how much there is of something; 0 of what is there no more."""
        if name == SLOTS:
            return self._slots
        return 1 if name == WHOLE else self._capacity(name) or 0

    def _with_past(self, use: _Use) -> float:
        """Give the share of an owner in what is in use, together with the share in what was used before."""
        held, used, window, slots = use.held, use.used, self._window, self._slots
        share = use.petitions / slots + used.get(SLOTS, 0.0) / window / slots
        if held or len(used) > (SLOTS in used):
            for name in held.keys() | used.keys() - {SLOTS}:
                most = self._most(name)
                before = used.get(name, 0.0) / window / most if most else 0.0
                share = max(share, float(held.get(name, 0)) / (most or 1) + before)
        return share

    @staticmethod
    def _pass_time(use: _Use, past: PastUse, now: float) -> None:
        """Count what an owner has used since this was done last."""
        if now <= use.at:
            return
        used, held = use.used, use.held
        if held or len(used) > (SLOTS in used):
            everything = [(SLOTS, use.petitions), *held.items()]
            use.used = passed(used, everything, past.half_life, now - use.at)
        elif used or use.petitions:  # as above, in a third of the steps: this is done for each owner at each moment
            left, gained = decay(past.half_life, now - use.at)
            use.used = {SLOTS: used.get(SLOTS, 0.0) * left + use.petitions * gained}
        use.at = now

    # --- weights of users and groups of users --------------------------------------------------------------------

    @property
    def has_weights(self) -> bool:
        """Whether what owners have in use is compared by weights that people have set."""
        return self._has_weights

    @property
    def has_groups(self) -> bool:
        """Whether what members of groups have in use is compared together."""
        return self._has_groups

    def use_weights(self, weights: Mapping[str, OwnerWeight] | None) -> None:
        """Have the owners compared by these weights; None has all owners alike."""
        self._has_weights = weights is not None
        for owner, weight in (weights or {}).items():
            self._use_of(owner).weight = weight
        if weights is None:
            for use in self._uses.values():
                use.weight = ALONE
        self.count_anew()
        self._gather()

    def owners(self) -> list[str]:
        """Give the owners who have live petitions, or had something in use."""
        return [self._owner_of(lane) for lane in {*self._uses, *self._lanes.values()}]

    def _owner_of(self, lane: Lane) -> str:
        return self._first if lane is None else lane

    def _gather(self) -> None:
        """Add up what the members of each group have in use; what each used before is of one time by now."""
        groups: dict[str, _Use] = {}
        members: list[tuple[_Use, _Use | None]] = []
        for use in self._uses.values():
            group = None if use.weight.group is None else groups.setdefault(use.weight.group, _Use(use.at))
            members.append((use, group))
            if group is not None:
                group.petitions += use.petitions
                group.turn = max(group.turn, use.turn)
                for sums, parts in ((group.held, use.held), (group.used, use.used)):
                    _add(sums, parts)
        for group in groups.values():
            self._settle(group)
        for use, group in members:
            use.group = group
        self._has_groups = bool(groups)
        self.changes += 1

    def share(self, lane: Lane, *, together: bool = False) -> float:
        """Give what an owner has in use: 0 for nothing, 1 for all of something.

        With `together` it is what all members of the owner's group have, where the owner has a group.
        """
        use = self._uses.get(lane)
        if use is None:
            return 0.0
        return use.group.share if together and use.group is not None else use.share

    def weight_of(self, owner: str) -> OwnerWeight:
        """Give what an owner's use is compared by."""
        return self.weight(self._lane_of(owner))

    def weight(self, lane: Lane) -> OwnerWeight:
        """Give what the use of the owner of a lane is compared by."""
        use = self._uses.get(lane)
        return ALONE if use is None else use.weight

    def weights(self) -> dict[str, OwnerWeight]:
        """Give the weight of each owner, where any is set."""
        return {self._owner_of(lane): use.weight for lane, use in list(self._uses.items()) if use.weight != ALONE}

    def standing(self, lane: Lane) -> Standing:
        """Give how an owner is compared with others."""
        use = self._uses.get(lane)
        if use is None:
            return NO_USE
        group = use.group
        if group is None:
            return use.standing
        weight = use.weight
        return group.share / weight.weight, group.turn, use.share / weight.within, use.turn

    @property
    def step(self) -> float:
        """By how much the share of an owner rises by one petition, at least."""
        return 1 / self._slots

    def step_of(self, lane: Lane) -> float:
        """By how much one petition moves an owner without a group back among the others, at least."""
        return 1 / self._slots / self.weight(lane).weight

    # --- who comes first? ---------------------------------------------------------------------------------------

    def rank(self, place: Key) -> Rank:
        """Give the place of a petition among the petitions of all owners."""
        return (place[0], *self.standing(self._lanes.get(place[1])), place[1])

    def is_before(self, one: Key, other: Key) -> bool:
        """Tell whether the petition at one place comes before the petition at another one."""
        return self.rank(one) < self.rank(other)


class Ahead:
    """How owners would be compared if some of their petitions had started, one after another.

    >>> fairness = Fairness("ann", {}.get, slots=4)
    >>> ahead = Ahead(fairness)
    >>> ahead.start(None)
    >>> ahead.rank((0, 2, "two")), fairness.rank((0, 2, "two"))
    ((0, 0.25, 1, 0.0, 0, 2), (0, 0.0, 0, 0.0, 0, 2))
    """

    __slots__ = ("_fairness", "_groups", "_lanes", "_step", "_turn")

    def __init__(self, fairness: Fairness) -> None:
        """Begin with what has started."""
        self._fairness = fairness
        self._turn = fairness.turn
        self._step = fairness.step
        self._lanes: dict[Lane, Standing] = {}
        """How each owner is compared that was asked for, or one of whose petitions counts as if it had started."""
        self._groups: dict[str | None, tuple[float, int]] = {}
        """The first part of that, by group, for all members of the group."""

    def start(self, lane: Lane) -> None:
        """Count a petition of an owner as if it had started now."""
        self._turn += 1
        turn, step, weight = self._turn, self._step, self._fairness.weight(lane)
        first, _, second, _ = self.standing(lane)
        first += step / weight.weight
        if weight.group is None:
            self._lanes[lane] = first, turn, 0.0, 0
        else:
            self._groups[weight.group] = first, turn
            self._lanes[lane] = first, turn, second + step / weight.within, turn

    def standing(self, lane: Lane) -> Standing:
        """Give how an owner would be compared with others."""
        known = self._lanes.get(lane)
        if known is None:
            known = self._lanes[lane] = self._fairness.standing(lane)
        if self._groups and (together := self._groups.get(self._fairness.weight(lane).group)) is not None:
            return *together, known[2], known[3]
        return known

    def rank(self, place: Key) -> Rank:
        """Give the place of a petition among the petitions of all owners."""
        return (place[0], *self.standing(self._fairness.lane(place[1])), place[1])


class Turns:
    """Some petitions of several owners, each given when it is its turn by what its owner has in use then."""

    def __init__(
        self,
        fairness: Fairness,
        candidates: Iterable[Candidate],
        *,
        cut: Container[Lane] = (),
        fresh: Collection[int] = (),
    ) -> None:
        """Take the petitions, the petitions of each owner in order.

        Of the owners in `cut` there are more. Once all of such an owner were given, nobody knows whose turn it is, and
        only petitions that are in `fresh` are given, by sequence.
        """
        self._fairness = fairness
        self._cut = cut
        self._fresh = fresh
        queues: dict[Lane, list[Candidate]] = {}
        lane_of, standing = fairness.lane, fairness.standing
        for candidate in candidates:
            lane = lane_of(candidate.seq)
            if lane in queues:
                queues[lane].append(candidate)
            else:
                queues[lane] = [candidate]
        for queue in queues.values():
            queue.reverse()
        self._queues = queues
        self._heads = [((queue[-1].priority, *standing(lane), queue[-1].seq), lane) for lane, queue in queues.items()]
        heapq.heapify(self._heads)

    def _rank(self, lane: Lane) -> Rank:
        head = self._queues[lane][-1]
        return (head.priority, *self._fairness.standing(lane), head.seq)

    def __iter__(self) -> Iterator[Candidate]:
        """Give them."""
        heads, queues, fairness, are_all = self._heads, self._queues, self._fairness, True
        turn = fairness.turn
        while heads and (are_all or self._fresh):
            rank, lane = heads[0]
            if fairness.turn != turn and (known := self._rank(lane)) > rank:  # more is in use by now
                heapq.heapreplace(heads, (known, lane))
                continue
            queue = queues[lane]
            candidate = queue.pop()
            if queue:
                heapq.heapreplace(heads, (self._rank(lane), lane))
            else:
                heapq.heappop(heads)
            if are_all or candidate.seq in self._fresh:
                yield candidate
            are_all = are_all and (bool(queue) or lane not in self._cut)

    def rest(self) -> list[Candidate]:
        """Give the petitions that were not given yet, the petitions of each owner in order."""
        return [candidate for queue in self._queues.values() for candidate in reversed(queue)]


def _add(sums: dict[str, Any], parts: Mapping[str, Any]) -> None:
    for name, amount in parts.items():
        sums[name] = sums.get(name, 0) + amount


__all__ = ["NO_USE", "Ahead", "Fairness", "Lane", "Rank", "Standing", "Turns"]
