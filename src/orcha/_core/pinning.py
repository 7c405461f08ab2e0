"""Which processors a pinned command has: the names of the devices of `cpu` that it got are their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from orcha._core.devices import Device

PROCESSORS = "cpu"
"""The resource whose devices are a pinned command's processors."""
VARIABLE = "ORCHA_CPUS"
"""The variable that tells a pinned command its processors."""


def processors(names: Collection[str]) -> tuple[int, ...]:
    """Give the numbers of processors; none at all where a name is no such number.

    >>> processors(("0", "3")), processors(("0", "a")), processors(())
    ((0, 3), (), ())
    """
    return tuple(map(int, names)) if all(map(_is_number, names)) else ()


def refusal(devices: Collection[Device] | None, usable: Collection[int]) -> str | None:
    """Give why no command can be pinned where `cpu` is these devices; None where commands can be.

    Args:
        devices: the devices of `cpu`; None where that is an amount.
        usable: the numbers of the processors that the service may use.

    >>> refusal(None, {0, 1})
    'it cannot be pinned, since cpu is an amount here: serve with --resource cpu=0,1, which names the processors'

    """
    named = ",".join(map(str, sorted(usable))) + ("," if len(usable) == 1 else "")  # one name without it is an amount
    cure = f"serve with --resource {PROCESSORS}={named}"
    if devices is None:
        return f"it cannot be pinned, since {PROCESSORS} is an amount here: {cure}, which names the processors"
    for device in devices:
        if not (_is_number(device.name) and int(device.name) in usable):
            return f"it cannot be pinned, since {PROCESSORS}:{device.name} is no processor of the service: {cure}"
    return None


def _is_number(name: str) -> bool:
    """Tell whether this is a number as the system writes it: a processor has one name alone."""
    return name.isascii() and name.isdecimal() and len(name) <= _MAX_NUMBER_DIGITS and str(int(name)) == name


_MAX_NUMBER_DIGITS = 6
"""Digits of the number of a processor: Linux knows some thousands."""

__all__ = ["PROCESSORS", "VARIABLE", "processors", "refusal"]
