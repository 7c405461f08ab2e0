"""Add a schedule: what would be refused at each of its firings is refused now."""

from __future__ import annotations

from os import geteuid
from typing import TYPE_CHECKING

from orcha._core.changes import Schedule
from orcha._core.conditions.errors import ConditionTextError
from orcha._core.schedules import ExpressionError, Timetable
from orcha._core.state import Missed, Overlap
from orcha._protocol import values
from orcha._protocol.messages import Reply, Verdict
from orcha._protocol.shown_reasons import UNREADABLE
from orcha._service.reports.explanations import cleaned
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs.petition_lookup import refuse
from orcha._service.verbs.schedules import describe
from orcha._service.verbs.submit import ROOTS_ALONE
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.interfaces.message import Message
from orcha.interfaces.policy import MAX_NAME_CHARACTERS, is_name
from orcha.utils.zones import UnknownZoneError, zone_of

if TYPE_CHECKING:
    from typing import NoReturn

    from orcha._protocol.messages import AddSchedule
    from orcha._server.server import Peer
    from orcha._service.engine import Engine

MAX_SCHEDULES = 1_000
"""Schedules of one user."""
MAX_MESSAGE_BYTES = 256 * 1024
"""Bytes of a schedule's message: all schedules are in memory."""
_OF_ONE_PETITION = ("at", "delay", "after", "after_ok", "queue", "stdin", "tty")
"""Fields of a command that a schedule cannot have: they are about one petition, or about a client that waits."""

SECRETS_ARE_NOT_KEPT = (
    "a schedule's command has no secrets: they would have to be stored; have the command itself read a file that only"
    " its user can read"
)


class CannotBeError(Exception):
    """There can be no such schedule; the text says why."""


def add_schedule(engine: Engine, peer: Peer, message: AddSchedule) -> None:
    """Keep a new schedule; answered with what is known of it when it is kept."""
    if (refusal := engine.refuses()) is not None:
        refuse(engine, peer, message.request, refusal[0], refusal[2])
        return
    try:
        made = _made(engine, peer, message)
        known = engine.schedules.planned.get(message.name)
        if known is not None and not _is_same(known.schedule, made):
            _refuse(f"there is a schedule {message.name!r} already: choose another name, or remove it first")
        planned = engine.schedules.put(made) if known is None else known
    except (CannotBeError, ExpressionError, UnknownZoneError) as error:
        refuse(engine, peer, message.request, Verdict.REFUSED, cleaned(str(error)))
        return
    engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(describe(engine, planned))))


def _refuse(reason: str) -> NoReturn:
    raise CannotBeError(reason)


def _is_same(known: Schedule, made: Schedule) -> bool:
    """Tell whether a schedule is asked for that is there, as after a lost connection."""
    return made._replace(made=known.made, fired_until=known.fired_until, is_paused=known.is_paused) == known


def _made(engine: Engine, peer: Peer, message: AddSchedule) -> Schedule:
    """Give the schedule.

    Raises:
        CannotBeError, ExpressionError, UnknownZoneError: there can be no such one.

    """
    _check_name(message.name)
    now = engine.petitions.now.wall
    kinds = checked_times(message.expression, message.zone, message.overlap, message.missed, now)
    _check_number(engine, peer)
    manager = _manager_of(engine, peer, message)
    check_size(message.extras)
    try:
        extras = values.decode(message.extras, channel=bytes)
    except ValueError as error:
        _refuse(f"its message cannot be read: {error}")
    if manager == COMMAND_MANAGER:
        check_command(engine, message.name, extras)
    return Schedule(
        message.name, peer.identity, manager, message.expression, message.zone, *kinds, message.extras, now, now
    )


def checked_times(expression: str, zone: str | None, overlap: str, missed: str, now: float) -> tuple[Overlap, Missed]:
    """Give what two words mean; raise as `_made` where there are no such words, or no such times after now."""
    Timetable(expression, zone_of(zone)).check_comes_after(now)
    for what, given, words in (("overlap", overlap, Overlap), ("missed", missed, Missed)):
        if given.upper() not in words.__members__:
            _refuse(f"{what} is one of {', '.join(word.name.lower() for word in words)}, not {given!r:.80}")
    return Overlap[overlap.upper()], Missed[missed.upper()]


def check_size(extras: bytes) -> None:
    """Raise where a schedule's message is too large."""
    if len(extras) > MAX_MESSAGE_BYTES:
        _refuse(
            f"its message has {len(extras)} bytes, and a schedule may have {MAX_MESSAGE_BYTES}: put what is"
            " long into a file, or pass fewer variables"
        )


def _check_name(name: str) -> None:
    if not is_name(name):
        _refuse(f"a schedule has a name of 1 to {MAX_NAME_CHARACTERS} characters")
    if "@" in name:
        _refuse(f"{name!r} is no name of a schedule: leave out the @, which parts it from the time in petitions' ids")


def _check_number(engine: Engine, peer: Peer) -> None:
    mine = [planned for planned in engine.schedules.planned.values() if planned.schedule.owner == peer.identity]
    if len(mine) >= MAX_SCHEDULES:
        _refuse(f"there are {MAX_SCHEDULES} schedules of yours: remove one first")


def _manager_of(engine: Engine, peer: Peer, message: AddSchedule) -> str:
    """Give the manager to which the firings are submitted."""
    manager, why = engine.managers.choose(message.manager, message.name)
    if manager is None:
        _refuse(why)
    if manager == COMMAND_MANAGER and peer.is_other and not geteuid():
        _refuse(ROOTS_ALONE)
    return manager


def check_command(engine: Engine, name: str, extras: object) -> None:
    """Raise where the command would be refused each time, as far as that is known now."""
    if not isinstance(extras, dict):
        _refuse(f"a command is a map of its fields, not {type(extras).__name__}")
    if extras.get("secrets"):
        _refuse(SECRETS_ARE_NOT_KEPT)
    given = [field for field in _OF_ONE_PETITION if extras.get(field)]
    if given:
        _refuse(f"a schedule's command has no {given[0]}: that is about one petition, or about a client that waits")
    try:
        policy = engine.managers.named(COMMAND_MANAGER).convert_to_petition(Message(name, extras)).policy
        if policy.when is not None:
            engine.admission.conditions.read(str(policy.when))
    except ConditionTextError as error:
        _refuse(f"{UNREADABLE}, {error}")
    except (ValueError, TypeError) as error:
        _refuse(str(error))
    else:
        never = engine.admission.refusal(policy.group, policy.needs, policy.timeout)
        if never is not None:
            _refuse(never.text())
