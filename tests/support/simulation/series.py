"""What holds of arrays and schedules in a simulated service, by what is kept of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orcha._core.array_items import spec_of
from orcha._core.schedules import CLOCK_SET_BACK_SECONDS, Timetable
from orcha._core.state import Missed, Outcome, State
from orcha.utils.zones import zone_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.array_items import Spec
    from orcha._core.changes import Changes, NewFiring, Schedule
    from orcha._store.contract import Row
    from support.simulation.store import SimulatedStore
    from support.simulation.virtual_time import VirtualTime

RUNS = (State.STARTING, State.RUNNING, State.CANCELLING)


_NO_FAILURES = (None, Outcome.SUCCEEDED, Outcome.CANCELLED)


class Series:
    """The arrays and schedules of a story, and which petitions came of them."""

    def __init__(self, store: SimulatedStore, time: VirtualTime, survived: set[int]) -> None:
        """Look at what is kept, at the clock, and at the petitions that left something which could not be killed."""
        self._store = store
        self._survived = survived
        self._time = time
        self._specs: dict[int, Spec] = {}
        self._stopped: set[int] = set()
        self._elements: dict[int, tuple[int, int]] = {}
        """The array and the position of each element that was a petition, by sequence."""
        self._failed: Counter[int] = Counter()
        self._schedules: dict[str, Schedule] = {}
        self._fired: dict[str, set[float]] = {}
        self._fired_by: dict[int, tuple[str, float]] = {}
        """The schedule of each petition that came of one, and when that was made, by sequence."""

    @property
    def _rows(self) -> dict[int, Row]:
        return self._store.rows_by_seq  # another one after a loss of power

    def kept(self, changes: Changes) -> None:
        """Hold what is to be so of a transaction."""
        self._specs |= {seq: spec_of(new.spec) for seq, new in changes.arrays.items() if seq in self._rows}
        for seq, element in changes.elements.items():
            if seq in self._rows:
                self._take_element(seq, *element)
        self._stopped -= changes.arrays.keys()  # a sequence is used again where its petition was not kept
        self._stopped |= changes.array_stops.keys() & self._rows.keys()
        for seq in changes.transitions.keys() & self._specs.keys():
            self._hold_of_end(seq)
        self._keep_schedules(changes)

    def _keep_schedules(self, changes: Changes) -> None:
        for name, schedule in changes.schedules.items():
            if schedule is None:
                self._schedules.pop(name, None)
                self._fired.pop(name, None)
            else:
                self._schedules[name] = schedule
        for firing in changes.firings:
            if firing.schedule in self._schedules:
                self._take_firing(firing)

    # --- arrays -------------------------------------------------------------------------------------------------

    def _take_element(self, seq: int, array: int, position: int) -> None:
        new = self._rows[seq]
        assert array not in self._stopped or new.state is State.ENDED, f"{new.id} is new, and its array was stopped"
        self._elements[seq] = array, position
        known = self._elements_of(array)
        same = [row for row in known if self._elements[row.seq][1] == position and row.seq != seq]
        for row in same:
            assert row.outcome not in {None, Outcome.SUCCEEDED}, f"{new.id} is new, and is {row.seq}, too"
        at_most = self._specs[array].bounds.at_most
        live = sum(row.state is not State.ENDED for row in known)
        assert at_most is None or live <= at_most, f"{live} elements of array {array} are petitions"

    def _hold_of_end(self, array: int) -> None:
        """Hold that an array ends after its elements."""
        its = self._rows[array]
        for row in self._elements_of(array) if its.state is State.ENDED else ():
            assert row.state is State.ENDED or its.outcome is Outcome.CANCELLED, f"{its.id} has ended, {row.id} has not"

    def _elements_of(self, array: int) -> list[Row]:
        return [self._rows[seq] for seq, of in self._elements.items() if of[0] == array and seq in self._rows]

    def note_failures(self) -> None:
        """Count what failed by now: after the transaction, since a start may be kept with a failure."""
        for array, spec in self._specs.items():
            if spec.bounds.max_fails is not None:
                ended = [row for row in self._elements_of(array) if row.state is State.ENDED]
                failed = sum(row.outcome not in _NO_FAILURES for row in ended)
                self._failed[array] = max(failed, self._failed[array])

    # --- schedules ----------------------------------------------------------------------------------------------

    def _take_firing(self, firing: NewFiring) -> None:
        schedule = self._schedules[firing.schedule]
        fired = self._fired.setdefault(firing.schedule, set())
        assert firing.instant not in fired, f"{firing.schedule} is fired twice at {firing.instant}"
        fired.add(firing.instant)
        if firing.petition is not None:
            assert firing.petition in self._rows, f"{firing} is kept without its petition"
            self._fired_by[firing.petition] = firing.schedule, schedule.made
        if firing.fired_until is None:
            return
        timetable = Timetable(schedule.expression, zone_of(schedule.zone))
        is_set_back = schedule.fired_until - self._time.lowest > CLOCK_SET_BACK_SECONDS - 1
        if schedule.missed is Missed.ALL and not is_set_back:
            earlier = fired - {firing.instant}  # before the clock was set back
            due = next(instant for instant in timetable.after(schedule.fired_until) if instant not in earlier)
            assert firing.instant <= due, f"{firing.schedule} passes over {due}, and fires at {firing.instant}"
        self._schedules[firing.schedule] = schedule._replace(fired_until=firing.fired_until)

    def hold_of_start(self, row: Row, is_ahead: Callable[[int], bool]) -> None:
        """Hold that two firings of a schedule never run at once, and that a failed array starts no more.

        Where a start is kept ahead, the row says that the petition runs, and it waits. A schedule that is made anew
        under a name that was free again does not wait for the petitions of the earlier one.
        """
        array, _ = self._elements.get(row.seq, (0, 0))
        if array and row.attempt == 1 and (most := self._specs[array].bounds.max_fails) is not None:
            assert self._failed[array] < most, f"{row.id} starts after {self._failed[array]} others failed"
        schedule = self._fired_by.get(row.seq)
        if schedule is None:
            return
        others = [self._rows[seq] for seq, of in self._fired_by.items() if of == schedule and seq != row.seq]
        for other in others:
            runs = other.state in RUNS and not is_ahead(other.seq)
            runs = runs or (other.slot_held and other.seq not in self._survived)
            assert not runs, f"{row.id} starts while {other.id} is {other.state.name}"
