"""Orcha, a job service for shared machines that you program in Python.

Every public name is offered here too, and imported when it is first asked for.
"""

from __future__ import annotations

from orcha import properties

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha.bin.main import main
    from orcha.exceptions import (
        AuthenticationError,
        ConditionFailed,
        ConfigurationError,
        EndpointInUseError,
        ManagerShutdownError,
        OrchaConnectionError,
        OrchaError,
        RejectedError,
        StaleCall,
    )
    from orcha.interfaces import (
        BROKEN_STATES,
        RUNNING_STATES,
        STOPPED_STATES,
        ActionCallbackT,
        CommandPetition,
        EmptyPetition,
        Message,
        P,
        Petition,
        PetitionState,
        Policy,
        ProcT,
        Retry,
        ServiceWrapper,
        SignalingPetition,
        WatchdogPetition,
        When,
        register_service,
        start_service,
    )
    from orcha.lib import ClientManager, CommandManager, Manager, Processor, WatchdogClientManager, WatchdogManager
    from orcha.plugins import B, BasePlugin, ListPlugin, WatchdogPlugin, query_plugins
    from orcha.utils import LOGGER_NAME, get_logger, kill_proc_tree, run_command, version

    authkey: bytes | None
    extras: dict[str, Any]
    listen_address: str
    port: int

_SETTINGS = ("authkey", "extras", "listen_address", "port")
_HOMES = {
    "bin.main": ("main",),
    "exceptions": (
        "AuthenticationError",
        "ConditionFailed",
        "ConfigurationError",
        "EndpointInUseError",
        "ManagerShutdownError",
        "OrchaConnectionError",
        "OrchaError",
        "RejectedError",
        "StaleCall",
    ),
    "interfaces": (
        "BROKEN_STATES",
        "RUNNING_STATES",
        "STOPPED_STATES",
        "ActionCallbackT",
        "CommandPetition",
        "EmptyPetition",
        "Message",
        "P",
        "Petition",
        "PetitionState",
        "Policy",
        "ProcT",
        "Retry",
        "ServiceWrapper",
        "SignalingPetition",
        "WatchdogPetition",
        "When",
        "register_service",
        "start_service",
    ),
    "lib": ("ClientManager", "CommandManager", "Manager", "Processor", "WatchdogClientManager", "WatchdogManager"),
    "plugins": ("B", "BasePlugin", "ListPlugin", "WatchdogPlugin", "query_plugins"),
    "utils": ("LOGGER_NAME", "get_logger", "kill_proc_tree", "run_command", "version"),
}


def __getattr__(name: str) -> object:
    """Import the module a public name lives in; a setting is read from `orcha.properties` each time."""
    if name in _SETTINGS:
        return getattr(properties, name)
    for home, names in _HOMES.items():
        if name in names:
            module = __import__(f"{__name__}.{home}", fromlist=[name])
            value: object = getattr(module, name)
            globals()[name] = value
            return value
    error = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(error)


def __dir__() -> list[str]:
    """Name what can be imported from here."""
    return sorted({*globals(), *__all__})


__all__ = [
    "BROKEN_STATES",
    "LOGGER_NAME",
    "RUNNING_STATES",
    "STOPPED_STATES",
    "ActionCallbackT",
    "AuthenticationError",
    "B",
    "BasePlugin",
    "ClientManager",
    "CommandManager",
    "CommandPetition",
    "ConditionFailed",
    "ConfigurationError",
    "EmptyPetition",
    "EndpointInUseError",
    "ListPlugin",
    "Manager",
    "ManagerShutdownError",
    "Message",
    "OrchaConnectionError",
    "OrchaError",
    "P",
    "Petition",
    "PetitionState",
    "Policy",
    "ProcT",
    "Processor",
    "RejectedError",
    "Retry",
    "ServiceWrapper",
    "SignalingPetition",
    "StaleCall",
    "WatchdogClientManager",
    "WatchdogManager",
    "WatchdogPetition",
    "WatchdogPlugin",
    "When",
    "authkey",
    "extras",
    "get_logger",
    "kill_proc_tree",
    "listen_address",
    "main",
    "port",
    "query_plugins",
    "register_service",
    "run_command",
    "start_service",
    "version",
]
