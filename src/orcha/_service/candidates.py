"""Which of those that wait are asked next whether they may start."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orcha._core.choose import PATIENCE, Answer
from orcha._service.loading import record_of

if TYPE_CHECKING:
    from orcha._core.record import Record
    from orcha._service.engine import Engine
    from orcha._service.visit import Visit

_YES = Answer.YES  # looked up once: an attribute of an enumeration costs ten times a global name

HEADS = 96
"""Waiting petitions handed over to be asked, at most."""
_BEYOND = PATIENCE + 8
"""Those handed over where none of the last ones could start."""
AFTER_A_START = 0.05
"""Seconds after which a start alone has blocked conditions asked again."""
SAMPLE = 64
"""Petitions beyond the first ones that one slice of sampling may ask."""
SAMPLE_EVERY = 0.4
"""Seconds between slices of sampling: 2 ms of each are half a percent of a core."""


class Candidates:
    """Gives the first of those that wait when there is news, and now and then a slice of the others."""

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
        self._sample_due = self._sample_armed = False
        self._cursor = 0

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
        self._engine.groups.resources.note()
        self.more = len(visit.waiting) >= self.heads and visit.noes < PATIENCE
        if visit.waiting:
            self.heads = min(HEADS, _BEYOND + 2 * sum(result.answer is _YES for result in visit.results))

    def take(self, *, converting: bool) -> tuple[list[Record], list[Record]]:
        """Give the first ones in order, or a sample of the others, to be asked now.

        `converting` says that new ones come with them.
        """
        machine = self._engine.machine
        if self._engine.draining is not None or self._engine.paused:
            return [], []
        self._engine.groups.look()
        if not machine.waiting:
            return [], []
        self._promote()
        waiting: list[Record] = []
        narrow = self.look_ahead is not None and converting  # who is new counts among the first so many
        if machine.version != self._asked_version or self.more or self._start_due or narrow:
            self._asked_starts, self._start_due = machine.starts, False
            waiting = self._records(machine.waiting.head(self.look_ahead or self.heads))
        elif machine.starts != self._asked_starts and not self._start_armed:
            self._start_armed = True
            self._engine.timers.at(time.monotonic() + AFTER_A_START, self._after_a_start)
        sample: list[Record] = []
        if self._sample_due and self.look_ahead is None:
            self._sample_due = False
            sample = self._records(machine.waiting.head(SAMPLE, max(self._cursor, PATIENCE)))
            self._cursor = 0 if len(sample) < SAMPLE else max(self._cursor, PATIENCE) + SAMPLE
        if len(machine.waiting) > PATIENCE and not self._sample_armed and self.look_ahead is None:
            self._sample_armed = True
            self._engine.timers.at(time.monotonic() + SAMPLE_EVERY, self._sample)
        return waiting, [] if waiting else sample

    def _after_a_start(self) -> None:
        self._start_armed, self._start_due = False, True

    def _sample(self) -> None:
        self._sample_armed, self._sample_due = False, True

    def _records(self, keys: list[Any]) -> list[Record]:
        records = self._engine.machine.records
        return [records[key[1]] for key in keys if key[1] in records]

    def _promote(self) -> None:
        machine = self._engine.machine
        machine.cool(machine.waiting.demote())
        if not machine.waiting.wants_promotion():
            return
        keys = machine.waiting.promote()
        for row in self._engine.store.rows([key[1] for key in keys]):
            machine.warm(record_of(row))
