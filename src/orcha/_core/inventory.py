"""What there is of each resource: an amount, or devices with names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.devices import Device, choose, fitting, most, room
from orcha.interfaces.needs import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha.interfaces.needs import Amount, Need

    Stock = int | tuple[Device, ...]
    """How much there is of a resource, or its devices."""


class Inventory:
    """The resources of a service.

    >>> inventory = Inventory({"ram": 8, "gpu": (Device("0"), Device("1", {"mem": 24}))})
    >>> inventory.capacity("ram"), inventory.capacity("gpu"), inventory.capacity("tape")
    (8, 2, 0)
    >>> inventory.most("gpu", read("1@mem>=20")), inventory.most("gpu", read("0.5"))
    (1, 1)
    """

    def __init__(self, resources: Mapping[str, Stock]) -> None:
        """Have so much of each, or these devices."""
        self._counts = {name: stock for name, stock in resources.items() if isinstance(stock, int)}
        self._devices = {name: stock for name, stock in resources.items() if not isinstance(stock, int)}

    def names(self) -> list[str]:
        """Give the resources that there are."""
        return [*self._counts, *self._devices]

    def devices(self, resource: str) -> tuple[Device, ...] | None:
        """Give the devices of a resource; None where that is an amount, or there is no such resource."""
        return self._devices.get(resource)

    def capacity(self, resource: str) -> int:
        """Give how much there is of a resource."""
        devices = self._devices.get(resource)
        return self._counts.get(resource, 0) if devices is None else len(devices)

    def most(self, resource: str, need: Need) -> Amount:
        """Give how much there is of a resource for a petition with such a need."""
        devices = self._devices.get(resource)
        if devices is not None:
            return most(fitting(devices, need), need)
        return 0 if need.where else self._counts.get(resource, 0)

    def room(self, resource: str, need: Need, held: Amount, used: Mapping[str, Amount]) -> Amount:
        """Give how much of a resource is free for a petition with such a need.

        Args:
            resource: its name.
            need: what is needed of it.
            held: how much of it is in use.
            used: which share of each of its devices is in use.

        """
        free = max(0, self.capacity(resource) - held)  # more is held where there was more before a restart
        devices = self._devices.get(resource)
        if devices is None:
            return 0 if need.where else free
        return min(free, room(fitting(devices, need), used, need))

    def choose(
        self, needs: Mapping[str, int | str], used: Mapping[str, Mapping[str, Amount]]
    ) -> dict[str, tuple[str, ...]] | None:
        """Choose the devices of a petition; None where it gets none.

        Of a resource of which too little is free, none is named.
        """
        chosen = {}
        for resource, wanted in needs.items():
            devices = self._devices.get(resource)
            if devices is not None:
                need = read(wanted)
                names = choose(fitting(devices, need), used.get(resource, {}), need)
                if names is not None:
                    chosen[resource] = names
        return chosen or None


__all__ = ["Inventory"]
