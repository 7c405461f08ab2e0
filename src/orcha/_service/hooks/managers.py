"""The managers of one endpoint, and the running petitions of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._service.hooks.visit import CALL
from orcha.interfaces.built_in import BUILT_IN_MANAGERS, COMMAND_MANAGER, COMMANDS, LEASES, WATCHDOG

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orcha._core.conditions.terms import Term
    from orcha._core.record import Record
    from orcha._service.hooks.visit import Visit


_BESIDE = (LEASES, WATCHDOG)
"""Managers that are always served too; beside them one named manager's messages need not name it."""


class Served(NamedTuple):
    """One manager of an endpoint."""

    plugin: str | None
    """The name that messages for it carry; None where it is the only one and has none."""
    name: str
    """``module:qualname`` of its class: what is stored with its petitions."""
    manager: Any


def name_of(manager: Any) -> str:
    """Give the name under which a manager's petitions are stored: ``module:qualname`` of its class, as a rule."""
    kind = type(manager)
    stored_as: str | None = vars(kind).get("_stored_as")  # its own: a plugin may derive its class from a built-in one
    return f"{kind.__module__}:{kind.__qualname__}" if stored_as is None else stored_as


def alone(manager: Any) -> Served:
    """Give the only manager of an endpoint."""
    name = name_of(manager)
    return Served(COMMANDS if name == COMMAND_MANAGER else manager.plugin_name, name, manager)


class Managers:
    """The managers of one endpoint. Which one a petition is of is decided when its message comes, and stored."""

    def __init__(self, served: Sequence[Served]) -> None:
        """Take at least one; one alone takes all messages."""
        self.served = tuple(served)
        self.by_name = {each.name: each.manager for each in served}
        """The managers, by the ``module:qualname`` that is stored with their petitions."""
        self.asked = frozenset(each.name for each in served if callable(getattr(each.manager, "authorize", None)))
        """The managers that are asked whether a client may do something to their petitions."""
        self._by_plugin = {each.plugin: each.name for each in served}
        self._by_its_name = WATCHDOG in self._by_plugin
        self._ours = BUILT_IN_MANAGERS & self.by_name.keys()
        self.have_ours = bool(self._ours)
        """Whether there is a built-in manager."""
        self.are_ours = len(self._ours) == len(self.by_name)
        """Whether the built-in managers are the only ones."""
        self.broken: Mapping[str, str] = {}
        """Why a plugin's manager is not served, by its name."""

    @property
    def are_several(self) -> bool:
        """Whether messages have to say whose they are."""
        return len(self.by_name.keys() - {self._by_plugin.get(name) for name in _BESIDE}) > 1

    @property
    def names(self) -> list[str]:
        """``module:qualname`` of each."""
        return list(self.by_name)

    @property
    def slots(self) -> int:
        """How many commands may run at once; 1 where commands are not served, and nobody knows of a limit."""
        commands = self.by_name.get(COMMAND_MANAGER)
        return 1 if commands is None else int(commands.most)

    @property
    def slots_of(self) -> Mapping[str, int | None]:
        """How many petitions of each manager may run at once, where that is known: of the manager of commands."""
        return {COMMAND_MANAGER: self.slots} if COMMAND_MANAGER in self.by_name else {}

    def named_values(self) -> tuple[list[Term], dict[str, Callable[..., Any]]]:
        """Give the names that plugins add to conditions in text, and their functions; of two the first one counts."""
        named: dict[str, tuple[Term, Callable[..., Any]]] = {}
        for each in reversed(self.served):
            named |= getattr(each.manager, "_named_values", {})
        return [term for term, _ in named.values()], {name: function for name, (_, function) in named.items()}

    def serves(self, name: str) -> bool:
        """Tell whether petitions of this ``module:qualname`` are served here."""
        return name in self.by_name

    def name_of(self, plugin: str) -> str | None:
        """Give the ``module:qualname`` of a plugin's manager."""
        return self._by_plugin.get(plugin)

    def named(self, name: str) -> Any:
        """Give the manager of this ``module:qualname``, which is served here."""
        return self.by_name[name]

    def of(self, record: Record) -> Any:
        """Give the manager of a petition that is served here."""
        return self.by_name[record.manager]

    def answer_at_once(self, visit: Visit) -> bool:
        """Tell whether a visit is about petitions of the built-in managers alone, whose hooks never take long."""
        ours = self._ours
        if not ours:
            return False
        are_all = self.are_ours
        if any(hook is CALL or not (are_all or about.manager in ours) for hook, about, _ in visit.calls):
            return False
        return are_all or (
            all(record.manager in ours for record in visit.round.waiting)
            and all(record.manager in ours for record in visit.round.sample)
        )

    def choose(self, plugin: str | None, identity: str | int) -> tuple[str | None, str]:
        """Give the name of the manager a message is for, or None and why there is none."""
        if not self._by_its_name:
            return self._only(plugin)
        if plugin is None and identity == WATCHDOG:
            plugin = WATCHDOG
        elif plugin is None and not self.are_several:
            plugin = self.served[0].plugin
        name = self._by_plugin.get(plugin)
        if name is not None:
            return name, ""
        others = ", ".join(sorted(str(each.plugin) for each in self.served if each.plugin not in _BESIDE))
        if plugin is None:
            return None, f"the message names no plugin, and this service serves several: {others}"
        why = f": {self.broken[plugin]}" if plugin in self.broken else ""
        return None, f"this service does not serve {plugin!r}{why}; it serves {others}"

    def _only(self, plugin: str | None) -> tuple[str | None, str]:
        """Let a plugin's manager take all but commands: its clients may be another plugin's, or no plugin's at all."""
        known, name, _ = self.served[0]
        if plugin is None or plugin == known or COMMANDS not in {plugin, known}:
            return name, ""
        return None, f"this service serves {known or name.rpartition(':')[2]} alone, not {plugin!r}"
