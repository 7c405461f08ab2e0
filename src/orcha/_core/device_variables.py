"""How a command learns which devices it got: by variables of its environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orcha._core.devices import Devices

GPU = "gpu"
"""The resource whose devices are also told to what computes on them."""
_OF_GPUS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""The order in which the driver's tools count the devices; by itself CUDA counts the fastest device first."""
TAKEN = frozenset(
    f"ORCHA_{name}"
    for name in (
        *(
            "ABANDON_AFTER",
            "ATTEMPT",
            "COMMANDS",
            "CPUS",
            "CRASH",
            "DETACH_KEYS",
            "DETECT",
            "ENV_ALLOW",
            "HOLD_STARTING",
            "HOME",
        ),
        *("HOOK_DEADLINE", "ID", "INDEX", "ITEM", "KEEP_AGE", "KEEP_COMMANDS", "KEEP_COUNT", "KEEP_INPUT"),
        *(
            "KEEP_LEAST",
            "KEY_FILE",
            "LEASE",
            "LISTEN_ADDRESS",
            "LOG_RUNS",
            "PORT",
            "REACHED_AS",
            "RECONNECT",
            "RESOURCES",
        ),
        *("SHARE", "SHIM_SILENCE", "SLOTS", "STOP_GRACE", "STORE"),
    )
)
"""Variables that mean something else."""


def variable(resource: str) -> str:
    """Name the variable of a resource.

    >>> variable("gpu"), variable("test rig-2").removeprefix("ORCHA")
    ('ORCHA_GPU', '_TEST_RIG_2')
    """
    return f"ORCHA_{re.sub(r'[^A-Z0-9]', '_', resource.upper())}"


def variables(devices: Devices) -> dict[str, str]:
    """Give the variables of a command that has these devices.

    >>> for name, value in variables({"gpu": ("0", "2")}).items():
    ...     print(name, value)
    ORCHA_GPU 0,2
    CUDA_VISIBLE_DEVICES 0,2
    ROCR_VISIBLE_DEVICES 0,2
    CUDA_DEVICE_ORDER PCI_BUS_ID
    """
    found = {variable(resource): ",".join(names) for resource, names in devices.items()}
    return found | dict.fromkeys(_OF_GPUS, found["ORCHA_GPU"]) | _ORDER if GPU in devices else found


__all__ = ["TAKEN", "variable", "variables"]
