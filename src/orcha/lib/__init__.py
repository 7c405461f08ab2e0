"""Managers: a plugin's policy on the service's side, and the way to a service on the client's."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha.lib.client import ClientManager
    from orcha.lib.commands import CommandManager
    from orcha.lib.manager import Manager
    from orcha.lib.processor import Processor
    from orcha.lib.watchdog import WatchdogClientManager, WatchdogManager

_WHERE = {
    "ClientManager": "client",
    "CommandManager": "commands",
    "Manager": "manager",
    "Processor": "processor",
    "WatchdogClientManager": "watchdog",
    "WatchdogManager": "watchdog",
}

__all__ = ["ClientManager", "CommandManager", "Manager", "Processor", "WatchdogClientManager", "WatchdogManager"]


def __getattr__(name: str) -> object:
    """Import a class when it is first asked for: a client needs no more than its own."""
    if name not in _WHERE:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value = getattr(import_module(f"orcha.lib.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
