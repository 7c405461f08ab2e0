"""Whether there is ever as much as a petition needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha.interfaces.needs import Amount


def beyond(needs: Mapping[str, Amount], capacities: Mapping[str, Amount]) -> str | None:
    """Name the first resource whose whole capacity is less than what is needed.

    >>> beyond({"gpu": 1, "ram_gb": 65}, {"gpu": 2, "ram_gb": 64}), beyond({"gpu": 1}, {"gpu": 1})
    ('ram_gb', None)
    """
    return next((name for name, amount in needs.items() if amount > capacities.get(name, 0)), None)


__all__ = ["beyond"]
