"""What people decide is kept at once, and before they are answered, though no petition changes with it."""

from __future__ import annotations

import pytest

from orcha._core.changes import ArrayStop, Changes, NewFiring, Schedule
from orcha._core.state import Missed, Outcome, Overlap
from orcha._service import transaction

SCHEDULE = Schedule("tick", "me", "m", "* * * * *", None, Overlap.SKIP, Missed.SKIP, b"", 0.0, 0.0)
DECISIONS = {
    "priorities": {1: 5},
    "pauses": {"all": True},
    "slots": {"rig": 1},
    "schedules": {"tick": SCHEDULE},
    "firings": [NewFiring("tick", 60.0, 60.0, note="skipped")],
    "array_ends": {(1, 0): b"\x01"},
    "array_stops": {1: ArrayStop(Outcome.CANCELLED, 130, "no more")},
    "decided": {("drained", "gpu"): "broken"},
}


@pytest.mark.parametrize("kind", DECISIONS)
def test_a_decision_alone_is_something_to_keep_and_waits_for_nothing(kind):
    changes = Changes(**{kind: DECISIONS[kind]})
    assert changes
    assert changes.declares
    assert not transaction._are_flags_alone(changes)
