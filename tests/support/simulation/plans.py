"""What the petitions of a story ask for, and the plugin that makes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from orcha._core.record import Record
from orcha.interfaces import CommandPetition, Message, Petition, Policy, Retry
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.lib.commands import CommandManager

if TYPE_CHECKING:
    from support.simulation.service import Service

CAPACITY = 2
"""How many petitions of a manager its conditions let run."""
GROUPS: dict[str, int | None] = {"rig": 1, "pair": 2, "any": None}
RESOURCES: dict[str, int | tuple[str, ...]] = {"gpu": 2, "ram": 3, "rack": ("a", "b", "c"), "lab": ("x", "y")}
FLAGS = ("x", "y")
THEMES = (
    "group",
    "needs",
    "once",
    "after",
    "times",
    "when",
    "flag",
    "retry",
    "command",
    "limits",
    "faults",
    "array",
    "schedule",
    "device",
)
"""What petitions of a story may have in common: a story has some of it often, and the rest seldom."""
_NEEDS = ({"gpu": 1}, {"gpu": 1}, {"gpu": 2}, {"gpu": 2}, {"gpu": 1, "ram": 2}, {"ram": 3})
_DEVICES = (
    *({"rack": 1}, {"rack": 1}, {"rack": 2}, {"rack": "0.5"}, {"rack": "1@name=b"}, {"rack": 1, "gpu": 1}),
    *({"rack": 1, "lab": 1}, {"lab": 2, "rack": "1@name=a"}, {"lab": "0.5", "rack": "0.5"}),
)
_TEXTS = ("load(1) < 4", "load(5) >= 4 or running == 0", 'running_in("pair") < 1', "queued > 0 and load(1) < 9")
_RETRIES = (
    Retry(times=1, delay=0),
    Retry(times=1, delay=150, jitter=0),
    Retry(times=2, delay=50),
    Retry(times=3, delay=150, codes=(7,)),
    Retry(times=2, delay=150, timeout=True),
)


_NOT_OF_COMMANDS = (
    *("flag", "converts", "converts_again", "condition_breaks", "on_start", "once", "if_exists"),
    *("after", "after_ok", "if_dependency_fails", "at", "delay", "queue_timeout"),
)
"""Fields of a plan that have their defaults in the plans of arrays and schedules."""


class Plan(NamedTuple):
    """What a petition's plugin does."""

    owner: str = "uid:0"
    priority: float = 0
    flag: str | None = None
    """It may run only while this flag is up."""
    converts: bool = True
    converts_again: bool = True
    condition_breaks: bool = False
    on_start: bool = True
    command: bool = False
    needs: Mapping[str, int | str] = MappingProxyType({})
    group: str | None = None
    on_interrupt: Literal["fail", "rerun", "ask"] = "fail"
    retry: Retry | None = None
    once: str | None = None
    if_exists: Literal["reject", "attach", "replace"] = "replace"
    when: str | None = None
    after: tuple[str, ...] = ()
    after_ok: tuple[str, ...] = ()
    if_dependency_fails: Literal["cancel", "hold", "run"] = "cancel"
    at: float | None = None
    delay: float | None = None
    timeout: float | None = None
    queue_timeout: float | None = None
    preemptible: Literal["pause", "requeue"] | None = None
    expect: float | None = None

    @property
    def length(self) -> float | None:
        """How long it takes, as far as anybody said that."""
        return self.timeout if self.expect is None else self.expect

    def __str__(self) -> str:
        """Name what is not as it is by default."""
        defaults = self._field_defaults
        said = [f"{name}={value!r}" for name, value in self._asdict().items() if value != defaults[name]]
        return ", ".join(said) or "nothing"

    def standing_still(self) -> Plan:
        """Give what a command holds whose place others have."""
        needs = {name: amount for name, amount in self.needs.items() if isinstance(RESOURCES[name], tuple)}
        return self._replace(group=None, needs=needs)

    def of_command(self) -> Plan:
        """Give what of this the manager of commands can do."""
        defaults = self._field_defaults
        return self._replace(command=True, **{name: defaults[name] for name in _NOT_OF_COMMANDS})

    def policy(self) -> Policy:
        """Give the policy of its petition."""
        names = ("on_interrupt", "retry", "once", "if_exists", "when", "if_dependency_fails", "at", "delay", "group")
        given: dict[str, Any] = {
            name: getattr(self, name) for name in (*names, "timeout", "queue_timeout", "preemptible", "expect")
        }
        return Policy(**given, needs=dict(self.needs) or None, after=self.after or None, after_ok=self.after_ok or None)


