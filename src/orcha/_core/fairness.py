"""Whose petition comes first among petitions of one priority: the petition of the owner who has least in use.

What an owner has in use is a share: of the slots of the service, or of a resource, whichever is larger (dominant
resource fairness: Ghodsi and others, NSDI 2011). Of two owners who have as much in use the one comes first whose last
start was earlier: where one petition runs at a time, the owners take turns. Where what was used before counts too
(`past_use`), its share is added to that. None of this is done while all petitions are of one owner, and the past counts
nothing.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from orcha._core.past_use import NEGLIGIBLE_SHARE, SLOTS, passed
from orcha.interfaces.needs import WHOLE, read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping

    from orcha._core.converted import Candidate
    from orcha._core.past_use import PastUse, Seconds
    from orcha._core.record import Key
    from orcha.interfaces.needs import Amount

Lane = str | None
"""An owner; None for the first owner that had a petition, whose petitions need not be noted."""
Rank = tuple[int | float, float, int, int]
"""The order of petitions of several owners: priority, what the owner has in use, the number of the owner's last start,
sequence; lower first."""


class _Use:
    """What the petitions of one owner hold, and what they used before."""

    __slots__ = ("at", "held", "petitions", "share", "turn", "used")

    def __init__(self, at: float = 0.0) -> None:
        self.at = at
        self.used: Seconds = {}
        """What the owner had used at the time `at`; empty while that counts nothing."""
        self.turn = 0
        self.petitions = 0
        self.held: dict[str, Amount] = {}
        self.share = 0.0


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
        self._uses: dict[Lane, _Use] = {None: _Use()}
        self._uses[None].turn = starts
        self.turn = starts
        """How many petitions have started."""
        self._past: PastUse | None = None

    # --- whose petition is it? ----------------------------------------------------------------------------------

    def enter(self, seq: int, owner: str) -> None:
        """Note whose a petition is."""
        if owner != self._first:
            self._lanes[seq] = owner

    def forget(self, seq: int) -> None:
        """Know of a petition no more."""
        self._lanes.pop(seq, None)

    def lane(self, seq: int) -> Lane:
        """Give whose a live petition is."""
        return self._lanes.get(seq)

    # --- what is in use -----------------------------------------------------------------------------------------

    def count(self, owner: str, needs: Mapping[str, int | str] | None, sign: int) -> None:
        """Count a slot and what a petition needs as in use by an owner, or with the sign -1 as in use no more."""
        lane = None if owner == self._first else owner
        use = self._uses.get(lane)
        if use is None:
            use = self._uses[lane] = _Use(0.0 if self._past is None else self._past.now())
        if self._past is not None:
            self._pass_time(use, self._past)
        use.petitions += sign
        if sign > 0:
            self.turn += 1
            use.turn = self.turn
        for name, wanted in (needs or {}).items():
            use.held[name] = use.held.get(name, 0) + sign * read(wanted).amount
        use.share = self._reckon(use)

    def count_anew(self) -> None:
        """Reckon all shares again, since there is more or less of something, or time has passed."""
        for use in list(self._uses.values()):
            if self._past is not None:
                self._pass_time(use, self._past)
            use.share = self._reckon(use)

    def _reckon(self, use: _Use) -> float:
        if self._past is not None and use.used:
            return self._with_past(use, self._past.window)
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
        for use in self._uses.values():
            use.used = {}
            if past is not None:
                use.at = past.now()
        for owner, used in ({} if past is None else past.kept).items():
            assert past is not None
            use = self._uses.setdefault(None if owner == self._first else owner, _Use())
            use.used, use.at = dict(used), past.at
        self.count_anew()

    def add_past(self, owner: str, needs: Mapping[str, int | str] | None, seconds: float) -> None:
        """Count what a petition used in the last seconds, while nobody counted."""
        use = self._uses[None if owner == self._first else owner]
        assert self._past is not None
        held = [(SLOTS, 1), *((name, read(wanted).amount) for name, wanted in (needs or {}).items())]
        for name, used in passed({}, held, self._past.half_life, seconds).items():
            use.used[name] = use.used.get(name, 0.0) + used
        use.share = self._reckon(use)

    def used_before(self) -> dict[str, Seconds]:
        """Give what each owner has used until now; nothing of owners for whom that makes no difference."""
        self.count_anew()
        found = {self._first if lane is None else lane: use.used for lane, use in self._uses.items()}
        return {owner: dict(used) for owner, used in found.items() if self._most_used(used)[2] > NEGLIGIBLE_SHARE}

    def most_used(self, lane: Lane) -> tuple[str, float]:
        """Give the resource that an owner used the largest share of before, and the units times seconds of it."""
        use = self._uses.get(lane)
        return (SLOTS, 0.0) if use is None else self._most_used(use.used)[:2]

    def _most_used(self, used: Seconds) -> tuple[str, float, float]:
        window = 1.0 if self._past is None else self._past.window
        shares = (
            (name, seconds, seconds / most / window) for name, seconds in used.items() if (most := self._most(name))
        )
        return max(shares, key=lambda each: each[2], default=(SLOTS, 0.0, 0.0))

    def _most(self, name: str) -> int:
        """Give how much there is of something; 0 of what is there no more."""
        if name == SLOTS:
            return self._slots
        return 1 if name == WHOLE else self._capacity(name) or 0

    def _with_past(self, use: _Use, window: float) -> float:
        """Give the share of an owner in what is in use, together with the share in what was used before."""
        held, used = {SLOTS: use.petitions, **use.held}, use.used
        shares = [0.0]
        for name in held.keys() | used.keys():
            most = self._most(name)
            before = used.get(name, 0.0) / window / most if most else 0.0
            shares.append(float(held.get(name, 0)) / (most or 1) + before)
        return max(shares)

    @staticmethod
    def _pass_time(use: _Use, past: PastUse) -> None:
        """Count what an owner has used since this was done last."""
        now = past.now()
        if now > use.at:
            held = [(SLOTS, use.petitions), *use.held.items()]
            use.used, use.at = passed(use.used, held, past.half_life, now - use.at), now

    def share(self, lane: Lane) -> float:
        """Give what an owner has in use: 0 for nothing, 1 for all of something."""
        use = self._uses.get(lane)
        return 0.0 if use is None else use.share

    def standing(self, lane: Lane) -> tuple[float, int]:
        """Give what an owner has in use, and the number of the owner's last start."""
        use = self._uses.get(lane)
        return (0.0, 0) if use is None else (use.share, use.turn)

    @property
    def step(self) -> float:
        """By how much the share of an owner rises by one petition, at least."""
        return 1 / self._slots

    # --- who comes first? ---------------------------------------------------------------------------------------

    def rank(self, place: Key) -> Rank:
        """Give the place of a petition among the petitions of all owners."""
        return (place[0], *self.standing(self._lanes.get(place[1])), place[1])

    def is_before(self, one: Key, other: Key) -> bool:
        """Tell whether the petition at one place comes before the petition at another one."""
        return self.rank(one) < self.rank(other)


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
        self._queues: dict[Lane, list[Candidate]] = {}
        for candidate in candidates:
            self._queues.setdefault(fairness.lane(candidate.seq), []).append(candidate)
        for queue in self._queues.values():
            queue.reverse()
        self._heads = [(self._rank(lane), lane) for lane in self._queues]
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


__all__ = ["Fairness", "Lane", "Rank", "Turns"]
