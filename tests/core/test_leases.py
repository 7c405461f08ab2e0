"""Leases: their length is changed by people, and counts more than their message."""

from __future__ import annotations

from orcha._core import transitions
from orcha._core.petitions import Petitions
from orcha._core.record import Record


def test_an_extended_lease_keeps_its_length_until_it_ends():
    petitions, record = Petitions(), Record(7, b"", "a", "leases", "me", b"", None, 0.0)
    record.timeout = record.expect = 60.0
    transitions.lease.extend(petitions, record, 30.5)
    assert (record.timeout, record.expect) == (90.5, 90.5)
    assert petitions.changes.decided == {("lease", "7"): "90.5"}
    transitions.lease.set_length(record, 5.0)
    assert (record.timeout, record.expect) == (5.0, 5.0)
    transitions.lease.forget_length(petitions, 7)
    assert petitions.changes.decided == {("lease", "7"): None}
