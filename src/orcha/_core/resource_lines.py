"""The lines of petitions that wait for resources: one line a resource, each in the order of the queue.

Whoever waited for a resource stays in its line until it starts, or waits for something else, also while it lacks only
another resource; so a petition that needs two resources cannot be starved by petitions that need one.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orcha._core.record import Key

ENTRIES_BEFORE_PRUNING = 10_000
"""Entries after which those are dropped that are of no use any more."""
MIN_USELESS_ENTRIES_TO_DROP = 1_000
"""Entries at the begin of a line that are dropped together: dropping one moves all that are behind it."""
MAX_COUNTED_PETITIONS = 1_000
"""Entries before one's own that are looked at to tell how many are before it; of a longer line all are counted."""


class Waiter:
    """One that waits for resources."""

    __slots__ = ("asked", "at", "group", "names", "needs", "place")

    def __init__(self, place: Key, needs: Mapping[str, int | str], group: str | None) -> None:
        """Be in no line yet."""
        self.place = place
        self.needs = needs
        self.group = group
        self.names: set[str] = set()
        """The resources in whose lines it is."""
        self.at = ""
        """The resource in whose lot it is parked."""
        self.asked = False
        """Whether it is to be asked now, having come to the head."""


class Lines:
    """Who waits for which resource. Those that wait no more are skipped when they come to the head.

    >>> lines = Lines(lambda waiter: True)
    >>> lines.enter((0, 2, "b"), {"gpu": 2}, None, ["gpu"], "gpu")
    >>> lines.enter((0, 1, "a"), {"gpu": 1}, None, ["gpu"], "gpu")
    >>> lines.first("gpu").place, lines.leave(1), lines.first("gpu").place
    ((0, 1, 'a'), True, (0, 2, 'b'))
    """

    def __init__(self, waits: Callable[[Waiter], bool]) -> None:
        """Start empty; `waits` tells whether one still waits for its resources."""
        self.waiters: dict[int, Waiter] = {}
        """All of them, by sequence."""
        self._waits = waits
        self._lines: dict[str, list[Key]] = {}
        self._begins: dict[str, int] = {}
        """Where each line begins: what stands before that is of no use any more."""
        self._entered = 0
        self._prune_at = ENTRIES_BEFORE_PRUNING

    def names(self) -> list[str]:
        """Give the resources for which somebody waits."""
        return [name for name, line in self._lines.items() if len(line) > self._begins.get(name, 0)]

    def enter(
        self, place: Key, needs: Mapping[str, int | str], group: str | None, names: Iterable[str], at: str
    ) -> None:
        """Have one wait in the lines of these resources too, parked in the lot of the resource `at`."""
        waiter = self.waiters.get(place[1])
        if waiter is None or waiter.place != place:
            waiter = self.waiters[place[1]] = Waiter(place, needs, group)
        waiter.needs = needs
        waiter.at = at
        waiter.asked = False
        self.stand(waiter, names)
        self._entered += 1
        if self._entered > self._prune_at:
            self.rebuild()

    def stand(self, waiter: Waiter, names: Iterable[str]) -> None:
        """Have a waiting petition stand in the lines of these resources too."""
        for name in names:
            if name not in waiter.names:
                waiter.names.add(name)
                line = self._lines.setdefault(name, [])
                at = bisect_left(line, waiter.place, self._begins.get(name, 0))
                if at == len(line) or line[at] != waiter.place:  # else it stood there before
                    line.insert(at, waiter.place)

    def leave(self, seq: int) -> bool:
        """Have one wait for no resource any more; tell whether it did."""
        return self.waiters.pop(seq, None) is not None

    def first(self, name: str) -> Waiter | None:
        """Give the first one of a line."""
        line = self._lines.get(name, [])
        found = None
        begin = self._begins.get(name, 0)
        while begin < len(line):
            waiter = self._standing(line[begin], name)
            if waiter is not None:
                if self._waits(waiter):
                    found = waiter
                    break
                del self.waiters[line[begin][1]]
            begin += 1
        self._begins[name] = begin
        return found

    def before(self, place: Key, name: str, counts: Callable[[Waiter], bool]) -> int:
        """Give how many that count stand in a line before this place."""
        line = self._lines.get(name, [])
        begin = self._begins.get(name, 0)
        at = bisect_left(line, place, begin)
        if at - begin > MAX_COUNTED_PETITIONS:
            return at - begin
        standing = (self._standing(each, name) for each in line[begin:at])
        return sum(1 for waiter in standing if waiter is not None and counts(waiter))

    def _standing(self, place: Key, name: str) -> Waiter | None:
        """Give who stands at this place of a line, if that is of use still."""
        waiter = self.waiters.get(place[1])
        return waiter if waiter is not None and waiter.place == place and name in waiter.names else None

    def come_forward(self, goes: Callable[[Waiter], bool]) -> list[Waiter]:
        """Give the first ones of all lines, in order, of each line as long as each goes.

        They stay in line until they are asked. Of the heads of several lines the earliest is always the next: a later
        one in another line would take what the earlier one needs beside the resource for which it waits.
        """
        self._drop_useless()
        forward: list[Waiter] = []
        begins: dict[str, int] = {}
        """Where each line began before any of its first ones was passed over."""
        still = set(self.names())
        while heads := [(waiter.place, name) for name in still if (waiter := self.first(name)) is not None]:
            place, name = min(heads)
            waiter = self.waiters[place[1]]
            if waiter.asked or not goes(waiter):
                still.discard(name)
                continue
            waiter.asked = True
            begins.setdefault(name, self._begins[name])
            self._begins[name] += 1
            forward.append(waiter)
        self._begins |= begins
        return forward

    def _drop_useless(self) -> None:
        for name, begin in self._begins.items():
            if begin >= MIN_USELESS_ENTRIES_TO_DROP:
                del self._lines[name][:begin]
                self._begins[name] = 0

    def rebuild(self) -> None:
        """Drop what is of no use any more, and put each into the lines that it names."""
        self.waiters = {seq: waiter for seq, waiter in self.waiters.items() if self._waits(waiter)}
        self._lines = {}
        self._begins = {}
        for waiter in self.waiters.values():
            for name in waiter.names:
                self._lines.setdefault(name, []).append(waiter.place)
        for line in self._lines.values():
            line.sort()
        self._entered = 0
        self._prune_at = max(ENTRIES_BEFORE_PRUNING, len(self.waiters))


__all__ = ["Lines", "Waiter"]
