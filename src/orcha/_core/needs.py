"""Whether what a petition needs is free, and whether another petition that waits for it comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from orcha.interfaces.needs import Amount


def beyond(needs: Mapping[str, Amount], capacities: Mapping[str, Amount]) -> str | None:
    """Name the first resource whose whole capacity is less than what is needed.

    >>> beyond({"gpu": 1, "ram_gb": 65}, {"gpu": 2, "ram_gb": 64}), beyond({"gpu": 1}, {"gpu": 1})
    ('ram_gb', None)
    """
    return next((name for name, amount in needs.items() if amount > capacities.get(name, 0)), None)


def lacking(needs: Mapping[str, Amount], free: Mapping[str, Amount], behind: Container[str]) -> list[str]:
    """Name the resources for which a petition has to wait.

    Args:
        needs: the units of each resource that the petition needs.
        free: how much of each of those is free.
        behind: the resources in whose lines another petition comes first, which later ones may not pass.

    >>> lacking({"gpu": 1, "ram_gb": 8}, {"gpu": 1, "ram_gb": 4}, ())
    ['ram_gb']
    >>> lacking({"gpu": 1}, {"gpu": 1}, {"gpu"})
    ['gpu']
    """
    return [name for name, amount in needs.items() if amount > free[name] or name in behind]


__all__ = ["beyond", "lacking"]
