"""Which processors a pinned command has, and when none can be pinned."""

from __future__ import annotations

import pytest

from orcha._core.devices import Device
from orcha._core.pinning import processors, refusal


@pytest.mark.parametrize(
    ("names", "numbers"),
    [(("0", "12"), (0, 12)), ((), ()), (("0", "a"), ()), (("00",), ()), (("²",), ()), (("9" * 4400,), ())],
)
def test_names_of_processors_are_their_numbers(names, numbers):
    assert processors(names) == numbers


@pytest.mark.parametrize(
    ("devices", "usable", "said"),
    [
        ((Device("0"), Device("2")), {0, 1, 2}, None),
        (None, {0, 3}, "cpu is an amount here: serve with --resource cpu=0,3, which names the processors"),
        (None, {3}, "cpu is an amount here: serve with --resource cpu=3,, which names the processors"),
        ((Device("0"), Device("a")), {0, 1}, "cpu:a is no processor of the service: serve with --resource cpu=0,1"),
        ((Device("0"), Device("2")), {0, 1}, "cpu:2 is no processor of the service: serve with --resource cpu=0,1"),
    ],
)
def test_commands_are_pinned_where_all_devices_are_processors_of_the_service(devices, usable, said):
    reason = refusal(devices, usable)
    assert reason == (said and f"it cannot be pinned, since {said}")
