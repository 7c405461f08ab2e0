"""What people plan in a story: arrays, schedules, and what there is of resources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from orcha._protocol import values
from orcha._protocol.messages import AddSchedule, ChangeSchedule, DrainResource, FireSchedule, Item, SetResource
from orcha.interfaces.built_in import COMMANDS
from support.asking import ExtrasChannel
from support.simulation.plans import RESOURCES

if TYPE_CHECKING:
    from random import Random

    from support.simulation.plans import Plan
    from support.simulation.service import Service
    from support.simulation.world import World

SCHEDULES = ("nightly", "hourly")
_EXPRESSIONS = ("*/30 * * * *", "0 * * * *", "15 2 * * *", "*/7 * * * *")
_STOCKS = {"gpu": ("1", "2", "3"), "ram": ("2", "4"), "rack": ("a,b,c", "a,b", "b,c,d", "c,"), "lab": ("x,y", "y,z")}
_DRAINED = ("gpu", "ram", "rack", "lab", "rack:a", "rack:b", "rack:b", "rack:c", "lab:x")


class Planning:
    """Has people plan things; `submit` sends a message of a plugin, as a story does."""

    def __init__(self, random: Random, world: World, draw: Callable[[], Plan], token: Callable[[], bytes]) -> None:
        """Draw what is planned: `draw` gives a plan, and `token` another token."""
        self._random = random
        self._world = world
        self._draw = draw
        self._token = token

    def happenings(self, themes: frozenset[str], people: float) -> dict[Callable[[], None], float]:
        """Give what may happen, and how often it does."""
        rarely = 0.1
        arrays, devices = ("array" in themes), ("device" in themes)
        schedules = "schedule" in themes
        return {
            self._submits_array: 3.0 if arrays else rarely,
            self._adds_schedule: 4.0 if schedules else 0.02,
            self._changes_schedule: 1.0 * people if schedules else 0.02,
            self._an_hour_passes: 5.0 if schedules else 0.0,
            self._fires_schedule: 1.0 * people if schedules else 0.02,
            self._sets_resource: 1.0 * people if devices else rarely,
            self._drains: 2.0 * people if devices else rarely,
            self._undrains: 1.5 * people if devices else rarely,
        }

    def many_arrays(self) -> dict[Callable[[], None], float]:
        """Give how often arrays are asked for where commands take the places of others: no plugin's petition does."""
        return {self._submits_array: 15.0}

    @property
    def _service(self) -> Service:
        assert self._world.service is not None
        return self._world.service

    def _fields(self) -> tuple[bytes, dict[str, Any]]:
        """Give the token of a new plan, and the fields of the command that it is about."""
        plan = self._draw().of_command()
        token = self._token()
        self._world.plans[token] = plan
        policy = ("on_interrupt", "group", "when", "timeout", "priority", "preemptible")
        fields = {name: getattr(plan, name) for name in policy if getattr(plan, name) is not None}
        if plan.retry is not None:
            fields["retry"] = {name: value for name, value in asdict(plan.retry).items() if value is not None}
        if plan.needs:
            fields["needs"] = dict(plan.needs)
        return token, {**fields, "argv": ["true"], "env": {"PLAN": token.hex()}}

    # --- arrays -------------------------------------------------------------------------------------------------

    def _submits_array(self) -> None:
        random = self._random
        token, fields = self._fields()
        array: dict[str, Any] = {"range": [1, random.choice([1, 3, 5]), random.choice([1, 2])]}
        for bound in ("at_most", "max_fails"):
            if random.random() < 0.5:
                array[bound] = random.choice([1, 2])
        identity = random.choice("abcdefgh")
        self._world.note(
            "client sends the array {!r}, {}, which asks for {}", identity, array, self._world.plans[token]
        )
        extras = values.encode({**fields, "array": array, "queue": ExtrasChannel(token)})
        self._service.submit(COMMANDS, [Item(token, identity, extras, None)])

    # --- schedules ----------------------------------------------------------------------------------------------

    def _adds_schedule(self) -> None:
        random = self._random
        _, fields = self._fields()
        given = {
            "zone": random.choice(["UTC", "Europe/Berlin"]),
            "overlap": random.choice(["skip", "queue", "replace"]),
            "missed": random.choice(["skip", "last", "all"]),
        }
        name, expression = random.choice(SCHEDULES), random.choice(_EXPRESSIONS)
        self._service.ask(AddSchedule, name, expression, values.encode(fields), COMMANDS, **given)

    def _changes_schedule(self) -> None:
        change = self._random.choice(["pause", "resume", "resume", "remove"])
        self._service.ask(ChangeSchedule, self._random.choice(SCHEDULES), change)

    def _fires_schedule(self) -> None:
        self._service.ask(FireSchedule, self._token(), self._random.choice(SCHEDULES))

    def _an_hour_passes(self) -> None:
        self._world.time.passes(3_600.0)
        self._world.note("an hour passes")

    # --- resources ----------------------------------------------------------------------------------------------

    def _sets_resource(self) -> None:
        name = self._random.choice([*_STOCKS])
        self._service.ask(SetResource, f"{name}={self._random.choice(_STOCKS[name])}")

    def _drains(self) -> None:
        self._service.ask(DrainResource, self._random.choice(_DRAINED), drained=True, why="a fan")

    def _undrains(self) -> None:
        drained = sorted(self._world.stock.drained, key=str)
        if drained:
            self._undrain(*self._random.choice(drained))

    def _undrain(self, name: str, device: str | None) -> None:
        self._service.ask(DrainResource, name if device is None else f"{name}:{device}", drained=False)

    # --- the end ------------------------------------------------------------------------------------------------

    def holds_nothing_back(self) -> None:
        """Have all resources there again, and no schedule; a service that died may not have kept what was asked."""
        for name in SCHEDULES:
            if name in self._service.engine.schedules.planned:
                self._service.ask(ChangeSchedule, name, "remove")
        for name, there in RESOURCES.items():
            if self._world.stock.there[name] != there:
                self._service.ask(SetResource, f"{name}={there if isinstance(there, int) else ','.join(there)}")
        for name, device in sorted(self._world.stock.drained, key=str):
            self._undrain(name, device)
