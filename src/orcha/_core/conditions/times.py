"""What conditions say of the time of day: its values, and when they change next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.conditions.kinds import Value
    from orcha._core.conditions.terms import Reading

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_SECONDS = 86_400
_TIME = re.compile(r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9]")


class LocalTime(NamedTuple):
    """The time of day where the service is."""

    day: int
    """The day of the month, from 1."""
    weekday: int
    """The day of the week, from 0 for Monday."""
    seconds: float
    """Minutes since midnight by the wall clock."""


def minute_of_day(written: object) -> int | None:
    """Read a time of day; None for what is none.

    >>> minute_of_day("22:00"), minute_of_day("6:30"), minute_of_day("24:00")
    (1320, 390, None)
    """
    if not isinstance(written, str) or _TIME.fullmatch(written) is None:
        return None
    hours, _, minutes = written.partition(":")
    return int(hours) * 60 + int(minutes)


def is_between(begin: int, end: int, minute: float) -> bool:
    """Tell whether a minute of the day lies between two others, also where midnight does.

    >>> is_between(1320, 360, 1400), is_between(1320, 360, 360), is_between(540, 1020, 600)
    (True, False, True)
    """
    if begin <= end:
        return begin <= minute < end
    return minute >= begin or minute < end


def value_at(reading: Reading, now: LocalTime) -> Value:
    """Give what a name that tells the time stands for."""
    name = reading.name
    if name == "between":
        begin, end = (minute_of_day(each) or 0 for each in reading.arguments)
        return is_between(begin, end, now.seconds / 60)
    if name == "weekday":
        return WEEKDAYS[now.weekday]
    if name == "day":
        return now.day
    return int(now.seconds // 60 % 60) if name == "minute" else int(now.seconds // 3_600)


def seconds_until_change(readings: Iterable[Reading], now: LocalTime) -> float | None:
    """Give the seconds after which one of these may stand for another value; None where there are none.

    A clock that is set, or that summer time moves, makes that wrong: look again after a while in any case.
    """
    soonest: float | None = None
    for reading in readings:
        for second in _changes(reading, now):
            left = (second - now.seconds) % _DAY_SECONDS or _DAY_SECONDS
            soonest = left if soonest is None else min(soonest, left)
    return soonest


def _changes(reading: Reading, now: LocalTime) -> tuple[float, ...]:
    """Give the next seconds of the day at which a value changes."""
    name = reading.name
    if name == "between":
        return tuple((minute_of_day(each) or 0) * 60 for each in reading.arguments)
    if name in {"minute", "hour"}:
        length = 60 if name == "minute" else 3_600
        return ((now.seconds // length + 1) * length,)
    return (0,)


__all__ = ["WEEKDAYS", "LocalTime", "is_between", "minute_of_day", "seconds_until_change", "value_at"]
