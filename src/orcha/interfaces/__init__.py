"""What plugins and the service agree on: messages, petitions, and how a service is started.

Each name is imported when it is first asked for, so that a client does not pay for the service's half.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha.interfaces.command import CommandPetition, Retry
    from orcha.interfaces.devices import devices_of
    from orcha.interfaces.message import Message
    from orcha.interfaces.petition import ActionCallbackT, P, Petition, ProcT
    from orcha.interfaces.policy import Policy
    from orcha.interfaces.ready_made import EmptyPetition, SignalingPetition, WatchdogPetition
    from orcha.interfaces.service import ServiceWrapper, register_service, start_service
    from orcha.interfaces.state import BROKEN_STATES, RUNNING_STATES, STOPPED_STATES, PetitionState
    from orcha.interfaces.when import When

_HOMES = {
    "ActionCallbackT": "petition",
    "BROKEN_STATES": "state",
    "CommandPetition": "command",
    "EmptyPetition": "ready_made",
    "Message": "message",
    "P": "petition",
    "Petition": "petition",
    "PetitionState": "state",
    "Policy": "policy",
    "ProcT": "petition",
    "RUNNING_STATES": "state",
    "Retry": "command",
    "STOPPED_STATES": "state",
    "ServiceWrapper": "service",
    "SignalingPetition": "ready_made",
    "WatchdogPetition": "ready_made",
    "When": "when",
    "devices_of": "devices",
    "register_service": "service",
    "start_service": "service",
}


def __getattr__(name: str) -> object:
    """Import the module a public name lives in."""
    home = _HOMES.get(name)
    if home is None:
        error = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(error)
    module = __import__(f"{__name__}.{home}", fromlist=[name])
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be imported from here."""
    return sorted({*globals(), *_HOMES})


__all__ = [
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
    "devices_of",
    "register_service",
    "start_service",
]
