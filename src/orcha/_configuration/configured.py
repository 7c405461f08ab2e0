"""What holds of several configuration files: of a key that stands in two files, the later file counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from orcha._configuration.reading import Fault, Given, dotted
from orcha._core.groups import GroupRules
from orcha._core.quota_rules import Quota, QuotaRules
from orcha._core.quotas import Limit
from orcha._core.weights import WeightRules
from orcha.interfaces.roles import ROLES

if TYPE_CHECKING:
    from orcha._configuration.reading import FileReading
    from orcha._core.inventory import Stock

Keys = tuple[str, ...]
GROUPS, RESOURCES, DEFAULTS, ROLES_TABLE, QUOTA = "groups", "resources", "defaults", "roles", "quota"
WEIGHTS = "weights"
"""The tables whose settings are looked up by `Configured.groups`, `resources`, `defaults`, `roles`, `quotas` and
`weights`."""


@dataclass(frozen=True)
class Configured:
    """The settings of all files.

    >>> from orcha._configuration.reading import read
    >>> first, second = read(b"groups.a.slots = 1", "a.toml"), read(b"groups.a.slots = 2", "b.toml")
    >>> together([first, second])[0].groups
    {'a': (2, GroupRules(per_user=None, default_timeout=None, longest=None, rate=None, when=None, age=None))}
    """

    given: Mapping[Keys, Given] = field(default_factory=lambda: MappingProxyType({}))

    def value(self, table: str, name: str, default: Any) -> Any:
        """Give a setting, else the default."""
        found = self.given.get((table, name))
        return default if found is None else found.value

    def origin(self, *keys: str) -> str | None:
        """Give the file and the line of a setting; None where no file has it."""
        found = self.given.get(keys)
        return None if found is None else found.origin

    def _named(self, table: str) -> dict[str, Any]:
        return {keys[1]: each.value for keys, each in self.given.items() if keys[0] == table and len(keys) == 2}

    @property
    def groups(self) -> dict[str, tuple[int | None, GroupRules]]:
        """Slots and rules of each group that is configured."""
        return {name: self._group(name) for name in self._named(GROUPS)}

    def _group(self, name: str) -> tuple[int | None, GroupRules]:
        known = {keys[2]: each.value for keys, each in self.given.items() if keys[:2] == (GROUPS, name) and keys[2:]}
        slots: int | None = known.pop("slots", None)
        return slots, GroupRules(**known)

    @property
    def quotas(self) -> QuotaRules:
        """What users may have together.

        >>> from orcha._configuration.reading import read
        >>> found = together([read(b'quota.group."@lab".resources.gpu = 4', "orcha.toml")])[0].quotas
        >>> found.groups["lab"].resources["gpu"]
        Limit(most=4, key='quota.group."@lab".resources.gpu', origin='orcha.toml:1')
        """
        tables = {"user": self._quotas("user"), "members": self._quotas("members"), "group": self._quotas("group")}
        return QuotaRules(self._quota((QUOTA, "default")), *tables.values())

    def _quotas(self, kind: str) -> dict[str, Quota]:
        """Give the quotas of users or groups; the name of a group may have an @ before it."""
        found = [keys for keys in self.given if keys[:2] == (QUOTA, kind) and len(keys) == 3]
        return {keys[2].removeprefix("" if kind == "user" else "@"): self._quota(keys) for keys in found}

    def _quota(self, table: Keys) -> Quota:
        of = {
            keys[len(table) :]: Limit(each.value, dotted(keys), each.origin)
            for keys, each in self.given.items()
            if keys[: len(table)] == table and len(keys) > len(table)
        }
        return Quota(
            {keys[0]: limit for keys, limit in of.items() if len(keys) == 1},
            {keys[1]: limit for keys, limit in of.items() if len(keys) == 2},
        )

    @property
    def weights(self) -> WeightRules:
        r"""By which weights the use of users and groups of users is compared.

        >>> from orcha._configuration.reading import read
        >>> together([read(b'[weights]\n"@bio" = 2\nann = 3', "orcha.toml")])[0].weights
        WeightRules(users={'ann': 3}, groups={'bio': 2})
        """
        known = self._named(WEIGHTS)
        groups = {name[1:]: weight for name, weight in known.items() if name.startswith("@")}
        return WeightRules({name: weight for name, weight in known.items() if not name.startswith("@")}, groups)

    @property
    def resources(self) -> dict[str, Stock]:
        """How much there is of each resource that is configured, or its devices."""
        return self._named(RESOURCES)

    @property
    def defaults(self) -> dict[str, Any]:
        """What holds for commands that say nothing about it, by the names of the fields."""
        return self._named(DEFAULTS)

    @property
    def roles(self) -> dict[str, Any]:
        """The users and groups of each role, and the role of all others, by the names of the keys."""
        return self._named(ROLES_TABLE)


def together(readings: Iterable[FileReading]) -> tuple[Configured, list[Fault]]:
    """Give what holds of files in the order in which they are read, and all that is wrong with them."""
    given: dict[Keys, Given] = {}
    faults: list[Fault] = []
    for reading in readings:
        given |= reading.given
        faults += reading.faults
    made = Configured(given)
    for name, (_, rules) in made.groups.items():
        if rules.is_too_long(rules.default_timeout):
            at = made.given[GROUPS, name, "default_timeout"]
            text = (
                f"the default timeout of {name} is {rules.default_timeout:g} s, and its longest {rules.longest:g} s:"
                " give a default timeout that is not longer"
            )
            faults.append(Fault(at.file, *at.place, text))
    faults += _with_two_roles(made)
    return made, faults


def _with_two_roles(made: Configured) -> list[Fault]:
    """Give a fault for each user or group that stands at two roles."""
    faults, seen = [], dict[str, str]()
    for role in ROLES:
        for word in made.roles.get(role, ()):
            if word in seen:
                at = made.given[ROLES_TABLE, role]
                faults.append(Fault(at.file, *at.place, f"{word} has the role {seen[word]} already: give one role"))
            seen[word] = role
    return faults


__all__ = ["DEFAULTS", "GROUPS", "QUOTA", "RESOURCES", "ROLES_TABLE", "WEIGHTS", "Configured", "together"]