class Plans:
    """Draws plans for one story."""

    def __init__(
        self, random: Random, themes: frozenset[str], places: Random | None = None, gaps: Random | None = None
    ) -> None:
        """Have what the `themes` name often.

        With `places` commands give theirs to more urgent ones. With `gaps` petitions need more and less of a resource,
        and many say how long they take.
        """
        self._places = places
        self._gaps = gaps
        self._random = random
        self._themes = themes
        self._have_one_priority = random.random() < 0.5 and places is None

    def _has(self, theme: str, often: float = 0.6, seldom: float = 0.04) -> bool:
        return self._random.random() < (often if theme in self._themes else seldom)

    def draw(self, ids: list[str], wall: float) -> Plan:
        """Draw one; it may name some of the `ids`."""
        choose = self._random.choice
        given: dict[str, Any] = {"on_interrupt": choose(["fail", "fail", "rerun", "ask"])}
        if not self._have_one_priority:
            given["priority"] = choose([0, 0, 1, 2, -1.5, math.inf, -math.inf])
        if self._has("flag"):
            given["flag"] = choose(FLAGS)
        if self._has("group"):
            given["group"] = choose(["rig", "rig", "pair", "any"])
        if self._has("needs"):
            given["needs"] = choose(_NEEDS)
        if self._has("device", seldom=0.02):
            given["needs"] = choose(_DEVICES)
        if self._has("once"):
            given["once"] = choose(["nightly", "hourly"])
            given["if_exists"] = choose(["replace", "replace", "reject", "attach"])
        if self._has("when"):
            given["when"] = choose(_TEXTS)
        if self._has("retry"):
            given["retry"] = choose(_RETRIES)
        if self._has("command"):
            given["command"] = True
        return Plan(**given | self._gives() | self._takes(), **self._waits(ids, wall), **self._fails())

    def _gives(self) -> dict[str, Any]:
        """Draw whether it gives its place to more urgent ones."""
        if self._places is None:
            return {}
        return {"command": True, "preemptible": self._places.choice([None, "pause", "pause", "requeue"])}

    def _takes(self) -> dict[str, Any]:
        """Draw what it needs of a resource, and for how long."""
        if self._gaps is None or self._gaps.random() < 0.2:
            return {}
        needs = self._gaps.choice([{"ram": 1}, {"ram": 1}, {"ram": 2}, {"ram": 3}, {"gpu": 1}, {"gpu": 2}])
        return {"needs": needs, "expect": self._gaps.choice([None, 5, 30, 300, 300]), "group": None}

    def _waits(self, ids: list[str], wall: float) -> dict[str, Any]:
        """Draw what it waits for beside its turn."""
        choose, given = self._random.choice, dict[str, Any]()
        if self._has("after", seldom=0.02):
            given[choose(["after", "after_ok"])] = tuple(self._random.sample(ids, choose([1, 1, 2])))
            given["if_dependency_fails"] = choose(["cancel", "hold", "run"])
        if self._has("times", seldom=0.02):
            given |= choose([{"at": wall + choose([-5, 5, 60, 4_000])}, {"delay": choose([1, 60])}])
        if self._has("limits", often=0.4):
            given[choose(["timeout", "queue_timeout"])] = choose([5, 50])
        return given

    def _fails(self) -> dict[str, Any]:
        """Draw what of its plugin fails."""
        given: dict[str, Any] = {}
        if self._has("faults", often=0.3, seldom=0.02):
            given[self._random.choice(["converts", "converts_again", "on_start"])] = False
        if self._has("faults", often=0.1, seldom=0.01):
            given["condition_breaks"] = True
        return given


class Commands(CommandManager):
    """The manager of commands, which remembers what was planned for the elements of arrays and for firings."""

    def __init__(self, service: Service) -> None:
        """Have no place of a service; that would be looked for among all installed plugins."""
        self._service_here = service
        self.most = CAPACITY

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make the petition of a message."""
        service = self._service_here
        name = m.extras["env"]["PLAN"]
        plan = service.world.plans[bytes.fromhex(name)]
        record = service.engine.petitions.live.get(str(m.id))
        if isinstance(record, Record) and name.encode() in (record.extras or b""):  # else it has the id of an ended one
            service.world.plans.setdefault(record.token, plan)
            service.world.note_limit(record.token, plan)
        return super().convert_to_petition(m)

    def may_run(self, petition: Petition) -> bool:
        """Tell whether one more may run."""
        del petition
        return len(self._service_here.engine.granted.of_manager(COMMAND_MANAGER)) < CAPACITY


class Plugin:
    """The manager of the petitions of a story: anything may happen while one of its hooks is under way."""

    def __init__(self, service: Service, name: str) -> None:
        """Tell the service of each call."""
        self._service = service
        self._name = name

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make the petition of a plan."""
        service, token = self._service, m.extras["token"]
        world = service.world
        plan = world.plans[token]
        was_converted = token in world.converted
        service.during(f"convert {m.id}")
        if not (plan.converts_again if was_converted else plan.converts):
            return None
        world.converted.add(token)
        world.note_limit(token, plan)
        petition: Petition
        if plan.command:
            petition = CommandPetition(m.id, m.extras["queue"], self._condition(plan), argv=["true"], env={})
        else:
            petition = Petition(m.id, m.extras["queue"], _no_action, self._condition(plan))
        petition.policy = plan.policy()
        petition.priority = plan.priority
        return petition

    def _condition(self, plan: Plan) -> Callable[[Petition], bool]:
        def may_run(petition: Petition) -> bool:
            self._service.during(f"ask {petition.id}")
            if plan.condition_breaks:
                raise ValueError("it breaks")
            return self._service.says_yes(plan, self._name)

        return may_run

    def on_start(self, petition: Petition) -> bool:
        """Answer what the plan says."""
        return self._service.on_start(petition)

    def on_finish(self, petition: Petition) -> bool:
        """Answer yes."""
        self._service.during(f"on_finish {petition.id}")
        return True


def _no_action(*_: object) -> None:
    """Never called: actions are played."""
