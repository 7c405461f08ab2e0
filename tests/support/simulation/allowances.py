"""Quotas of a simulated machine, by its own account: the file that says them, who is in which group, what is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from orcha._configuration.configured import Configured, together
from orcha._configuration.reading import read as read_file
from orcha.interfaces.needs import read
from support.simulation.plans import Plan

Limits = dict[str, int]
"""The most of each thing: `running`, `slots`, `queued`, or a resource as `resources.NAME`."""
Tables = Mapping[tuple[str, ...], Limits]
"""What the file says, by the names of its tables: `default`, `user NAME`, `members GROUP`, `group GROUP`."""


class Running(NamedTuple):
    """A petition that runs."""

    plan: Plan
    has_slot: bool
    """Whether it is one of the commands that may run at once."""


class Allowances:
    """What each user, and all members of a group together, may have."""

    def __init__(self) -> None:
        """Limit nothing, and have nobody in any group."""
        self.written: Tables = {}
        """What stands in the file: the next start of the service reads that."""
        self.tables: Tables = {}
        """What holds."""
        self.groups: dict[str, tuple[str, ...]] = {}
        """The groups of each user."""
        self.decided_before: set[int] = set()
        """Petitions that had their slot when other quotas came to hold, by sequence."""

    def starts(self) -> None:
        """Have the file read by a service that starts."""
        self.tables, self.decided_before = self.written, set()

    def hold(self, tables: Tables, granted: Collection[int]) -> None:
        """Have a service that runs hold other quotas."""
        self.tables, self.decided_before = tables, set(granted)

    def accounts(self, owner: str) -> list[tuple[str, Limits]]:
        """Give whose use counts for an owner, and what may be used: the owner's own, and that of each group."""
        groups, tables = self.groups.get(owner, ()), self.tables
        own = dict(tables.get(("default",), {}))
        of_members = [tables[("members", group)] for group in groups if ("members", group) in tables]
        for name in {name for each in of_members for name in each}:
            own[name] = max(each[name] for each in of_members if name in each)
        own |= tables.get(("user", owner), {})
        found = [(owner, own)] if own else []
        return found + [(f"@{group}", tables[("group", group)]) for group in groups if ("group", group) in tables]

    def is_of(self, owner: str, account: str) -> bool:
        """Tell whether what an owner uses counts for an account."""
        return account == owner or account.removeprefix("@") in self.groups.get(owner, ())

    def lacks(self, new: Running, running: Iterable[Running]) -> str | None:
        """Say why a petition may not start beside what runs."""
        if not self.tables:
            return None
        for account, limits in self.accounts(new.plan.owner):
            used = self._used([each for each in running if self.is_of(each.plan.owner, account)])
            wanted = self._used([new])
            for name, most in limits.items():
                if wanted[name] and used[name] + wanted[name] > most:
                    return f"{account} has {used[name]} of {name}, and may have {most}"
        return None

    @staticmethod
    def _used(running: Iterable[Running]) -> Counter[str]:
        used: Counter[str] = Counter()
        for plan, has_slot in running:
            used["running"] += 1
            used["slots"] += has_slot
            for name, wanted in plan.needs.items():
                used[f"resources.{name}"] += read(wanted).amount  # type: ignore[assignment]  # parts of devices, too
        return used


def configured(tables: Tables) -> Configured:
    """Read a file that says this."""
    lines = []
    for table, limits in tables.items():
        name = ".".join(("quota", table[0], *(f'"{each}"' for each in table[1:])))
        lines += [f"{name}.{limit} = {most}" for limit, most in limits.items()]
    found, faults = together([read_file("\n".join(lines).encode(), "orcha.toml")])
    assert not faults, faults
    return found
