"""Leases: how long they last, which people may change.

A lease begins and ends as a command does (`command`), though nothing is executed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record

LENGTH = "lease"
"""The kind under which a changed length is kept, by the petition's sequence number."""


def extend(petitions: Petitions, record: Record, seconds: float) -> None:
    """Have a lease that has an end last `seconds` longer, also over a restart of the service."""
    assert record.timeout is not None
    set_length(record, record.timeout + seconds)
    petitions.keep_decided(LENGTH, str(record.seq), repr(record.timeout))


def set_length(record: Record, seconds: float) -> None:
    """Have a lease last `seconds`, whatever its message says."""
    record.timeout = record.expect = seconds


def forget_length(petitions: Petitions, seq: int) -> None:
    """Have a changed length kept no longer."""
    petitions.keep_decided(LENGTH, str(seq), None)
