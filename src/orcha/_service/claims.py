"""Claims: where commands are over in no time, the next one starts without waiting for the disk.

Before a command is executed, it has to be durable that it may have been; so a start waits for its transaction, and in
its slot nothing runs meanwhile. Where commands end as soon as they have begun, the first of those that wait are claimed
with a transaction that is made anyway. Who is next is decided as ever, by priority and condition, when a slot is free;
one that was claimed is then handed to its shim at once, and the transaction that says so follows.

After a power cut nobody knows of a claimed command whether it was executed. So a claim of which nothing came is taken
back in a moment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.effects import Do
from orcha._service import faults
from orcha._service.managers import COMMAND_MANAGER

if TYPE_CHECKING:
    from orcha._core.changes import Changes
    from orcha._core.effects import Effect
    from orcha._core.record import Record
    from orcha._service.engine import Engine

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ON_FINISH, _ON_START = Do.ON_FINISH, Do.ON_START

SHORT = 0.05
"""Seconds: others are claimed where a command ran no longer."""
GATHERED = 6
"""Ends that one transaction waits for: each holds its shim until then."""
GATHERS = 0.005
"""Seconds after the first of them for which it waits at most: output that came meanwhile waits with it."""
MOST = 16
"""Commands that are claimed at once."""
HOLDS = 0.25
"""Seconds after which a claim is taken back."""


class _Claim(NamedTuple):
    """One that is kept."""

    key: str
    attempt: int
    until: float
    """Of the monotonic clock."""


class Claims:
    """The claims of one engine; its thread's."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine; nothing is claimed."""
        self._engine = engine
        self._ends = 0
        """Of short commands since the last transaction."""
        self._until = 0.0
        """Until when others may join them, of the monotonic clock."""
        self._new: list[Record] = []
        self._kept: dict[int, _Claim] = {}
        self._armed = False

    @property
    def are_kept(self) -> bool:
        """Whether any command is claimed."""
        return bool(self._kept)

    def note_end(self, seconds: float) -> None:
        """Note how long a command ran: those that run now may be over as soon."""
        if seconds <= SHORT:
            if not self._ends:
                self._until = time.monotonic() + GATHERS
            self._ends += 1

    def gather(self) -> bool:
        """Have what was claimed started now; tell whether the transaction may wait for the ends of others.

        It may where nothing waits for it but who follows those that have ended.
        """
        if not self._ends or not self._kept:
            return False
        engine = self._engine
        effects = engine.machine.effects = self.begin(engine.machine.effects)
        waits = bool(engine.turns.inbox) or any(effect.do is not _ON_FINISH for effect in effects)
        may_wait = bool(self._kept) and not waits and time.monotonic() < self._until
        return may_wait and self._ends < self._gathered()

    def _gathered(self) -> int:
        return min(3 * self._running(), GATHERED)

    def _running(self) -> int:
        return len(self._engine.granted.of(COMMAND_MANAGER))

    def add(self) -> None:
        """Claim the first of those that wait, some more than run, with the transaction that is about to be made."""
        if not self._ends:
            return
        self._ends = 0
        engine, machine = self._engine, self._engine.machine
        is_wanted = engine.settings.claims and engine.settings.durable and not engine.channels.scarce
        if not is_wanted or engine.draining is not None or engine.paused or not machine.waiting:
            return
        for _, seq, _ in machine.waiting.head(min(2 * max(self._running(), self._gathered()), MOST)):
            record = machine.records.get(seq)
            if record is None or record.manager != COMMAND_MANAGER or seq in self._kept:
                continue
            if machine.claim(record):
                self._new.append(record)

    def begin(self, effects: list[Effect]) -> list[Effect]:
        """Have what was claimed started now; give the effects that wait for the transaction."""
        if not self._kept or faults.HOLD is not None:
            return effects
        begun, left = [], []
        for effect in effects:
            if effect.do is _ON_START and self._is_kept(effect.record):
                begun.append(effect.record)
            else:
                left.append(effect)
        if begun:
            self._engine.visits.start_at_once(begun)
        return left

    def _is_kept(self, record: Record) -> bool:
        """Tell whether the attempt that begins was claimed: it is no more."""
        claim = self._kept.pop(record.seq, None)
        return claim is not None and claim.attempt == record.attempt

    def note_kept(self, changes: Changes) -> None:
        """Note which of the new ones a transaction has kept."""
        if not self._new:
            return
        until = time.monotonic() + HOLDS
        for record in self._new:
            step = changes.transitions.get(record.seq)
            if step is not None and step.slot_held:
                self._kept[record.seq] = _Claim(record.key, step.attempt + 1, until)
        self._new = []
        self._arm(until)

    def take_back(self, now: float = float("inf")) -> None:
        """Take back those whose time is over by `now`, all of them by default."""
        for seq, claim in list(self._kept.items()):
            if claim.until <= now:
                del self._kept[seq]
                record = self._engine.find(claim.key)
                if record is not None and record.seq == seq:
                    self._engine.machine.unclaim(record)

    def _arm(self, due: float) -> None:
        if self._kept and not self._armed:
            self._armed = True
            self._engine.timers.at(due, self._look)

    def _look(self) -> None:
        self._armed = False
        self.take_back(time.monotonic())
        self._arm(min((claim.until for claim in self._kept.values()), default=0.0))
