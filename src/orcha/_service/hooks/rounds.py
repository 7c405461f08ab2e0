"""Rounds of asking, as the service makes them: the core selects, and this reads the store and watches the clock."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from orcha._core.asking_round import Round
from orcha._core.selection import Selection
from orcha.interfaces.built_in import BUILT_IN_MANAGERS

if TYPE_CHECKING:
    from orcha._service.engine import Engine
    from orcha._service.hooks.visit import Visit


class Rounds:
    """Makes rounds, and has the engine make another one when time alone wants that; the engine thread's."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self.selection = Selection(
            engine.petitions,
            engine.admission,
            look_ahead=engine.settings.look_ahead,
            own=BUILT_IN_MANAGERS,
            are_all_own=engine.managers.are_ours,
        )
        self._armed_for: float | None = None

    @property
    def _are_stopped(self) -> bool:
        return self._engine.draining is not None or self._engine.paused

    @property
    def are_news(self) -> bool:
        """Whether the waiting petitions are to be asked, though they were asked before."""
        return self.selection.are_news and not self._are_stopped

    def next_round(self, *, converting: bool) -> Round:
        """Give whom to ask now; `converting` says that new ones come with them."""
        if self._are_stopped:
            self.selection.stand_still()
            return Round([], look_ahead=self.selection.look_ahead, version=self._engine.petitions.version)
        self._engine.stored.load(self.selection.make_ready())
        asked = self.selection.next_round(time.monotonic(), converting=converting)
        self._arm()
        return asked

    def note(self, visit: Visit) -> None:
        """Learn from a visit whose answers are settled."""
        self.selection.note(visit.round, time.monotonic(), firsts=visit.firsts_cost, others=visit.others_cost)
        self._arm()

    def hurry(self) -> None:
        """Have also those asked soon that are not among the first."""
        self.selection.hurry(time.monotonic())

    def _arm(self) -> None:
        """Have the engine wake when another round is due.

        A timer that is set already may come too early: it sets another one then, so that many rounds that are due one
        after the other, and made before that since something happened, have the engine wake once.
        """
        due = self.selection.due
        if due is not None and (self._armed_for is None or due < self._armed_for):
            self._armed_for = due
            self._engine.timers.at(due, partial(self._wake, due))

    def _wake(self, due: float) -> None:
        """See to the next timer: a round is made whenever the engine wakes."""
        if self._armed_for == due:
            self._armed_for = None
            self._arm()
