"""Whether what a petition needs is there: of the service's resources, and before whoever came first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.record import Key


def beyond(needs: Mapping[str, int], capacities: Mapping[str, int]) -> str | None:
    """Name the first resource of which there is never as much as is needed.

    >>> beyond({"gpu": 1, "ram_gb": 65}, {"gpu": 2, "ram_gb": 64}), beyond({"gpu": 1}, {"gpu": 1})
    ('ram_gb', None)
    """
    return next((name for name, amount in needs.items() if amount > capacities.get(name, 0)), None)


def lacking(
    needs: Mapping[str, int], free: Mapping[str, int], firsts: Mapping[str, Key | None], place: Key
) -> list[str]:
    """Name the resources for which a petition at `place` has to wait.

    Args:
        needs: how much of which it needs.
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


def never(name: str, amount: int, capacity: int | None) -> str:
    """Say why nothing that needs so much of a resource can start, and what helps.

    >>> never("gpu", 4, 2)
    'it needs 4 gpu, and the service has 2: need less of it, or serve with --resource gpu=4'
    >>> never("gpu", 1, None)
    'it needs 1 gpu, and the service has no gpu: serve with --resource gpu=1'
    """
    if not capacity:
        return f"it needs {amount} {name}, and the service has no {name}: serve with --resource {name}={amount}"
    return (
        f"it needs {amount} {name}, and the service has {capacity}: "
        f"need less of it, or serve with --resource {name}={amount}"
    )


def waits_for(name: str, amount: int, free: int, capacity: int) -> str:
    """Say for how much of a resource a petition waits; where enough is free, another one is before it.

    >>> waits_for("gpu", 2, 1, 2), waits_for("gpu", 1, 0, 4)
    ('it needs 2 gpu, 1 of 2 is free', 'it needs 1 gpu, 0 of 4 are free')
    >>> waits_for("gpu", 1, 1, 2)
    'it needs 1 gpu, 1 of 2 is free, and another one that waits for it is first'
    """
    text = f"it needs {amount} {name}, {free} of {capacity} {'is' if free == 1 else 'are'} free"
    return text if free < amount else f"{text}, and another one that waits for it is first"


def in_use(slots: int, whose: str) -> str:
    """Say that all slots are in use.

    >>> in_use(4, "the machine"), in_use(1, "its group rig")
    ('4 of 4 slots of the machine are in use', '1 of 1 slots of its group rig is in use')
    >>> in_use(0, "its group rig")
    'its group rig has no slots'
    """
    if not slots:
        return f"{whose} has no slots"
    return f"{slots} of {slots} slots of {whose} {'is' if slots == 1 else 'are'} in use"


__all__ = ["beyond", "in_use", "lacking", "never", "waits_for"]
