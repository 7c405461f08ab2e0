"""How much of one thing is taken from when to when, as far as that is foretold."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orcha.interfaces.needs import Amount


class Timeline:
    """What is taken of one thing, by time; times are seconds from now on.

    >>> gpus = Timeline()
    >>> gpus.take(0.0, 60.0, 1)
    >>> gpus.take(30.0, 90.0, 1)
    >>> gpus.peak(0.0, 30.0), gpus.peak(0.0, 90.0), gpus.earliest(0.0, 10.0, 0), gpus.earliest(0.0, 60.0, 1)
    (1, 2, 90.0, 60.0)
    """

    __slots__ = ("_levels", "_times")

    def __init__(self) -> None:
        """Have nothing taken."""
        self._times = [0.0]
        self._levels: list[Amount] = [0]
        """How much is taken from each of the times on."""

    def copy(self) -> Timeline:
        """Give a timeline in which the same is taken."""
        copy = Timeline()
        copy._times, copy._levels = self._times[:], self._levels[:]
        return copy

    def take(self, begin: float, end: float, amount: Amount) -> None:
        """Have an amount taken from one time to another one, before which it is free again."""
        first = self._at(begin)
        last = len(self._times) if end == inf else self._at(end)
        for index in range(first, last):
            self._levels[index] += amount

    def _at(self, time: float) -> int:
        """Give the place of a time, which is among the times from now on."""
        index = bisect_left(self._times, time)
        if index == len(self._times) or self._times[index] != time:
            self._times.insert(index, time)
            self._levels.insert(index, self._levels[index - 1])
        return index

    def fit(self, seconds: float, most: Amount, amount: Amount) -> float | None:
        """Take an amount from the first time on from which no more than `most` is taken for `seconds`.

        Gives that time, or None for never. It is `earliest` and `take` in one pass, since plans are made of that;
        `seconds` is above zero.

        >>> gpus = Timeline()
        >>> gpus.fit(60.0, 1, 2), gpus.fit(30.0, 1, 1), gpus.peak(60.0, 90.0), gpus.peak(90.0, 99.0)
        (0.0, 60.0, 1, 0)
        """
        times, levels = self._times, self._levels
        first, count = 0, len(times)
        while True:
            while levels[first] > most:
                first += 1
                if first == count:
                    return None
            begin = times[first]
            end, last = begin + seconds, first + 1
            while last < count and times[last] < end and levels[last] <= most:
                last += 1
            if last == count or times[last] >= end:
                break
            first = last
        if end != inf and (last == count or times[last] != end):
            times.insert(last, end)
            levels.insert(last, levels[last - 1])
        for index in range(first, last):
            levels[index] += amount
        return begin

    def peak(self, begin: float, end: float) -> Amount:
        """Give the most that is taken from one time to another one."""
        first = bisect_right(self._times, begin) - 1
        return max(self._levels[first : max(bisect_left(self._times, end), first + 1)])

    def free_until(self, most: Amount) -> float:
        """Give the first time from which more than `most` is taken; infinite for never.

        >>> gpus = Timeline()
        >>> gpus.take(30.0, 90.0, 1)
        >>> gpus.free_until(0), gpus.free_until(1)
        (30.0, inf)
        """
        for time, level in zip(self._times, self._levels, strict=True):
            if level > most:
                return time
        return inf

    def earliest(self, begin: float, seconds: float, most: Amount) -> float | None:
        """Give the first time from `begin` on from which no more than `most` is taken for `seconds`; None for never."""
        times, levels = self._times, self._levels
        index, start = bisect_right(times, begin) - 1, begin
        while True:
            while levels[index] > most:
                index += 1
                if index == len(times):
                    return None
                start = times[index]
            while levels[index] <= most:
                index += 1
                if index == len(times) or times[index] >= start + seconds:
                    return start


__all__ = ["Timeline"]
