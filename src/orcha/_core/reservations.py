"""What earlier petitions are held free, and whether a later petition may run before they need it: a plan.

The plan takes what runs, then the waiting petitions in their order. Each gets the first time at which all that it needs
is free for as long as it takes. A length that nobody knows may be any: where the start of a petition depends on such a
length, nothing that it needs is given away beyond the earliest time at which it could start.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.devices import fitting
from orcha._core.timeline import Timeline
from orcha.interfaces.needs import WHOLE, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orcha._core.devices import Devices
    from orcha._core.inventory import Inventory
    from orcha.interfaces.needs import Amount, Need

    Used = Mapping[str, Mapping[str, Amount]]


class Want(NamedTuple):
    """What a petition takes while it runs."""

    needs: Mapping[str, int | str]
    seconds: float | None
    """How long; None where that is not known."""
    slots: tuple[str, ...] = ()
    """What it takes one slot of: a group, the commands of a manager."""


class _Span:
    """An amount that petitions use up: a resource, a device, or slots."""

    __slots__ = ("capacity", "closed_from", "loose", "sure")

    def __init__(self, capacity: Amount) -> None:
        self.capacity = capacity
        self.sure = Timeline()
        """What is taken, where all whose length is unknown go on for ever."""
        self.loose = Timeline()
        """The same, where those end at once."""
        self.closed_from = inf
        """From when on nothing of it is given to later petitions."""

    def take(self, begin: float, seconds: float | None, amount: Amount) -> None:
        """Have an amount taken for so long, or for an unknown time."""
        self.sure.take(begin, inf if seconds is None else begin + seconds, amount)
        if seconds is not None:
            self.loose.take(begin, begin + seconds, amount)

    def earliest(self, begin: float, seconds: float, amount: Amount) -> float | None:
        """Give the first time from which an amount may be free for so long; None for never."""
        found = self.loose.earliest(begin, seconds, self.capacity - amount)
        if found is None or found + seconds <= self.closed_from or found >= self.closed_from:
            return found
        return self.loose.earliest(self.closed_from, seconds, self.capacity - amount)

    def fits(self, begin: float, seconds: float, amount: Amount) -> bool:
        """Tell whether an amount is free for so long from a time on, whatever lengths are unknown."""
        return begin + seconds <= self.closed_from and self.sure.peak(begin, begin + seconds) + amount <= self.capacity


class Plan:
    """Who is to have what, and when; times are seconds from now on.

    >>> from orcha._core.inventory import Inventory
    >>> plan = Plan(Inventory({"gpu": 2}), {}, {})
    >>> plan.runs(Want({"gpu": 1}, 60.0), None)
    >>> plan.reserve(Want({"gpu": 2}, 60.0))
    60.0
    >>> [plan.has_gap(Want({"gpu": 1}, seconds), {}) for seconds in (60.0, 61.0)]
    [True, False]
    """

    def __init__(self, inventory: Inventory, used: Used, slots: Mapping[str, int]) -> None:
        """Know of nothing that runs.

        Args:
            inventory: what there is of resources.
            used: which share of each device is in use now, by resource.
            slots: how many slots there are of each group, or for the commands of each manager.

        """
        self._inventory = inventory
        self._used = used
        self._slots = slots
        self._spans: dict[tuple[str, str | None], _Span] = {}

    def _of(self, resource: str, device: str | None = None) -> _Span:
        span = self._spans.get((resource, device))
        if span is None:
            most = 1 if device is not None else self._slots.get(resource, self._inventory.capacity(resource))
            span = self._spans[resource, device] = _Span(most)
        return span

    # --- what is taken ------------------------------------------------------------------------------------------

    def runs(self, want: Want, devices: Devices | None) -> None:
        """Have a petition run from now on, with the devices that it has; its `seconds` are what is left of it."""
        self._take(want, 0.0, devices or {})

    def reserve(self, want: Want) -> float | None:
        """Hold free what the next waiting petition needs; give when it starts, or None where that is not known."""
        length = inf if want.seconds is None else want.seconds
        begin = None if WHOLE in want.needs else self._earliest(want, length)
        if begin is not None and self._is_sure(want, begin, length):
            self._take(want, begin, self._chosen(want, begin, length))
            return begin
        self.close(want, begin or 0.0)
        return None

    def close(self, want: Want, begin: float) -> None:
        """Have nothing that a petition needs given to later ones from a time on."""
        for name, wanted in want.needs.items():
            for span in self._spans_of(name, read(wanted)):
                span.closed_from = min(span.closed_from, begin)

    def starts(self, want: Want) -> None:
        """Have a waiting petition start now, whatever others wait for."""
        self._take(want, 0.0, self._chosen(want, 0.0, want.seconds or 0.0))

    def _take(self, want: Want, begin: float, devices: Devices) -> None:
        for name, wanted in want.needs.items():
            amount = read(wanted).amount
            self._of(name).take(begin, want.seconds, amount)
            for device in devices.get(name, ()):
                self._of(name, device).take(begin, want.seconds, min(1, amount))
        for name in want.slots:
            self._of(name).take(begin, want.seconds, 1)

    # --- what is free -------------------------------------------------------------------------------------------

    def has_gap(self, want: Want, devices: Devices) -> bool:
        """Tell whether a petition of a known length, which would get these devices, may start now and delays nobody."""
        if want.seconds is None or any(
            name not in devices and self._inventory.devices(name) is not None for name in want.needs
        ):
            return False
        return all(span.fits(0.0, want.seconds, amount) for span, amount in self._parts(want, devices))

    def _parts(self, want: Want, devices: Devices) -> Iterator[tuple[_Span, Amount]]:
        """Give all that a petition takes part of."""
        for name, wanted in want.needs.items():
            amount = read(wanted).amount
            yield self._of(name), amount
            for device in devices.get(name, ()):
                yield self._of(name, device), min(1, amount)
        for name in want.slots:
            yield self._of(name), 1

    def _earliest(self, want: Want, seconds: float) -> float | None:
        """Give the first time at which a petition may start, where all whose length is unknown end at once."""
        found, before = 0.0, -1.0
        while found != before:
            before = found
            for name, wanted in want.needs.items():
                first = self._earliest_of(name, read(wanted), found, seconds)
                if first is None:
                    return None
                found = first
            for name in want.slots:
                first = self._of(name).earliest(found, seconds, 1)
                if first is None:
                    return None
                found = first
        return found

    def _earliest_of(self, name: str, need: Need, begin: float, seconds: float) -> float | None:
        devices, found = self._devices(name, need), self._of(name).earliest(begin, seconds, need.amount)
        if devices is None:
            return found
        count, amount = (1, need.amount) if need.is_share else (int(need.amount), 1)
        while found is not None:
            times = (self._of(name, device).earliest(found, seconds, amount) for device in devices)
            known = sorted(time for time in times if time is not None)
            if len(known) < count:
                return None
            if known[count - 1] == found:
                return found
            found = self._of(name).earliest(known[count - 1], seconds, need.amount)
        return None

    def _is_sure(self, want: Want, begin: float, seconds: float) -> bool:
        """Tell whether a petition can start then, whatever lengths are unknown."""
        chosen = self._chosen(want, begin, seconds)
        is_placed = all(name in chosen or self._inventory.devices(name) is None for name in want.needs)
        return is_placed and all(span.fits(begin, seconds, amount) for span, amount in self._parts(want, chosen))

    def _chosen(self, want: Want, begin: float, seconds: float) -> Devices:
        """Choose devices for a petition that starts then; none where too few of a resource are free."""
        found = {}
        for name, wanted in want.needs.items():
            need = read(wanted)
            devices = self._devices(name, need)
            if devices is not None:
                count, amount = (1, need.amount) if need.is_share else (int(need.amount), 1)
                free = [each for each in devices if self._of(name, each).fits(begin, seconds, amount)]
                if begin:  # what is free until then stays free for others
                    free.sort(key=lambda each: -self._of(name, each).sure.peak(0.0, begin))
                if len(free) >= count:
                    found[name] = tuple(free[:count])
        return found

    def _devices(self, name: str, need: Need) -> list[str] | None:
        return self._inventory.usable(name, need, self._used.get(name, {}))

    def _spans_of(self, name: str, need: Need) -> list[_Span]:
        """Give what a petition with such a need waits for: a resource, or each device that would do."""
        devices = self._inventory.devices(name)
        if devices is None:
            return [self._of(name)]
        return [self._of(name, device) for device in fitting(devices, need)]


__all__ = ["Plan", "Want"]
