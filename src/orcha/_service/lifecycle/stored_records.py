"""Live records, made of stored rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.record import Phase, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.devices import Devices
    from orcha._core.petitions import Petitions
    from orcha._core.record import Key
    from orcha._store.contract import Row, Store


def record_of(
    row: Row,
    *,
    group: str | None = None,
    needs: Mapping[str, int | str] | None = None,
    devices: Devices | None = None,
    expect: float | None = None,
) -> Record:
    """Make the live record of a stored petition, not yet converted.

    Its group, needs and expected length, and the devices of its attempt, are given where these are looked up.
    """
    identity: str | int = int(row.id) if row.id_is_int else row.id
    record = Record(row.seq, row.token, identity, row.manager, row.owner, row.channel, row.extras, row.submitted)
    record.priority = row.priority
    record.state = row.state
    record.phase = Phase.WAITING
    record.attempt = row.attempt
    record.on_interrupt = row.on_interrupt
    record.started = row.started
    record.outcome = row.outcome
    record.code = row.code
    record.reason = row.reason
    record.group = group
    record.needs = needs
    record.devices = devices
    record.expect = expect
    return record


class StoredPetitions:
    """Brings back the records of live petitions, where only their keys are in memory."""

    def __init__(self, petitions: Petitions, store: Store) -> None:
        """Load from `store` into `petitions`."""
        self._petitions = petitions
        self._store = store

    def find(self, key: str) -> Record | None:
        """Give the live petition of this str(id), loaded where only its key was in memory."""
        known = self._petitions.live.get(key)
        if known is None or isinstance(known, Record):
            return known
        record = record_of(self._store.rows([known[1]])[0])
        self._petitions.load(record)
        return record

    def load(self, keys: list[Key]) -> None:
        """Load the records of these petitions."""
        if keys:
            for row in self._store.rows([key[1] for key in keys]):
                self._petitions.load(record_of(row))
