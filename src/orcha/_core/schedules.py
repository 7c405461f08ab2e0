"""When schedules are due: the instants of a cron expression in a zone, and which of them are fired or passed over."""

from __future__ import annotations

import math
from datetime import datetime
from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

from cronsim import CronSim, CronSimError

from orcha._core.state import Missed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

ON_TIME_SECONDS = 60.0
"""Seconds after its instant within which a firing still counts as on time."""
CLOCK_SET_BACK_SECONDS = 3 * 3600.0
"""Seconds by which the clock on the wall has to be set back for a schedule to begin again at the time it shows then."""
MAX_COUNTED_INSTANTS = 100
"""Instants that are passed over and counted; that there were more is all that is told."""
MAX_EXPRESSION_CHARACTERS = 200
_FIRST_SPAN_SECONDS = 3600.0
"""Seconds before a moment in which the last instant before it is looked for first."""
_SPAN_FACTOR = 24
"""How many times as far back it is looked for next."""
_BAD_DAY = "Bad day-of-month"
_FIELDS = 5
_NAMED_EXPRESSIONS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class ExpressionError(ValueError):
    """An expression that is none: what is wrong with it, and how it is written."""


class Timetable:
    """The instants of a cron expression in a zone.

    >>> from datetime import timezone
    >>> list(islice(Timetable("*/5 * * * *", timezone.utc).after(0.0), 2))
    [300.0, 600.0]
    """

    def __init__(self, expression: str, zone: tzinfo) -> None:
        """Read an expression.

        Raises:
            ExpressionError: it is none, or it names no day that ever comes.

        """
        self.expression = expression
        self.zone = zone
        self._fields = checked_expression(expression)

    def after(self, moment: float) -> Iterator[float]:
        """Give the instants after a moment, in seconds since 1970, in order; they end where fifty years have none.

        A zone may leave times of the day out: in Berlin "* 2 * 3 0L" names the hour that summer time takes.
        """
        for found in CronSim(self._fields, datetime.fromtimestamp(moment, self.zone)):
            instant = found.timestamp()
            if instant > moment:  # in an hour that comes twice, the first one's instants may be behind
                yield instant

    def first_after(self, moment: float) -> float:
        """Give the first instant after a moment; infinity where there is none."""
        return next(self.after(moment), math.inf)

    def check_comes_after(self, moment: float) -> None:
        """Check that an instant comes after a moment.

        Raises:
            ExpressionError: none comes, since the zone has no such times of the day on such days.

        """
        if self.first_after(moment) == math.inf:
            message = (
                f"{self.expression!a} never comes: its zone leaves these times out, where summer time begins; write"
                " another hour, or another zone"
            )
            raise ExpressionError(message)

    def last_between(self, begin: float, end: float) -> float | None:
        """Give the last instant after `begin` and up to `end`."""
        last, start, span = None, end, _FIRST_SPAN_SECONDS
        while last is None and start > begin:
            start = max(begin, end - span)
            for last in takewhile(lambda instant: instant <= end, self.after(start)):  # noqa: B007 - the last one
                pass
            span *= _SPAN_FACTOR
        return last

    def count_between(self, begin: float, end: float) -> int:
        """Count the instants after `begin` and up to `end`, up to a hundred."""
        instants = takewhile(lambda instant: instant <= end, self.after(begin))
        return sum(1 for _ in islice(instants, MAX_COUNTED_INSTANTS))

    def name_of(self, instant: float) -> str:
        """Write an instant as its firing's id has it: in the schedule's zone, as short as it is unique.

        >>> from datetime import timezone
        >>> timetable = Timetable("0 22 * * *", timezone.utc)
        >>> timetable.name_of(79200), timetable.name_of(79205), timetable.name_of(79205.25)
        ('1970-01-01T22:00', '1970-01-01T22:00:05', '1970-01-01T22:00:05.250')
        """
        local = datetime.fromtimestamp(instant, self.zone)
        detail = "milliseconds" if local.microsecond else "seconds" if local.second else "minutes"
        written = local.replace(tzinfo=None, fold=0).isoformat(timespec=detail)
        if local.fold:  # this time of the day comes for the second time
            written += local.isoformat()[-6:]
        return written


