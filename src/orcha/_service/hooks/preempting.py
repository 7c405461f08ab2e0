"""Has commands give their place to more urgent petitions, and come back: what the core chose is done and told here."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.admission import petition_name
from orcha._core.petitions import PREEMPTED
from orcha._core.preempted import PAUSE, Preempted
from orcha._core.preemption import Preemption
from orcha._core.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.admission import Admission
    from orcha._core.petitions import Petitions
    from orcha._core.preemption import Displaced
    from orcha._core.record import Record
    from orcha._service.execution.command_output import CommandsOutput
    from orcha._service.execution.shims import Shims
    from orcha._service.execution.standard_input import StandardInput
    from orcha._store.contract import Store

REQUEUED_LINE = "orcha: {} is more urgent and takes its place: it is ended, and runs anew when its turn comes\n"
PAUSED_LINE = "orcha: {} is more urgent and takes its place: it stands still until that is free again\n"
GOES_ON_LINE = "orcha: it has its place again, and goes on\n"


class Preempting:
    """Looks who gives a place, and who gets it back; the engine thread's."""

    def __init__(
        self,
        petitions: Petitions,
        admission: Admission,
        store: Store,
        shims: Shims,
        output: CommandsOutput,
        standard_input: StandardInput,
    ) -> None:
        """Prepare.

        Args:
            petitions: what waits and runs.
            admission: what keeps petitions from starting.
            store: has what is kept of preempted petitions.
            shims: stop processes, and let them go on.
            output: gets lines for people.
            standard_input: knows whether another attempt would get what this one got.

        """
        self._petitions = petitions
        self._admission = admission
        self._store = store
        self._shims = shims
        self._output = output
        self._standard_input = standard_input
        self.is_silent: Callable[[int], bool] = lambda _: False
        """Tells whether what watches over the command of a petition does not answer, by sequence."""
        self.is_apart: Callable[[int], bool] = lambda _: False
        """Tells whether what watches over the command takes no orders, by sequence: nothing can stop its processes."""
        self._preemption = Preemption(petitions, admission, self._may_give)

    def _may_give(self, record: Record) -> bool:
        if self.is_silent(record.seq) or self.is_apart(record.seq):
            return False
        return record.preemptible == PAUSE or self._standard_input.may_be_given_again(record)

    def look(self, *, may_start: bool) -> None:
        """Have commands come back whose place is free, and have others give theirs where a petition may start."""
        petitions = self._petitions
        if petitions.lent:
            for record in self._preemption.coming_back():
                transitions.preempt.come_back(petitions, record)
                if record.state is not State.ENDED:  # else its channel is closed: it holds the place for what lives on
                    self._output.say(record, GOES_ON_LINE)
        if may_start and petitions.preemptible:
            for record, by in self._readable(self._preemption.chosen()):
                transitions.preempt.give_way(petitions, record, by.key, petitions.now)
                is_paused = petitions.preempted[record.seq].how == PAUSE
                self._output.say(record, (PAUSED_LINE if is_paused else REQUEUED_LINE).format(by.key))

    def _readable(self, chosen: list[Displaced]) -> list[Displaced]:
        """Leave out the petitions that would get a command's place whose input turns out to be damaged."""
        damaged = {
            by.seq
            for record, by in chosen
            if record.preemptible != PAUSE and self._standard_input.why_not_again(record) is not None
        }
        if damaged:
            self._petitions.note_change()  # others may be chosen now
        return [each for each in chosen if each.by.seq not in damaged]

    # --- effects --------------------------------------------------------------------------------------------------

    def stand_still(self, record: Record, _: object = None) -> None:
        """Have the processes of a command stopped: others have its place when its shim says that this was done."""
        mark = self._petitions.preempted.get(record.seq)
        if mark is None or mark.how != PAUSE or record.state is not State.RUNNING:
            return
        self._shims.reach().stop(record.seq, record.attempt)

    def has_stopped(self, record: Record) -> None:
        """Let others have the place of a command whose processes have been stopped."""
        transitions.preempt.stands_still(self._petitions, record)

    def go_on(self, record: Record, _: object = None) -> None:
        """Let the processes of a command go on, unless people paused it."""
        if petition_name(record.seq) not in self._admission.paused:
            self._shims.reach().signal(record.seq, record.attempt, signal.SIGCONT)

    # --- over restarts --------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take what is kept of preempted petitions; forget what is kept of petitions that have ended."""
        kept = {int(seq): Preempted.of(text) for seq, text in self._store.decided(PREEMPTED).items()}
        if not kept:
            return
        live = {row.seq for row in self._store.rows(list(kept)) if row.state is not State.ENDED}
        transitions.preempt.load(self._petitions, kept)
        for seq in kept.keys() - live:
            self._petitions.forget_preempted(seq)

    def adopted(self, record: Record) -> None:
        """Note that a command of an earlier start goes on: it stands still, or may be preempted.

        The service may have died before it told the command to go on. A command that takes no orders keeps its place.
        """
        transitions.preempt.adopted(self._petitions, record)
        mark = self._petitions.preempted.get(record.seq)
        if self.is_apart(record.seq):
            if mark is not None and mark.how == PAUSE:
                self._petitions.forget_preempted(record.seq)
        elif mark is not None and mark.how == PAUSE:
            self.stand_still(record)
        elif record.preemptible == PAUSE and record.state is State.RUNNING:
            self.go_on(record)


__all__ = ["Preempting"]
