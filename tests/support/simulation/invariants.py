"""What holds of a simulated service at every step, at rest, and at the end of its story."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from orcha._core.admission import petition_name
from orcha._core.groups import NO_RULES
from orcha._core.petitions import PREEMPTED
from orcha._core.preempted import PAUSE, Preempted
from orcha._core.record import Phase, Record
from orcha._core.situations import situation
from orcha._core.state import Outcome, State
from orcha._core.transitions.retry import is_decided
from orcha._protocol.messages import ChannelRecord, Kind
from orcha._service.clock_looks import CLOCK_LOOK_SECONDS
from orcha.interfaces.built_in import ARRAY_MANAGER, LEASE_MANAGER
from support.simulation.plans import Plan
from support.simulation.virtual_time import ROUNDING
from support.simulation.world import RUNS

if TYPE_CHECKING:
    from orcha._store.contract import Row
    from support.simulation.service import Service
    from support.simulation.world import World

_records = msgspec.msgpack.Decoder(list[ChannelRecord])


# --- at every step ---------------------------------------------------------------------------------------------------


def everyone_is_in_a_legal_situation(service: Service) -> None:
    for record in service.engine.petitions.records.values():
        situation(service.engine.petitions, record)


def one_attempt_lives_and_has_its_slot(service: Service) -> None:
    commands = service.world.shims.commands.items()
    living = [key for key, action in service.actions.items() if action.alive or action.processes]
    living += [key for key, command in commands if command.lives and command.executed]
    assert len({seq for seq, _ in living}) == len(living), f"two attempts of a petition live: {living}"
    for seq, attempt in living:
        row = service.world.store.rows_by_seq.get(seq)
        assert service.engine.granted.has(seq), f"something of petition {seq} lives, and it has no slot"
        assert row is None or row.attempt == attempt, f"attempt {attempt} lives, and {row} is kept"


def the_book_says_what_was_granted(service: Service) -> None:
    book, plans = service.engine.granted, service.scheduling.granted_plans()
    if not plans:
        assert not [*book.groups(), *book.resources()], "something is held, and nobody holds it"
        return
    in_group = Counter(plan.group for plan in plans if plan.group is not None)
    held, shares = service.scheduling.held()
    assert {group: book.in_group(group) for group in book.groups()} == in_group, "slots of groups"
    assert {name: book.held(name) for name in book.resources()} == +held, "resources"
    assert all(share <= 1 for share in shares.values()), f"more than all of a device is given away: {shares}"


AT_EVERY_STEP = (
    everyone_is_in_a_legal_situation,
    one_attempt_lives_and_has_its_slot,
    the_book_says_what_was_granted,
)


# --- where every thread of the service sleeps ------------------------------------------------------------------------


def nobody_runnable_waits(service: Service) -> None:
    """Where everyone was asked and nothing changed since, no petition could start, be it ready or parked."""
    scheduling, petitions = service.scheduling, service.engine.petitions
    if scheduling.is_stopped() or service.world.look_ahead is not None:
        return
    for record in list(petitions.records.values()):
        assert not scheduling.could_start(record), f"{record} could start, and nobody asks it: {record.why}"


def what_has_a_slot_runs(service: Service) -> None:
    if service.engine.petitions.changes:
        return
    held = {row.id for row in service.world.store.rows_by_seq.values() if _holds_a_slot(service, row)}
    assert held == set(service.engine.granted), "running_processes does not name what runs"


def _holds_a_slot(service: Service, row: Row) -> bool:
    petitions = service.engine.petitions
    record = petitions.records.get(row.seq)
    ends = record is not None and is_decided(record)
    runs = row.state in RUNS and row.seq not in petitions.leaving and row.seq not in petitions.ahead
    return runs or ends or row.slot_held


def memory_agrees_with_what_is_kept(service: Service) -> None:
    petitions = service.engine.petitions
    if petitions.changes:
        return
    rows = service.world.store.rows_by_seq
    for key, known in petitions.live.items():
        if not isinstance(known, Record):
            assert rows[known[1]].state is State.QUEUED
        elif known.phase is not Phase.CONVERTING:
            row = rows[known.seq]
            place = known.state, known.attempt
            if known.seq in petitions.ahead:
                place = State.STARTING, known.attempt + 1
            assert (row.id, row.state, row.attempt) == (key, *place), (row, known)
            assert known.state is not State.ENDED or row.outcome is known.outcome
    live = {known.seq if isinstance(known, Record) else known[1] for known in petitions.live.values()}
    assert {seq for seq, row in rows.items() if row.state is not State.ENDED or row.slot_held} <= live
    assert {seq for seq in petitions.records if seq not in live} == set()


def the_queue_holds_what_is_queued(service: Service) -> None:
    petitions = service.engine.petitions
    queued = [r.seq for r in petitions.records.values() if r.state is State.QUEUED and r.phase is Phase.WAITING]
    queued += [known[1] for known in petitions.live.values() if not isinstance(known, Record)]
    assert len(petitions.waiting) + petitions.waiting.parked == len(queued)


def what_is_acknowledged_is_kept(service: Service) -> None:
    for token in service.world.acked:
        assert service.world.is_kept(token), f"petition {token!r} is lost"


def one_live_row_an_id(service: Service) -> None:
    rows = service.world.store.rows_by_seq.values()
    live = Counter(row.id for row in rows if row.state is not State.ENDED or row.slot_held)
    assert all(count == 1 for count in live.values()), live


def what_gave_its_place_stands_still(service: Service) -> None:
    petitions, commands = service.engine.petitions, service.world.shims.commands
    for seq, record in petitions.lent.items():
        command = commands[seq, record.attempt]
        assert command.stands_still or not command.lives, f"{record} gave its place, and runs on"
    kept = {int(seq): Preempted.of(text) for seq, text in service.world.store.decided(PREEMPTED).items()}
    for (seq, attempt), command in commands.items():
        row = service.world.store.rows_by_seq.get(seq)
        is_paused = petition_name(seq) in service.engine.admission.paused
        has_shim = command.lives and not command.is_lost  # nobody moves what a shim left
        if row is not None and command.stands_still and has_shim and not is_paused and row.attempt == attempt:
            has_none = row.state is not State.RUNNING or seq in petitions.lent or command.is_to_stop
            assert has_none, f"{row} has its place, and stands still"
        runs = row is not None and row.state is State.RUNNING and has_shim and not petitions.changes
        if runs and seq in kept and kept[seq].how == PAUSE:
            assert command.stands_still or command.is_to_stop, f"{row} gave its place, as is kept, and runs on"


def no_action_runs_longer_than_it_may(service: Service) -> None:
    now, limits, rows = service.world.time.steady, service.world.limits, service.world.store.rows_by_seq
    for (seq, attempt), action in service.actions.items() if not service.engine.petitions.changes else ():
        row = rows.get(seq)
        limit = None if row is None else limits.get(row.token)
        if action.alive and row is not None and limit is not None and now > action.begun + limit + ROUNDING:
            is_over = row.attempt != attempt or row.state not in (State.STARTING, State.RUNNING)
            assert is_over, f"{row} has run for {now - action.begun} s, and may for {limit} s"


def what_waits_has_aged(service: Service) -> None:
    """Petitions of a group that ages gain one priority in so many seconds; the clock is looked at now and then."""
    world, petitions = service.world, service.engine.petitions
    if petitions.ageing is None or petitions.changes:
        return
    for record in petitions.records.values():
        row, plan = world.store.rows_by_seq.get(record.seq), world.plans.get(record.token)
        waits = record.state is State.QUEUED and record.phase is Phase.WAITING and record.petition is not None
        if row is None or plan is None or not waits or math.isinf(row.priority):
            continue
        gained, age = row.priority - record.priority, world.groups.rules.get(plan.group or "", NO_RULES).age
        if age is None:
            assert not gained, f"{record} has gained {gained}, and its group does not age"
            continue
        since = world.waits_since(row, plan)
        least = max(0.0, (world.time.lowest_within(CLOCK_LOOK_SECONDS) - CLOCK_LOOK_SECONDS - since) // age)
        most = max(0.0, (world.time.highest - since) // age + 1)
        assert least <= gained <= most, f"{record} has gained {gained}, and is to have {least} to {most}"


def leases_end_in_time(service: Service) -> None:
    world, petitions = service.world, service.engine.petitions
    if not world.has_leases or petitions.changes:
        return
    for row in world.store.rows_by_seq.values():
        if row.manager != LEASE_MANAGER or row.state is not State.RUNNING or row.seq in world.unread:
            continue
        length, begun = world.length_of(row.seq, world.plan_of(row.seq)), row.started or 0.0
        now = world.time.lowest_within(CLOCK_LOOK_SECONDS)
        assert length is None or now <= begun + length + CLOCK_LOOK_SECONDS, f"{row} has lasted for {now - begun} s"


AT_REST = (
    no_action_runs_longer_than_it_may,
    what_waits_has_aged,
    leases_end_in_time,
    nobody_runnable_waits,
    what_has_a_slot_runs,
    memory_agrees_with_what_is_kept,
    the_queue_holds_what_is_queued,
    what_is_acknowledged_is_kept,
    one_live_row_an_id,
    what_gave_its_place_stands_still,
)


# --- at the end ------------------------------------------------------------------------------------------------------


def everything_has_ended(world: World) -> None:
    service = world.service
    assert service is not None
    assert not service.engine.granted, f"these have slots still: {list(service.engine.granted)}"
    assert not service.engine.petitions.leaving
    assert not service.asked, f"clients were not answered: {service.asked}"
    for row in world.store.rows_by_seq.values():
        assert row.state is State.ENDED, f"{row.id} has not ended: {row}"
        assert not row.hook_pending, f"on_finish of {row.id} is owed still"
        assert not row.slot_held, f"{row.id} has its slot still"


def everyone_has_one_end(world: World) -> None:
    rows = world.store.rows_by_seq
    finals: Counter[int] = Counter()
    for channel in {row.channel for row in rows.values()}:
        for _, _, data in world.store.records(channel, 0, 1 << 30):
            for record in _records.decode(data):
                if record.kind != Kind.CLOSED and rows[record.seq].channel == channel:
                    assert not finals[record.seq], f"a record of petition {record.seq} comes after its end"
                    finals[record.seq] += record.kind == Kind.FINAL
    for seq, row in rows.items():
        assert finals[seq] == 1, f"{row.id} has {finals[seq]} final values"


def what_failed_is_tried_again_as_often_as_it_may(world: World) -> None:
    for row in world.store.rows_by_seq.values():
        plan = world.plans[row.token] if row.manager != ARRAY_MANAGER else Plan()
        others = world.survived | world.cancelled | world.unread
        if row.outcome is not Outcome.FAILED or plan.retry is None or row.seq in others:
            continue
        kept = world.store.attempts([row.seq]).get(row.seq)
        tried = 0 if kept is None else kept.retries
        codes = plan.retry.codes or ((row.code,) if not plan.retry.timeout else ())
        assert tried == plan.retry.times or row.code not in codes, f"{row.id} was tried again {tried} times only"


AT_THE_END = (
    everything_has_ended,
    everyone_has_one_end,
    what_failed_is_tried_again_as_often_as_it_may,
)
