"""Claims: what is kept of a waiting command beforehand, so that its start need not wait for a transaction.

A claim is the durable word that the next attempt of a waiting command may be executed from now on: a waiting row whose
slot is held. It decides nothing about who is next.
"""

from __future__ import annotations

from orcha._core.changes import CommandStep
from orcha._core.holding import Holding
from orcha._core.ledger import QUEUED
from orcha._core.record import Record
from orcha._core.state import State


class Claiming(Holding):
    """Claims of commands that wait."""

    def claim(self, record: Record) -> bool:
        """Claim the next attempt of a waiting command with the next transaction; False where there is none to claim."""
        busy = record.seq in self.owing or record.seq in self.changes.transitions
        if busy or not record.command or not self.waits(record):
            return False
        self._step(record, QUEUED, State.QUEUED, slot_held=True)
        return True

    def unclaim(self, record: Record) -> None:
        """Take a claim back, where the petition waits still; a start or an end ends it by itself."""
        if self.waits(record):
            self._step(record, QUEUED, State.QUEUED)

    # --- from the store -----------------------------------------------------------------------------------------

    def recover_claim(self, record: Record, *, begun: bool) -> None:
        """Take a stored petition that was claimed: as one that was starting where it may have `begun`, else waiting."""
        if not begun:
            self._step(record, QUEUED, State.QUEUED)
            return
        self._step(record, QUEUED, State.STARTING, begins=True)
        record.attempt += 1
        record.state = State.STARTING
        record.started = self.now
        self.changes.commands[record.seq] = CommandStep(record.seq, record.attempt)
