"""Schedules: tell about them, pause, resume, remove and fire them."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from orcha._core.authority import may_act_as
from orcha._core.permissions import Deed
from orcha._core.schedules import ExpressionError, known_until
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import Reply, Verdict
from orcha._service.reports.command_text import quoted
from orcha._service.reports.explanations import cleaned
from orcha._service.reports.state_names import word
from orcha._service.submissions import SOMEBODY_ELSES, Asked
from orcha._service.verbs import answer_size as fitting
from orcha._service.verbs.marks import deed_of
from orcha._service.verbs.petition_lookup import may_do, refuse, somebody_elses
from orcha._service.verbs.show import sent
from orcha._service.verbs.sights import Sights
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.utils.zones import UnknownZoneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._protocol.messages import ChangeSchedule, FireSchedule, ListSchedules
    from orcha._server.server import Peer
    from orcha._service.engine import Engine
    from orcha._service.hooks.schedules import Firing, Planned
    from orcha._store.contract import KeptFiring

MAX_SHOWN_FIRINGS = 100
"""Firings in one answer."""
SHOWN_INSTANTS_NUMBER = 5
"""How many of a schedule's next instants are told."""


def list_schedules(engine: Engine, peer: Peer, message: ListSchedules) -> None:
    """Answer with the schedules that the client may see: its own, or all where it is an operator or all is open."""
    if message.name is not None:
        planned = _find(engine, peer, message)
        if planned is not None:
            known = describe(engine, planned) | _details(engine, planned)
            engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(known)))
    else:
        seen = [
            planned
            for _, planned in sorted(engine.schedules.planned.items())
            if may_do(engine, peer, deed_of(message), planned.schedule.owner)
        ]
        known = {"schedules": [describe(engine, planned) for planned in seen]}
        engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(known)))


def _find(engine: Engine, peer: Peer, message: ListSchedules | ChangeSchedule | FireSchedule) -> Planned | None:
    """Give the schedule of a name; None where the caller has been answered why not."""
    planned = engine.schedules.planned.get(message.name or "")
    if planned is None or not Sights(engine, peer).sees(planned.schedule.owner):
        reason = cleaned(f"there is no schedule {quoted(message.name)}: orcha cron ls shows the schedules")
        refuse(engine, peer, message.request, Verdict.UNKNOWN, reason)
    elif not may_do(engine, peer, deed_of(message), planned.schedule.owner):
        reason = cleaned(somebody_elses(peer, planned.schedule.name, deed_of(message), "schedule"))
        refuse(engine, peer, message.request, Verdict.DENIED, reason)
    else:
        return planned
    return None


def describe(engine: Engine, planned: Planned) -> dict[str, Any]:
    """Give what is known of a schedule, by the names of `docs/wire.md`."""
    schedule, timetable = planned.schedule, planned.timetable
    upcoming: list[str] = []
    if timetable is not None and not schedule.is_paused:
        now = engine.petitions.now.wall
        begin = max(known_until(schedule.fired_until, now), now)
        instants = islice(timetable.after(begin), SHOWN_INSTANTS_NUMBER)
        upcoming = [datetime.fromtimestamp(instant, timetable.zone).isoformat() for instant in instants]
    last = next(iter(engine.store.firings(schedule.name, 1)), None)
    return {
        "name": schedule.name,
        "owner": schedule.owner,
        "manager": schedule.manager,
        "expression": schedule.expression,
        "zone": schedule.zone,
        "overlap": schedule.overlap.name.lower(),
        "missed": schedule.missed.name.lower(),
        "paused": schedule.is_paused,
        "added": schedule.made,
        "next": upcoming,
        "problem": planned.problem,
        "last": None if last is None else _firing(engine, last),
        "command": sent(schedule.extras) if schedule.manager == COMMAND_MANAGER else None,
    }


def _details(engine: Engine, planned: Planned) -> dict[str, Any]:
    """Give what is told of one schedule alone: what else its message holds, and its last firings."""
    schedule = planned.schedule
    known = {"firings": [_firing(engine, kept) for kept in engine.store.firings(schedule.name, MAX_SHOWN_FIRINGS)]}
    if schedule.manager != COMMAND_MANAGER:
        return known
    extras: Mapping[str, Any] = values.decode(schedule.extras, channel=bytes)
    named = ("priority", "group", "needs", "when", "timeout", "queue_timeout", "expect", "on_interrupt")
    return known | {"policy": {name: extras[name] for name in named if extras.get(name) is not None}}


def _firing(engine: Engine, kept: KeptFiring) -> dict[str, Any]:
    state = None if kept.state is None else word(kept.state, engine.petitions.records.get(kept.petition or 0))
    if kept.state is None and kept.petition is not None:
        state = "forgotten"
    has_ended = kept.state in {None, State.ENDED}
    return {
        "instant": kept.instant,
        "decided": kept.decided,
        "id": kept.id,
        "seq": kept.petition,
        "note": kept.note,
        "state": state,
        "outcome": kept.outcome.name.lower() if has_ended and kept.outcome is not None else None,
        "code": kept.code if has_ended else None,
        "ended": kept.ended if has_ended else None,
    }


# --- changing -----------------------------------------------------------------------------------------------------


