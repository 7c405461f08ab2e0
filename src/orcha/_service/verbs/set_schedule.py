"""Change a schedule that is there: its times, what becomes of overlaps, and what its command asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core import alterations
from orcha._protocol import values
from orcha._service.verbs.add_schedule import CannotBeError, check_command, check_size, checked_times
from orcha.interfaces.built_in import COMMAND_MANAGER

if TYPE_CHECKING:
    from orcha._core.changes import Schedule
    from orcha._service.engine import Engine

_OF_TIMES = frozenset(("expression", "zone", "overlap", "missed"))
WHAT_RUNS = frozenset(("argv", "cwd"))
"""Fields that say what is executed, and where."""
_OF_ONE_PETITION = frozenset(("after", "after_ok", "if_dependency_fails", "at", "delay"))


def changed(engine: Engine, schedule: Schedule, asked: object) -> Schedule:
    """Give a schedule with what is asked for; what it fired and whether it is paused stay.

    Of times that have passed none is made up for where the times change.

    Raises:
        CannotBeError, ExpressionError, UnknownZoneError, ValueError: there can be no such one.

    """
    if not isinstance(asked, dict) or not asked:
        raise CannotBeError("nothing is to be changed")
    of_times = {name: asked[name] for name in asked if name in _OF_TIMES}
    if not all(isinstance(each, str) for name, each in of_times.items() if (name, each) != ("zone", None)):
        raise CannotBeError(f"{', '.join(sorted(_OF_TIMES))} are texts")
    expression, zone = of_times.get("expression", schedule.expression), of_times.get("zone", schedule.zone)
    overlap = of_times.get("overlap", schedule.overlap.name)
    now = engine.petitions.now.wall
    kinds = checked_times(expression, zone, overlap, of_times.get("missed", schedule.missed.name), now)
    new = schedule._replace(expression=expression, zone=zone, overlap=kinds[0], missed=kinds[1])
    if (expression, zone) != (schedule.expression, schedule.zone):
        new = new._replace(fired_until=now)
    rest = {name: asked[name] for name in asked if name not in _OF_TIMES}
    return new._replace(extras=_message(engine, schedule, rest)) if rest else new


def _message(engine: Engine, schedule: Schedule, asked: dict[str, Any]) -> bytes:
    """Give the schedule's message with what is asked for."""
    if schedule.manager != COMMAND_MANAGER:
        raise CannotBeError(
            f"only the plugin of {schedule.name!r} knows what its message means: change its times alone"
        )
    own = {name: asked.pop(name) for name in WHAT_RUNS if name in asked}
    if given := sorted(_OF_ONE_PETITION & (alterations.named(asked) if asked else set())):
        raise CannotBeError(f"a schedule's command has no {given[0]}: that is about one petition")
    fields = values.decode(schedule.extras, channel=bytes)
    new = alterations.altered(fields, asked, engine.petitions.now.wall) | own
    if "priority" in asked:
        new["priority"] = asked["priority"]
    check_command(engine, schedule.name, new)
    extras = values.encode(new)
    check_size(extras)
    return extras


__all__ = ["WHAT_RUNS", "changed"]
