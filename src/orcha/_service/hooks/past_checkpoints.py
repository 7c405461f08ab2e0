"""The service's side of what owners used before: it is kept now and then, and decays while the service is away."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from orcha._core.past_use import PastUse, passed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.past_use import Seconds
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.timers import Timers
    from orcha._store.contract import Store

CHECKPOINT_SECONDS = 60.0
"""Seconds between two times at which what was used is kept: a crash loses no more than what ended within them."""
MIN_KEPT_SECONDS = 0.001
"""Unit seconds beyond the decay that are worth a row; less is the error of reckoning with two clocks."""
_KIND = "used before"
"""Kind of what is kept of the use of an owner."""


class PastCheckpoints:
    """Keeps what each owner has used, where that counts (`serve --fair past`); the engine thread's."""

    def __init__(self, petitions: Petitions, store: Store, timers: Timers) -> None:
        """Prepare; nothing is counted before `weigh`."""
        self._petitions = petitions
        self._store = store
        self._timers = timers
        self.half_life: float | None = None
        """Seconds after which what was used counts half; None where what was used counts nothing."""
        self._kept: dict[str, tuple[float, Seconds]] = {}
        """What is kept of each owner: the time on the wall, and what had been used at that time."""
        self._turn = 0
        """Rises with each change of the half-life: a timer of an earlier turn does nothing."""

    def weigh(self, half_life: float | None) -> None:
        """Have what was used before count with this half-life; None has it count nothing, and what is kept stays."""
        if half_life == self.half_life:
            return
        self.checkpoint()
        self.half_life = half_life
        self._turn += 1
        petitions = self._petitions
        if half_life is None:
            petitions.weigh_past(None)
            return
        now = petitions.now
        self._kept = dict(self._read())
        kept = {owner: passed(used, (), half_life, now.wall - wall) for owner, (wall, used) in self._kept.items()}
        petitions.weigh_past(PastUse(half_life, lambda: petitions.now.steady, kept, now.steady))
        self._arm()

    def _read(self) -> Iterable[tuple[str, tuple[float, Seconds]]]:
        for owner, text in self._store.decided(_KIND).items():
            known = json.loads(text)
            yield owner, (known["at"], known["used"])

    def found(self, records: Iterable[Record]) -> None:
        """Count what commands that live on have used while the service was away, since they began or were counted."""
        fairness, now = self._petitions.fairness, self._petitions.now.wall
        if self.half_life is None or fairness is None:
            return
        for record in records:
            if record.started is not None and self._petitions.granted.has(record.seq):
                counted, _ = self._kept.get(record.owner, (record.started, {}))
                fairness.add_past(record.owner, record.needs, max(0.0, now - max(counted, record.started)))

    def checkpoint(self) -> None:
        """Keep what each owner has used until now, with the next transaction."""
        if self.half_life is None or self._petitions.fairness is None:
            return
        wall = self._petitions.now.wall
        used_by_owner = self._petitions.granted.used_before()
        for owner in self._kept.keys() - used_by_owner.keys():
            self._petitions.keep_decided(_KIND, owner, None)
            del self._kept[owner]
        for owner, used in used_by_owner.items():
            if owner not in self._kept or self._has_used(owner, used, wall):
                self._kept[owner] = wall, used
                self._petitions.keep_decided(_KIND, owner, json.dumps({"at": wall, "used": used}))

    def _has_used(self, owner: str, used: Seconds, wall: float) -> bool:
        """Tell whether an owner has used anything since that was kept; else it has only decayed, which needs no row."""
        assert self.half_life is not None
        before, kept = self._kept[owner]
        decayed = passed(kept, (), self.half_life, wall - before)
        return any(seconds - decayed.get(name, 0.0) > MIN_KEPT_SECONDS for name, seconds in used.items())

    def _arm(self) -> None:
        turn = self._turn
        self._timers.at(time.monotonic() + CHECKPOINT_SECONDS, lambda: self._due(turn))

    def _due(self, turn: int) -> None:
        if turn == self._turn:
            self.checkpoint()
            self._arm()


__all__ = ["PastCheckpoints"]
