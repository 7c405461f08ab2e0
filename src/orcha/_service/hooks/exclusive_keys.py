"""Keys of which one petition waits or runs at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.record import Record
from orcha._core.state import State
from orcha._protocol.messages import Verdict
from orcha._service.reports.state_names import state_of
from orcha._service.verbs.cancel import cancelled_before

if TYPE_CHECKING:
    from orcha._service.engine import Engine

    Key = tuple[str, str, str]
    """Manager, owner, and the key they chose: nobody meets another's keys."""

MANY = 10_000
"""Keys beyond which those of ended petitions are dropped."""


class Once:
    """Who has which key. The engine thread's, except `waits`, which the hook thread asks."""

    def __init__(self, engine: Engine) -> None:
        """Belong to an engine."""
        self._engine = engine
        self._holders: dict[Key, int] = {}
        self._older: dict[int, tuple[str, int]] = {}
        self._look_at = MANY
        self.attached: dict[bytes, tuple[bytes, str]] = {}
        """Channel and id of the petition that is there, by the token of one that is attached to it."""

    def load(self) -> None:
        """Take over the keys of what is kept and has not ended."""
        self._holders = {(manager, owner, key): seq for seq, manager, owner, key in self._engine.store.once()}

    def admits(self, record: Record) -> bool:
        """Tell whether a new petition is kept, as far as its key goes; otherwise what becomes of it is decided."""
        policy = getattr(record.petition, "policy", None)
        if record.once is None or policy is None or record.cancellation is not None:
            return True
        key = (record.manager, record.owner, record.once)
        holder = self._live(key)
        if holder is not None and policy.if_exists == "reject":
            state = state_of(holder)
            taken = f"{holder.key!r} has the same key, {record.once!r}, and is {state}"
            reason = f"{taken}: wait for it, attach to it, or replace it"
            self._engine.machine.refuse(record, Verdict.REFUSED, reason)
            return False
        if holder is not None and policy.if_exists == "attach":
            self.attached[record.token] = holder.channel, holder.key
            self._engine.machine.refuse(record, Verdict.KNOWN, "")
            return False
        if holder is not None:
            self._older[record.seq] = (holder.key, holder.seq)
            reason = f"cancelled: {record.key!r} has the same key, {record.once!r}, and replaces it"
            self._engine.machine.cancel(holder, cancelled_before(reason))
        self._holders[key] = record.seq
        if len(self._holders) > self._look_at:
            self._holders = {key: seq for key, seq in self._holders.items() if self._live(key) is not None}
            self._look_at = max(MANY, 2 * len(self._holders))
        return True

    def waits(self, record: Record) -> bool:
        """Tell whether something of the petition that this one replaces is still there."""
        older = self._older.get(record.seq)
        if older is None:
            return False
        if self._engine.granted.holds(*older):
            return True
        self._older.pop(record.seq, None)
        return False

    def _live(self, key: Key) -> Record | None:
        """Give the petition that has a key and has not ended."""
        seq = self._holders.get(key)
        if seq is None:
            return None
        machine = self._engine.machine
        record = machine.records.get(seq)
        if record is not None:
            return None if record.state is State.ENDED else record
        row = next(iter(self._engine.store.rows([seq])), None)
        known = None if row is None else machine.live.get(row.id)
        if row is None or known is None or isinstance(known, Record) or known[1] != seq:
            return None
        return self._engine.find(row.id)
