"""Which groups there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Slots = Mapping[str, int | None]
    """How many petitions of each group may run at once; None for any number."""


def declared(kept: Slots, given: Slots, forgotten: Collection[str]) -> dict[str, int | None]:
    """Give the groups that exist: the groups that were set before, each with what is set now where the two differ.

    >>> declared({"rig": 1, "nightly": 2}, {"rig": 3}, ["nightly"])
    {'rig': 3}
    """
    return {name: count for name, count in {**kept, **given}.items() if name not in forgotten}


def spelled(slots: Slots) -> str:
    """Give groups as they are declared.

    >>> spelled({"rig": 1, "nightly": None})
    'nightly=none, rig=1'
    """
    return ", ".join(f"{name}={'none' if count is None else count}" for name, count in sorted(slots.items()))


__all__ = ["declared", "spelled"]
