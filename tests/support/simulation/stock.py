"""What there is of resources in a simulated service, by its own account: as people set and drained it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from orcha.interfaces.needs import WHOLE, Need, read

There = int | tuple[str, ...]
"""An amount, or the names of devices."""
Held = tuple[Counter[str], Counter[tuple[str, str]]]
"""How much of each resource is held, and which share of each device."""


class Stock:
    """Amounts and devices: as a service is started with them, as they are now, and as they are kept."""

    def __init__(self, given: Mapping[str, There]) -> None:
        """Have a service that was never started."""
        self.given = dict(given)
        """What the next service is started with."""
        self.there: dict[str, There] = {}
        self.drained: frozenset[tuple[str, str | None]] = frozenset()
        """Resources and their devices where nothing is placed; None stands for all of a resource."""
        self.decided_before: set[int] = set()
        """Petitions that had their slot when something was set or drained last, by sequence."""
        self._kept: tuple[dict[str, There], frozenset[tuple[str, str | None]]] = {}, frozenset()
        self._kept_given: dict[str, There] = {}

    def starts(self) -> None:
        """Begin with what was kept; what a start says otherwise than the start before counts more."""
        there, self.drained = self._kept
        given, before = self.given, self._kept_given
        self.there = {name: there[name] if given[name] == before.get(name) else given[name] for name in given}
        self.decided_before = set()

    def is_kept(self) -> None:
        """Note that what is so now is kept."""
        self._kept = dict(self.there), self.drained
        self._kept_given = dict(self.given)

    def set(self, name: str, there: There, granted: Collection[int]) -> None:
        """Have another amount, or other devices."""
        self.there[name] = there
        self.decided_before = set(granted)

    def drain(self, name: str, device: str | None, *, drained: bool, granted: Collection[int]) -> None:
        """Have nothing placed there, or things placed there again."""
        self.drained = self.drained | {(name, device)} if drained else self.drained - {(name, device)}
        self.decided_before = set(granted)

    def is_closed(self, name: str, device: str) -> bool:
        """Tell whether nothing may be placed on a device."""
        there = self.there[name]
        return (
            isinstance(there, int) or device not in there or not {(name, device), (name, None)}.isdisjoint(self.drained)
        )

    def fits(self, needs: Mapping[str, int | str], held: Held) -> bool:
        """Tell whether all that a petition needs is free, where so much is held; the whole machine aside."""
        return all(self._fits(name, read(wanted), held) for name, wanted in needs.items() if name != WHOLE)

    def may_take_what_is_waited_for(self, name: str, taken: int | str, waits: int | str, held: Held) -> bool:
        """Tell whether a petition could get something of a resource for which another one waits."""
        there, need = self.there[name], read(taken)
        if isinstance(there, int):
            return True
        both = _wanted(need, there) & _wanted(read(waits), there)
        return any(1 - held[1][name, each] >= min(1, need.amount) for each in both if not self.is_closed(name, each))

    def _fits(self, name: str, need: Need, held: Held) -> bool:
        amounts, shares = held
        there = self.there[name]
        if isinstance(there, int):
            return (name, None) not in self.drained and need.amount + amounts[name] <= there
        if need.amount > len(there) - amounts[name]:
            return False  # a device that is called otherwise now, and is held, may be one of these
        wanted = _wanted(need, there)
        rest = [1 - shares[name, device] for device in there if device in wanted and not self.is_closed(name, device)]
        if need.is_share:
            return any(each >= need.amount for each in rest)
        return sum(each == 1 for each in rest) >= need.amount


def _wanted(need: Need, there: tuple[str, ...]) -> set[str]:
    """Give the devices that are as a need says."""
    return {str(each.value) for each in need.where} or set(there)


def held_by(granted: Iterable[tuple[Mapping[str, int | str], Any]]) -> Held:
    """Add up what petitions hold, from the needs and the devices of each."""
    amounts: Counter[str] = Counter()
    shares: Counter[tuple[str, str]] = Counter()
    for needs, devices in granted:
        for name, wanted in needs.items():
            amount = read(wanted).amount
            amounts[name] += amount  # type: ignore[assignment]  # parts of devices, too
            for device in (devices or {}).get(name, ()):
                shares[name, device] += min(1, amount)  # type: ignore[assignment]
    return amounts, shares
