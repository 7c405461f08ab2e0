"""From the store back to a running service, before anybody can connect."""

from __future__ import annotations

import logging
import time
from functools import partial
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.moment import Moment
from orcha._core.reasons import StartsLater
from orcha._core.state import State
from orcha._processes.identity import boot_id
from orcha._service.execution import retries as retrying
from orcha._service.lifecycle.stored_records import record_of
from orcha._service.lookups import LOOKUP_SECONDS
from orcha._service.verbs.cancel import TOMBSTONE_SECONDS
from orcha._store.contract import AttemptRow
from orcha._supervisor import contract
from orcha._supervisor.dead_shims import sweep_unboxed
from orcha.interfaces.built_in import LEASE_MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Key, Record
    from orcha._service.engine import Engine
    from orcha._store.contract import Row, Waiting
    from orcha._supervisor.contract import FoundAttempt

STARTED_STATES = (State.STARTING, State.RUNNING, State.CANCELLING)
"""States in which an attempt may live."""


def recover_all(engine: Engine) -> None:
    """Bring every petition of its managers to a known place, in one transaction; then load what waits."""
    petitions = engine.petitions
    petitions.now = now = Moment(time.time(), time.monotonic())
    engine.admitting.load()
    engine.drains.load()
    engine.keys.load()
    engine.stocktaking.load()
    engine.arrays.load()
    engine.leases.load()
    engine.preempting.load()
    engine.past.weigh(engine.settings.past_half_life)
    recovery = _Recovery(engine)
    for name in engine.managers.names:
        recovery.take(engine.store.unfinished(name))
    recovery.rest()
    engine.schedules.load()
    for name, planned in engine.schedules.planned.items():
        if planned.problem is not None:
            engine.report(logging.ERROR, "schedule %s fires nothing: %s", name, planned.problem)
    recovery.turn_away()
    engine.past.found(petitions.records.values())
    engine.after_batch(engine.shims.recovered)
    engine.commit_recovery()
    engine.dependents.load()  # with what has just ended: petitions that wait for that are not in memory before
    for record in recovery.owed:
        engine.visits.owe_on_finish(record)
    waiting = merge(*(engine.store.waiting(name) for name in engine.managers.names))
    owners = {record.owner for record in petitions.records.values()}
    keys = _keys(petitions, (each for each in waiting if each.seq not in recovery.resting), owners)
    petitions.load_waiting(keys)
    if engine.managers.serves(LEASE_MANAGER):
        petitions.eager = {waiting.seq: waiting.id for waiting in engine.store.waiting(LEASE_MANAGER)}
    if engine.admission.dependencies.are_used:
        engine.admission.park_stored(keys)
    if petitions.ageing is not None:
        engine.ageing_steps.recover()
    engine.users.look_up_now(owners, LOOKUP_SECONDS)
    engine.user_quotas.configure(engine.settings)  # what lives and waits is counted
    engine.user_weights.configure(engine.settings)
    for token, until in engine.store.all_tombstones(now.wall).items():
        engine.tombstones[token] = now.steady + min(TOMBSTONE_SECONDS, until - now.wall)


def _keys(petitions: Petitions, waiting: Iterable[Waiting], owners: set[str]) -> list[Key]:
    """Give the places of petitions that wait, and note whose they are; `owners` has each of these owners then."""
    keys: list[Key] = []
    for each in waiting:
        if each.owner != petitions.owner:
            petitions.note_owner(each.seq, each.owner)
        owners.add(each.owner)
        keys.append((each.priority, each.seq, each.id))
    return keys


