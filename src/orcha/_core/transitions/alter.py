"""What people change of a petition after it was accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.changes import AttemptStep
from orcha._core.reasons import StartsLater
from orcha._core.record import Phase
from orcha._core.state import State
from orcha._core.transitions import hold, preempt
from orcha._core.transitions.submit import enter_converted

if TYPE_CHECKING:
    from collections.abc import Collection

    from orcha._core.changes import Altered, NewAlteration
    from orcha._core.converted import Converted
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._core.resources import Resources

_TIMES = frozenset(("at", "delay"))
_OF_NO_LINE = frozenset(("priority", "label"))
"""Fields whose change leaves a petition in its lines: it needs what it needed, and for as long."""


def alter(
    petitions: Petitions,
    resources: Resources,
    record: Record,
    new: Converted,
    kept: Altered,
    note: NewAlteration,
    names: Collection[str],
    now: Moment,
) -> None:
    """Have a petition be as it is asked for now; a waiting petition is asked anew.

    Args:
        petitions: the petitions.
        resources: the lines, in which the petition keeps its places where nothing changes but what it is called and its
            priority.
        record: the petition.
        new: what the changed message was converted into.
        kept: what is kept of that.
        note: who changed what.
        names: the fields that change.
        now: when.

    """
    waits = petitions.waits(record)
    if waits:
        petitions.dequeue(record)
        petitions.keep_loaded(record)
    if not _OF_NO_LINE.issuperset(names):
        resources.leave(record.seq)
    _enter(petitions, record, new, names)
    petitions.changes.altered[record.seq] = kept
    petitions.changes.alterations.append(note)
    is_to_wait = waits or rests_for_its_time(record)
    if is_to_wait:
        _note_times(petitions, record, names, now)
    if is_to_wait and record.phase is Phase.WAITING:
        record.why = None
        hold.wait_at(petitions, resources, record, kept.priority)
    else:
        record.priority, record.unaged = kept.priority, None
        if is_to_wait:
            record.why = StartsLater(record.due or 0.0)
    petitions.note_change()


def alter_array(petitions: Petitions, record: Record, first: Converted, kept: Altered, note: NewAlteration) -> None:
    """Have an array be as it is asked for now; `first` was converted of its first element's message."""
    enter_converted(record, first)
    record.petition, record.command = None, False
    record.priority = kept.priority
    petitions.changes.altered[record.seq] = kept
    petitions.changes.alterations.append(note)
    petitions.note_change()


def rests_for_its_time(record: Record) -> bool:
    """Tell whether a petition waits for the time of its first attempt."""
    return record.phase is Phase.RESTING and record.state is State.QUEUED and not record.attempt


def _enter(petitions: Petitions, record: Record, new: Converted, names: Collection[str]) -> None:
    timeout = record.timeout
    enter_converted(record, new)
    if record.state is State.QUEUED:
        return
    if "preemptible" in names and record.state is State.RUNNING:
        preempt.changed(petitions, record)
    if "timeout" not in names:
        record.timeout = timeout  # the limit with which its attempt began
    if record.tries is not None and new.retry is not None:
        record.tries = record.tries._replace(retry=new.retry)


def _note_times(petitions: Petitions, record: Record, names: Collection[str], now: Moment) -> None:
    """Have a petition that waits, or rests, do so until the time that it names from now on, where that changes."""
    rested = record.phase is Phase.RESTING
    if not _TIMES.isdisjoint(names):
        later = record.at is not None and record.at > now.wall
        record.due = record.at if later else None
        record.rests_until = None
        record.phase = Phase.RESTING if later else Phase.WAITING
        if rested or later:
            petitions.keep_attempt(AttemptStep(record.seq, 0, due=record.due, is_command=record.command))


__all__ = ["alter", "alter_array", "rests_for_its_time"]
