"""Weights of users and of groups of users: how much of the machine is for whom, where several want it.

What is in use is divided by the weight before it is compared: an owner of the weight 2 has twice as much in use as an
owner of the weight 1 when both are equal. Groups are compared first, then the members of a group among themselves. So a
group of one user and a group of nine get equal halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

_NOBODY: Mapping[str, int] = MappingProxyType({})


class WeightRules(NamedTuple):
    """The weights that are configured."""

    users: Mapping[str, int] = _NOBODY
    """The weight of a user, by name or identity."""
    groups: Mapping[str, int] = _NOBODY
    """The weight of all members of a Unix group together, by the group's name."""


NO_WEIGHTS = WeightRules()


class OwnerWeight(NamedTuple):
    """What an owner's use is compared by."""

    group: str | None = None
    """The group of users with which the owner is compared, with an ``@``; None where the owner is compared alone."""
    weight: int = 1
    """The weight of that group among groups and owners without a group; else the owner's own weight."""
    within: int = 1
    """The owner's weight among the members of the group."""


ALONE = OwnerWeight()
"""The weight of an owner of whom nothing is configured."""


def read_weights(known: Mapping[str, Mapping[str, Any]]) -> dict[str, OwnerWeight]:
    """Give the weights of owners from maps of their fields; a field that another build added is passed over.

    Raises:
        ValueError: they are none.

    >>> read_weights({"ann": {"group": "@bio", "weight": 2, "colour": "red"}})
    {'ann': OwnerWeight(group='@bio', weight=2, within=1)}
    """
    found = {}
    for owner, fields in known.items():
        weight = OwnerWeight(**{name: value for name, value in fields.items() if name in OwnerWeight._fields})
        is_whole = all(type(number) is int and number > 0 for number in weight[1:])
        if not is_whole or not isinstance(weight.group, str | None):
            raise ValueError(owner)
        found[owner] = weight
    return found


def weight_of(rules: WeightRules, names: Collection[str], groups: Collection[str]) -> OwnerWeight:
    """Give the weight of a user; of several groups the group with the largest weight, of equal ones the first by name.

    Args:
        rules: what is configured.
        names: what the user may be called in it, the name that people know first.
        groups: the user's Unix groups.

    >>> rules = WeightRules({"ann": 3}, {"bio": 2, "chem": 2, "all": 1})
    >>> weight_of(rules, ["ann", "uid:7"], ["all", "chem", "bio"])
    OwnerWeight(group='@bio', weight=2, within=3)
    >>> weight_of(rules, ["ann"], []), weight_of(rules, ["bob"], ["users"])
    (OwnerWeight(group=None, weight=3, within=1), OwnerWeight(group=None, weight=1, within=1))
    """
    own = next((rules.users[name] for name in names if name in rules.users), 1)
    known = [(-rules.groups[name], name) for name in groups if name in rules.groups]
    if not known:
        return OwnerWeight(None, own)
    negative, name = min(known)
    return OwnerWeight(f"@{name}", -negative, own)


__all__ = ["ALONE", "NO_WEIGHTS", "OwnerWeight", "WeightRules", "read_weights", "weight_of"]
