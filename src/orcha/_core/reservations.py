"""What earlier petitions are held free, and whether a later petition may run before they need it: a plan.

The plan takes what runs, then the waiting petitions in their order. Each gets the first time at which all that it needs
is free for as long as it takes. A length that nobody knows may be any: where the start of a petition depends on such a
length, nothing that it needs is given away beyond the earliest time at which it could start.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.things import Thing
    from orcha.interfaces.needs import Amount


class Want(NamedTuple):
    """What a petition takes while it runs."""

    amounts: Mapping[Thing, Amount]
    seconds: float | None
    """How long; None where that is not known."""


class _Span:
    """An amount that petitions use up."""

    __slots__ = ("capacity", "closed_from", "loose", "sure")

    def __init__(self, capacity: Amount) -> None:
        self.capacity = capacity
        self.sure = Timeline()
        """What is taken, where all whose length is unknown go on for ever."""
        self.loose = self.sure
        """The same, where those end at once: the same timeline until there are any."""
        self.closed_from = inf
        """From when on nothing of it is given to later petitions."""

    def take(self, begin: float, seconds: float | None, amount: Amount) -> None:
        """Have an amount taken for `seconds`, or for an unknown time."""
        if seconds is None and self.loose is self.sure:
            self.loose = self.sure.copy()
        self.sure.take(begin, inf if seconds is None else begin + seconds, amount)
        if seconds is not None and self.loose is not self.sure:
            self.loose.take(begin, begin + seconds, amount)

    def earliest(self, begin: float, seconds: float, amount: Amount) -> float | None:
        """Give the first time, not before `begin`, from which an amount may be free for `seconds`; None for never."""
        found = self.loose.earliest(begin, seconds, self.capacity - amount)
        if found is None or found + seconds <= self.closed_from or found >= self.closed_from:
            return found
        return self.loose.earliest(self.closed_from, seconds, self.capacity - amount)

    def reserve(self, seconds: float, amount: Amount) -> float | None:
        """Have an amount taken for a known time, above zero, as soon as it is free; give when, or None for never.

        To be called where no length is unknown, and nothing is kept from later petitions.
        """
        return self.sure.fit(seconds, self.capacity - amount, amount)

    @property
    def is_sure(self) -> bool:
        """Whether no length is unknown, and nothing is kept from later petitions."""
        return self.loose is self.sure and self.closed_from == inf

    def fits(self, begin: float, seconds: float, amount: Amount) -> bool:
        """Tell whether an amount is free for `seconds` from a time on, whatever lengths are unknown."""
        return begin + seconds <= self.closed_from and self.sure.peak(begin, begin + seconds) + amount <= self.capacity

    def gap(self, amount: Amount) -> float:
        """Give the most seconds for which an amount is free from now on, whatever lengths are unknown."""
        return min(self.closed_from, self.sure.free_until(self.capacity - amount))


class Plan:
    """Who is to have what, and when; times are seconds from now on.

    >>> gpu = ("resource", "gpu")
    >>> plan = Plan({gpu: 2})
    >>> plan.runs(Want({gpu: 1}, 60.0))
    >>> plan.reserve(Want({gpu: 2}, 60.0))
    60.0
    >>> [plan.has_gap(gpu, 1, seconds) for seconds in (60.0, 61.0)]
    [True, False]
    """

    def __init__(self, there_is: Mapping[Thing, Amount]) -> None:
        """Know of nothing that runs; `there_is` has how much there is of each thing."""
        self.there_is = there_is
        self._spans = {thing: _Span(most) for thing, most in there_is.items()}
        self.is_possible = True
        """Whether there is enough for each petition that was to have something."""

    def runs(self, want: Want) -> None:
        """Have a petition run from now on; its `seconds` are what is left of it."""
        self._take(want, 0.0)

    def reserve(self, want: Want) -> float | None:
        """Hold free what the next waiting petition needs; give when it starts, or None where that is not known."""
        if want.seconds and len(want.amounts) == 1:
            ((thing, amount),) = want.amounts.items()
            span = self._spans[thing]
            if span.is_sure and (found := span.reserve(want.seconds, amount)) is not None:
                return found
        length = inf if want.seconds is None else want.seconds
        begin = self._earliest(want, length)
        self.is_possible &= begin is not None
        if begin is not None:
            spans = [(self._spans[thing], amount) for thing, amount in want.amounts.items()]
            if all(span.is_sure or span.fits(begin, length, amount) for span, amount in spans):
                self._take(want, begin)
                return begin
        for thing in want.amounts:
            span = self._spans[thing]
            span.closed_from = min(span.closed_from, begin or 0.0)
        return None

    def has_gap(self, thing: Thing, amount: Amount, seconds: float) -> bool:
        """Tell whether a petition may have an amount of a thing for `seconds` from now on, and delays nobody."""
        return self._spans[thing].fits(0.0, seconds, amount)

    def gap(self, thing: Thing, amount: Amount) -> float:
        """Give the most seconds for which a petition may have an amount of a thing from now on, and delays nobody."""
        return self._spans[thing].gap(amount)

    def is_free(self, thing: Thing, amount: Amount) -> bool:
        """Tell whether an amount of a thing is free at this moment."""
        return self._spans[thing].sure.peak(0.0, 0.0) + amount <= self.there_is[thing]

    def _take(self, want: Want, begin: float) -> None:
        for thing, amount in want.amounts.items():
            self._spans[thing].take(begin, want.seconds, amount)

    def _earliest(self, want: Want, seconds: float) -> float | None:
        """Give the first time at which a petition may start, where all whose length is unknown end at once."""
        if len(want.amounts) == 1:
            return next(self._spans[thing].earliest(0.0, seconds, amount) for thing, amount in want.amounts.items())
        found, before = 0.0, -1.0
        while found != before:
            before = found
            for thing, amount in want.amounts.items():
                first = self._spans[thing].earliest(found, seconds, amount)
                if first is None:
                    return None
                found = first
        return found


__all__ = ["Plan", "Want"]