def checked_expression(expression: str) -> str:
    """Give an expression in five fields.

    >>> checked_expression("@daily")
    '0 0 * * *'

    Raises:
        ExpressionError: it is none, or none of its instants ever comes.

    """
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        error = f"{expression[:40]!a}... is no schedule: write at most {MAX_EXPRESSION_CHARACTERS} characters"
        raise ExpressionError(error)
    fields = _NAMED_EXPRESSIONS.get(expression.strip().lower(), expression)
    if len(fields.split()) != _FIELDS:
        error = (
            f"{expression!a} is no schedule: write five fields, minute, hour, day of the month, month and day of the"
            " week, as in '*/5 * * * *' or '30 6 * * mon-fri'"
        )
        raise ExpressionError(error)
    try:
        found = CronSim(fields, datetime(2000, 1, 1))  # noqa: DTZ001 - whether a day exists is the same in every zone
    except (CronSimError, ValueError) as error:
        message = f"{expression!a} is no schedule: {_wrong(str(error))}"
        if str(error) == _BAD_DAY and _lacks_its_day(fields):
            message = f"{expression!a} never comes: no month that it names has such a day"
        raise ExpressionError(message) from None
    if next(found, None) is None:
        message = f"{expression!a} never comes: no such day is in the next fifty years"
        raise ExpressionError(message)
    return fields


def _lacks_its_day(fields: str) -> bool:
    """Tell whether fields that cannot be read could be read if they named another month.

    >>> _lacks_its_day("0 0 30 2 *"), _lacks_its_day("0 0 32 2 *")
    (True, False)
    """
    minute, hour, day, _, day_of_week = fields.split()
    try:
        CronSim(f"{minute} {hour} {day} 1 {day_of_week}", datetime(2000, 1, 1))  # noqa: DTZ001 - as above
    except (CronSimError, ValueError):
        return False
    return True


_RANGES = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, L for the last one, or LW for the last one from Monday to Friday",
    "month": "1 to 12, or jan to dec",
    "day-of-week": "0 to 7 (both are Sunday), or sun to sat",
}


def _wrong(said: str) -> str:
    """Give what is wrong with a field, and how that is written.

    >>> _wrong("Bad hour")
    'its hour cannot be read: write *, numbers from 0 to 23, lists as 1,2, ranges as 1-5, and steps as */2'
    """
    field = next((name for name in _RANGES if said == f"Bad {name}"), "day-of-week")
    numbers = f"numbers from {_RANGES[field]}"
    return (
        f"its {field.replace('-', ' ')} cannot be read: write *, {numbers}, lists as 1,2, ranges as 1-5, and steps as"
        " */2"
    )


class PassedOver(NamedTuple):
    """Instants that came while nobody could fire them, and that are not made up for."""

    last: float
    """The last one of them."""
    count: int  # type: ignore[assignment]  # a tuple's own count() is of no use here
    """How many, up to a hundred."""


class Due(NamedTuple):
    """What a schedule does now."""

    instant: float | None
    """The instant to be fired; None where there is none. When that is done, another one may be due."""
    passed: PassedOver | None
    """What is passed over before it."""
    next: float
    """The next instant to wait for; infinity where there is none."""


def known_until(fired_until: float, now: float) -> float:
    """Give the instant after which a schedule goes on: where the clock was set back far it begins again."""
    return now - ON_TIME_SECONDS if fired_until - now > CLOCK_SET_BACK_SECONDS else fired_until


def due(timetable: Timetable, missed: Missed, fired_until: float, now: float) -> Due:
    """Tell what is due.

    Args:
        timetable: the schedule's instants.
        missed: what is made up for of the instants that came more than a minute ago.
        fired_until: the last instant that was fired or passed over.
        now: the time that the clock on the wall shows, which may be set in either direction.

    """
    fired_until = known_until(fired_until, now)
    upcoming = timetable.first_after(max(fired_until, now))
    first = timetable.first_after(fired_until)
    if first > now:
        return Due(None, None, upcoming)
    if missed is Missed.ALL:
        return Due(first, None, upcoming)
    begin = fired_until if missed is Missed.LAST else max(fired_until, now - ON_TIME_SECONDS)
    fired: float | None
    if missed is Missed.LAST:
        fired = timetable.last_between(begin, now)
    else:
        on_time = timetable.first_after(begin)
        fired = None if on_time > now else on_time
    before = now - ON_TIME_SECONDS if fired is None else fired
    return Due(fired, _passed_over(timetable, fired_until, before, excluded=fired), upcoming)


def _passed_over(timetable: Timetable, begin: float, end: float, *, excluded: float | None) -> PassedOver | None:
    """Give the instants after `begin` and up to `end`, or before `end` where that instant is the fired one."""
    count = timetable.count_between(begin, end)
    if excluded is not None and count < MAX_COUNTED_INSTANTS:
        count -= 1
    if not count:
        return None
    last = timetable.last_between(begin, end if excluded is None else end - 1)
    assert last is not None
    return PassedOver(last, count)


__all__ = ["Due", "ExpressionError", "PassedOver", "Timetable", "checked_expression", "due", "known_until"]
