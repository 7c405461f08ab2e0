"""The order of the waiting: by (priority, sequence), cheap at its head and lean at its tail."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.record import Key

HOT = 10_000
"""How many of the first waiting petitions are kept ready to be asked; the others are lean records in a heap."""


class WaitingQueue:
    """Keys in order: the first ones in a sorted list, all later ones in a heap.

    Every key in the heap is larger than every key in the list. Keys that left the heap before they reached its top
    are skipped when they do.

    >>> queue = WaitingQueue(hot=2)
    >>> [queue.add((0, seq, "")) for seq in (1, 2, 3)]
    [True, True, False]
    >>> queue.remove((0, 1, "")), queue.head(9)
    (None, [(0, 2, '')])
    >>> queue.promote(), queue.head(9)
    ([(0, 3, '')], [(0, 2, ''), (0, 3, '')])
    """

    def __init__(self, hot: int = HOT) -> None:
        """Keep about `hot` keys in the list."""
        self._limit = hot
        self._hot: list[Key] = []
        self._far: list[Key] = []
        self._left: set[Key] = set()
        self._shelves: dict[str, list[Key]] = {}
        self._shelf_of: dict[int, str] = {}

    def __len__(self) -> int:
        """Count the waiting."""
        return len(self._hot) + len(self._far) - len(self._left)

    @property
    def far(self) -> int:
        """How many wait beyond the hot ones."""
        return len(self._far) - len(self._left)

    @property
    def hot(self) -> int:
        """How many wait among the hot ones."""
        return len(self._hot)

    def load(self, keys: Iterable[Key]) -> None:
        """Fill an empty queue from keys in order."""
        self._far.extend(keys)

    def add(self, key: Key) -> bool:
        """Put a key in its place; tell whether that is among the hot ones."""
        if key in self._left:
            self._left.discard(key)  # it is still among the far ones
            return False
        if self._far and key > self._hot_end():
            heapq.heappush(self._far, key)
            return False
        if not self._far and len(self._hot) >= self._limit and key > self._hot[-1]:
            heapq.heappush(self._far, key)
            return False
        if self._hot and key < self._hot[-1]:
            insort(self._hot, key)
        else:
            self._hot.append(key)
        return True

    def _hot_end(self) -> Key:
        return self._hot[-1] if self._hot else self._far[0]

    def is_hot(self, key: Key) -> bool:
        """Tell whether a waiting key is among the hot ones."""
        return bool(self._hot) and key <= self._hot[-1]

    def remove(self, key: Key) -> None:
        """Take a waiting key out, be it on a shelf."""
        shelf = self._shelf_of.pop(key[1], None)
        if shelf is not None:
            self._take_off(shelf, key)
            return
        at = bisect_left(self._hot, key)
        if at < len(self._hot) and self._hot[at] == key:
            del self._hot[at]
        else:
            self._left.add(key)

    def remove_all(self, keys: list[Key]) -> None:
        """Take several waiting keys, in order, out: one move of memory where they are the first."""
        if self._hot[: len(keys)] == keys:
            del self._hot[: len(keys)]
        else:
            for key in keys:
                self.remove(key)

    # --- shelves ------------------------------------------------------------------------------------------------

    @property
    def shelved(self) -> int:
        """How many wait on shelves: they are not among the others, and cost nothing."""
        return len(self._shelf_of)

    def is_shelved(self, key: Key) -> bool:
        """Tell whether a waiting key is on a shelf."""
        return key[1] in self._shelf_of

    def shelf_of(self, key: Key) -> str | None:
        """Give the shelf that a waiting key is on, if any."""
        return self._shelf_of.get(key[1])

    def shelves(self) -> list[str]:
        """Give the names of the shelves on which something is."""
        return list(self._shelves)

    def on_shelf(self, shelf: str) -> int:
        """Count what is on a shelf."""
        return len(self._shelves.get(shelf, ()))

    def shelve(self, key: Key, shelf: str) -> None:
        """Put a waiting key onto a shelf, whose name says what it waits for."""
        self.remove(key)
        those = self._shelves.setdefault(shelf, [])
        if those and key < those[-1]:
            insort(those, key)
        else:
            those.append(key)
        self._shelf_of[key[1]] = shelf

    def unshelve(self, shelf: str, count: int) -> list[Key]:
        """Take the first `count` keys off a shelf, and give them in order; they wait nowhere then."""
        those = self._shelves.get(shelf, [])
        keys = those[:count]
        del those[:count]
        for key in keys:
            del self._shelf_of[key[1]]
        self._drop_empty(shelf)
        return keys

    def take_off(self, keys: list[Key]) -> None:
        """Take these keys off their shelves; they wait nowhere then."""
        for key in keys:
            self._take_off(self._shelf_of.pop(key[1]), key)

    def _take_off(self, shelf: str, key: Key) -> None:
        those = self._shelves[shelf]
        del those[bisect_left(those, key)]
        self._drop_empty(shelf)

    def _drop_empty(self, shelf: str) -> None:
        if not self._shelves.get(shelf, True):
            del self._shelves[shelf]

    # --- the head -----------------------------------------------------------------------------------------------

    def head(self, count: int, start: int = 0) -> list[Key]:
        """Give up to `count` hot keys in order, from the `start`-th on."""
        return self._hot[start : start + count]

    def place(self, key: Key) -> int:
        """Give how many keys are before this one, among the hot ones or those of its shelf."""
        shelf = self._shelf_of.get(key[1])
        return bisect_left(self._hot if shelf is None else self._shelves[shelf], key)

    def index(self, key: Key) -> int:
        """Give how many hot keys are before this one, whether it waits or not."""
        return bisect_left(self._hot, key)

    def before(self, key: Key, most: int) -> list[Key]:
        """Give the first hot keys, `most` at most, that are before this one, which may be on a shelf."""
        return self._hot[: min(most, bisect_left(self._hot, key))]

    def wants_promotion(self) -> bool:
        """Tell whether so few hot keys are left that far ones should be made ready."""
        return bool(self._far) and len(self._hot) <= self._limit // 2

    def promote(self) -> list[Key]:
        """Move the first far keys to the hot ones, up to the limit, and give them in order."""
        moved: list[Key] = []
        while self._far and len(self._hot) < self._limit:
            key = heapq.heappop(self._far)
            if key in self._left:
                self._left.discard(key)
                continue
            self._hot.append(key)
            moved.append(key)
        return moved

    def demote(self) -> list[Key]:
        """Move the last hot keys beyond the limit (and a tenth more of slack) to the far ones, and give them."""
        if len(self._hot) <= self._limit + self._limit // 10:
            return []
        moved = self._hot[self._limit :]
        del self._hot[self._limit :]
        for key in moved:
            heapq.heappush(self._far, key)
        return moved
