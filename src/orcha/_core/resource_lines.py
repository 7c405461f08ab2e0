"""The lines of petitions that wait for resources: one line a resource, each in the order of the queue.

Of several owners each has a part of the line, and the first petition of the line is the first one of the owner who has
least in use.

A petition that waited for a resource stays in the line until it starts, or waits for something else, also while it
lacks only another resource: so a petition that needs two resources cannot be starved by petitions that need one.

One file, since who is first of a line follows from all that changes the line.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from orcha._core.fairness import NO_USE, Ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from orcha._core.fairness import Fairness, Lane, Rank, Standing
    from orcha._core.record import Key

RESOURCE_LOT = "resource:"
"""Begin of the name of a lot whose petitions wait for a resource."""
ENTRIES_BEFORE_PRUNING = 10_000
"""Entries after which those are dropped that are of no use any more."""
MIN_USELESS_ENTRIES_TO_DROP = 1_000
"""Entries at the begin of a line that are dropped together: dropping one moves all that are behind it."""
_ASIDE = "~"
"""Begin of the name of a line in which petitions stand that need a resource and do not wait for it: it keeps nobody."""
MAX_PASSING_PETITIONS = 32
"""Later petitions of owners with less in use that go past a petition in its line, until it is first of its priority."""
_BEFORE_ALL: Standing = (-1.0, 0, -1.0, 0)
"""The standing of an owner whose petition has been passed that often."""
MAX_KNOWN_NEEDS = 16
"""Different needs of petitions in line that are remembered: with more of them the petitions are looked at."""
MAX_COUNTED_PETITIONS = 1_000
"""Entries before one's own that are looked at to tell how many are before it; of a longer line all are counted."""


def aside(resource: str) -> str:
    """Name the line of the petitions that need a resource, and something else as well, whether they wait for it or not.

    It keeps nobody waiting, and tells who has to be looked at before a later petition takes of the resource.
    """
    return f"{_ASIDE}{resource}"


class Waiter:
    """A petition that waits for resources."""

    __slots__ = (
        "asked",
        "at",
        "group",
        "lines",
        "manager",
        "names",
        "needed",
        "needs",
        "owner",
        "passed",
        "place",
        "said",
        "seconds",
        "tried",
    )

    def __init__(self, place: Key, needs: Mapping[str, int | str], group: str | None) -> None:
        """Be in no line yet."""
        self.place = place
        self.needs = needs
        self.needed: tuple[tuple[str, int | str], ...] = ()
        """The same, to look it up by that, where it stands in line."""
        self.group = group
        self.names: frozenset[str] = frozenset()
        """The lines in which it stands; `stand_in` sets them."""
        self.lines: frozenset[str] = frozenset()
        """The resources in whose lines it stands, and behind which others wait."""
        self.at = ""
        """The resource in whose lot it is parked."""
        self.asked = False
        """Whether it is to be asked now, having come to the head, or having gained priority."""
        self.passed = 0
        """How many later petitions have taken units for which this petition waits."""
        self.seconds: float | None = None
        """How long it takes, as far as that is known."""
        self.manager = ""
        self.owner = ""
        self.said: tuple[object, ...] = ()
        """All that it says of what it takes, once that was asked for (`Things.of`); empty until then."""
        self.tried: tuple[int, int, int] | None = None
        """How many had started, ran and waited when it came forward last to go before others."""

    def stand_in(self, names: Iterable[str]) -> None:
        """Stand in these lines, and in no others."""
        self.names = frozenset(names)
        self.lines = frozenset(name.partition("@")[0] for name in self.names if not name.startswith(_ASIDE))


class _Part:
    """The petitions of one owner in a line; what stands before `begin` is of no use any more."""

    __slots__ = ("begin", "places")

    def __init__(self) -> None:
        self.places: list[Key] = []
        self.begin = 0

    def add(self, place: Key) -> None:
        """Put a place where it belongs, unless it stood there before."""
        at = bisect_left(self.places, place, self.begin)
        if at == len(self.places) or self.places[at] != place:
            self.places.insert(at, place)

    def move(self, place: Key, moved: Key) -> None:
        """Have the petition that stands at a place stand at another one; what is of use is behind `begin`."""
        del self.places[bisect_left(self.places, place, self.begin)]
        self.add(moved)

    def drop_useless(self) -> None:
        """Drop what is of no use."""
        del self.places[: self.begin]
        self.begin = 0


