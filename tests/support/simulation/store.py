"""The disk of a simulated machine: it may be full, and a service may die before or after it wrote."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from orcha._core.changes import Changes, NewDependency
from orcha._store.contract import KeptDependency, Row
from orcha._store.memory import MemoryStore
from orcha.exceptions.store import StoreFull


class Crash(Exception):
    """The service dies here."""


class SimulatedStore(MemoryStore):
    """The store in memory, which outlives the services of a story."""

    durable = True

    def __init__(self, tell: Callable[[Changes, dict[int, Row | None]], None]) -> None:
        """Tell of each transaction what changed, and the rows that were there before."""
        super().__init__()
        self._tell = tell
        self.is_full = False
        self.dies: str | None = None
        """Where in its next transaction the service dies: `before` or `after` it is kept."""
        self._synced: dict[str, Any] | None = None
        """What is on the disk, where the last transactions are not."""

    @property
    def rows_by_seq(self) -> dict[int, Row]:
        """Every row."""
        return self._rows

    def commit(self, changes: Changes, *, durable: bool = True) -> list[bytes]:
        """Keep all or nothing; die where the story says so."""
        if self.is_full and changes.petitions:
            raise StoreFull("no room")
        if self.dies == "before":
            self.dies = None
            raise Crash
        touched = {*changes.transitions, *changes.flags, *changes.deleted, *(new.seq for new in changes.petitions)}
        before = {seq: self._rows.get(seq) for seq in sorted(touched)}
        if not durable and self._synced is None:
            self._synced = self._copy()
        forgotten = super().commit(changes, durable=durable)
        if durable:
            self._synced = None
        self._tell(changes, before)
        if self.dies == "after":
            self.dies = None
            raise Crash
        return forgotten

    def declared(self, seq: int, dependency: NewDependency) -> KeptDependency:
        """Give a dependency that is to be kept; the petition that is waited for may not be kept yet either."""
        kept = self._kept(seq, dependency)
        return kept if dependency.after in self._rows else kept._replace(has_ended=False)

    def lose_power(self) -> None:
        """Lose what was not written to the disk."""
        synced, self._synced = self._synced, None
        vars(self).update(synced or {})

    def _copy(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if isinstance(value, dict | set)}
        copied: dict[str, Any] = {name: copy.copy(value) for name, value in kept.items()}
        copied |= {"_epoch": self._epoch, "_next_seq": self._next_seq}
        for name in ("_firings", "_array_ends"):
            copied[name] = {key: dict(each) for key, each in copied[name].items()}
        copied["_naming"] = {channel: set(seqs) for channel, seqs in self._naming.items()}
        copied["_channels"] = {channel: copy.copy(known) for channel, known in self._channels.items()}
        for channel in copied["_channels"].values():
            channel.records = dict(channel.records)
        return copied
