"""Whose petition comes first among petitions of one priority: the petition of the owner who has least in use.

What an owner has in use is a share: of the slots of the service, or of a resource, whichever is larger (dominant
resource fairness: Ghodsi and others, NSDI 2011). Of two owners who have as much in use the one comes first whose last
start was earlier: where one petition runs at a time, the owners take turns. None of this is done while all petitions
are of one owner.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from orcha.interfaces.needs import read

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping

    from orcha._core.converted import Candidate
    from orcha._core.record import Key
    from orcha.interfaces.needs import Amount

Lane = str | None
"""An owner; None for the first owner that had a petition, whose petitions need not be noted."""
Rank = tuple[int | float, float, int, int]
"""The order of petitions of several owners: priority, what the owner has in use, the number of the owner's last start,
sequence; lower first."""


class _Use:
    """What the petitions of one owner hold."""

    __slots__ = ("held", "petitions", "share", "turn")

    def __init__(self) -> None:
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
            use = self._uses[lane] = _Use()
        use.petitions += sign
        if sign > 0:
            self.turn += 1
            use.turn = self.turn
        for name, wanted in (needs or {}).items():
            use.held[name] = use.held.get(name, 0) + sign * read(wanted).amount
        use.share = self._reckon(use)

    def count_anew(self) -> None:
        """Reckon all shares again, since there is more or less of something."""
        for use in list(self._uses.values()):
            use.share = self._reckon(use)

    def _reckon(self, use: _Use) -> float:
        shares = [use.petitions / self._slots]
        shares += [float(amount) / (self._capacity(name) or 1) for name, amount in use.held.items()]
        return max(shares)

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
