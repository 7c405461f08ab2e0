"""Schedules: at each of their instants a petition is asked for, once, whatever the clock and the service go through.

A firing is decided like a submit. Its row, the schedule's progress and the petition are kept in one transaction, and
the next instant of the schedule is looked at when that is done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from orcha._core import transitions
from orcha._core.authority import ADMIN
from orcha._core.changes import NewFiring
from orcha._core.record import Record
from orcha._core.schedules import MAX_COUNTED_INSTANTS, ON_TIME_SECONDS, ExpressionError, Timetable, due
from orcha._core.state import Overlap, State
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Item, Verdict
from orcha._service.clock_looks import ClockLooks
from orcha._service.reports.explanations import cleaned
from orcha._service.submissions import Asked
from orcha.utils.zones import UnknownZoneError, zone_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.changes import Schedule
    from orcha._core.petitions import Petitions
    from orcha._core.schedules import PassedOver
    from orcha._service.hooks.managers import Managers
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._service.mailbox import Mailbox
    from orcha._service.timers import Timers
    from orcha._store.contract import Store

MAX_AWAITED_FIRINGS = 100
"""Petitions of a schedule, the last ones, for which the next one waits beside all that run: any number may wait."""
AGAIN_SECONDS = 5.0
"""Seconds after which a firing is tried again that the service could not take."""
_MAX_MILLISECONDS = 999
_FROM_THE_BEGINNING = float("-inf")
"""When a schedule is looked at that has not been looked at since it was loaded or changed."""


class Enter(Protocol):
    """How a message is taken."""

    def __call__(self, asked: Asked, item: Item, whose: tuple[str, str], after: Mapping[str, bool] | None, /) -> None:
        """Have a message converted by a manager, as a petition of an owner that waits for others."""


class TheService:
    """Stands for the client that submits a schedule's petitions: it has the rights of the schedule's owner."""

    id = 0
    """No client has this number, so that nothing is sent to it."""
    role = ADMIN
    is_other = False
    identity = door = key = ""


class Planned:
    """A schedule with its instants, and the firing that is under way."""

    def __init__(self, schedule: Schedule) -> None:
        """Read its expression and its zone; `problem` says where these are none any more."""
        self.schedule = schedule
        self.timetable: Timetable | None = None
        self.problem: str | None = None
        self.looks_at = _FROM_THE_BEGINNING
        """Wall-clock time at which it is looked at next."""
        self.undecided: Firing | None = None
        """The firing whose petition is neither kept nor refused."""
        self.fired_by_hand = 0.0
        """The instant of the last firing that a person asked for."""
        try:
            self.timetable = Timetable(schedule.expression, zone_of(schedule.zone))
        except (ExpressionError, UnknownZoneError) as error:
            self.problem = str(error)


class Firing:
    """One instant whose petition is asked for: who waits for the answer of a submit of one message."""

    credit = 0
    peer = TheService()

    def __init__(
        self,
        planned: Planned,
        instant: float,
        others: Mapping[str, int],
        then: Callable[[Firing, int, str | None], None],
        *,
        is_planned: bool,
    ) -> None:
        """Prepare.

        Args:
            planned: its schedule.
            instant: its time, in seconds since 1970.
            others: the earlier petitions of the schedule that wait or run, the last one first: their sequence numbers
                by ids.
            then: told the verdict of a submit, and the reason where the petition is not kept.
            is_planned: whether the instant is one of the schedule's, and not that of a person.

        """
        schedule, timetable = planned.schedule, planned.timetable
        assert timetable is not None
        self.planned = planned
        self.instant = instant
        self.id = f"{schedule.name}@{timetable.name_of(instant)}"
        self.is_planned = is_planned
        self.replaced = others if schedule.overlap is Overlap.REPLACE else {}
        self.awaited = others  # not only the last one: where that is cancelled, the one before may run still
        self._then = then

    def answer(self, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Take the verdict of the firing's submit."""
        del position, channel
        self._then(self, verdict, reason)


