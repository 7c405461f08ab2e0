"""The order of waiting petitions: by (priority, sequence), cheap at its head and lean at its tail.

A waiting petition is in one of three places. A *ready* petition is among the first: its record is in memory, and its
condition can be asked at once. A *spilled* petition comes after all ready ones: only its key is in memory. A *parked*
petition waits in a lot for something that the service itself knows, such as a slot of its group: until that is there,
nobody asks its condition, and it costs nothing. A lot is named by what its petitions wait for.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from orcha._core.lot import Lot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orcha._core.fairness import Lane
    from orcha._core.record import Key

MAX_READY_PETITIONS = 10_000
"""Petitions that are kept ready."""
MIN_REMOVED_KEYS_TO_DROP = 1_000
"""Keys in the heap that wait there no more, before the heap is made again without them."""


class WaitingQueue:
    """Keys in order: ready ones in a sorted list, spilled ones in a heap, parked ones in their lots.

    Every key in the heap is larger than every key in the list. Keys that left the heap before they reached its top are
    skipped when they do.

    >>> queue = WaitingQueue(most_ready=2)
    >>> [queue.add((0, seq, "")) for seq in (1, 2, 3)]
    [True, True, False]
    >>> queue.remove((0, 1, "")), queue.head(9)
    (None, [(0, 2, '')])
    >>> queue.refill(), queue.head(9)
    ([(0, 3, '')], [(0, 2, ''), (0, 3, '')])
    """

    def __init__(self, most_ready: int = MAX_READY_PETITIONS) -> None:
        """Keep about `most_ready` keys in the list."""
        self._most_ready = most_ready
        self._ready: list[Key] = []
        self._spilled: list[Key] = []
        self._removed: set[Key] = set()
        """Keys that are in the heap still, and wait no more."""
        self._lots: dict[str, Lot] = {}
        self._lot_of: dict[int, str] = {}

    def __len__(self) -> int:
        """Count the ready and the spilled ones."""
        return len(self._ready) + len(self._spilled) - len(self._removed)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, parked petitions included; a key that left the heap counts until it is skipped."""
        return not (self._ready or self._spilled or self._lot_of)

    def counts(self, first: str) -> dict[str, int]:
        """Count what waits of each owner; all is the `first` owner's."""
        return {first: len(self) + self.parked}

    @property
    def spilled(self) -> int:
        """How many are spilled."""
        return len(self._spilled) - len(self._removed)

    @property
    def ready(self) -> int:
        """How many are ready."""
        return len(self._ready)

    def load(self, keys: Iterable[Key]) -> None:
        """Fill an empty queue from keys in order."""
        self._spilled.extend(keys)

    def add(self, key: Key) -> bool:
        """Put a key in its place; tell whether it is ready there."""
        if key in self._removed:
            self._removed.discard(key)  # the heap has it still
            return False
        if self._spilled and key > self._last_ready():
            heapq.heappush(self._spilled, key)
            return False
        if not self._spilled and len(self._ready) >= self._most_ready and key > self._ready[-1]:
            heapq.heappush(self._spilled, key)
            return False
        if self._ready and key < self._ready[-1]:
            insort(self._ready, key)
        else:
            self._ready.append(key)
        return True

    def _last_ready(self) -> Key:
        return self._ready[-1] if self._ready else self._spilled[0]

    def is_ready(self, key: Key) -> bool:
        """Tell whether a key that waits, and is not parked, is ready."""
        return bool(self._ready) and key <= self._ready[-1]

    def remove(self, key: Key) -> None:
        """Take a waiting key out, wherever it is."""
        lot = self._lot_of.pop(key[1], None)
        if lot is not None:
            self._leave(lot, key)
            return
        at = bisect_left(self._ready, key)
        if at < len(self._ready) and self._ready[at] == key:
            del self._ready[at]
        else:
            self._removed.add(key)
            if len(self._removed) > max(MIN_REMOVED_KEYS_TO_DROP, len(self._spilled) // 2):
                self._spilled = [each for each in self._spilled if each not in self._removed]
                heapq.heapify(self._spilled)
                self._removed = set()

    def stay(self, key: Key, moved: Key) -> bool:
        """Have a ready key be an earlier one where no other key is between the two; tell whether that is so."""
        ready, at = self._ready, bisect_left(self._ready, key)
        is_there = at < len(ready) and ready[at] == key
        if not is_there or moved > key or (at and ready[at - 1] > moved):
            return False
        ready[at] = moved
        return True

    def remove_all(self, keys: list[Key]) -> None:
        """Take several waiting keys, in order, out: one move of memory where they are the first."""
        if self._ready[: len(keys)] == keys:
            del self._ready[: len(keys)]
        else:
            for key in keys:
                self.remove(key)

    # --- lots ---------------------------------------------------------------------------------------------------

    @property
    def parked(self) -> int:
        """How many are parked."""
        return len(self._lot_of)

    def is_parked(self, key: Key) -> bool:
        """Tell whether a waiting key is parked."""
        return key[1] in self._lot_of

    def lot_of(self, key: Key) -> str | None:
        """Give the lot in which a waiting key is parked, if it is."""
        return self._lot_of.get(key[1])

    def lots(self) -> list[str]:
        """Give the lots in which some are parked."""
        return list(self._lots)

    def parked_in(self, lot: str) -> int:
        """Count what is parked in a lot."""
        return len(self._lots.get(lot, ()))

    def are_parked_in(self, lot: str) -> bool:
        """Tell whether anything is parked in a lot."""
        return lot in self._lots

    def first_parked(self, lot: str) -> Key | None:
        """Give the first key of a lot; any thread may ask."""
        return next(iter(self.first_parked_in(lot, 1)), None)

    def first_parked_in(self, lot: str, most: int) -> list[Key]:
        """Give the first keys of a lot, `most` at most; any thread may ask."""
        parked = self._lots.get(lot)
        return [] if parked is None else parked.first(most)

    def parked_keys(self, lot: str) -> list[Key]:
        """Give the keys of a lot in order."""
        return list(self._lots.get(lot, ()))

    def first_parked_of(self, lots: Mapping[str, int], most: int) -> list[Key]:
        """Give the first keys of several lots, of each lot its number at most, `most` in all; any thread may ask."""
        return sorted(key for lot, room in lots.items() for key in self.first_parked_in(lot, room))[:most]

    def park(self, key: Key, lot: str) -> None:
        """Park a waiting key in a lot."""
        self.remove(key)
        parked = self._lots.get(lot)
        if parked is None:
            parked = self._lots[lot] = Lot()
        parked.add(key)
        self._lot_of[key[1]] = lot

    def move_parked(self, key: Key, moved: Key) -> None:
        """Put a parked petition in another place of its lot."""
        self._lots[self._lot_of[key[1]]].move(key, moved)

    def unpark(self, lot: str, count: int) -> list[Key]:
        """Take the first `count` keys out of a lot, and give them in order; they wait nowhere then."""
        parked = self._lots.get(lot)
        keys = [] if parked is None else parked.take(count)
        for key in keys:
            del self._lot_of[key[1]]
        self._drop_empty(lot)
        return keys

    def unpark_these(self, keys: list[Key]) -> None:
        """Take these keys out of their lots; they wait nowhere then."""
        for key in keys:
            self._leave(self._lot_of.pop(key[1]), key)

    def _leave(self, lot: str, key: Key) -> None:
        self._lots[lot].remove(key)
        self._drop_empty(lot)

    def _drop_empty(self, lot: str) -> None:
        if not self._lots.get(lot, True):
            del self._lots[lot]

    # --- the head -----------------------------------------------------------------------------------------------

    def head(self, count: int, start: int = 0) -> list[Key]:
        """Give up to `count` ready keys in order, from the `start`-th on."""
        return self._ready[start : start + count]

    def surely_firsts(self, count: int) -> list[Key]:
        """Give up to `count` ready keys behind which no other one is asked, while all say no and one owner is asked."""
        return self.head(count)

    def heads_of_others(self, key: Key) -> list[Key]:
        """Give the first key of each other owner: the first ready one, or the first one in the lot of this key."""
        del key
        return []

    def firsts(self, count: int) -> tuple[list[Key], frozenset[Lane]]:
        """Give the first ready keys, and the owners of these that have more, where there are several owners."""
        return self.head(count), frozenset()

    def place(self, key: Key) -> int:
        """Count the keys before this one, among the ready keys or the keys of its lot."""
        lot = self._lot_of.get(key[1])
        return bisect_left(self._ready, key) if lot is None else self._lots[lot].place(key)

    def index(self, key: Key) -> int:
        """Give how many ready keys are before this one, whether it waits or not."""
        return bisect_left(self._ready, key)

    def is_among_firsts(self, key: Key, count: int) -> bool:
        """Tell whether a key that is not parked may be among the first `count` keys that are given of its owner."""
        return bisect_left(self._ready, key) < count

    def before(self, key: Key, most: int) -> list[Key]:
        """Give the first ready keys, `most` at most, that are before this one, which may be parked."""
        return self._ready[: min(most, bisect_left(self._ready, key))]

    def wants_refill(self) -> bool:
        """Tell whether so few ready keys are left that spilled ones should be made ready."""
        return bool(self._spilled) and len(self._ready) <= self._most_ready // 2

    def refill(self) -> list[Key]:
        """Make the first spilled keys ready, up to the limit, and give them in order."""
        moved: list[Key] = []
        while self._spilled and len(self._ready) < self._most_ready:
            key = heapq.heappop(self._spilled)
            if key in self._removed:
                self._removed.discard(key)
                continue
            self._ready.append(key)
            moved.append(key)
        return moved

    def spill(self) -> list[Key]:
        """Spill the last ready keys beyond the limit, where they are more than a tenth above it, and give them."""
        if len(self._ready) <= self._most_ready + self._most_ready // 10:
            return []
        moved = self._ready[self._most_ready :]
        del self._ready[self._most_ready :]
        for key in moved:
            heapq.heappush(self._spilled, key)
        return moved


def checked_priority(priority: object) -> int | float:
    """Give a priority as it is kept: any number, integers clamped to 64 bits.

    Raises:
        TypeError: it is not an int or a float.
        ValueError: it is not a number (NaN).

    >>> checked_priority(2**70) == 2**63 - 1, checked_priority(-3.5), checked_priority(float("-inf"))
    (True, -3.5, -inf)

    """
    if isinstance(priority, int):
        return max(-(2**63), min(2**63 - 1, int(priority)))
    if isinstance(priority, float):
        if math.isnan(priority):
            message = "its priority is not a number (NaN)"
            raise ValueError(message)
        return float(priority)
    message = f"its priority is a {type(priority).__name__}, not an int or a float"
    raise TypeError(message)
