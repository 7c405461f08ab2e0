"""Which devices of a resource a petition gets: devices that fit, with as little left over as can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from orcha.interfaces.needs import read_value

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable

    from orcha.interfaces.needs import Amount, Need, Requirement

Devices = Mapping[str, tuple[str, ...]]
"""The names of devices, by resource."""
MAX_KNOWN_REQUIREMENTS = 100
"""What petitions say of the devices of a resource, before all of that is forgotten."""


class Device(NamedTuple):
    """One device of a resource."""

    name: str
    properties: Mapping[str, Amount | str] = {}

    def meets(self, need: Need) -> bool:
        """Tell whether it is as the need says; its name counts as the property `name`.

        >>> from orcha.interfaces.needs import read
        >>> [Device(name).meets(read("1@name=2")) for name in ("1", "2")]
        [False, True]
        """
        return all(each.is_met_by(self._property(each.name)) for each in need.where)

    def _property(self, name: str) -> Amount | str | None:
        return read_value(self.name) if name == "name" else self.properties.get(name)


def fitting(devices: Iterable[Device], need: Need, without: Container[str | None] = ()) -> list[str]:
    """Name the devices that are as the need says, in order."""
    return [device.name for device in devices if device.name not in without and device.meets(need)]


class Pool:
    """The devices of a resource, and which of them are as needs say.

    What a device is never changes, and many petitions say the same of their devices: each such text is compared with
    the devices once. That was two thirds of what a decision about devices cost.

    >>> from orcha.interfaces.needs import read
    >>> pool = Pool((Device("0", {"mem": 24}), Device("1", {"mem": 80})))
    >>> pool.fitting(read("1@mem>=40")), pool.fitting(read(1), without={"1"})
    (['1'], ['0'])
    """

    __slots__ = ("_known", "devices")

    def __init__(self, devices: tuple[Device, ...]) -> None:
        """Take the devices, in order."""
        self.devices = devices
        self._known: dict[tuple[Requirement, ...], list[str]] = {}

    def fitting(self, need: Need, without: Collection[str | None] = ()) -> list[str]:
        """Name the devices that are as the need says, in order; the list is not to be changed."""
        names = self._known.get(need.where)
        if names is None:
            if len(self._known) >= MAX_KNOWN_REQUIREMENTS:
                self._known = {}
            names = self._known[need.where] = fitting(self.devices, need)
        return [name for name in names if name not in without] if without else names


def most(names: list[str], need: Need) -> Amount:
    """Give how much of these devices a petition with such a need could get, if nothing of them were in use."""
    return min(len(names), 1) if need.is_share else len(names)


def room(names: list[str], used: Mapping[str, Amount], need: Need) -> Amount:
    """Give how much of these devices a petition with such a need could get now.

    A share is a part of one device. A larger amount is whole devices that nobody shares.

    >>> from fractions import Fraction
    >>> from orcha.interfaces.needs import read
    >>> room(["0", "1"], {"0": Fraction(1, 2)}, read(2)), room(["0", "1"], {"0": Fraction(1, 2), "1": 1}, read("0.5"))
    (1, Fraction(1, 2))
    """
    if need.is_share:
        return max((1 - used.get(name, 0) for name in names), default=0)
    return sum(1 for name in names if not used.get(name))


def choose(names: list[str], used: Mapping[str, Amount], need: Need) -> tuple[str, ...] | None:
    """Choose devices; None where there are not enough.

    A share goes where the least is left over, so that whole devices stay free.

    >>> from fractions import Fraction
    >>> from orcha.interfaces.needs import read
    >>> choose(["0", "1", "2"], {"1": Fraction(1, 2)}, read("0.5")), choose(["0", "1", "2"], {"1": 1}, read(2))
    (('1',), ('0', '2'))
    >>> choose(["0"], {"0": 1}, read(1)), choose(["0"], {"0": 1}, read("0.1")), choose(["0", "1"], {}, read("1.5"))
    (None, None, None)
    """
    if need.is_share:
        left = [(1 - used.get(name, 0), place, name) for place, name in enumerate(names)]
        enough = [each for each in left if each[0] >= need.amount]
        return (min(enough)[2],) if enough else None
    free = [name for name in names if not used.get(name)]
    if need.amount.denominator != 1 or len(free) < need.amount:
        return None
    return tuple(free[: int(need.amount)])


__all__ = ["Device", "Devices", "Pool", "choose", "fitting", "most", "room"]