class _Recovery:
    """Facts that are found out on the way."""

    def __init__(self, engine: Engine) -> None:
        """Find the commands that live on; all other processes have been killed."""
        self._engine = engine
        if engine.shims.rebooted:
            engine.standard_input.note_reboot()
        self._found = {
            (there.seq, there.attempt): there for there in engine.shims.find(Path(engine.settings.endpoint.folder))
        }
        self._owed: dict[int, Record] = {}
        self.resting: set[int] = set()
        """Petitions that wait for their time, by sequence."""

    @property
    def owed(self) -> list[Record]:
        """Petitions whose on_finish is owed."""
        return list(self._owed.values())

    def take(self, rows: list[Row]) -> None:
        """Bring one manager's unfinished petitions to a known place."""
        attempts = self._engine.store.attempts([row.seq for row in rows if row.state in STARTED_STATES])
        commands = {seq: kept for seq, kept in attempts.items() if kept.is_command}
        groups = self._engine.store.groups([row.seq for row in rows])
        needs = self._engine.store.needs([row.seq for row in rows])
        devices = self._engine.store.devices(list(needs))
        expected = self._engine.store.expected([row.seq for row in rows])
        for row in rows:
            record = record_of(
                row,
                group=groups.get(row.seq),
                needs=needs.get(row.seq),
                devices=devices.get(row.seq, {}).get(row.attempt),
                expect=expected.get(row.seq),
            )
            self._bring(record, row, commands.get(row.seq))

    def _bring(self, record: Record, row: Row, command: AttemptRow | None) -> None:
        if row.manager == LEASE_MANAGER and row.state in STARTED_STATES:
            self._engine.leases.adopt(record)
            self._engine.visits.convert_again(record)
            return
        if row.state is State.ENDED and row.slot_held and self._adopt_outlived(record, row):
            return
        if self._engine.left_by_actions.adopt(record, row):
            if row.state in STARTED_STATES:
                self._engine.visits.convert_again(record)
            return
        transitions.preempt.found(self._engine.petitions, record, lives=True)
        losses, failure = 0, ""
        if command is not None and command.attempt == row.attempt and row.state in STARTED_STATES:
            there = self._found.pop((row.seq, row.attempt), None)
            if there is not None and (there.phase != contract.LOST or there.ended is not None or there.survivors):
                transitions.command.adopt(self._engine.petitions, record)
                self._engine.command_adoption.adopt(record, command, there)
                self._engine.visits.convert_again(record)
                return
            losses = self._lost(row, command, there)
            if not losses:
                self._engine.command_interruptions.note_again(record)
            failure = "" if there is None else there.failure
        transitions.preempt.found(self._engine.petitions, record, lives=False)
        flags = {"hook_pending": row.hook_pending, "slot_held": row.slot_held}
        due = retrying.due_of(self._engine.store, self._engine.petitions, row)
        if transitions.recover.recovered(
            self._engine.petitions, record, self._engine.petitions.now, **flags, losses=losses, due=due, failure=failure
        ):
            self._owed[row.seq] = record

    def _adopt_outlived(self, record: Record, row: Row) -> bool:
        """Have an ended petition keep its place, where processes of its command live, or a shim is still to say so."""
        ended = self._found.get((row.seq, row.attempt))
        if ended is None:
            return False
        may_be_outlived = ended.is_silent or ended.phase == contract.FOREIGN
        if not (ended.survivors or may_be_outlived):
            return False
        self._found.pop((row.seq, row.attempt))
        transitions.command.adopt_outlived(self._engine.petitions, record, ended.survivors, hook_owed=row.hook_pending)
        if may_be_outlived:
            text = "petition %s: it keeps its place until it is known whether anything outlives its command"
            self._engine.report(logging.WARNING, text, row.id)
        if ended.phase not in {contract.LOST, contract.FOREIGN}:  # such a shim tells nothing before it is asked
            self._engine.post(_resume, self._engine, ended)  # the answer must not come while this goes on
        return True

    def _lost(self, row: Row, command: AttemptRow, there: FoundAttempt | None) -> int:
        """Tell how many attempts in a row were lost before they were executed; 0 if this one may have run.

        Where the service died before it handed an attempt over, the loss says nothing of the command, and counts as
        the first.
        """
        if there is not None:
            executed = there.executed
            self._engine.after_batch(lambda: self._engine.shims.reach().forget(row.seq, row.attempt))
        else:
            self._sweep(row, command)
            executed = row.state is not State.STARTING or self._engine.shims.may_have_run(row, row.attempt)
        losses = 0 if executed else max(1, command.losses)
        self._engine.command_losses.note_earlier(row, command, losses)
        return losses

    def _sweep(self, row: Row, command: AttemptRow) -> None:
        """End a command that runs on without its shim, since another attempt may follow."""
        if command.pid is None or command.start_time is None or command.boot_id != boot_id():
            return
        if sweep_unboxed(command.pid, command.start_time):
            text = "petition %s: its command ran on, and its shim cannot be found: both were killed"
            self._engine.report(logging.ERROR, text, row.id)

    def rest(self) -> None:
        """Let petitions that wait for the time of their next attempt go on waiting."""
        engine = self._engine
        resting = retrying.resting(engine.store, engine.petitions.now.wall)
        for row in engine.store.rows(list(resting)):
            record = self._owed.get(row.seq) or record_of(row)
            if record.state is State.QUEUED and engine.managers.serves(row.manager):
                why = resting[row.seq]
                transitions.recover.rest(engine.petitions, record, why, engine.petitions.now)
                (engine.appointments.wait if isinstance(why, StartsLater) else engine.resting.rise)(record)
                self.resting.add(row.seq)

    def turn_away(self) -> None:
        """Forget attempts that are over or unknown; attempts of managers that do not run here now go on."""
        for (seq, attempt), there in self._found.items():
            rows = self._engine.store.rows([seq])
            if rows and _is_of(rows[0], attempt) and not self._engine.managers.serves(rows[0].manager):
                continue
            over = there.phase in (contract.ENDED, contract.LOST)
            self._engine.after_batch(partial(_turn_away, self._engine, seq, attempt, over=over))


def _resume(engine: Engine, there: FoundAttempt) -> None:
    """Ask for the events of an attempt whose output and end are kept."""
    engine.shims.reach().resume(there.seq, there.attempt, after_chunk=there.last_chunk)


def _turn_away(engine: Engine, seq: int, attempt: int, *, over: bool) -> None:
    commands = engine.shims.reach()
    if over:
        commands.forget(seq, attempt)
    else:
        commands.discard(seq, attempt)


def _is_of(row: Row, attempt: int) -> bool:
    """Tell whether this is an attempt that the petition may have now."""
    return row.attempt == attempt and row.state in STARTED_STATES
