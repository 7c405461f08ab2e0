"""Which groups there are, and what is said of one that there is not."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Slots = Mapping[str, int | None]
    """How many petitions of each group may run at once; None for any number."""


def declared(kept: Slots, given: Slots, forgotten: Collection[str]) -> dict[str, int | None]:
    """Give the groups there are: those that were set before, as they are set now where they are.

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


def unknown(name: str, known: Collection[str]) -> str:
    """Say that there is no such group, and what helps.

    >>> unknown("rgi", ["rig"])
    'there is no group rgi: did you mean rig? Else serve with --slots rgi=N, or rgi=none for any number at once'
    >>> unknown("a", [])
    'there is no group a: serve with --slots a=N, or a=none for any number at once'
    """
    close = get_close_matches(name, known, 1)
    cure = f"did you mean {close[0]}? Else serve" if close else "serve"
    return f"there is no group {name}: {cure} with --slots {name}=N, or {name}=none for any number at once"


__all__ = ["declared", "spelled", "unknown"]