class Schedules:
    """Asks for the petitions of all schedules; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        stored: StoredPetitions,
        store: Store,
        managers: Managers,
        mailbox: Mailbox,
        timers: Timers,
        enter: Enter,
        refuses: Callable[[], tuple[int, None, str] | None],
    ) -> None:
        """Prepare.

        Args:
            petitions: the petitions, and the changes to keep.
            stored: brings back the records of petitions that are only kept.
            store: what is kept of schedules and their firings.
            managers: the managers whose messages are taken here.
            mailbox: has the next look made when a firing is decided.
            timers: have the clock looked at.
            enter: takes a message.
            refuses: tells why no message is taken now.

        """
        self._petitions = petitions
        self._stored = stored
        self._store = store
        self._managers = managers
        self._mailbox = mailbox
        self._enter = enter
        self._refuses = refuses
        self._looks = ClockLooks(timers, self._look)
        self._looked = _FROM_THE_BEGINNING
        self.firings: dict[bytes, Firing] = {}
        """The firings that are undecided, by the tokens of their petitions."""
        self.planned: dict[str, Planned] = {}
        """All schedules, by name."""

    # --- changes ------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take over what is kept; what was due meanwhile is looked at with the first batch."""
        for schedule in self._store.schedules():
            self._plan(schedule)
        if self.planned:
            self._mailbox.post(self._look)

    def put(self, schedule: Schedule) -> Planned:
        """Keep a schedule that is new or changed."""
        self._petitions.keep_schedule(schedule.name, schedule)
        planned = self._plan(schedule)
        self._mailbox.post(self._look)
        return planned

    def remove(self, name: str) -> None:
        """Forget a schedule; its petitions stay."""
        self._petitions.keep_schedule(name, None)
        del self.planned[name]

    def _plan(self, schedule: Schedule) -> Planned:
        self.planned[schedule.name] = planned = Planned(schedule)
        return planned

    # --- what is due --------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Fire the schedules that are due, and ask for the next look."""
        wall = time.time()
        if wall < self._looked:  # the clock was set back
            for planned in self.planned.values():
                planned.looks_at = _FROM_THE_BEGINNING
        self._looked = wall
        for planned in list(self.planned.values()):
            if planned.looks_at <= wall and self._may_fire(planned):
                self._fire_due(planned, wall)
        upcoming = [planned.looks_at for planned in self.planned.values() if self._may_fire(planned)]
        if upcoming:
            self._looks.ask_for(min(upcoming))

    def _may_fire(self, planned: Planned) -> bool:
        """Tell whether the time alone decides; where it does not, there is a look when that changes."""
        return (
            planned.undecided is None
            and planned.timetable is not None
            and not planned.schedule.is_paused
            and self._managers.serves(planned.schedule.manager)
        )

    def _fire_due(self, planned: Planned, wall: float) -> None:
        if self._refuses() is not None:
            planned.looks_at = wall + AGAIN_SECONDS
            return
        while True:
            schedule, timetable = planned.schedule, planned.timetable
            assert timetable is not None
            found = due(timetable, schedule.missed, schedule.fired_until, wall)
            planned.looks_at = found.next
            if found.passed is not None:
                self._note(planned, found.passed.last, _missed(found.passed))
            if found.instant is None:
                return
            if self._store.has_firing(schedule.name, found.instant):  # the clock was set back
                self._go_on_after(planned, found.instant)
                continue
            others = self._live(schedule.name)
            is_late = wall - found.instant > ON_TIME_SECONDS  # made up for: one after the other
            if others and schedule.overlap is Overlap.SKIP and not is_late:
                self._note(planned, found.instant, _skipped(others))
                continue
            self._fire(Firing(planned, found.instant, others, self._decided, is_planned=True), new_identity())
            return

    def fire(self, planned: Planned, token: bytes, then: Callable[[Firing, int, str | None], None]) -> str | None:
        """Fire a schedule for a person; give why not, where an earlier petition keeps it from that."""
        others = self._live(planned.schedule.name)
        if others and planned.schedule.overlap is Overlap.SKIP:
            return _skipped(others)
        self._fire(Firing(planned, self._free_instant(planned, time.time()), others, then, is_planned=False), token)
        return None

    def _free_instant(self, planned: Planned, wall: float) -> float:
        """Give the moment of a firing by a person: no whole second, as the schedule's own, and no other firing's."""
        name = planned.schedule.name
        seconds, milliseconds = int(wall), max(1, int(wall % 1 * 1000))
        instant = seconds + milliseconds / 1000
        while instant <= planned.fired_by_hand or self._store.has_firing(name, instant):
            seconds, milliseconds = (
                (seconds, milliseconds + 1) if milliseconds < _MAX_MILLISECONDS else (seconds + 1, 1)
            )
            instant = seconds + milliseconds / 1000
        planned.fired_by_hand = instant
        return instant

    def _live(self, name: str) -> dict[str, int]:
        """Give the petitions of a schedule that wait or run, the last one first: their sequence numbers by ids.

        Of many that wait these are the last ones, which wait for the others.
        """
        found: dict[str, int] = {}
        for firing in self._store.live_firings(name):
            known = None if firing.id is None else self._petitions.live.get(firing.id)
            if firing.id is None or firing.petition is None or known is None:
                continue
            seq, state = (known.seq, known.state) if isinstance(known, Record) else (known[1], State.QUEUED)
            is_awaited = len(found) < MAX_AWAITED_FIRINGS or state is not State.QUEUED
            if seq == firing.petition and state is not State.ENDED and is_awaited:
                found[firing.id] = seq
        return found

    def _fire(self, firing: Firing, token: bytes) -> None:
        """Ask for the petition of an instant; until that is decided, no other one of the schedule is."""
        schedule = firing.planned.schedule
        firing.planned.undecided = firing
        self.firings[token] = firing
        self._enter(
            Asked(firing, 0, None),
            Item(token, firing.id, schedule.extras, None),
            (schedule.manager, schedule.owner),
            dict.fromkeys(firing.awaited, False) or None,
        )

    # --- what became of a firing --------------------------------------------------------------------------------

    def note_accepted(self, record: Record) -> None:
        """Keep a firing together with its petition, which is about to be accepted; cancel what that replaces."""
        firing = self.firings.get(record.token)
        if firing is None:
            return
        now = self._petitions.now
        name = firing.planned.schedule.name
        until = firing.instant if firing.is_planned else None
        self._petitions.keep_firing(NewFiring(name, firing.instant, now.wall, record.seq, firing.id, fired_until=until))
        for identity, seq in firing.replaced.items():
            other = self._stored.find(identity)
            if other is not None and other.seq == seq:
                reason = f"cancelled: {record.key!r}, the next firing of its schedule, replaces it"
                transitions.cancel.cancel(self._petitions, other, transitions.cancel.cancelled(reason), now)

    def forget(self, firing: Firing) -> None:
        """Note that a firing is decided; another one may be due by now."""
        firing.planned.undecided = None
        self.firings = {token: other for token, other in self.firings.items() if other is not firing}
        self._mailbox.post(self._look)

    def _decided(self, firing: Firing, verdict: int, reason: str | None) -> None:
        """Take what became of a firing of a schedule's own, once that is kept; then the next instant may be due."""
        self.forget(firing)
        planned = firing.planned
        planned.looks_at = _FROM_THE_BEGINNING
        if self.planned.get(planned.schedule.name) is not planned:
            return  # it was forgotten meanwhile
        if verdict == Verdict.ACCEPTED:
            self._go_on_after(planned, firing.instant)
        elif verdict in {Verdict.BUSY, Verdict.STOPPING}:
            planned.looks_at = time.time() + AGAIN_SECONDS
        elif firing.awaited and not self._live(planned.schedule.name):
            pass  # what it was to wait for is gone by, and may be forgotten: it is fired without that
        elif verdict == Verdict.KNOWN:
            self._note(planned, firing.instant, "attached to the petition that has the same key")
        else:
            self._note(planned, firing.instant, f"refused: {reason}")

    def _note(self, planned: Planned, instant: float, note: str) -> None:
        """Keep that an instant has no petition, and why."""
        name = planned.schedule.name
        if not self._store.has_firing(name, instant):
            wall = self._petitions.now.wall
            self._petitions.keep_firing(NewFiring(name, instant, wall, note=cleaned(note), fired_until=instant))
        self._go_on_after(planned, instant)

    @staticmethod
    def _go_on_after(planned: Planned, instant: float) -> None:
        planned.schedule = planned.schedule._replace(fired_until=instant)


def _missed(passed: PassedOver) -> str:
    """Give the note of instants that were passed over."""
    several = "" if passed.count == 1 else f" (with {passed.count - 1} before it)"
    if passed.count == MAX_COUNTED_INSTANTS:
        several = f" (with {MAX_COUNTED_INSTANTS - 1} or more before it)"
    return f"missed: the service was away, or could not fire it in time{several}"


def _skipped(others: Mapping[str, int]) -> str:
    return f"skipped: {next(iter(others))} has not ended"


__all__ = ["Firing", "Planned", "Schedules"]
