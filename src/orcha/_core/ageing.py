"""Which petitions gain priority while they wait, and when each gains the next: a group may have its petitions age.

A petition of such a group gains one priority, which is a number lower by one, for each `age` seconds since it was
accepted. Lower numbers come first. Until a group ages there is no `Ageing`, and nothing of this is done.
"""

from __future__ import annotations

import heapq
import math
import sys
from typing import TYPE_CHECKING

from orcha._core.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.record import Key, Record

_AT_ONCE = -math.inf
"""Due time of petitions whose group ages otherwise, or not at all, since a moment."""
_WAITING_STATES = (State.QUEUED, State.HELD)
MIN_COMPACTED_COUNT = 1_000
"""Due times that are kept before the due times of petitions that wait no more are looked for."""


class Aged:
    """What is known of one petition that gains priority while it waits; changed in place, since it gains often."""

    __slots__ = ("due", "group", "key", "since", "steps")

    def __init__(self, key: str, group: str, since: float, due: float) -> None:
        """Have gained nothing since a wall-clock time; the time at which it gains next is `due`."""
        self.key = key
        self.group = group
        self.since = since
        self.due = due
        self.steps = 0
        """How often it has gained."""


class Ageing:
    """The petitions that gain priority while they wait; the engine's.

    >>> ageing = Ageing({"slow": 60.0}, live := {})
    >>> ageing.know(1, "one", "slow", since=0.0)
    >>> ageing.due, ageing.take_due(59.0)
    (60.0, None)
    >>> seq, known = ageing.take_due(125.0)
    >>> ageing.note_steps(seq, known, 125.0), ageing.due
    (2, 180.0)
    """

    def __init__(self, ages: Mapping[str, float], live: Mapping[str, Record | Key]) -> None:
        """Know no petition.

        Args:
            ages: the seconds in which a petition gains one priority, for each group that ages.
            live: the live petitions by str(id), as `Petitions.live` has them.

        """
        self.ages = ages
        self._live = live
        self._known: dict[int, Aged] = {}
        self._due: list[float] = []
        """Due times; a heap."""
        self._at: dict[float, list[int]] = {}
        """The petitions that are due at each of these times, by sequence; where `_known` differs, it counts."""
        self._taken: list[int] = []
        """The petitions whose time is taken from the heap, the last one first."""
        self._taken_due = 0.0
        self._due_count = 0
        self._most_due = MIN_COMPACTED_COUNT
        self.most_heads = sys.maxsize
        """How many of the first waiting petitions a round looks at, at most, once a round was made."""
        self.sooner: Callable[[], None] = lambda: None
        """Called when the next due time is earlier than it was."""

    @property
    def due(self) -> float | None:
        """The wall-clock time at which to look for what is due; None where nothing is."""
        if self._taken:
            return self._taken_due
        return self._due[0] if self._due else None

    def knows(self, seq: int) -> bool:
        """Tell whether a petition gains priority."""
        return seq in self._known

    def know(self, seq: int, key: str, group: str, since: float) -> None:
        """Have a petition of a group that ages gain priority; what it gained before it gets at its first due time."""
        if self._due_count >= self._most_due:
            self._compact()
        known = self._known[seq] = Aged(key, group, since, since + self.ages[group])
        self._note(seq, known.due)

    def enter(self, record: Record) -> tuple[int | float, int | float | None]:
        """Note that a petition waits from now on; give its priority, and its priority without age if that differs."""
        return self.gained(record, record.priority if record.unaged is None else record.unaged)

    def gained(self, record: Record, given: int | float) -> tuple[int | float, int | float | None]:  # noqa: PYI041 - an int stays one
        """Give the same of a petition that is given this priority."""
        known = self._known.get(record.seq)
        # After a restart the record of a petition does not name its group until the petition is made again.
        group = known.group if known is not None and record.petition is None else record.group
        if group is None or group not in self.ages:
            self._known.pop(record.seq, None)
            return given, None
        if known is None or known.group != group:
            self.know(record.seq, record.key, group, record.starts_after)
            return given, None
        return (given - known.steps, given) if known.steps else (given, None)

    def change(self, ages: Mapping[str, float]) -> None:
        """Have groups age otherwise from now on, over the whole time that their petitions have waited."""
        changed = {group for group in {*ages, *self.ages} if ages.get(group) != self.ages.get(group)}
        self.ages = ages
        for known in self._known.values():
            if known.group in changed:
                known.due = _AT_ONCE
        self._compact()

    def take_due(self, wall: float) -> tuple[int, Aged] | None:
        """Take out a petition that is due; None where none is."""
        while self._taken or (self._due and self._due[0] <= wall):
            if not self._taken:
                self._taken_due = heapq.heappop(self._due)
                # In the order of the queue: a petition passes none that has gained just before it.
                self._taken = sorted(self._at.pop(self._taken_due), reverse=True)
            elif self._taken_due > wall:
                break
            seq = self._taken.pop()
            self._due_count -= 1
            known = self._known.get(seq)
            if known is not None and known.due == self._taken_due:
                return seq, known
        return None

    def note_steps(self, seq: int, known: Aged, wall: float) -> int:
        """Note that a petition which was due has gained; give how often it has gained by now.

        A clock that is set back takes nothing away.
        """
        age = self.ages.get(known.group)
        if age is None:
            del self._known[seq]
            return 0
        steps = max(0, int((wall - known.since) // age))
        if known.due != _AT_ONCE:
            steps = max(steps, known.steps + 1)  # whatever the rounding of floats says
        known.steps, known.due = steps, known.since + age * (steps + 1)
        self._note(seq, known.due)
        return steps

    def drop(self, seq: int) -> None:
        """Know of a petition no more that does not wait."""
        del self._known[seq]

    def waits(self, seq: int, known: Aged) -> bool:
        """Tell whether a petition waits still, for whatever it is."""
        there = self._live.get(known.key)
        if there is None or isinstance(there, tuple):
            return there is not None and there[1] == seq
        return there.seq == seq and there.state in _WAITING_STATES

    def _note(self, seq: int, due: float) -> None:
        self._due_count += 1
        there = self._at.get(due)
        if there is not None:
            there.append(seq)
            return
        self._at[due] = [seq]
        heapq.heappush(self._due, due)
        if self._due[0] == due:
            self.sooner()

    def _compact(self) -> None:
        """Forget petitions that wait no more, of which there may be many: most wait for less than a step."""
        self._known = {seq: known for seq, known in self._known.items() if self.waits(seq, known)}
        self._at, self._taken = {}, []
        for seq, known in self._known.items():
            self._at.setdefault(known.due, []).append(seq)
        self._due = list(self._at)
        heapq.heapify(self._due)
        self._due_count = len(self._known)
        self._most_due = MIN_COMPACTED_COUNT + 2 * self._due_count


__all__ = ["Aged", "Ageing"]
