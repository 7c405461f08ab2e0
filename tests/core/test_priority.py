"""Priorities as they are kept."""

from __future__ import annotations

import math
from enum import IntEnum

import pytest

from orcha._core.waiting_queue import checked_priority


class Level(IntEnum):
    LOW = 7


class Weight(float):
    pass


@pytest.mark.parametrize(
    ("given_priority", "kept"),
    [
        (0, 0),
        (-5, -5),
        (True, 1),
        (False, 0),
        (Level.LOW, 7),
        (Weight(2.5), 2.5),
        (1.5, 1.5),
        (-0.0, -0.0),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (2**63 - 1, 2**63 - 1),
        (2**63, 2**63 - 1),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, -(2**63)),
        (1e300, 1e300),
    ],
)
def test_a_priority_is_kept_as_a_plain_number(given_priority, kept):
    result = checked_priority(given_priority)
    assert result == kept
    assert type(result) in {int, float}
    assert type(result) is type(kept)


def test_a_priority_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="not a number"):
        checked_priority(math.nan)


@pytest.mark.parametrize("priority", [None, "1", 1j, [], object()])
def test_a_priority_of_another_type_is_refused_by_its_name(priority):
    with pytest.raises(TypeError, match=f"is a {type(priority).__name__}, not an int or a float"):
        checked_priority(priority)
