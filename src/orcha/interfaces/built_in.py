"""The names of the built-in managers: the names in messages, and the names under which petitions are stored.

`orcha.lib` has the classes and names each by its `_stored_as`; the service compares petitions with these names.
Databases hold them, so they stay what they are wherever the classes move.
"""

from __future__ import annotations

COMMANDS = "commands"
"""The plugin's name of the manager of commands."""
COMMAND_MANAGER = "orcha.lib.commands:CommandManager"
"""The manager of commands as it is stored."""
WATCHDOG = "watchdog"
"""The id of what shows that the whole service is alive; where there are several managers, its manager's plugin name."""
WATCHDOG_MANAGER = "orcha.lib.watchdog:WatchdogManager"
"""The manager of watchdog petitions as it is stored."""
LEASES = "leases"
"""The name of the manager of leases in messages."""
LEASE_MANAGER = "orcha.lib.leases:LeaseManager"
"""The manager of leases as it is stored."""
ARRAY_MANAGER = "orcha.arrays"
"""Whose petitions arrays are: no manager's, since only their elements are executed."""
BESIDE_MANAGER = "orcha.beside"
"""Whose slots commands take that run beside another command: none."""
BUILT_IN_MANAGERS = frozenset((COMMAND_MANAGER, LEASE_MANAGER, WATCHDOG_MANAGER))
"""The managers whose hooks are none of a plugin's."""
WITHOUT_HOOKS = frozenset((COMMAND_MANAGER, LEASE_MANAGER))
"""The managers whose on_start and on_finish do nothing, so that nobody calls them for commands and leases."""

__all__ = [
    "ARRAY_MANAGER",
    "BESIDE_MANAGER",
    "BUILT_IN_MANAGERS",
    "COMMANDS",
    "COMMAND_MANAGER",
    "LEASES",
    "LEASE_MANAGER",
    "WATCHDOG",
    "WATCHDOG_MANAGER",
    "WITHOUT_HOOKS",
]
