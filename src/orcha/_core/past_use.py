"""What owners used before: it counts beside what they have in use now, and less with each half-life."""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orcha.interfaces.needs import Amount

SLOTS = ""
"""Stands for the slots of the service where amounts are given by the names of resources."""
NEGLIGIBLE_SHARE = 1e-6
"""A share below which nothing needs to be known of what an owner used before."""

Seconds = dict[str, float]
"""What was used, by resource: one unit for one second is one. What was used one half-life ago counts half."""


class PastUse(NamedTuple):
    """How what was used before counts, and what is known of it from an earlier start of the service."""

    half_life: float
    """Seconds after which what was used counts half."""
    now: Callable[[], float]
    """Gives the time on the steady clock."""
    kept: Mapping[str, Mapping[str, float]] = {}
    """What each owner had used at the time `at`."""
    at: float = 0.0

    @property
    def window(self) -> float:
        """The seconds by which what was used is divided: 1 is all of something, used always."""
        return self.half_life / log(2)


@lru_cache(16)
def decay(half_life: float, seconds: float) -> tuple[float, float]:
    """Give what is left of what was used before these seconds, as a part of it, and what one unit adds in them.

    It is the same for all owners at one moment, so it is kept.

    >>> decay(60.0, 120.0)[0], round(decay(36_000.0, 60.0)[1])
    (0.25, 60)
    """
    left: float = 2.0 ** (-max(0.0, seconds) / half_life)
    return left, half_life / log(2) * (1.0 - left)


def passed(used: Mapping[str, float], held: Iterable[tuple[str, Amount]], half_life: float, seconds: float) -> Seconds:
    """Give what was used once the owner has held this for `seconds` more.

    >>> passed({"gpu": 8.0}, [], 60.0, 120.0)
    {'gpu': 2.0}
    >>> {name: round(used) for name, used in passed({}, [("", 2)], 36_000.0, 60.0).items()}
    {'': 120}
    """
    left, gained = decay(half_life, seconds)
    result = {name: before * left for name, before in used.items()}
    for name, amount in held:
        if amount and gained:
            result[name] = result.get(name, 0.0) + float(amount) * gained
    return result


__all__ = ["NEGLIGIBLE_SHARE", "SLOTS", "PastUse", "Seconds", "decay", "passed"]
