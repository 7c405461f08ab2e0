"""API.md: `import orcha` offers every public name, loaded lazily; the deep imports that exist in plugins."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import orcha
from orcha import properties

NAMES = [
    *("Message", "Petition", "PetitionState", "EmptyPetition", "WatchdogPetition", "SignalingPetition", "Policy"),
    *("CommandPetition", "Retry", "CommandManager"),
    *("ActionCallbackT", "ProcT", "P", "ServiceWrapper", "register_service", "start_service"),
    *("STOPPED_STATES", "RUNNING_STATES", "BROKEN_STATES"),
    *("Manager", "ClientManager", "WatchdogManager", "WatchdogClientManager", "Processor"),
    *("BasePlugin", "ListPlugin", "WatchdogPlugin", "query_plugins", "B"),
    *("version", "run_command", "kill_proc_tree", "get_logger", "LOGGER_NAME"),
    *("OrchaError", "RejectedError", "OrchaConnectionError", "ConditionFailed", "ManagerShutdownError"),
    *("main", "authkey", "extras", "port", "listen_address"),
]
DEEP = {
    "orcha.utils.cmd": ["run_command", "kill_proc_tree"],
    "orcha.utils.logging_utils": ["get_logger", "LOGGER_NAME"],
    "orcha.utils.packages": ["version"],
    "orcha.utils": ["run_command", "kill_proc_tree", "get_logger", "LOGGER_NAME", "version"],
    "orcha.plugins": ["BasePlugin", "B", "ListPlugin", "WatchdogPlugin", "query_plugins", "PLUGIN_LIST"],
    "orcha.plugins.lp": ["ListPlugin"],
    "orcha.plugins.base": ["BasePlugin", "B"],
    "orcha.lib": ["Manager", "ClientManager", "WatchdogManager", "WatchdogClientManager", "Processor"],
    "orcha.lib.manager": ["Manager"],
    "orcha.lib.processor": ["Processor"],
    "orcha.interfaces.petition": [
        *("Petition", "EmptyPetition", "WatchdogPetition", "SignalingPetition", "PetitionState"),
        *("ActionCallbackT", "ProcT", "P", "STOPPED_STATES", "RUNNING_STATES", "BROKEN_STATES"),
    ],
    "orcha.interfaces.message": ["Message"],
    "orcha.interfaces.service": ["ServiceWrapper", "register_service", "start_service"],
    "orcha.exceptions": ["ManagerShutdownError"],
    "orcha.exceptions.shutdown": ["ManagerShutdownError"],
    "orcha.bin.main": ["main"],
    "orcha.properties": ["authkey", "extras", "port", "listen_address", "systemd"],
}


@pytest.mark.parametrize("name", NAMES)
def test_the_top_level_offers(name):
    getattr(orcha, name)
    assert name in orcha.__all__
    assert name in dir(orcha)


def test_all_holds_nothing_that_is_not_there():
    assert [name for name in orcha.__all__ if not hasattr(orcha, name)] == []


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in DEEP.items() for name in names])
def test_deep_import(module, name):
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    "module", ["orcha", "orcha.interfaces", "orcha.plugins", "orcha.plugins.embedded", "orcha.utils"]
)
def test_an_unknown_name_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="nonsense"):
        importlib.import_module(module).nonsense  # noqa: B018 - looking is what raises


def test_importing_orcha_loads_no_part_of_it():
    code = "import sys, orcha; print(*sorted(name for name in sys.modules if name.startswith('orcha')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["orcha", "orcha.properties"]


def test_properties_have_their_defaults():
    code = "from orcha import properties as p; print(p.listen_address, p.port, p.authkey, p.systemd, p.extras, sep='|')"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "127.0.0.1|50000|None|False|{}\n"


def test_a_setting_at_the_top_level_is_the_present_one(monkeypatch):
    monkeypatch.setattr(properties, "port", 50_123)
    monkeypatch.setattr(properties, "listen_address", "::1")
    assert (orcha.port, orcha.listen_address) == (50_123, "::1")
    assert orcha.extras is properties.extras
