"""Petitions that need resources and stand in no line for them, since they wait for a slot, a quota, or a condition.

They are no barrier for later petitions, which may take what these need. But a petition that goes before others in a
line has to delay none of them either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.converted import known_seconds
from orcha._core.resource_lines import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orcha._core.converted import Candidate
    from orcha._core.record import Key

MAX_KNOWN_PETITIONS = 64
"""Petitions that are remembered for each resource: of more it is known only that there are more."""


class WaitingElsewhere:
    """The petitions by what they need; petitions that wait no more are skipped, and forgotten now and then.

    >>> from orcha._core.record import Record
    >>> elsewhere = WaitingElsewhere(lambda petition: petition.place)
    >>> petition = Record(1, b"", "a", "manager", "me", b"", None, 0.0)
    >>> petition.needs = {"gpu": 1}
    >>> elsewhere.add(petition)
    >>> [waiter.place for waiter in elsewhere.who_need("gpu")], elsewhere.who_need("ram"), elsewhere.are_more("gpu")
    ([(0, 1, 'a')], [], False)
    """

    def __init__(
        self, place_of: Callable[[Candidate], Key | None], has_gone: Callable[[Candidate], bool] = lambda _: False
    ) -> None:
        """Know of nobody.

        Args:
            place_of: gives the place that a petition has now, or None where it waits no more.
            has_gone: tells of a petition that waits no more whether it lives no more either, and never waits again.

        """
        self._place_of = place_of
        self._has_gone = has_gone
        self._known: dict[str, dict[int, Candidate]] = {}
        self._there: dict[str, dict[int, Candidate]] = {}
        """The same without petitions that were found to have gone: most that are known have."""
        self._more: set[str] = set()
        self.changes = 0
        """Rises whenever a petition is added, or one that was known is dropped."""

    def add(self, candidate: Candidate) -> None:
        """Take a petition that waits elsewhere from now on."""
        self.changes += 1
        seq = candidate.seq
        for name in candidate.needs or ():
            known, there = self._known.setdefault(name, {}), self._there.setdefault(name, {})
            if len(known) < MAX_KNOWN_PETITIONS or seq in known or self._forgets_some(known, there):
                known[seq] = there[seq] = candidate
            else:
                self._more.add(name)

    def drop(self, seq: int) -> None:
        """Forget a petition that waits for something else, or stands in line."""
        for name, known in self._known.items():
            if known.pop(seq, None) is not None:
                self._there[name].pop(seq, None)
                self.changes += 1

    def who_need(self, resource: str) -> list[Waiter]:
        """Give the petitions that need a resource, in no order."""
        found: list[Waiter] = []
        there = self._there.get(resource, {})
        for seq, candidate in list(there.items()):
            place = self._place_of(candidate)
            if place is not None:
                found.append(waiting(candidate))
                found[-1].place = place  # people may have given it another priority
            elif self._has_gone(candidate):
                del there[seq]
        return found

    def _forgets_some(self, known: dict[int, Candidate], there: dict[int, Candidate]) -> bool:
        """Forget the petitions that wait no more; tell whether there were some."""
        left = {seq: candidate for seq, candidate in there.items() if self._place_of(candidate) is not None}
        is_any = len(left) < len(known)
        known.clear()
        known.update(left)
        there.clear()
        there.update(left)
        return is_any

    def names(self) -> Iterable[str]:
        """Name the resources that such petitions need, or needed."""
        return self._known

    def count(self) -> int:
        """Give how many petitions are known, at most: a petition that needs several resources counts several times."""
        return sum(map(len, self._known.values()))

    def are_more(self, resource: str) -> bool:
        """Tell whether there may be more petitions that need a resource than are known."""
        return resource in self._more

    def are_no_more(self) -> None:
        """Note that no petition is parked anywhere: all that wait have been asked since they were parked last."""
        self._more.clear()


def waiting(candidate: Candidate) -> Waiter:
    """Give a petition as far as it matters for who has to wait for it."""
    waiter = Waiter(candidate.place, candidate.needs or {}, candidate.group)
    waiter.seconds, waiter.manager, waiter.owner = known_seconds(candidate), candidate.manager, candidate.owner
    return waiter


__all__ = ["MAX_KNOWN_PETITIONS", "WaitingElsewhere", "waiting"]
