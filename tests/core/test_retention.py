"""What is forgotten so that output has room."""

from __future__ import annotations

import pytest

from orcha._core.retention import beyond

SIZES = {b"a": 10, b"b": 20, b"c": 30, b"live": 40}
ENDED = [(1, b"a"), (2, b"none"), (3, b"b"), (4, b"b"), (5, b"c")]


@pytest.mark.parametrize(
    ("most", "forgotten"),
    [(100, []), (99, [1]), (90, [1]), (89, [1, 3]), (70, [1, 3]), (69, [1, 3, 4, 5]), (0, [1, 3, 4, 5])],
)
def test_the_oldest_with_output_are_forgotten_until_the_rest_has_room(most, forgotten):
    assert beyond(SIZES, ENDED, most) == forgotten
