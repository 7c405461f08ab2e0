"""Which quotas hold for whom: of each user alone, of each member of a Unix group, and of all members together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core.quotas import Account, Limit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ANY_NUMBER = 1 << 62
"""Stands for no limit."""
_NOTHING: Mapping[str, Limit] = MappingProxyType({})


class Quota(NamedTuple):
    """What one table of the configuration says."""

    limits: Mapping[str, Limit] = _NOTHING
    """By what is limited: `queued`, `running`, `slots`, `output`."""
    resources: Mapping[str, Limit] = _NOTHING


NO_QUOTA = Quota()
_NOBODY: Mapping[str, Quota] = MappingProxyType({})


class QuotaRules(NamedTuple):
    """All quotas that are configured."""

    default: Quota = NO_QUOTA
    """What each user may have, of whom nothing else is said."""
    users: Mapping[str, Quota] = _NOBODY
    """What a user may have, by name or identity."""
    members: Mapping[str, Quota] = _NOBODY
    """What each member of a Unix group may have, by the group's name."""
    groups: Mapping[str, Quota] = _NOBODY
    """What all members of a Unix group may have together."""

    @property
    def are_any(self) -> bool:
        """Whether there is any quota."""
        return self != NO_RULES


NO_RULES = QuotaRules()


def accounts_of(rules: QuotaRules, names: Collection[str], groups: Collection[str]) -> tuple[Account, ...]:
    """Give the accounts of a user, each with the limits that hold: the user's own account, then the accounts of groups.

    For each limit the user's own table counts more than that of a group for each of its members, and that more than
    the default. Of two such groups the larger limit counts.

    Args:
        rules: what is configured.
        names: what the user may be called in it, the name that people know first.
        groups: the user's Unix groups.

    >>> rules = QuotaRules(Quota({"running": Limit(2), "queued": Limit(9)}), {"ann": Quota({"running": Limit(5)})})
    >>> [{what: limit.most for what, limit in each.limits.items()} for each in accounts_of(rules, ["ann"], ["lab"])]
    [{'running': 5, 'queued': 9}]
    >>> rules = QuotaRules(groups={"lab": Quota(resources={"gpu": Limit(4)})})
    >>> [(each.name, each.resources["gpu"].most) for each in accounts_of(rules, ["ann"], ["lab", "users"])]
    [('@lab', 4)]
    """
    own = [rules.users[name] for name in names if name in rules.users]
    members = [rules.members[name] for name in groups if name in rules.members]
    layers = (rules.default, _most_generous(members), *reversed(own))
    limits = _limited(each.limits for each in layers)
    resources = _limited(each.resources for each in layers)
    found = [Account(next(iter(names)), limits, resources)] if limits or resources else []
    for name in groups:
        quota = rules.groups.get(name, NO_QUOTA)
        limits, resources = _limited([quota.limits]), _limited([quota.resources])
        if limits or resources:
            found.append(Account(f"@{name}", limits, resources))
    return tuple(found)


def written(accounts: Iterable[Account]) -> list[dict[str, Any]]:
    """Give accounts as a workload has them.

    >>> written([Account("ann", {"running": Limit(2, "quota.default.running", "a.toml:1")}, {"gpu": Limit(1)})])
    [{'name': 'ann', 'limits': {'running': 2}, 'resources': {'gpu': 1}}]
    """
    return [
        {
            "name": each.name,
            "limits": {what: limit.most for what, limit in each.limits.items()},
            "resources": {name: limit.most for name, limit in each.resources.items()},
        }
        for each in accounts
    ]


def read_accounts(known: Iterable[Mapping[str, Any]]) -> tuple[Account, ...]:
    """Give accounts as `written` wrote them.

    Raises:
        ValueError: they are none.

    >>> read_accounts([{"name": "ann", "resources": {"gpu": 1}}])
    (Account(name='ann', limits={}, resources={'gpu': Limit(most=1, key='', origin='')}),)
    """
    try:
        return tuple(
            Account(
                str(each["name"]),
                {what: Limit(int(most)) for what, most in each.get("limits", {}).items()},
                {name: Limit(int(most)) for name, most in each.get("resources", {}).items()},
            )
            for each in known
        )
    except (AttributeError, KeyError, TypeError) as error:
        message = f"no account of a quota: {error}"
        raise ValueError(message) from None


def _most_generous(quotas: Iterable[Quota]) -> Quota:
    limits: dict[str, Limit] = {}
    resources: dict[str, Limit] = {}
    for quota in quotas:
        for made, found in ((limits, quota.limits), (resources, quota.resources)):
            for what, limit in found.items():
                if what not in made or limit.most > made[what].most:
                    made[what] = limit
    return Quota(limits, resources)


def _limited(layers: Iterable[Mapping[str, Limit]]) -> dict[str, Limit]:
    """Give what is limited, where a later layer counts more, and may say that there is no limit."""
    found: dict[str, Limit] = {}
    for layer in layers:
        found |= layer
    return {what: limit for what, limit in found.items() if limit.most < ANY_NUMBER}


__all__ = ["ANY_NUMBER", "NO_QUOTA", "NO_RULES", "Quota", "QuotaRules", "accounts_of", "read_accounts", "written"]
