"""From the store back to a running service, before anybody can connect."""

from __future__ import annotations

import time
from heapq import merge
from typing import TYPE_CHECKING

from orcha._service.loading import record_of

if TYPE_CHECKING:
    from orcha._service.engine import Engine


def recover_all(engine: Engine) -> None:
    """Bring every petition of its managers to a known place, in one transaction; then load what waits."""
    machine = engine.machine
    machine.now = time.time()
    owed = []
    for name in engine.managers.names:
        for row in engine.store.unfinished(name):
            record = record_of(row)
            if machine.recovered(record, hook_pending=row.hook_pending, slot_held=row.slot_held):
                owed.append(record)
    engine.commit_recovery()
    for record in owed:
        engine.visits.owe_on_finish(record)
    waiting = merge(*(engine.store.waiting(name) for name in engine.managers.names))
    machine.load_waiting([(w.priority, w.seq, w.id) for w in waiting])
    engine.tombstones.update(engine.store.all_tombstones(machine.now))
