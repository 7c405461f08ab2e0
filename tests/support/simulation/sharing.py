"""What people who share a machine do in a story: rules of groups, quotas, and leases."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from orcha._core.groups import NO_RULES
from orcha._core.state import State
from orcha._protocol import values
from orcha._protocol.messages import ChangeLease, Item, SetGroup
from orcha.interfaces.built_in import LEASE_MANAGER, LEASES
from orcha.interfaces.needs import WHOLE
from support.asking import ExtrasChannel
from support.simulation.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orcha._store.contract import Row
    from support.simulation.allowances import Limits, Tables
    from support.simulation.service import Service
    from support.simulation.world import World

OFTEN_ABOUT_RULES = 0.2
OFTEN_ABOUT_QUOTAS = 0.2
OFTEN_ABOUT_LEASES = 0.15
"""How often a story has each of these, beside all else."""
OWNERS = ("uid:0", "uid:1", "uid:2")
_RULES: dict[str, tuple[Any, ...]] = {
    "per_user": (None, 1, 1, 2),
    "rate": (None, [1, 40.0], [1, 400.0], [2, 4_000.0]),
    "when": (None, "load(1) < 4", "running < 2", 'running_in("rig") == 0'),
    "default_timeout": (None, 20, 100),
    "longest": (None, 100, 400),
    "age": (None, 60.0, 100.0),
}
_TABLES = (("default",), ("user", "uid:0"), ("user", "uid:1"), ("members", "lab"), ("group", "lab"), ("group", "all"))
_LIMITS: dict[str, tuple[int, ...]] = {
    "running": (1, 1, 2),
    "slots": (1,),
    "queued": (2, 4),
    "resources.gpu": (1,),
    "resources.ram": (2, 3),
    "resources.rack": (1, 2),
}
_MEMBERS = ((), ("lab",), ("all",), ("lab", "all"))
_TAKEN: tuple[Mapping[str, int | str], ...] = (
    *({"gpu": 1}, {"ram": 2}, {"rack": 1}, {"rack": 1, "lab": 1}, {WHOLE: 1}, {WHOLE: 1}),
    *({"rack": "1@name=b"}, {"lab": "0.5"}),
)
_LEASE_IDS = "vwxy"


class Sharing:
    """Has people share the machine, as far as this story is about that."""

    def __init__(self, seed: int, world: World, token: Callable[[], bytes], often: float = 1.0) -> None:
        """Draw what this story is about; `token` gives another token, and `often` has it be about less of this."""
        self._random = random = Random(f"shares of {seed}")
        self._world = world
        self._token = token
        self.has_rules = random.random() < OFTEN_ABOUT_RULES * often
        self.has_quotas = random.random() < OFTEN_ABOUT_QUOTAS * often
        self.has_leases = world.has_leases = random.random() < OFTEN_ABOUT_LEASES * often
        if self.has_quotas:
            world.allowances.written = self._draws_quotas()
            self._draws_members()

    @property
    def _service(self) -> Service:
        assert self._world.service is not None
        return self._world.service

    def owners(self, others: Sequence[str]) -> Sequence[str]:
        """Give the people who have petitions: several, where quotas or rules are about them."""
        return self._random.choice([OWNERS[:2], OWNERS]) if self.has_rules or self.has_quotas else others

    def themes(self, others: frozenset[str]) -> frozenset[str]:
        """Give what petitions have in common: often groups, where these have rules."""
        return others | {"group"} if self.has_rules else others

    def told(self) -> list[str]:
        """Name what this story is about."""
        known = {"rules": self.has_rules, "quotas": self.has_quotas, "leases": self.has_leases}
        return [name for name, has in known.items() if has]

    def happenings(self) -> dict[Callable[[], None], float]:
        """Give what may happen, and how often it does."""
        found: dict[Callable[[], None], float] = {}
        if self.has_rules:
            found |= {self._sets_group: 6.0}
        if self.has_quotas:
            found |= {self._changes_quotas: 1.5}
        if self.has_leases:
            found |= {self._takes: 7.0, self._gives_back: 1.5, self._extends: 3.0}
        return found

    def boots(self) -> None:
        """Draw what is otherwise when the service starts again."""
        if self.has_quotas and self._random.random() < 0.3:
            self._draws_members()
            self._world.allowances.written = self._draws_quotas()

    # --- groups -------------------------------------------------------------------------------------------------

    def _sets_group(self) -> None:
        random = self._random
        group = random.choice(["rig", "rig", "pair", "any"])
        rules = {name: random.choice(_RULES[name]) for name in random.sample([*_RULES], random.choice([1, 1, 2]))}
        slots = random.choice([1, 2, 3, None])
        self.set_group(group, slots, rules, keeps_slots=random.random() < 0.7)

    def set_group(self, group: str, slots: int | None, rules: dict[str, Any], *, keeps_slots: bool = False) -> None:
        """Have other rules hold."""
        self._service.ask(SetGroup, group, slots, values.encode(rules), keeps_slots=keeps_slots)

    # --- quotas -------------------------------------------------------------------------------------------------

    def _draws_quotas(self) -> Tables:
        random = self._random
        tables = random.sample(_TABLES, random.choice([1, 2, 3]))
        return {table: self._draws_limits() for table in tables}

    def _draws_limits(self) -> Limits:
        random = self._random
        return {name: random.choice(_LIMITS[name]) for name in random.sample([*_LIMITS], random.choice([1, 1, 2]))}

    def _draws_members(self) -> None:
        self._world.allowances.groups = {owner: self._random.choice(_MEMBERS) for owner in OWNERS}

    def _changes_quotas(self) -> None:
        self._service.reload(self._draws_quotas() if self._random.random() < 0.8 else {})

    # --- leases -------------------------------------------------------------------------------------------------

    def _takes(self) -> None:
        random, token = self._random, self._token()
        length, needs = random.choice([None, 5, 60, 400, 4_000]), random.choice(_TAKEN)
        owner, priority = random.choice(OWNERS[:2]), random.choice([0, 0, 1])
        plan = Plan(owner=owner, needs=needs, timeout=length, expect=length, priority=priority)
        self._world.plans[token] = plan
        identity = random.choice(_LEASE_IDS)
        self._world.note("client takes {!r}: {}", identity, plan)
        extras = {"needs": dict(needs), "for": length, "priority": priority, "queue": ExtrasChannel(token)}
        extras["while_attached"] = random.random() < 0.1
        self._service.submit(LEASES, [Item(token, identity, values.encode(extras), None)], owner)

    def _gives_back(self) -> None:
        self._service.ask(ChangeLease, self._random.choice([*_LEASE_IDS, "gpu"]))

    def _extends(self) -> None:
        held = [row.id for row in self._held()] or [*_LEASE_IDS]
        self._service.ask(ChangeLease, self._random.choice(held), self._random.choice([100.0, 5_000.0]))

    def _held(self) -> list[Row]:
        rows = self._world.store.rows_by_seq.values() if self.has_leases else ()
        return [row for row in rows if row.manager == LEASE_MANAGER and row.state in (State.STARTING, State.RUNNING)]

    # --- the end ------------------------------------------------------------------------------------------------

    def holds_nothing_back(self) -> None:
        """Have groups without rules but rates, no quota, and no lease; a service that died may not have kept that."""
        world = self._world
        for group, rules in world.groups.rules.items():
            if rules._replace(rate=None) != NO_RULES:
                others = dict.fromkeys(name for name in _RULES if name != "rate")
                self.set_group(group, world.groups.slots[group], others, keeps_slots=True)
        if world.allowances.tables:
            self._service.reload({})
        for row in self._held():
            self._service.ask(ChangeLease, row.id)


__all__ = ["Sharing"]
