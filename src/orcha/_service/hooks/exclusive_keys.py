"""A new petition whose key another live petition has: refused, attached, or a replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.record import Record
from orcha._core.state import State
from orcha._protocol.messages import Verdict
from orcha._service.reports.state_names import state_of

if TYPE_CHECKING:
    from orcha._core.admission import Admission
    from orcha._core.once_keys import OnceKey
    from orcha._core.petitions import Petitions
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._store.contract import Store


class Once:
    """Decides by the policy of the new petition; the engine thread's."""

    def __init__(self, petitions: Petitions, admission: Admission, stored: StoredPetitions, store: Store) -> None:
        """Decide about `petitions`; `admission` has the keys, `store` and `stored` what is not in memory."""
        self._petitions = petitions
        self._keys = admission.keys
        self._stored = stored
        self._store = store
        self.attached: dict[bytes, tuple[bytes, str]] = {}
        """Channel and id of the petition that is there, by the token of the petition that is attached to it."""

    def admits(self, record: Record) -> bool:
        """Tell whether a new petition is kept, as far as its key goes; otherwise what becomes of it is decided."""
        policy = getattr(record.petition, "policy", None)
        if record.once is None or policy is None or record.cancellation is not None:
            return True
        holder = self._live((record.manager, record.owner, record.once))
        if holder is not None and policy.if_exists == "reject":
            state = state_of(holder)
            taken = f"{holder.key!r} has the same key, {record.once!r}, and is {state}"
            reason = f"{taken}: wait for it, attach to it, or replace it"
            transitions.submit.refuse(self._petitions, record, Verdict.REFUSED, reason)
            return False
        if holder is not None and policy.if_exists == "attach":
            self.attached[record.token] = holder.channel, holder.key
            transitions.submit.refuse(self._petitions, record, Verdict.KNOWN, "")
            return False
        if holder is not None:
            reason = f"cancelled: {record.key!r} has the same key, {record.once!r}, and replaces it"
            transitions.cancel.cancel(
                self._petitions, holder, transitions.cancel.cancelled(reason), self._petitions.now
            )
        self._keys.take(record, lambda key: self._live(key) is not None)
        return True

    def _live(self, key: OnceKey) -> Record | None:
        """Give the petition that has a key and has not ended."""
        seq = self._keys.holder(key)
        if seq is None:
            return None
        petitions = self._petitions
        record = petitions.records.get(seq)
        if record is not None:
            return None if record.state is State.ENDED else record
        row = next(iter(self._store.rows([seq])), None)
        known = None if row is None else petitions.live.get(row.id)
        if row is None or known is None or isinstance(known, Record) or known[1] != seq:
            return None
        return self._stored.find(row.id)
