"""The keys of the petitions that are parked for one cause, in order."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orcha._core.record import Key

MIN_TAKEN_KEYS_TO_DROP = 1_000
"""First keys that were taken out and are dropped together."""


class Lot:
    """A sorted list whose first keys leave it without a move of the others: a quarter of what a start costs.

    Petitions leave a lot in their order, mostly one at a time. To delete the first of 100,000 keys moves the others,
    which takes 10 µs; here the first keys are passed over, and dropped when there are many. One thread changes a lot;
    any thread may ask for its first keys.

    >>> lot = Lot()
    >>> lot.add((0, 2, "b")), lot.add((0, 1, "a")), lot.remove((0, 1, "a"))
    (None, None, None)
    >>> lot.first(9), len(lot)
    ([(0, 2, 'b')], 1)
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        """Be empty."""
        self._kept: tuple[list[Key], int] = [], 0
        """The keys, and how many of the first ones were taken out: replaced together, so that any thread may read."""

    def __len__(self) -> int:
        """Count the keys."""
        keys, begin = self._kept
        return len(keys) - begin

    def __iter__(self) -> Iterator[Key]:
        """Give the keys in order."""
        return iter(self.first(len(self)))

    def first(self, most: int) -> list[Key]:
        """Give the first keys, `most` at most."""
        keys, begin = self._kept
        return keys[begin : begin + most]

    def place(self, key: Key) -> int:
        """Count the keys before this one."""
        keys, begin = self._kept
        return bisect_left(keys, key, begin) - begin

    def add(self, key: Key) -> None:
        """Put a key in its place."""
        keys, begin = self._kept
        if len(keys) == begin or key > keys[-1]:
            keys.append(key)
        else:
            insort(keys, key, begin)

    def remove(self, key: Key) -> None:
        """Take out a key that is there."""
        keys, begin = self._kept
        at = bisect_left(keys, key, begin)
        if at == begin:
            self._drop(1)
        else:
            del keys[at]

    def move(self, key: Key, moved: Key) -> None:
        """Put a petition in another place; where no other one is between the two, none is moved for that."""
        keys, begin = self._kept
        at = bisect_left(keys, key, begin)
        if (at > begin and keys[at - 1] > moved) or (at + 1 < len(keys) and keys[at + 1] < moved):
            self.remove(key)
            self.add(moved)
        else:
            keys[at] = moved

    def take(self, count: int) -> list[Key]:
        """Take out the first keys, up to `count`, and give them."""
        found = self.first(count)
        self._drop(len(found))
        return found

    def _drop(self, count: int) -> None:
        keys, begin = self._kept
        begin += count
        if begin >= MIN_TAKEN_KEYS_TO_DROP or begin == len(keys):
            keys, begin = keys[begin:], 0
        self._kept = keys, begin


__all__ = ["Lot"]
