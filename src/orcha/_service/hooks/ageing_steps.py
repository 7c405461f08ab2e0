"""The service's side of ageing: the clock, and what is kept of petitions whose records are not in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.record import Phase, Record
from orcha._core.state import State
from orcha._service.clock_looks import ClockLooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.resources import Resources
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._service.mailbox import Mailbox
    from orcha._service.timers import Timers
    from orcha._store.contract import Store

MAX_STEPS_PER_BATCH = 200
"""Petitions that gain priority in one batch, at most: others are not to wait for more."""
MAX_LOOKED_UP_PETITIONS = 500
"""Petitions that are looked up in the store in one batch, at most."""


class AgeingSteps:
    """Has waiting petitions of groups that age gain priority in time; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        resources: Resources,
        stored: StoredPetitions,
        store: Store,
        timers: Timers,
        mailbox: Mailbox,
        is_array: Callable[[int], bool],
    ) -> None:
        """Prepare; `is_array` tells by its sequence number whether a petition is an array, which has no place."""
        self._petitions = petitions
        self._resources = resources
        self._stored = stored
        self._store = store
        self._mailbox = mailbox
        self._is_array = is_array
        self._looks = ClockLooks(timers, self._look)
        self._unknown: list[tuple[str, int]] = []
        """Petitions that may have gained priority, and are to be looked at."""

    def recover(self) -> None:
        """Have all petitions that wait since an earlier start of the service have what they have gained."""
        self.note_ages()
        while self._unknown:
            self._look_up()
        ageing = self._petitions.ageing
        while ageing is not None and ageing.due is not None and ageing.due <= self._petitions.now.wall:
            self._step()

    def note_ages(self) -> None:
        """Have the petitions that wait gain priority as the rules of groups say by now."""
        ageing = self._petitions.ageing
        if ageing is None:
            return
        ageing.sooner = self._arm
        self._unknown = [] if not ageing.ages else list(self._waiting())
        if self._unknown:
            self._mailbox.post(self._look_up_rest)
        self._arm()

    def _waiting(self) -> list[tuple[str, int]]:
        found = []
        for key, there in self._petitions.live.items():
            if isinstance(there, tuple):
                found.append((key, there[1]))
            elif there.state in {State.QUEUED, State.HELD} and there.phase is not Phase.CONVERTING:
                found.append((key, there.seq))
        return found

    def _look_up_rest(self) -> None:
        self._look_up()
        if self._unknown:
            self._mailbox.post(self._look_up_rest)

    def _look_up(self) -> None:
        """Find out of some petitions whether they gain priority, and since when."""
        ageing = self._petitions.ageing
        part = self._unknown[-MAX_LOOKED_UP_PETITIONS:]
        del self._unknown[-MAX_LOOKED_UP_PETITIONS:]
        if ageing is None:
            return
        stored = {}
        for key, seq in part:
            there = self._petitions.live.get(key)
            if there is None or ageing.knows(seq) or self._is_array(seq):
                continue
            if isinstance(there, Record) and there.petition is not None:
                if there.seq == seq and there.group is not None and there.group in ageing.ages:
                    ageing.know(seq, key, there.group, there.starts_after)
            else:
                stored[seq] = key
        groups = self._store.groups(list(stored))
        ages = [seq for seq in stored if groups.get(seq) in ageing.ages]
        attempts = self._store.attempts(ages)
        for row in self._store.rows(ages):
            kept = attempts.get(row.seq)
            asked_for = None if kept is None or row.attempt else kept.due
            ageing.know(row.seq, stored[row.seq], groups[row.seq], max(row.submitted, asked_for or row.submitted))

    def _arm(self) -> None:
        ageing = self._petitions.ageing
        if ageing is not None and ageing.due is not None:
            self._looks.ask_for(ageing.due)

    def _step(self) -> None:
        petitions = self._petitions
        self._stored.load(transitions.age.step(petitions, self._resources, petitions.now, MAX_STEPS_PER_BATCH))

    def _look(self) -> None:
        self._step()
        self._arm()


__all__ = ["AgeingSteps"]
