"""What people decide of resources while the service runs, kept over its restarts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orcha._configuration.resource_texts import read_written, written
from orcha._core.inventory import Drain

if TYPE_CHECKING:
    from orcha._core.admission import Admission
    from orcha._core.inventory import Stock
    from orcha._core.petitions import Petitions
    from orcha._service.lifecycle.settings import Settings
    from orcha._store.contract import Store

_SET, _GIVEN, _DRAINED = "resource", "resource at the start", "drained"
"""Kinds of what is kept: a resource as it was set, as the service was started with it, and what is drained of it."""


class Stocktaking:
    """Changes what there is of resources, and keeps that; the engine thread's."""

    def __init__(self, admission: Admission, petitions: Petitions, store: Store, settings: Settings) -> None:
        """Have the resources of the settings, as the service was started; `load` looks what was decided before."""
        self._resources = admission.resources
        self._petitions = petitions
        self._store = store
        self._settings = settings
        self._set_by_people: set[str] = set()

    def load(self) -> None:
        """Take over what was set and drained.

        A resource stays as it was set until it is set anew or unset: by people, or by a start that says something else
        of it than the start before. What a configuration file says of it ends nothing that people have set.
        """
        stated = self._settings.resources.items()
        given = {name: written(stock) for name, stock in stated if name not in self._settings.from_files}
        before, was_set = self._store.decided(_GIVEN), self._store.decided(_SET)
        for name in {*given, *before, *was_set}:
            if given.get(name) != before.get(name):
                self._petitions.keep_decided(_GIVEN, name, given.get(name))
                if name in was_set:
                    self._petitions.keep_decided(_SET, name, None)
            elif name in was_set:
                self._set_by_people.add(name)
                self._resources.inventory.set(name, _read(name, was_set[name]))
        for text in self._store.decided(_DRAINED).values():
            kept = json.loads(text)
            drain = Drain(kept["why"], kept["who"], kept["since"])
            self._resources.inventory.drain(kept["resource"], kept["device"], drain)

    def set(self, resource: str, stock: Stock | None) -> None:
        """Set the amount or the devices of a resource; None removes the resource."""
        self._set_by_people.add(resource)
        self._resources.inventory.set(resource, stock)
        self._petitions.keep_decided(_SET, resource, "" if stock is None else written(stock))
        self._resources.rearrange()

    def unset(self, resource: str) -> bool:
        """Have the configuration hold again for a resource that people have set; tell whether they had."""
        if resource not in self._set_by_people:
            return False
        self._set_by_people.discard(resource)
        self._petitions.keep_decided(_SET, resource, None)
        self._resources.inventory.set(resource, self._settings.resources.get(resource))
        self._resources.rearrange()
        return True

    def configure(self, settings: Settings) -> list[str]:
        """Have other configuration files hold; give the resources of them that people have set otherwise."""
        had, self._settings = self._settings.resources, settings
        changed = {name for name in {*had, *settings.resources} if had.get(name) != settings.resources.get(name)}
        for name in changed - self._set_by_people:
            self._resources.inventory.set(name, settings.resources.get(name))
        if changed:
            self._resources.rearrange()
        return sorted(settings.from_files & self._set_by_people)

    def origin_of(self, resource: str) -> str:
        """Tell where the amount or the devices of a resource come from."""
        if resource in self._set_by_people:
            return "set"
        if resource in self._settings.from_files:
            return self._settings.configured.origin("resources", resource) or "configuration"
        return "start"

    def drain(self, resource: str, device: str | None, drain: Drain | None) -> None:
        """Have nothing placed on a device, or on anything of a resource; or with None, things placed there again."""
        self._resources.inventory.drain(resource, device, drain)
        kept = None if drain is None else json.dumps({"resource": resource, "device": device, **drain._asdict()})
        self._petitions.keep_decided(_DRAINED, json.dumps([resource, device]), kept)
        self._resources.rearrange()


def _read(name: str, text: str) -> Stock | None:
    return read_written(name, text) if text else None


__all__ = ["Stocktaking"]
