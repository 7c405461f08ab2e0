"""From the store back to a running service, before anybody can connect."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orcha._core.changes import Transition
from orcha._core.effects import Final
from orcha._core.recover import recover
from orcha._core.state import State
from orcha._service.loading import record_of

if TYPE_CHECKING:
    from orcha._core.recover import Recovered
    from orcha._service.engine import Engine
    from orcha._store.contract import Row


def recover_all(engine: Engine) -> None:
    """Bring every petition of this manager to a known place, in one transaction; then load what waits."""
    machine = engine.machine
    machine.now = time.time()
    owed: list[Row] = []
    for row in engine.store.unfinished(engine.manager_name):
        _one(engine, row, owed)
    engine.commit_recovery()
    for row in owed:
        engine.visits.owe_on_finish(record_of(row))
    machine.load_waiting([(w.priority, w.seq, w.id) for w in engine.store.waiting(engine.manager_name)])
    engine.tombstones.update(engine.store.all_tombstones(machine.now))


def _one(engine: Engine, row: Row, owed: list[Row]) -> None:
    owes = row.hook_pending or row.state in (State.STARTING, State.CANCELLING)
    if owes:
        owed.append(row)
    if row.state is State.ENDED:
        if row.slot_held:
            engine.machine.changes.flags[row.seq] = (row.hook_pending, False)
        return
    step = recover(row.state, row.on_interrupt, row.outcome, row.code, row.reason)
    if step is None:
        if owes:
            engine.machine.owing[row.seq] = record_of(row)
        _hold(engine, row)
        return
    engine.machine.changes.transitions[row.seq] = _transition(engine, row, step)
    if step.state is State.ENDED:
        record = record_of(row)
        line = None if step.reason is None else step.reason + "\n"
        engine.machine.finals.append(Final(record, line, step.code))
        return
    waits = row._replace(state=step.state)
    engine.machine.owing[row.seq] = record_of(waits)
    _hold(engine, waits)


def _transition(engine: Engine, row: Row, step: Recovered) -> Transition:
    return Transition(
        row.seq,
        row.attempt,
        1 << row.state,
        step.state,
        row.attempt,
        engine.machine.now,
        step.outcome,
        step.code,
        step.reason,
        hook_pending=True,
    )


def _hold(engine: Engine, row: Row) -> None:
    if row.state is State.HELD:
        engine.machine.warm(record_of(row))
