"""What people decide about petitions that wait: another priority, what is held back, and what runs again."""

from __future__ import annotations

from orcha._core.ending import Ending
from orcha._core.ledger import HELD
from orcha._core.record import Key, Phase, Record
from orcha._core.state import State

MOST_LOADED = 1_000
"""Petitions of a lot whose records stay in memory; of the others only the keys do."""


class Holding(Ending):
    """Changes of those that wait, decided from outside."""

    def waits(self, record: Record) -> bool:
        """Tell whether a petition waits to be started."""
        return record.state is State.QUEUED and record.phase is Phase.WAITING and self._is_live(record)

    def reprioritize(self, record: Record, priority: int | float) -> bool:  # noqa: PYI041 - an int stays one
        """Give a waiting petition another priority; False for one that does not wait."""
        if not self.waits(record):
            return False
        self.waiting.remove(record.place)
        self._unloading = [key for key in self._unloading if key[1] != record.seq]
        record.priority = priority
        record.why = None
        self.live[record.key] = record
        self.changes.priorities[record.seq] = priority
        self._enqueue(record)
        self.version += 1
        return True

    def release(self, record: Record) -> bool:
        """Have an interrupted petition that was held wait for its next attempt; False for one that is not held.

        Where the on_finish of its last attempt is owed still, it waits from that on.
        """
        if record.state is not State.HELD:
            return False
        self._step(record, HELD, State.QUEUED, hook_pending=record.seq in self.owing)
        record.state = State.QUEUED
        record.why = None
        if record.phase is Phase.WAITING:
            self._enqueue(record)
        self.version += 1
        return True

    def park(self, record: Record, lot: str) -> bool:
        """Have a waiting petition parked in a lot, and asked no more; False for one that does not wait."""
        if not self.waits(record) or self.waiting.is_parked(record.place):
            return False
        self.waiting.park(record.place, lot)
        if self.waiting.parked_in(lot) > MOST_LOADED:
            self._unloading.append(record.place)
        self.version += 1
        return True

    def unpark(self, lot: str, count: int) -> list[Key]:
        """Let the first `count` of a lot wait with the others again; give the keys whose records are to be loaded."""
        return self._put_back(self.waiting.unpark(lot, count))

    def unpark_these(self, keys: list[Key]) -> list[Key]:
        """Let these parked ones wait with the others again; give the keys whose records are to be loaded."""
        self.waiting.unpark_these(keys)
        return self._put_back(keys)

    def _put_back(self, keys: list[Key]) -> list[Key]:
        cold = []
        for key in keys:
            if not self.waiting.add(key):
                self._unloading.append(key)
            elif key[1] not in self.records:
                cold.append(key)
        if keys:
            self.version += 1
        return cold
