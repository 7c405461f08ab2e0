"""What a forecast is made of: petitions with the time that each takes, and what there is for them to use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orcha._core.devices import Devices
    from orcha._core.groups import GroupRules
    from orcha._core.inventory import Stock
    from orcha._core.quotas import Account
    from orcha._core.weights import OwnerWeight

_NOTHING: Mapping[str, int | str] = MappingProxyType({})
_NOBODY: Mapping[str, bool] = MappingProxyType({})


class Job(NamedTuple):
    """A petition, as far as it matters for when others start. Times are seconds of one clock."""

    id: str
    submitted: float
    """When the petition is asked for."""
    seconds: float
    """How long it runs."""
    priority: int | float = 0
    group: str | None = None
    needs: Mapping[str, int | str] = _NOTHING
    after: Mapping[str, bool] = _NOBODY
    """The ids of the petitions that it waits for, and whether each must succeed."""
    not_before: float | None = None
    """The time that it was asked for; None for none."""
    manager: str = ""
    """The manager whose slots it takes."""
    owner: str = ""
    succeeds: bool = True
    started: float | None = None
    """When it started, where it runs when the forecast begins; None for a petition that waits."""
    waits_since: float | None = None
    """When it was asked for, where that was before the forecast begins; None for the time of `submitted`."""
    paused: bool = False
    """Whether people hold back this one."""
    expect: float | None = None
    """How long it is said to take, expected or at most; None where no decision knows its length."""
    devices: Devices | None = None
    """The devices that it has, by resource, where it runs when the forecast begins; None to choose some."""
    preemptible: str | None = None
    """How it gives its place to a more urgent one, PAUSE or REQUEUE; None where it gives it to nobody."""
    stands_still: bool = False
    """Whether it has given its place, and waits to go on, where it runs when the forecast begins."""


class Capacity(NamedTuple):
    """What petitions may use."""

    slots: Mapping[str, int | None] = MappingProxyType({})
    """How many petitions of each manager may run at once; None, and a manager that is not named, for any number."""
    groups: Mapping[str, int | None] = MappingProxyType({})
    """How many petitions of each group may run at once; None for any number."""
    resources: Mapping[str, Stock] = MappingProxyType({})
    """How much there is of each resource, or its devices."""
    drained: Mapping[str, Collection[str | None]] = MappingProxyType({})
    """The devices of each resource on which nothing is placed; None stands for all of the resource."""
    occupied: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    """The devices of each resource that processes use which belong to no petition, with the names of these."""
    paused_groups: frozenset[str] = frozenset()
    is_paused: bool = False
    """Whether nothing starts at all."""
    rules: Mapping[str, GroupRules] = MappingProxyType({})
    """What else holds for the petitions of each group; conditions count as true."""
    begun: Mapping[str, Sequence[float]] = MappingProxyType({})
    """The last starts of each group that has a rate, the earliest first."""
    quotas: Mapping[str, tuple[Account, ...]] = MappingProxyType({})
    """The accounts of each owner who has a quota."""
    half_life: float | None = None
    """Seconds after which what an owner used before counts half; None where that counts nothing."""
    used: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    """What each owner had used when the forecast begins (`_core/past_use.py`)."""
    weights: Mapping[str, OwnerWeight] = MappingProxyType({})
    """By what the use of each owner is compared, of whom anything is said (`_core/weights.py`)."""


class Foretold(NamedTuple):
    """When a petition starts and ends by the forecast."""

    job: Job
    started: float | None
    """None where it does not start."""
    ended: float | None
    """None where it does not start; when it was cancelled where a petition failed that it waits for."""
    reason: str | None = None
    """Why it does not start, for people."""
    devices: Devices | None = None
    """The devices that it gets, by resource."""
    gives_way_to: str | None = None
    """The id of a more urgent petition that takes its place at its end: it starts anew later."""


__all__ = ["Capacity", "Foretold", "Job"]
