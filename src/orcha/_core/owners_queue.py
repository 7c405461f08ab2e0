"""The waiting petitions of several owners: a queue for each owner, and the head of the owner whose turn it is."""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING

from orcha._core.fairness import Ahead
from orcha._core.waiting_queue import WaitingQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orcha._core.fairness import Fairness, Lane, Standing
    from orcha._core.record import Key

MIN_READY_PETITIONS_OF_AN_OWNER = 1_000
"""Petitions of each further owner that are kept ready, at least, where the first owner has as many."""
MAX_FAIR_PETITIONS = 256
"""Petitions that are put in order by what their owners have in use; those behind them follow owner by owner."""


class OwnersQueue(WaitingQueue):
    """Queues of several owners as one.

    The order of two petitions of one owner never changes. Which owner is first changes with each start and end, so
    nothing is sorted by that: the heads of the queues are compared when a petition is wanted.

    >>> from orcha._core.fairness import Fairness
    >>> fairness = Fairness("ann", {}.get, slots=4)
    >>> queue = OwnersQueue(WaitingQueue(), fairness, most_ready=10)
    >>> fairness.enter(3, "bob")
    >>> [queue.add((0, seq, "")) for seq in (1, 2, 3)]
    [True, True, True]
    >>> queue.head(9)
    [(0, 1, ''), (0, 3, ''), (0, 2, '')]
    """

    def __init__(self, first: WaitingQueue, fairness: Fairness, *, most_ready: int) -> None:
        """Go on with the queue of the first owner; about `most_ready` keys of that are kept ready."""
        super().__init__(max(min(most_ready, MIN_READY_PETITIONS_OF_AN_OWNER), most_ready // 10))
        self._fairness = fairness
        self._queues: dict[Lane, WaitingQueue] = {None: first}
        self._waiting = len(first)
        """How many wait in all queues, and are not parked; counted here, since that is asked many times a start."""
        self._may_be_spilled = True
        """Whether any key may be spilled."""
        self._in_lots: dict[str, dict[Lane, int]] = {lot: {None: first.parked_in(lot)} for lot in first.lots()}
        """How many of each owner are parked in each lot: most lots have petitions of a few owners only."""
        self._parked = first.parked

    def _of(self, key: Key) -> WaitingQueue:
        """Give the queue of the owner of a petition."""
        lane = self._fairness.lane(key[1])
        queue = self._queues.get(lane)
        if queue is None:
            self._queues = {**self._queues, lane: (queue := WaitingQueue(self._most_ready))}  # others may read it now
        return queue

    def __len__(self) -> int:
        """Count the ready and the spilled ones."""
        return self._waiting

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, parked petitions included."""
        return not (self._waiting or self._parked)

    def counts(self, first: str) -> dict[str, int]:
        """Count what waits of each owner; the `first` owner was there before the others."""
        return {lane or first: len(queue) + queue.parked for lane, queue in self._queues.items()}

    @property
    def spilled(self) -> int:
        """How many keys are spilled."""
        return sum(queue.spilled for queue in self._queues.values())

    @property
    def ready(self) -> int:
        """How many keys are ready."""
        return sum(queue.ready for queue in self._queues.values())

    def load(self, keys: Iterable[Key]) -> None:
        """Fill empty queues from keys in order."""
        each: dict[Lane, list[Key]] = {}
        for key in keys:
            each.setdefault(self._fairness.lane(key[1]), []).append(key)
        for those in each.values():
            self._of(those[0]).load(those)
            self._may_be_spilled = True
            self._waiting += len(those)

    def add(self, key: Key) -> bool:
        """Put a key in its place; tell whether it is ready there."""
        self._waiting += 1
        is_ready = self._of(key).add(key)
        self._may_be_spilled |= not is_ready
        return is_ready

    def is_ready(self, key: Key) -> bool:
        """Tell whether a key that waits, and is not parked, is ready."""
        return self._of(key).is_ready(key)

    def remove(self, key: Key) -> None:
        """Take a waiting key out, wherever it is."""
        queue = self._of(key)
        lot = queue.lot_of(key)
        if lot is None:
            self._waiting -= 1
        else:
            self._count(lot, self._fairness.lane(key[1]), -1)
        queue.remove(key)

    def remove_all(self, keys: list[Key]) -> None:
        """Take several waiting keys out."""
        for key in keys:
            self.remove(key)

    # --- lots ---------------------------------------------------------------------------------------------------

    def _count(self, lot: str, lane: Lane, more: int) -> None:
        """Count `more` petitions of an owner in a lot."""
        lanes = self._in_lots.setdefault(lot, {})
        lanes[lane] = lanes.get(lane, 0) + more
        self._parked += more
        if not lanes[lane]:
            del lanes[lane]
        if not lanes:
            del self._in_lots[lot]

    def _queues_in(self, lot: str) -> list[tuple[Lane, WaitingQueue]]:
        """Give the queues of the owners who have petitions in a lot; any thread may ask."""
        queues = self._queues
        return [(lane, queues[lane]) for lane in list(self._in_lots.get(lot, ()))]

    @property
    def parked(self) -> int:
        """How many keys are parked."""
        return self._parked

    def is_parked(self, key: Key) -> bool:
        """Tell whether a waiting key is parked."""
        return self._of(key).is_parked(key)

    def lot_of(self, key: Key) -> str | None:
        """Give the lot in which a waiting key is parked, if it is."""
        return self._of(key).lot_of(key)

    def lots(self) -> list[str]:
        """Give the lots in which some are parked."""
        return list(self._in_lots)

    def parked_in(self, lot: str) -> int:
        """Count what is parked in a lot."""
        lanes = self._in_lots.get(lot)
        return 0 if lanes is None else sum(lanes.values())

    def are_parked_in(self, lot: str) -> bool:
        """Tell whether anything is parked in a lot."""
        return lot in self._in_lots

    def first_parked(self, lot: str) -> Key | None:
        """Give the first key of a lot by what its owner has in use; any thread may ask."""
        return self._first_of((lot,))

    def _first_of(self, lots: Iterable[str]) -> Key | None:
        """Give the first key of several lots by what the owners have in use."""
        first, least, standing = None, None, self._fairness.standing
        for lot in lots:
            for lane, queue in self._queues_in(lot):
                for key in queue.first_parked_in(lot, 1):
                    rank = (key[0], *standing(lane), key[1])
                    if least is None or rank < least:
                        first, least = key, rank
        return first

    def first_parked_in(self, lot: str, most: int) -> list[Key]:
        """Give the first keys of a lot as if each of them got what it waits for; any thread may ask."""
        queues = self._queues_in(lot)
        if len(queues) == 1:
            return queues[0][1].first_parked_in(lot, most)
        return self._merged({lane: queue.first_parked_in(lot, most) for lane, queue in queues}, most)

    def first_parked_of(self, lots: Mapping[str, int], most: int) -> list[Key]:
        """Give the first keys of several lots as if each of them got what it waits for; any thread may ask."""
        if most == 1:
            first = self._first_of(lots)
            return [] if first is None else [first]
        lanes: dict[Lane, list[Key]] = {}
        for lot, room in lots.items():
            for lane, queue in self._queues_in(lot):
                lanes[lane] = lanes.get(lane, []) + queue.first_parked_in(lot, room)
        return self._merged({lane: sorted(keys) for lane, keys in lanes.items()}, most)

    def park(self, key: Key, lot: str) -> None:
        """Park a waiting key in a lot."""
        queue, lane = self._of(key), self._fairness.lane(key[1])
        before = queue.lot_of(key)
        if before is None:
            self._waiting -= 1
        else:
            self._count(before, lane, -1)
        queue.park(key, lot)
        self._count(lot, lane, 1)

    def move_parked(self, key: Key, moved: Key) -> None:
        """Put a parked petition in another place of its lot."""
        self._of(key).move_parked(key, moved)

    def unpark(self, lot: str, count: int) -> list[Key]:
        """Take the first `count` keys out of a lot as if each got what it waits for; they wait nowhere then."""
        queues = self._queues_in(lot)
        if self.parked_in(lot) <= count or len(queues) == 1:
            taken = sorted(key for _, queue in queues for key in queue.first_parked_in(lot, count))
        else:
            taken = self.first_parked_in(lot, count)
        self.unpark_these(taken)
        return taken

    def unpark_these(self, keys: list[Key]) -> None:
        """Take these keys out of their lots; they wait nowhere then."""
        for key in keys:
            queue = self._of(key)
            lot = queue.lot_of(key)
            assert lot is not None
            queue.unpark_these([key])
            self._count(lot, self._fairness.lane(key[1]), -1)

    # --- the head -----------------------------------------------------------------------------------------------

    def _merged(self, sorted_keys: dict[Lane, list[Key]], count: int) -> list[Key]:
        """Give the first keys of all owners, as if each of them started."""
        if self._fairness.has_groups:
            return list(self._merged_by_groups(sorted_keys, count))
        return self._merge(sorted_keys, count)[0]

    def _merge(self, sorted_keys: dict[Lane, list[Key]], count: int) -> tuple[list[Key], dict[Lane, int]]:
        """Give the same where no owner is in a group, and how many are among them of each owner that has more keys."""
        fairness = self._fairness
        found: list[Key] = []
        heads = []
        for lane, keys in sorted_keys.items():
            if keys:
                key, (share, turn, *_) = keys[0], fairness.standing(lane)
                # Sequences differ, so that nothing behind them is ever compared.
                heads.append((key[0], share, turn, key[1], 1, keys, lane, fairness.step_of(lane)))
        heapq.heapify(heads)
        begin = turn = fairness.turn
        while heads and turn < begin + count:
            _, share, _, _, position, keys, lane, step = heads[0]
            found.append(keys[position - 1])
            turn += 1
            if position < len(keys):
                key = keys[position]
                heapq.heapreplace(heads, (key[0], share + step, turn, key[1], position + 1, keys, lane, step))
            else:
                heapq.heappop(heads)
        return found, {lane: position - 1 for *_, position, _, lane, _ in heads}

    def _merged_by_groups(self, sorted_keys: dict[Lane, list[Key]], count: int) -> Iterator[Key]:
        """Give the same where a start of one owner changes the place of all other members of the owner's group."""
        ahead, given = Ahead(self._fairness), 0
        heads = [(*ahead.rank(keys[0]), 0, lane) for lane, keys in sorted_keys.items() if keys]
        heapq.heapify(heads)
        while heads and given < count:
            *_, position, lane = head = heads[0]
            keys = sorted_keys[lane]
            if (known := (*ahead.rank(keys[position]), position, lane)) > head:  # another member would have started
                heapq.heapreplace(heads, known)
                continue
            yield keys[position]
            given += 1
            ahead.start(lane)
            position += 1
            if position < len(keys):
                heapq.heapreplace(heads, (*ahead.rank(keys[position]), position, lane))
            else:
                heapq.heappop(heads)

    def head(self, count: int, start: int = 0) -> list[Key]:
        """Give up to `count` ready keys, from the `start`-th on.

        The first ones come in the order in which their petitions would start now. With a `start`, and behind the first
        ones, they come owner by owner.
        """
        if start:
            return self._one_after_another(count, start)
        most = min(count, MAX_FAIR_PETITIONS)
        firsts = self._merged(self._heads(most), most)
        if count <= most:
            return firsts
        known = set(firsts)
        return firsts + [key for key in self._one_after_another(count, 0) if key not in known][: count - len(firsts)]

    def firsts(self, count: int) -> tuple[list[Key], frozenset[Lane]]:
        """Give the keys that `head` gives, and the owners of these that have more ready or spilled petitions."""
        queues = self._queues
        if count > MAX_FAIR_PETITIONS or self._fairness.has_groups:
            firsts, lane_of = self.head(count), self._fairness.lane
            counts = Counter([lane_of(key[1]) for key in firsts])
            return firsts, frozenset([lane for lane, taken in counts.items() if len(queues[lane]) > taken])
        heads = self._heads(count)
        firsts, left = self._merge(heads, count)
        cut = [lane for lane, taken in left.items() if taken]
        cut += [lane for lane, keys in heads.items() if lane not in left and len(queues[lane]) > len(keys)]
        return firsts, frozenset(cut)

    def surely_firsts(self, count: int) -> list[Key]:
        """Give the first keys of the owner whose turn it is, where that owner has more than `count` of one priority.

        While all say no, no petition of another owner is asked before these, and none behind these. No keys are given
        where nobody knows whose turn it is, or where that owner has fewer.
        """
        standing, first, is_one = self._fairness.standing, None, False
        least: tuple[int | float, Standing] | None = None
        for lane, queue in self._queues.items():
            for key in queue.head(1):
                rank = (key[0], standing(lane))
                if least is None or rank < least:
                    least, first, is_one = rank, queue, True
                elif rank == least:
                    is_one = False
        if first is None or not is_one or len(first) <= count:
            return []
        keys = first.head(count)
        return keys if len(keys) == count and keys[-1][0] == keys[0][0] else []

    def _heads(self, most: int) -> dict[Lane, list[Key]]:
        """Give the first ready keys of each owner that has any."""
        return {lane: keys for lane, queue in self._queues.items() if (keys := queue.head(most))}

    def _one_after_another(self, count: int, start: int) -> list[Key]:
        found: list[Key] = []
        for queue in self._queues.values():
            found += queue.head(count - len(found), max(0, start))
            start -= queue.ready
        return found

    def heads_of_others(self, key: Key) -> list[Key]:
        """Give the first key of each other owner: the first ready one, or the first one in the lot of this key."""
        mine, lot = self._of(key), self.lot_of(key)
        heads = (
            next(iter(queue.head(1)), None) if lot is None else queue.first_parked(lot)
            for queue in self._queues.values()
            if queue is not mine
        )
        return [head for head in heads if head is not None]

    def place(self, key: Key) -> int:
        """Count the keys that go before this one, among the ready keys or the keys of its lot, about.

        It is counted as if each of them started, and nothing ended.
        """
        lot = self.lot_of(key)
        queues = {lane: q.head(q.ready) if lot is None else q.parked_keys(lot) for lane, q in self._queues.items()}
        mine = self._fairness.lane(key[1])
        own = self._of(key).place(key)
        queues[mine] = queues[mine][: own + 1]
        before = 0
        for each in self._merged(queues, MAX_FAIR_PETITIONS):
            if each == key:
                return before
            before += 1
        return max(before, own)

    def index(self, key: Key) -> int:
        """Give how many ready keys are before this one, whether it waits or not, owner by owner."""
        mine = self._of(key)
        others = takewhile(lambda queue: queue is not mine, self._queues.values())
        return sum(queue.ready for queue in others) + mine.index(key)

    def is_among_firsts(self, key: Key, count: int) -> bool:
        """Tell whether a key that is not parked may be among the first `count` keys that are given of its owner."""
        return self._of(key).is_among_firsts(key, count)

    def before(self, key: Key, most: int) -> list[Key]:
        """Give the first ready keys of any owner, `most` at most, that are before this one, which may be parked."""
        found = [each for queue in self._queues.values() for each in queue.before(key, most)]
        return sorted(found, key=self._fairness.rank)[:most]

    def wants_refill(self) -> bool:
        """Tell whether of any owner so few ready keys are left that spilled ones should be made ready."""
        if not self._may_be_spilled:
            return False
        self._may_be_spilled = any(queue.spilled for queue in self._queues.values())
        return any(queue.wants_refill() for queue in self._queues.values())

    def refill(self) -> list[Key]:
        """Make the first spilled keys of each owner ready where few are left, and give them."""
        return [key for queue in self._queues.values() if queue.wants_refill() for key in queue.refill()]

    def spill(self) -> list[Key]:
        """Spill the last ready keys of each owner beyond its limit, and give them."""
        if self._waiting <= self._most_ready:  # no owner has so many
            return []
        spilled = [key for queue in self._queues.values() for key in queue.spill()]
        self._may_be_spilled |= bool(spilled)
        return spilled


__all__ = ["OwnersQueue"]
