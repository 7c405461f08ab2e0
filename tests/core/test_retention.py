"""What is forgotten so that output has room, and when the audit is looked at."""

from __future__ import annotations

import pytest

from orcha._core.retention import AUDIT_ENTRIES_PER_LOOK, AUDIT_INTERVAL_SECONDS, AuditLooks, beyond

SIZES = {b"a": 10, b"b": 20, b"c": 30, b"live": 40}
ENDED = [(1, b"a"), (2, b"none"), (3, b"b"), (4, b"b"), (5, b"c")]


@pytest.mark.parametrize(
    ("most", "forgotten"),
    [(100, []), (99, [1]), (90, [1]), (89, [1, 3]), (70, [1, 3]), (69, [1, 3, 4, 5]), (0, [1, 3, 4, 5])],
)
def test_the_oldest_with_output_are_forgotten_until_the_rest_has_room(most, forgotten):
    assert beyond(SIZES, ENDED, most) == forgotten


def test_a_look_at_the_audit_is_due_after_a_time_and_for_each_so_many_new_entries():
    looks, many = AuditLooks(), AUDIT_ENTRIES_PER_LOOK
    assert looks.is_due(0, 1.0)
    assert not looks.is_due(many - 1, 2.0)
    assert looks.is_due(3 * many + 1, 3.0)
    for _ in range(2):
        assert looks.is_behind(3 * many + 1)
        assert looks.is_due(3 * many + 1, 3.0)
    assert not looks.is_behind(3 * many + 1)
    assert not looks.is_due(3 * many + 1, 3.0 + AUDIT_INTERVAL_SECONDS - 1)
    assert looks.is_due(3 * many + 1, 3.0 + AUDIT_INTERVAL_SECONDS)
    assert looks.is_due(4 * many + 1, 4.0 + AUDIT_INTERVAL_SECONDS), "what the look in between saw is not new"
