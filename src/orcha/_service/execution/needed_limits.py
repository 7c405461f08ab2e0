"""Limits of a command that follow from what it needs: memory and processors, where a cgroup can hold them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from orcha._supervisor.cgroups import CgroupPlaces
from orcha.interfaces.needs import read

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY, PROCESSORS = "memory", "cpu"
"""Resources that are limits too: bytes, and processors."""
MIN_LIMIT_BYTES = 1 << 20
"""Less memory than that starts no program: a service that counts `memory` in other units means no bytes."""


class NeededLimits(NamedTuple):
    """Limits of a command that names none itself."""

    memory: int | None = None
    """Bytes."""
    cpu_share: int | None = None
    """Percent of one processor."""


NO_LIMITS = NeededLimits()


@cache
def _available() -> frozenset[str]:
    """Give the limits that can be set here, as the processes that watch over commands find them."""
    return CgroupPlaces().available


def limits_of(needs: Mapping[str, int | str]) -> NeededLimits:
    """Give the limits that follow from what a command needs."""
    memory, processors = needs.get(MEMORY), needs.get(PROCESSORS)
    if memory is None and processors is None:
        return NO_LIMITS
    available = _available()
    size = 0 if memory is None else int(read(memory).amount)
    share = 0 if processors is None else int(read(processors).amount * 100)
    return NeededLimits(
        size if size >= MIN_LIMIT_BYTES and "memory" in available else None,
        max(1, share) if processors is not None and "cpu_share" in available else None,
    )


__all__ = ["NO_LIMITS", "NeededLimits", "limits_of"]
