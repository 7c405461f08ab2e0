"""Resources: what the service has of each, and who waits for how much.

A petition that waits for a resource is put on that resource's shelf: it costs nothing until it can go. Those that come
later may not take what it waits for, so that a large one is never starved by small ones.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from orcha._core import needs as core
from orcha._core.lines import Lines, Waiter
from orcha._core.reasons import BehindAnother, NeedsShort, NeverEnough
from orcha._core.record import Phase, Record
from orcha._core.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orcha._core.reasons import Reason
    from orcha._core.record import Key
    from orcha._service.engine import Engine

_SHELF = "resource:"


def resource_name(resource: str) -> str:
    """Give the name of a resource's shelf."""
    return f"{_SHELF}{resource}"


class Resources:
    """What is there, and the lines for it. The hook thread asks `why_not`; the rest is the engine thread's."""

    def __init__(self, engine: Engine, is_paused: Callable[[int, str | None], bool]) -> None:
        """Belong to an engine; `is_paused` tells of a sequence and a group whether people hold it back."""
        self._engine = engine
        self._capacities: Mapping[str, int] = engine.settings.resources
        self._is_paused = is_paused
        self._lock = threading.Lock()
        self._lines = Lines(self._waits)
        self._paused: list[Key] = []
        self._went = False

    # --- may it start? ------------------------------------------------------------------------------------------

    def refusal(self, needs: Mapping[str, int]) -> NeverEnough | None:
        """Tell why nothing that needs this can ever start, if that is so."""
        name = core.beyond(needs, self._capacities)
        return None if name is None else NeverEnough(name, needs[name], self._capacities.get(name, 0))

    def why_not(self, record: Record, needs: Mapping[str, int]) -> Reason | None:
        """Tell for what a petition that may start otherwise has to wait; if it has to, it is in line from now on."""
        never = self.refusal(needs)
        with self._lock:
            if never is not None:  # nobody has to wait behind what never goes
                self._lines.enter(record.place, needs, record.group, (), never.resource)
                return never
            names = self._lacking(record.place, needs)
            if names:
                self._lines.enter(record.place, needs, record.group, names, names[0])
                return self._reason(needs, names[0])
            self._went |= self._lines.leave(record.seq)
        return None

    def held_by(self, seq: int) -> Reason | None:
        """Tell for what a petition waits now, where it waits for a resource."""
        with self._lock:
            waiter = self._lines.waiters.get(seq)
            if waiter is None or not self._waits(waiter):
                return None
            never = self.refusal(waiter.needs)
            if never is not None:
                return never
            names = self._lacking(waiter.place, waiter.needs)
            return self._reason(waiter.needs, names[0]) if names else None

    @staticmethod
    def is_shelf(name: str | None) -> bool:
        """Tell whether a shelf is a resource's."""
        return name is not None and name.startswith(_SHELF)

    def before(self, seq: int) -> int | None:
        """Tell how many one that waits for a resource has before it in that line; None where it waits for none."""
        with self._lock:
            waiter = self._lines.waiters.get(seq)
            if waiter is None or not self._stands(waiter) or core.beyond(waiter.needs, self._capacities) is not None:
                return None
            names = self._lacking(waiter.place, waiter.needs)
            return self._lines.before(waiter.place, names[0], self._stands) if names else None

    def _lacking(self, place: Key, needs: Mapping[str, int], taken: Mapping[str, int] | None = None) -> list[str]:
        """Name what one has to wait for, where so much is taken beside what is held."""
        firsts = {}
        for name in needs:
            first = self._lines.first(name)
            firsts[name] = None if first is None else first.place
        free = {name: self._free(name) - (taken or {}).get(name, 0) for name in needs}
        return core.lacking(needs, free, firsts, place)

    def _free(self, name: str) -> int:
        return self._capacities[name] - self._engine.granted.held(name)

    def _reason(self, needs: Mapping[str, int], name: str) -> NeedsShort | BehindAnother:
        free = max(0, self._free(name))  # more is held where there was more before a restart
        kind = NeedsShort if free < needs[name] else BehindAnother
        return kind(name, needs[name], free, self._capacities[name])

    def _waits(self, waiter: Waiter) -> bool:
        """Tell whether one waits still, for resources and not for people; called with the lock."""
        if not self._is_there(waiter):
            return False
        if self._is_paused(waiter.place[1], waiter.group):
            self._paused.append(waiter.place)
            return False
        return True

    def _stands(self, waiter: Waiter) -> bool:
        """Tell the same of one that is only counted."""
        return self._is_there(waiter) and not self._is_paused(waiter.place[1], waiter.group)

    def _is_there(self, waiter: Waiter) -> bool:
        known = self._engine.machine.live.get(waiter.place[2])
        if isinstance(known, Record):
            waits = known.state is State.QUEUED and known.phase in {Phase.CONVERTING, Phase.WAITING}
            known = known.place if waits else None
        return known == waiter.place

    # --- shelves ------------------------------------------------------------------------------------------------

    def after_no(self, record: Record) -> None:
        """Put a petition that waits for a resource onto the shelf of that."""
        machine = self._engine.machine
        with self._lock:
            waiter = self._lines.waiters.get(record.seq)
            if waiter is not None and machine.waiting.is_parked(record.place):  # for its group, or by people
                self._lines.leave(record.seq)
                waiter = None
        if waiter is not None and not waiter.asked:
            machine.park(record, resource_name(waiter.at))

    def note(self) -> None:
        """Have those behind looked at, where one has left its line."""
        if self._went:
            self._went = False
            self._engine.machine.version += 1

    def look(self) -> list[Key]:
        """Let those at the heads of the lines wait with the others again where they go now; called often.

        Given are the keys of those whose records are to be loaded.
        """
        machine = self._engine.machine
        if not (self._lines.waiters or self._paused):
            return []
        with self._lock:
            keys = [waiter.place for waiter in self._forward()]
            keys += self._paused
            self._paused = []
        keys = sorted({key for key in keys if (machine.waiting.lot_of(key) or "").startswith(_SHELF)})
        return machine.unpark_these(keys)

    def _forward(self) -> list[Waiter]:
        taken: Counter[str] = Counter()

        def goes(waiter: Waiter) -> bool:
            names = self._lacking(waiter.place, waiter.needs, taken)
            if names:  # by now perhaps another one than that for which it came
                self._lines.stand(waiter, names)
            else:
                taken.update(waiter.needs)
            return not names

        return [waiter for name in self._lines.names() for waiter in self._lines.come_forward(name, goes)]

    # --- for people ---------------------------------------------------------------------------------------------

    def describe(self) -> list[dict[str, Any]]:
        """Give each resource: how much there is, how much of it is held, and how many wait for it."""
        waiting = self._engine.machine.waiting
        prefixed = (name.removeprefix(_SHELF) for name in waiting.lots() if name.startswith(_SHELF))
        return [
            {
                "resource": name,
                "capacity": self._capacities.get(name, 0),
                "held": self._engine.granted.held(name),
                "waiting": waiting.parked_in(resource_name(name)),
            }
            for name in sorted({*self._capacities, *prefixed, *self._engine.granted.resources()})
        ]
