"""How an attempt begins: the start is kept before anything of it is executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orcha._core.changes import AttemptStep
from orcha._core.effects import Do, Effect
from orcha._core.petitions import QUEUED
from orcha._core.record import Phase
from orcha._core.state import State
from orcha._core.tuples import new_tuple

if TYPE_CHECKING:
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._core.retry import Tries

# Looked up once: an attribute of an enumeration costs ten times a global name.
_PHASE_ON_START, _WAITING = Phase.ON_START, Phase.WAITING
_DO_ON_START = Do.ON_START
_STARTING = State.STARTING


def start(petitions: Petitions, record: Record, now: Moment) -> bool:
    """Begin the next attempt of a waiting petition whose condition said yes; False if it does not wait any more."""
    if not petitions.waits(record):
        _drop_yes(petitions, record)
        return False
    petitions.dequeue(record)
    _start_dequeued(petitions, record, now)
    return True


def start_all(petitions: Petitions, records: list[Record], now: Moment) -> None:
    """Begin several, in order."""
    if not all(map(petitions.waits, records)):
        for record in records:
            start(petitions, record, now)
        return
    petitions.waiting.remove_all([record.place for record in records])
    for record in records:
        _start_dequeued(petitions, record, now)


def _drop_yes(petitions: Petitions, record: Record) -> None:
    petitions.dropped_events += 1
    holder = petitions.records.get(record.seq)
    if holder is None or holder.phase is _WAITING:
        petitions.ungrant(record)


def _start_dequeued(petitions: Petitions, record: Record, now: Moment) -> None:
    is_kept = bool(petitions.ahead) and petitions.ahead.get(record.seq, False)
    petitions.step(record, QUEUED, _STARTING, now, begins=True)
    record.attempt += 1
    if record.seq in petitions.owing:
        petitions.owing[record.seq] = None
    enter_starting(petitions, record, now)
    if is_kept:
        petitions.prompt.append(record)
    else:
        petitions.effects.append(new_tuple(Effect, (_DO_ON_START, record, None)))


def enter_starting(petitions: Petitions, record: Record, now: Moment) -> None:
    """Have an attempt begin, whose number the petition has already."""
    record.state = _STARTING
    record.phase = _PHASE_ON_START
    record.started = now.wall
    record.returned = False
    record.processes_gone = True
    record.may_start = True
    record.why = record.asked = None
    if record.seq not in petitions.records or record.seq not in petitions.granted.key_of:
        petitions.hold(record)
    if record.needs:
        petitions.keep_devices(record)
    petitions.starts += 1
    if petitions.preempted:
        petitions.forget_preempted(record.seq)
    if petitions.granted.start_logs and record.group is not None:
        petitions.keep_start(record.group, record.seq, now)
    if record.command:
        petitions.keep_attempt(AttemptStep(record.seq, record.attempt))
    elif (record.attempt > 1 or not record.is_plain) and _had_a_time(record):
        # It is kept no longer: the next start of the service would take it for the time of the next attempt.
        petitions.keep_attempt(AttemptStep(record.seq, record.attempt, is_command=False))


def _had_a_time(record: Record) -> bool:
    """Tell whether the time of this attempt was kept, since people named it or since it is tried again."""
    if record.attempt > 1:
        return record.retry is not None
    return record.at is not None or record.delay is not None


def started(record: Record, tries: Tries | None, run: Any) -> None:
    """Note that a start is kept: the message is needed no more, and `tries` decides what follows on a failure.

    `run` is the attempt as the executor knows it.
    """
    record.extras = None
    record.tries = tries
    record.run = run
