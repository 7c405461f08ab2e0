"""Leases: their length is changed by people, and counts more than their message."""

from __future__ import annotations

from orcha._core import transitions
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.record import Record
from orcha._store.memory import MemoryStore


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


def test_what_starts_as_soon_as_it_is_accepted_has_begun_when_its_row_says_so():
    """Else a lease would end sooner after a restart of the service than before."""
    petitions, record = Petitions(), Record(1, b"t", "a", "leases", "me", b"t", b"", 5.0)
    assert transitions.submit.receive(petitions, record) is None
    transitions.submit.accept(petitions, record, Moment(12.0, 12.0), start=True, new_channel=True)
    store = MemoryStore()
    store.begin(nonce=1, boot_id="boot", uid=0, now=0.0)
    store.commit(petitions.take_changes())
    assert record.started == store.rows([1])[0].started
