"""The amount or the named devices of each resource, and where nothing is placed for now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.devices import Device, Pool, choose, most, room
from orcha.interfaces.needs import WHOLE, Amount, read

if TYPE_CHECKING:
    from orcha.interfaces.needs import Need

    Stock = int | tuple[Device, ...]
    """How much there is of a resource, or its devices."""


class Drain(NamedTuple):
    """Why nothing is placed on a device, or on anything of a resource, and since when."""

    why: str
    who: str
    since: float
    """Wall-clock time."""


class Inventory:
    """The resources of a service.

    The hook thread reads it; what the engine changes is replaced, and never changed in place.

    >>> inventory = Inventory({"ram": 8, "gpu": (Device("0"), Device("1", {"mem": 24}))})
    >>> inventory.capacity("ram"), inventory.capacity("gpu"), inventory.capacity("tape")
    (8, 2, 0)
    >>> inventory.most("gpu", read("1@mem>=20")), inventory.most("gpu", read("0.5"))
    (1, 1)
    """

    def __init__(self, resources: Mapping[str, Stock]) -> None:
        """Have this amount of each resource, or these devices."""
        self._counts = {name: stock for name, stock in resources.items() if isinstance(stock, int)} | {WHOLE: 1}
        self._pools = {name: Pool(stock) for name, stock in resources.items() if not isinstance(stock, int)}
        self.drains: Mapping[str, Mapping[str | None, Drain]] = {}
        """By resource and device; None stands for all of a resource."""
        self.occupied: Mapping[str, Mapping[str, str]] = {}
        """Which processes are seen on devices, by resource and device: where no petition has it, they are not ours."""

    def set(self, resource: str, stock: Stock | None) -> None:
        """Have this amount of a resource from now on, or these devices; None for nothing of it."""
        counts = {name: count for name, count in self._counts.items() if name != resource}
        pools = {name: pool for name, pool in self._pools.items() if name != resource}
        if isinstance(stock, int):
            counts[resource] = stock
        elif stock is not None:
            pools[resource] = Pool(stock)
        self._counts, self._pools = counts, pools

    def drain(self, resource: str, device: str | None, drain: Drain | None) -> None:
        """Have nothing placed on a device, or on anything of a resource; or with None, things placed there again."""
        drains = {name: dict(each) for name, each in self.drains.items()}
        of_one = drains.setdefault(resource, {})
        of_one.pop(device, None)
        if drain is not None:
            of_one[device] = drain
        self.drains = {name: each for name, each in drains.items() if each}

    def names(self) -> list[str]:
        """Give the resources that there are."""
        return [*(name for name in self._counts if name != WHOLE), *self._pools]

    def devices(self, resource: str) -> tuple[Device, ...] | None:
        """Give the devices of a resource; None where that is an amount, or there is no such resource."""
        pool = self._pools.get(resource)
        return None if pool is None else pool.devices

    def fitting(self, resource: str, need: Need) -> list[str]:
        """Name the devices of a resource that are as a need says, closed or not."""
        pool = self._pools.get(resource)
        return [] if pool is None else pool.fitting(need)

    def are_devices(self, resources: Iterable[str]) -> bool:
        """Tell whether any of these resources consists of devices."""
        return any(name in self._pools for name in resources)

    def capacity(self, resource: str) -> int:
        """Give how much there is of a resource."""
        pool = self._pools.get(resource)
        return self._counts.get(resource, 0) if pool is None else len(pool.devices)

    def most(self, resource: str, need: Need) -> Amount:
        """Give how much there is of a resource for a petition with such a need."""
        pool = self._pools.get(resource)
        if pool is not None:
            return most(pool.fitting(need), need)
        return 0 if need.where else self._counts.get(resource, 0)

    def room(self, resource: str, need: Need, held: Amount, used: Mapping[str, Amount]) -> Amount:
        """Give how much of a resource is free for a petition with such a need.

        Args:
            resource: its name.
            need: what is needed of it.
            held: how much of it is in use.
            used: which share of each of its devices is in use.

        """
        pool = self._pools.get(resource)
        most = self._counts.get(resource, 0) if pool is None else len(pool.devices)
        free = most - held if most > held else 0  # more is held where there was more before a restart
        drains = self.drains.get(resource, _NONE)
        if None in drains or (pool is None and need.where):
            return 0
        if pool is None:
            return free
        found: Amount = room(pool.fitting(need, self._closed(resource, used)), used, need)
        return min(free, found)

    def free(self, resource: str, need: Need, used: Mapping[str, Amount]) -> list[str]:
        """Name the devices of which a petition with such a need could get something now."""
        names = self.usable(resource, need, used) or ()
        return [
            name for name in names if (1 - used.get(name, 0) >= need.amount if need.is_share else not used.get(name))
        ]

    def usable(self, resource: str, need: Need, used: Mapping[str, Amount]) -> list[str] | None:
        """Name the devices that are as a need says and not closed, in use or not; None where there are no devices."""
        pool = self._pools.get(resource)
        return None if pool is None else pool.fitting(need, self._closed(resource, used))

    def placeable(self, resource: str, need: Need) -> Amount:
        """Give how much of a resource a petition with such a need could get while all stays drained that is."""
        drains = self.drains.get(resource, _NONE)
        if None in drains:
            return 0
        pool = self._pools.get(resource)
        return self.most(resource, need) if pool is None else most(pool.fitting(need, drains), need)

    def foreign(self, resource: str, used: Mapping[str, Amount]) -> dict[str, str]:
        """Give the devices that processes use which belong to no petition, and name these."""
        return {name: who for name, who in self.occupied.get(resource, _EMPTY).items() if not used.get(name)}

    def _closed(self, resource: str, used: Mapping[str, Amount]) -> Collection[str | None]:
        """Give the devices on which nothing is placed now."""
        drains = self.drains.get(resource, _NONE)
        return {*drains, *self.foreign(resource, used)} if resource in self.occupied else drains

    def choose(
        self, needs: Mapping[str, int | str], used: Mapping[str, Mapping[str, Amount]]
    ) -> dict[str, tuple[str, ...]] | None:
        """Choose the devices of a petition; None where it gets none.

        Where too little of a resource is free, no device is named.
        """
        chosen = {}
        for resource, wanted in needs.items():
            pool = self._pools.get(resource)
            if pool is not None:
                need = read(wanted)
                in_use = used.get(resource, _UNUSED)
                names = choose(pool.fitting(need, self._closed(resource, in_use)), in_use, need)
                if names is None:  # it may have been drained after the petition had been let go
                    names = choose(pool.fitting(need), in_use, need)
                if names is not None:
                    chosen[resource] = names
        return chosen or None


_NONE: Mapping[str | None, Drain] = {}
_EMPTY: Mapping[str, str] = {}
_UNUSED: Mapping[str, Amount] = {}

__all__ = ["Drain", "Inventory"]
