"""The built-in managers are known to the service by the names under which petitions are stored."""

from __future__ import annotations

from orcha._service.hooks.managers import name_of
from orcha.interfaces.built_in import COMMAND_MANAGER, WATCHDOG_MANAGER
from orcha.lib import WatchdogManager
from orcha.lib.commands import CommandManager


class OwnCommands(CommandManager):
    """A plugin's, whose hooks may take as long as they like."""


def test_databases_name_them_as_they_always_did():
    assert name_of(CommandManager()) == COMMAND_MANAGER == "orcha.lib.commands:CommandManager"
    assert name_of(WatchdogManager()) == WATCHDOG_MANAGER == "orcha.lib.watchdog:WatchdogManager"


def test_a_plugins_class_that_is_derived_from_one_is_a_plugins():
    assert name_of(OwnCommands()) == f"{__name__}:OwnCommands"
