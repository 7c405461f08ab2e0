"""The resources of a machine: processors, memory, graphics processors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orcha._core.device_variables import GPU
from orcha._service import gpus

if TYPE_CHECKING:
    from orcha._core.inventory import Stock


def detected() -> dict[str, Stock]:
    """Give the processors that this process may use, the bytes of memory, and NVIDIA's graphics processors."""
    found: dict[str, Stock] = {
        "cpu": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    devices = gpus.find()
    return found | {GPU: devices} if devices else found


__all__ = ["detected"]
