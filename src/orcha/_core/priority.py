"""Priorities as they are kept: lower ones go first."""

from __future__ import annotations

import math


def checked_priority(priority: object) -> int | float:
    """Give a priority as it is kept: any number, integers clamped to 64 bits.

    Raises:
        TypeError: it is not an int or a float.
        ValueError: it is not a number (NaN).

    >>> checked_priority(2**70) == 2**63 - 1, checked_priority(-3.5), checked_priority(float("-inf"))
    (True, -3.5, -inf)

    """
    if isinstance(priority, int):
        return max(-(2**63), min(2**63 - 1, int(priority)))
    if isinstance(priority, float):
        if math.isnan(priority):
            message = "its priority is not a number (NaN)"
            raise ValueError(message)
        return float(priority)
    message = f"its priority is a {type(priority).__name__}, not an int or a float"
    raise TypeError(message)
