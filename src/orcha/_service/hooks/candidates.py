"""Which of those that wait are asked next whether they may start: since something has happened, or by time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orcha._core.asking import Asking
from orcha._core.choose import PATIENCE, Answer
from orcha.interfaces.built_in import BUILT_IN_MANAGERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orcha._core.record import Key, Record
    from orcha._service.engine import Engine
    from orcha._service.hooks.visit import Visit

_LEAST = 0.05
"""Seconds until whose turn it is is looked at again, at least."""
_YES = Answer.YES  # looked up once: an attribute of an enumeration costs ten times a global name

HEADS = 96
"""Waiting petitions handed over to be asked, at most."""
_BEYOND = PATIENCE + 8
"""Those handed over where none of the last ones could start."""
AFTER_A_START = 0.05
"""Seconds after which a start alone has blocked conditions asked again."""


class Candidates:
    """Gives the first of those that wait when there is news, and some of them by time where a condition said no."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self.look_ahead: int | None = engine.settings.look_ahead
        self.heads = HEADS
        """How many of the first ones are handed over: more where many of the last ones could start."""
        self.more = False
        """More of the first ones are to be asked, though nothing has changed."""
        self._asked_version = -1
        self._asked_starts = 0
        self._start_armed = self._start_due = False
        self._asking = Asking()
        self._poll_at: float | None = None
        self._poll_due = False
        self._cursor: Key | None = None
        """Where the others were asked up to."""

    @property
    def are_news(self) -> bool:
        """Whether those that wait are to be asked, though they were asked before."""
        machine, engine = self._engine.machine, self._engine
        if not machine.waiting or engine.draining is not None or engine.paused:
            return False
        return machine.version != self._asked_version or self.more

    def asked(self) -> int:
        """Note that all that is known now is known to those who are asked; give the machine's version."""
        self._asked_version = self._engine.machine.version
        self.more = False
        return self._asked_version

    def note(self, visit: Visit) -> None:
        """Learn from a visit of those that wait, whose results are in."""
        self._engine.admission.resources.note_left()
        self._note_polled(visit)
        self.more = len(visit.waiting) >= self.heads and visit.noes < PATIENCE
        if visit.waiting:
            self.heads = min(HEADS, _BEYOND + 2 * sum(result.answer is _YES for result in visit.results))

    def take(self, *, converting: bool) -> tuple[list[Record], list[Record], bool]:
        """Give the first ones in order, and a sample of the others, to be asked now; and whether time alone wants that.

        `converting` says that new ones come with them.
        """
        machine = self._engine.machine
        if self._engine.draining is not None or self._engine.paused:
            self._poll_due = False
            return [], [], False
        self._engine.admitting.unpark()
        if not machine.waiting:
            self._poll_due = False
            return [], [], False
        self._refill()
        waiting: list[Record] = []
        narrow = self.look_ahead is not None and converting  # who is new counts among the first so many
        if machine.version != self._asked_version or self.more or self._start_due or narrow:
            self._asked_starts, self._start_due = machine.starts, False
            waiting = self._records(machine.waiting.head(self.look_ahead or self.heads))
        elif machine.starts != self._asked_starts and not self._start_armed:
            self._start_armed = True
            self._engine.timers.at(time.monotonic() + AFTER_A_START, self._after_a_start)
        if not self._poll_due or waiting:
            return waiting, [], False
        self._poll_due = False
        return self._by_time(time.monotonic())

    def _after_a_start(self) -> None:
        self._start_armed, self._start_due = False, True

    # --- by time ------------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Have also those asked soon that are not among the first."""
        self._cursor = None
        self._asking.hurry(time.monotonic())

    def _by_time(self, now: float) -> tuple[list[Record], list[Record], bool]:
        """Give whose turn it is; where it is nobody's yet, be back when it is."""
        machine, asking = self._engine.machine, self._asking
        keys = machine.waiting.head(self.look_ahead or machine.waiting.ready)
        if next(self._opaque(keys), None) is None:
            return [], [], False  # nobody waits for a condition: the next no of one begins it anew
        firsts = asking.whom(self._opaque(keys), now)
        others: list[Record] = []
        if self._are_many and now >= asking.others.due:
            begin = 0 if self._cursor is None else machine.waiting.index(self._cursor)
            part = machine.waiting.head(asking.others.count, max(begin, asking.firsts.count))
            others = [record for record in self._opaque(part) if record not in firsts]
            if not others:
                asking.others.took(now=now, asked=0, processor=0.0, elapsed=0.0)
                self._cursor = _after(part[-1]) if part else None
        if not firsts and not others:
            self._arm(max(asking.due(are_many=self._are_many), now + _LEAST))
        return firsts, others, bool(firsts or others)

    @property
    def _are_many(self) -> bool:
        """Whether more wait than the first ones, of which time has asked."""
        return self.look_ahead is None and len(self._engine.machine.waiting) > self._asking.firsts.count

    def _opaque(self, keys: Iterable[Key]) -> Iterator[Record]:
        """Give those of them that wait for a plugin's condition, as far as is known."""
        records, replaces = self._engine.machine.records, self._engine.admission.keys.replaces
        for key in keys:
            record = records.get(key[1])
            if (
                record is not None
                and record.manager not in BUILT_IN_MANAGERS
                and (record.once is None or not replaces(record))
            ):
                yield record

    def _note_polled(self, visit: Visit) -> None:
        """Learn what asking cost, and be back in time where a condition said no."""
        now, asking = time.monotonic(), self._asking
        if visit.polls:
            self._note_cost(visit, now)
        elif visit.opaque:
            asking.rest(now)
        if visit.polls or visit.opaque or self._leaves_some(visit):
            self._arm(max(asking.due(are_many=self._are_many), now + _LEAST))

    def _leaves_some(self, visit: Visit) -> bool:
        """Tell whether some may never have been asked behind those that said no."""
        engine = self._engine
        return bool(visit.waiting) and len(engine.machine.waiting) > PATIENCE and not engine.managers.are_ours

    def _note_cost(self, visit: Visit, now: float) -> None:
        asking = self._asking
        asked, processor, elapsed = visit.took
        if asked or now >= asking.firsts.due:
            asking.firsts.took(now=now, asked=asked, processor=processor, elapsed=elapsed)
        if visit.sample:
            asked, processor, elapsed = visit.others_took
            asking.others.took(now=now, asked=asked, processor=processor, elapsed=elapsed)
            last = visit.sample[max(0, visit.sampled - 1)].place
            is_end = visit.sampled == len(visit.sample) and not self._engine.machine.waiting.head(1, self._next(last))
            self._cursor = None if is_end else _after(last)

    def _next(self, key: Key) -> int:
        return self._engine.machine.waiting.index(_after(key))

    def _arm(self, at: float) -> None:
        """Be called at that time, unless it is sooner already."""
        if self._poll_at is None or at < self._poll_at - _LEAST:
            self._poll_at = at
            self._engine.timers.at(at, lambda: self._poll(at))

    def _poll(self, at: float) -> None:
        if self._poll_at == at:  # else it was to be sooner, and was
            self._poll_at, self._poll_due = None, True

    def _records(self, keys: list[Any]) -> list[Record]:
        records = self._engine.machine.records
        return [records[key[1]] for key in keys if key[1] in records]

    def _refill(self) -> None:
        machine = self._engine.machine
        machine.unload(machine.waiting.spill())
        if not machine.waiting.wants_refill():
            return
        self._engine.admitting.load_records(machine.waiting.refill())


def _after(key: Key) -> Key:
    """Give what comes after a key and before all others that do."""
    return (*key[:2], key[2] + "\0")