class Lines:
    """Who waits for which resource. Petitions that wait no more are skipped when they come to the head.

    >>> lines = Lines(lambda waiter: True)
    >>> lines.enter((0, 2, "b"), {"gpu": 2}, None, ["gpu"], "gpu")
    >>> lines.enter((0, 1, "a"), {"gpu": 1}, None, ["gpu"], "gpu")
    >>> lines.first("gpu").place, lines.leave(1).place, lines.first("gpu").place
    ((0, 1, 'a'), (0, 1, 'a'), (0, 2, 'b'))
    """

    def __init__(self, waits: Callable[[Waiter], bool], fairness: Callable[[], Fairness | None] = lambda: None) -> None:
        """Start empty.

        Args:
            waits: tells whether one still waits for its resources.
            fairness: gives what each owner has in use, where there are several.

        """
        self.waiters: dict[int, Waiter] = {}
        """All of them, by sequence."""
        self.are_timed = False
        """Whether the length of any is known."""
        self._needs: dict[tuple[tuple[str, int | str], ...], Mapping[str, int | str]] = {}
        """What petitions need that stand in lines, also some that wait no more; not all where there are many."""
        self.are_of_one = True
        """Whether each petition that stands in line, or has stood there, needs one resource alone."""
        self.changes = 0
        """Rises whenever one enters a line, or has another place there."""
        self.leavings = 0
        """Rises whenever one leaves its lines."""
        self._waits = waits
        self._fairness = fairness
        self._lines: dict[str, dict[Lane, _Part]] = {}
        self._passed: set[int] = set()
        """Petitions that go before earlier petitions of their owners, since they were passed too often, by sequence."""
        self._ahead: Ahead | None = None
        """The petitions that come forward now, as if they had started."""
        self._firsts: dict[str, Waiter | None] | None = None
        """The first one of each line that was looked at, while petitions come forward; each is asked for again then."""
        self._found: dict[str, tuple[int, int, Waiter]] = {}
        """The first one of lines of several owners, as it was found last, and what had changed until then."""
        self._entered = 0
        self._prune_at = ENTRIES_BEFORE_PRUNING

    def _parts(self, name: str) -> Iterable[_Part]:
        return self._lines.get(name, {}).values()

    def names(self) -> list[str]:
        """Give the resources for which somebody waits."""
        return [
            name
            for name in self._lines
            if not name.startswith(_ASIDE) and any(len(part.places) > part.begin for part in self._parts(name))
        ]

    def enter(
        self,
        place: Key,
        needs: Mapping[str, int | str],
        group: str | None,
        names: Iterable[str],
        at: str,
        *,
        seconds: float | None = None,
        manager: str = "",
        owner: str = "",
    ) -> None:
        """Have one wait in the lines of these resources too, parked in the lot of the resource `at`.

        The petition takes `seconds`, as far as that is known.
        """
        waiter = self.waiters.get(place[1])
        if waiter is None or waiter.place != place:
            waiter = self.waiters[place[1]] = Waiter(place, needs, group)
        waiter.needs, waiter.needed, waiter.said = needs, tuple(needs.items()), ()
        waiter.seconds, waiter.manager, waiter.owner = seconds, manager, owner
        if len(self._needs) <= MAX_KNOWN_NEEDS:
            self._needs[waiter.needed] = needs
        self.are_of_one = self.are_of_one and len(needs) == 1
        self.changes += 1
        if seconds is not None and not self.are_timed:
            self.are_timed = True
            for other in self.waiters.values():
                self._stand_aside(other)
        waiter.at = at
        waiter.asked = False
        self.stand(waiter, names)
        if self.are_timed:
            self._stand_aside(waiter)
        self._entered += 1
        if self._entered > self._prune_at:
            self.rebuild()

    def may_have_room(self, has_room: Callable[[Mapping[str, int | str]], bool]) -> bool:
        """Tell whether there may be room for any petition in line, without a look at them: few needs differ mostly."""
        return len(self._needs) > MAX_KNOWN_NEEDS or any(map(has_room, self._needs.values()))

    def stand(self, waiter: Waiter, names: Iterable[str]) -> None:
        """Have a waiting petition stand in the lines of these resources too."""
        new = [name for name in names if name not in waiter.names]
        if new:
            waiter.stand_in(waiter.names.union(new))
            self.changes += 1
            for name in new:
                if self._firsts is not None:
                    self._firsts.pop(name, None)
                self._part(name, waiter.place).add(waiter.place)

    def _stand_aside(self, waiter: Waiter) -> None:
        """Have a petition be found by whatever it needs; only where lengths are known anybody looks for it."""
        if len(waiter.needs) > 1 and waiter.names:
            self.stand(waiter, map(aside, waiter.needs))

    def is_surely_behind(self, name: str, place: Key) -> bool:
        """Tell whether a place is behind another petition in a line, as far as is told without a look at all owners.

        Another one of its owner is before it, or another one of a lower priority is.
        """
        parts, fairness = self._lines.get(name), self._fairness()
        if not parts or self.are_timed:  # there all that wait no more are to be passed over
            return False
        own = parts.get(None if fairness is None else fairness.lane(place[1]))
        head = None if own is None or self._passed else self._head(name, own)
        if head is not None and head.place[1] != place[1] and head.place < place:
            return True
        if len(parts) == 1:
            return False
        firsts = _of_lowest_priority(parts)
        lower = self._head(name, firsts[0][1]) if firsts and firsts[0][0][0] < place[0] else None
        return lower is not None and lower.place[0] < place[0]

    def move(self, waiter: Waiter, moved: Key) -> None:
        """Have a waiting petition stand at another place of its lines, as if it had entered them anew."""
        for name in waiter.names:
            self._part(name, moved).move(waiter.place, moved)
        waiter.place, waiter.passed = moved, 0
        self.changes += 1

    def leave(self, seq: int) -> Waiter | None:
        """Have one wait for no resource any more; give what stood in line for it, if it did wait."""
        waiter = self.waiters.pop(seq, None)
        self.leavings += waiter is not None
        return waiter

    def is_before(self, one: Key, other: Key) -> bool:
        """Tell whether the petition at one place comes before the petition at another one."""
        return one < other if self._fairness() is None else self.rank(one) < self.rank(other)

    def first(self, name: str) -> Waiter | None:
        """Give the first one of a line."""
        known = self._firsts
        if known is None:
            return self._found_first(name)
        if name not in known:
            known[name] = self._found_first(name)
        return known[name]

    def _found_first(self, name: str) -> Waiter | None:
        parts = self._lines.get(name)
        if not parts:
            return None
        if len(parts) == 1:
            return self._head(name, *parts.values())
        if any(seq in self.waiters for seq in self._passed):
            firsts = [waiter for part in parts.values() if (waiter := self._head(name, part))]
            return min(firsts, key=lambda waiter: self.rank(waiter.place), default=None)
        self._passed.clear()
        if self._ahead is not None:
            return self._least(name, parts, self._ahead.standing)
        fairness = self._fairness()
        assert fairness is not None  # there are parts of several owners
        found, changes, counted = self._found_before(name), self.changes, fairness.changes
        if found is None:
            found = self._least(name, parts, fairness.standing)
            if found is not None:
                self._found[name] = changes, counted, found
        return found

    def is_first_known(self, name: str) -> bool:
        """Tell whether `first` gives the first one of a line of several owners without a look at all of them."""
        return name in self._found and self._found_before(name) is not None

    def _found_before(self, name: str) -> Waiter | None:
        """Give the first one of a line as it was found last, where that waits still, and no other can be before it.

        No other can where no petition has entered a line since, and no owner has more or less in use. So the petition
        that came forward first is known to be the first one when it is asked.
        """
        known, fairness = self._found.get(name), self._fairness()
        if known is None or fairness is None or self.are_timed or self._ahead is not None:
            return None
        changes, counted, waiter = known
        if changes != self.changes or counted != fairness.changes or self._standing(waiter.place, name) is not waiter:
            return None
        return waiter if self._waits(waiter) else None

    def _least(
        self, name: str, parts: Mapping[Lane, _Part], standing_of: Callable[[Lane], Standing] | None
    ) -> Waiter | None:
        """Give the first petition of a line where owners are compared by this among petitions of one priority.

        Without it all owners are alike.

        Only the petition that comes first is looked at closely: whether the petitions of many owners wait still costs
        more than to compare them. A petition that waits no more comes before those behind it of its owner, so it hides
        none of them. Where lengths are known, all are looked at: gaps are found by how many stand in line.
        """
        for part in parts.values() if self.are_timed else ():
            self._head(name, part)
        while firsts := _of_lowest_priority(parts):
            place, part, lane = firsts[0]
            if standing_of is None:
                place, part, lane = min(firsts)
            elif len(firsts) > 1:
                least = standing_of(lane)
                for each in firsts:
                    standing = standing_of(each[2])
                    if standing < least or (standing == least and each[0][1] < place[1]):
                        least, (place, part, _) = standing, each
            head = self._head(name, part)
            if head is not None and head.place == place:
                return head
        return None

    def _skips_useless(self, part: _Part, name: str) -> bool:
        """Pass over what is of no use at the begin of a part of a line; tell whether anything is left."""
        places = part.places
        while part.begin < len(places) and self._standing(places[part.begin], name) is None:
            part.begin += 1
        return part.begin < len(places)

    def firsts(self, name: str, count: int, stands: Callable[[Waiter], bool]) -> list[Waiter]:
        """Give the first petitions that stand in a line, in order, up to `count`."""
        there = self._lines.get(name)
        if not there:
            return []
        if len(there) == 1:
            (part,) = there.values()
            self._skips_useless(part, name)
            found, waiters = [], self.waiters
            for place in islice(part.places, part.begin, None):  # as below, in half of the steps
                waiter = waiters.get(place[1])
                if waiter is not None and waiter.place == place and name in waiter.names and stands(waiter):
                    found.append(waiter)
                    if len(found) == count:
                        break
            return found
        parts = [self._standing_in(part, name, stands) for part in there.values()]
        return list(islice(heapq.merge(*parts, key=lambda waiter: self.rank(waiter.place)), count))

    def _standing_in(self, part: _Part, name: str, stands: Callable[[Waiter], bool]) -> Iterator[Waiter]:
        """Give the petitions that stand in a part of a line, in order."""
        self._skips_useless(part, name)
        for place in islice(part.places, part.begin, None):
            waiter = self._standing(place, name)
            if waiter is not None and stands(waiter):
                yield waiter

    def note_taken(self, name: str, place: Key) -> None:
        """Note that a petition has taken units of a resource: it may have gone past an earlier petition."""
        first = self._least(name, self._lines.get(name, {}), None)
        if first is not None and first.place[0] == place[0] and first.place < place:
            first.passed += 1
            if first.passed == MAX_PASSING_PETITIONS:
                self._passed.add(first.place[1])

    def _part(self, name: str, place: Key) -> _Part:
        """Give the part of a line in which a petition stands."""
        fairness = self._fairness()
        lane = None if fairness is None else fairness.lane(place[1])
        parts = self._lines.setdefault(name, {})
        part = parts.get(lane)
        if part is None:
            part = parts[lane] = _Part()
        return part

    def _head(self, name: str, part: _Part) -> Waiter | None:
        """Give the first one of a part of a line."""
        places, found, begin = part.places, None, part.begin
        while begin < len(places):
            waiter = self._standing(places[begin], name)
            if waiter is not None:
                if self._waits(waiter):
                    found = waiter
                    break
                del self.waiters[places[begin][1]]
            begin += 1
        part.begin = begin
        return found

    def before(self, place: Key, name: str, counts: Callable[[Waiter], bool]) -> int:
        """Give how many petitions that count stand in a line before this place; with several owners about as many."""
        own = self._part(name, place)
        at = bisect_left(own.places, place, own.begin)
        if at - own.begin > MAX_COUNTED_PETITIONS:
            return at - own.begin
        standing = (self._standing(each, name) for each in own.places[own.begin : at])
        found = sum(1 for waiter in standing if waiter is not None and counts(waiter))
        others = [part for part in self._parts(name) if part is not own]
        heads = ((self._head(name, part), len(part.places) - part.begin) for part in others)
        earlier = ((self.rank(head.place) < self.rank(place), most) for head, most in heads if head is not None)
        return found + sum(min(most, found + is_before) for is_before, most in earlier)

    def _standing(self, place: Key, name: str) -> Waiter | None:
        """Give who stands at this place of a line, if that is of use still."""
        waiter = self.waiters.get(place[1])
        return waiter if waiter is not None and waiter.place == place and name in waiter.names else None

    def come_forward(
        self, goes: Callable[[Waiter], bool], may_go_on: Callable[[], bool] = lambda: True
    ) -> list[Waiter]:
        """Give the first ones of all lines, in order, of each line as long as each goes.

        `may_go_on` tells whether a further one may go, and is asked when one has gone.
        They stay in line until they are asked. Of the heads of several lines the earliest is always the next: a later
        one in another line would take what the earlier one needs beside the resource for which it waits.
        """
        forward: list[Waiter] = []
        passed_over: dict[int, tuple[_Part, int]] = {}
        """Where each part of a line began before any of its first ones was passed over."""
        self._drop_useless()
        fairness = self._fairness()
        self._firsts = {}
        refused: set[int] = set()
        """Petitions that do not go since the last one went: each may be first in several lines."""
        heads = {line: head for line in self.names() if (head := self.first(line)) is not None}
        while heads:
            name, *others = heads
            if others:
                name = min(heads, key=lambda line: (self.rank(heads[line].place), line))
            waiter = heads[name]
            seq = waiter.place[1]
            if waiter.asked or seq in refused or not goes(waiter):
                refused.add(seq)
                del heads[name]
                continue
            refused.clear()
            waiter.asked = True
            forward.append(waiter)
            if not may_go_on():
                break
            part = self._part(name, waiter.place)
            passed_over.setdefault(id(part), (part, part.begin))
            part.begin += 1
            if fairness is not None:
                self._start_ahead(fairness, seq)
            self._firsts.pop(name, None)
            # With several owners another one's petition may be first in each line now, since this one goes.
            for line in (name,) if fairness is None else tuple(heads):
                following = self.first(line)
                if following is None:
                    del heads[line]
                else:
                    heads[line] = following
        self._ahead = self._firsts = None
        for part, begin in passed_over.values():
            part.begin = begin
        return forward

    def _drop_useless(self) -> None:
        """Drop what is of no use at the begin of each line, where that is much."""
        for parts in self._lines.values():
            for part in parts.values():
                if part.begin >= MIN_USELESS_ENTRIES_TO_DROP:
                    part.drop_useless()

    def _start_ahead(self, fairness: Fairness, seq: int) -> None:
        """Count a petition that comes forward as if it had started: any other one may be first in each line then."""
        if self._ahead is None:
            self._ahead = Ahead(fairness)
        self._ahead.start(fairness.lane(seq))
        self._firsts = {}

    def in_order(self, waiters: Iterable[Waiter]) -> list[Waiter]:
        """Put waiting petitions in order: where all are of one owner, their places are."""
        if self._fairness() is None:
            return sorted(waiters, key=_place)
        return sorted(waiters, key=lambda waiter: self.rank(waiter.place))

    def earlier(self, waiters: Iterable[Waiter], place: Key) -> list[Waiter]:
        """Give those of some waiting petitions that come before a place."""
        if self._fairness() is None:
            return [waiter for waiter in waiters if waiter.place < place]
        rank = self.rank(place)
        return [waiter for waiter in waiters if self.rank(waiter.place) < rank]

    def rank(self, place: Key) -> Rank:
        """Give the place of a petition among all."""
        fairness, (priority, seq, _) = self._fairness(), place
        if fairness is None:
            return (priority, *NO_USE, seq)
        waiter = self.waiters.get(seq)
        if waiter is not None and waiter.passed >= MAX_PASSING_PETITIONS:
            return (priority, *_BEFORE_ALL, seq)
        return fairness.rank(place) if self._ahead is None else self._ahead.rank(place)

    def rebuild(self) -> None:
        """Drop what is of no use any more, and put each into the lines that it names."""
        self.waiters = {seq: waiter for seq, waiter in self.waiters.items() if self._waits(waiter)}
        self.are_timed = any(waiter.seconds is not None for waiter in self.waiters.values())
        self._needs = {waiter.needed: waiter.needs for waiter in self.waiters.values()}
        self.are_of_one = all(len(needed) == 1 for needed in self._needs)
        self.changes += 1
        self._lines = {}
        for waiter in self.waiters.values():
            for name in waiter.names:
                self._part(name, waiter.place).places.append(waiter.place)
        for part in (part for name in self._lines for part in self._parts(name)):
            part.places.sort()
        self._entered = 0
        self._prune_at = max(ENTRIES_BEFORE_PRUNING, len(self.waiters))


_place = attrgetter("place")


def _of_lowest_priority(parts: Mapping[Lane, _Part]) -> list[tuple[Key, _Part, Lane]]:
    """Give what stands first in the parts of a line, of the lowest priority of all these: few petitions mostly."""
    found: list[tuple[Key, _Part, Lane]] = []
    lowest: int | float | None = None
    for lane, part in parts.items():
        places, begin = part.places, part.begin
        if begin < len(places):
            place = places[begin]
            priority = place[0]
            if lowest is None or priority < lowest:
                lowest, found = priority, [(place, part, lane)]
            elif priority == lowest:
                found.append((place, part, lane))
    return found


__all__ = ["Lines", "Waiter", "aside"]
