"""Times as people write them: `22:00`, `tomorrow 6:30`, `mon 8:00`, or a date."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from orcha._cli import render

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MIN_DAY_LETTERS = 3
"""Letters of a day's name that are enough."""


def moment(text: str) -> float:
    """Read a time, in this machine's zone where the text names none; give seconds since 1970.

    Raises:
        argparse.ArgumentTypeError: the text is no time, or a date that has passed.

    """
    now = datetime.fromtimestamp(render.now()).astimezone()
    try:
        found = read(text, now)
        seconds = found.timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"{text!a:.80} is no time: write it as 22:00, tomorrow 6:30, mon 8:00, 2030-01-31 or 2030-01-31T22:00+01:00"
        ) from None
    if seconds < now.timestamp():
        raise argparse.ArgumentTypeError(f"{text!a:.80} has passed: give a time to come")
    return seconds


def read(text: str, now: datetime) -> datetime:
    """Give the time that a text means; a time of day alone is the next one.

    Where clocks are set to summer time, a time that does not exist is as much later as they are set; where they are set
    back, a time that comes twice is the first one.

    >>> now = datetime(2030, 1, 31, 21, 30)  # a Thursday
    >>> for text in ("22:00", "6:30", "tomorrow 6:30", "thu 8:00", "fri 8:00", "2030-02-01", "today 23:59:30"):
    ...     print(read(text, now))
    2030-01-31 22:00:00
    2030-02-01 06:30:00
    2030-02-01 06:30:00
    2030-02-07 08:00:00
    2030-02-01 08:00:00
    2030-02-01 00:00:00
    2030-01-31 23:59:30

    Raises:
        ValueError: the text is no time.

    """
    words = text.lower().split()
    if len(words) == 1 and words[0][:1].isdigit() and "-" not in words[0]:
        return _next(now, words[0], 0, 1)
    if len(words) == 2:
        day, clock = words
        if day in {"today", "tomorrow"}:
            return _at(now, clock, int(day == "tomorrow"))
        if len(day) >= _MIN_DAY_LETTERS and (names := [name for name in _DAYS if name.startswith(day)]):
            return _next(now, clock, (_DAYS.index(names[0]) - now.weekday()) % 7, 7)
    return datetime.fromisoformat(text.strip())


def _next(now: datetime, clock: str, days: int, step: int) -> datetime:
    """Give a time of a day that is `days` away, or `step` days later where that has passed."""
    found = _at(now, clock, days)
    return found if found > now.replace(tzinfo=None) else _at(now, clock, days + step)


def _at(now: datetime, clock: str, days: int) -> datetime:
    """Give a time of a day in this machine's zone: `days` from today, by the clock on the wall.

    Raises:
        ValueError: the text is no time of day.

    """
    parts = clock.split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isascii() and part.isdigit() and len(part) <= 2 for part in parts):
        raise ValueError(clock)
    hour, minute, second = [*map(int, parts), 0][:3]
    day = now.replace(tzinfo=None) + timedelta(days=days)
    return day.replace(hour=hour, minute=minute, second=second, microsecond=0)


__all__ = ["moment", "read"]
