"""Whether what a petition needs is free, and whether another petition that waits for it comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.record import Key
    from orcha.interfaces.needs import Amount


def beyond(needs: Mapping[str, Amount], capacities: Mapping[str, Amount]) -> str | None:
    """Name the first resource whose whole capacity is less than what is needed.

    >>> beyond({"gpu": 1, "ram_gb": 65}, {"gpu": 2, "ram_gb": 64}), beyond({"gpu": 1}, {"gpu": 1})
    ('ram_gb', None)
    """
    return next((name for name, amount in needs.items() if amount > capacities.get(name, 0)), None)


def lacking(
    needs: Mapping[str, Amount], free: Mapping[str, Amount], firsts: Mapping[str, Key | None], place: Key
) -> list[str]:
    """Name the resources for which a petition at `place` has to wait.

    Args:
        needs: the units of each resource that the petition needs.
        free: how much of each of those is free.
        firsts: who waits for each of those at the head of its line: later ones may not pass.
        place: its place in the order of the waiting.

    >>> lacking({"gpu": 1, "ram_gb": 8}, {"gpu": 1, "ram_gb": 4}, {"gpu": None, "ram_gb": None}, (0, 7, "seven"))
    ['ram_gb']
    >>> lacking({"gpu": 1}, {"gpu": 1}, {"gpu": (0, 3, "three")}, (0, 7, "seven"))
    ['gpu']
    """
    found = []
    for name, amount in needs.items():
        first = firsts[name]
        if amount > free[name] or (first is not None and first < place):
            found.append(name)
    return found


__all__ = ["beyond", "lacking"]