def change_schedule(engine: Engine, peer: Peer, message: ChangeSchedule) -> None:
    """Pause, resume or remove a schedule; answered when that is kept."""
    planned = _find(engine, peer, message)
    if planned is None:
        return
    if message.change not in {"pause", "resume", "remove", "set"}:
        reason = cleaned(f"{message.change!r:.80} is no change of a schedule: there are pause, resume, remove and set")
        refuse(engine, peer, message.request, Verdict.REFUSED, reason)
        return
    if message.change == "remove":
        engine.schedules.remove(message.name)
    elif planned.undecided is not None:
        refuse(engine, peer, message.request, Verdict.BUSY, _undecided(message.name))
        return
    elif message.change == "set" and not _may_set(peer, planned, message):
        reason = cleaned(somebody_elses(peer, planned.schedule.name, Deed.ACT_AS, "schedule"))
        refuse(engine, peer, message.request, Verdict.DENIED, reason)
        return
    elif message.change == "set":
        _set(engine, peer, message, planned)
        return
    elif message.change == "pause":
        engine.schedules.put(planned.schedule._replace(is_paused=True))
    elif planned.schedule.is_paused:  # nothing of the pause was missed
        now = engine.petitions.now.wall
        engine.schedules.put(planned.schedule._replace(is_paused=False, fired_until=now))
    engine.reply(peer, Reply(message.request, Verdict.OK))


def _may_set(peer: Peer, planned: Planned, message: ChangeSchedule) -> bool:
    """Tell whether a client may change what it names: another command runs as the user of the schedule."""
    from orcha._service.verbs.set_schedule import WHAT_RUNS

    asked = values.fields_of(message.arguments or b"")
    return asked.keys().isdisjoint(WHAT_RUNS) or may_act_as(peer, planned.schedule.owner)


def _set(engine: Engine, peer: Peer, message: ChangeSchedule, planned: Planned) -> None:
    from orcha._service.verbs.add_schedule import CannotBeError  # which describes what it adds
    from orcha._service.verbs.set_schedule import changed

    try:
        asked = values.decode(message.arguments or values.encode({}))
        planned = engine.schedules.put(changed(engine, planned.schedule, asked))
    except (CannotBeError, ExpressionError, UnknownZoneError, ValueError, TypeError) as error:
        refuse(engine, peer, message.request, Verdict.REFUSED, cleaned(str(error)))
        return
    engine.reply(peer, Reply(message.request, Verdict.OK, fitting.answer(describe(engine, planned))))


def fire_schedule(engine: Engine, peer: Peer, message: FireSchedule) -> None:
    """Ask for a petition of a schedule now; answered when it is kept."""
    planned = _find(engine, peer, message)
    if planned is None:
        return
    known = engine.store.tokens([message.token]).get(message.token)
    undecided = engine.submissions.undecided.get(message.token)
    if known is not None or undecided is not None:
        _fire_again(engine, peer, message, planned.schedule.owner)
    elif planned.problem is not None:
        refuse(engine, peer, message.request, Verdict.REFUSED, planned.problem)
    elif not engine.managers.serves(planned.schedule.manager):
        reason = (
            f"{message.name!r} belongs to {planned.schedule.manager}, which is not served now: serve its plugin too"
        )
        refuse(engine, peer, message.request, Verdict.REFUSED, cleaned(reason))
    elif (refusal := engine.refuses()) is not None:
        refuse(engine, peer, message.request, refusal[0], refusal[2])
    elif planned.undecided is not None:
        refuse(engine, peer, message.request, Verdict.BUSY, _undecided(message.name))
    else:
        asker = _FiredByAPerson(engine, peer, message)
        why_not = engine.schedules.fire(planned, message.token, asker.decided)
        if why_not is not None:
            refuse(engine, peer, message.request, Verdict.REFUSED, cleaned(why_not))


def _undecided(name: str) -> str:
    return cleaned(f"a firing of {name!r} is being decided: try again")


def _fire_again(engine: Engine, peer: Peer, message: FireSchedule, owner: str) -> None:
    """Answer the same FireSchedule once more."""
    asker = _FiredByAPerson(engine, peer, message)
    known = engine.store.tokens([message.token]).get(message.token)
    undecided = engine.submissions.undecided.get(message.token)
    whose = known.owner if known is not None else undecided.record.owner if undecided is not None else None
    if whose != owner:
        refuse(engine, peer, message.request, Verdict.REFUSED, SOMEBODY_ELSES)
    elif undecided is not None:
        undecided.asked.append(Asked(asker, 0, None))
    else:
        asker.answer(0, Verdict.KNOWN, None, None)


class _FiredByAPerson:
    """Who waits for the answer of a FireSchedule, which is a submit of one message."""

    credit = 0

    def __init__(self, engine: Engine, peer: Peer, message: FireSchedule) -> None:
        self.peer = peer
        self._engine = engine
        self._message = message

    def decided(self, firing: Firing, verdict: int, reason: str | None) -> None:
        """Answer, once this batch is kept."""
        self._engine.schedules.forget(firing)
        self.answer(0, verdict, None, reason)

    def answer(self, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Answer, once this batch is kept."""
        del position, channel
        if verdict in {Verdict.ACCEPTED, Verdict.KNOWN}:
            self._engine.after_batch(self._accepted)
        else:
            refuse(self._engine, self.peer, self._message.request, verdict, reason or "refused")

    def _accepted(self) -> None:
        row = self._engine.store.tokens([self._message.token]).get(self._message.token)
        known = None if row is None else {"seq": row.seq, "id": row.id, "channel": row.channel}
        self._engine.reply(self.peer, Reply(self._message.request, Verdict.OK, values.encode(known)))
