"""How a command that runs gives its place to a more urgent petition, and how it gets the place back.

A requeued one is ended as by a cancel, and waits again in its old place; that counts neither as a failure nor as a
retry. A paused one stands still: its slots are free once its processes have been stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.codes import INTERRUPTED_CODE
from orcha._core.effects import Do, Effect
from orcha._core.preempted import PAUSE, REQUEUE, Preempted
from orcha._core.record import Cancellation, Phase
from orcha._core.state import OnInterrupt, Outcome, State
from orcha._core.transitions import cancel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record


def note_running(petitions: Petitions, record: Record) -> None:
    """Note that a command runs that may be preempted."""
    petitions.preemptible[record.seq] = record
    petitions.note_change()


def changed(petitions: Petitions, record: Record) -> None:
    """Note that people changed whether a command that runs may be preempted; a command that stands still stays so."""
    if record.preemptible is None:
        petitions.preemptible.pop(record.seq, None)
    else:
        note_running(petitions, record)


def give_way(petitions: Petitions, record: Record, by: str, now: Moment) -> None:
    """Have a command that runs give its place to the petition of the id `by`."""
    how = PAUSE if record.preemptible == PAUSE else REQUEUE
    petitions.keep_preempted(record, Preempted(by, how, now.wall))
    if how == PAUSE:
        petitions.effects.append(Effect(Do.STAND_STILL, record))
        return
    reason = f"preempted by {by}"
    cancellation = Cancellation(Outcome.INTERRUPTED, INTERRUPTED_CODE, reason, requeue=State.QUEUED)
    cancel.cancel(petitions, record, cancellation, now)


def stands_still(petitions: Petitions, record: Record) -> bool:
    """Note that the processes of a paused command have been stopped: others get its place.

    False where it does not run any more, or is not to stand still.
    """
    mark = petitions.preempted.get(record.seq)
    runs = record.state is State.RUNNING and record.phase is Phase.ACTION and petitions.granted.has(record.seq)
    if mark is None or mark.how != PAUSE or not runs or record.seq in petitions.lent:
        return False
    petitions.granted.lend(record.seq)
    petitions.lent = {**petitions.lent, record.seq: record}
    petitions.note_change()
    return True


def come_back(petitions: Petitions, record: Record) -> None:
    """Have a paused command take its place again, and go on."""
    petitions.granted.take(record)
    petitions.lent = {seq: lent for seq, lent in petitions.lent.items() if seq != record.seq}
    petitions.forget_preempted(record.seq)
    petitions.effects.append(Effect(Do.GO_ON, record))
    petitions.note_change()


# --- from the store -----------------------------------------------------------------------------------------------


def load(petitions: Petitions, kept: Mapping[int, Preempted]) -> None:
    """Take what is kept of preempted petitions, by sequence."""
    petitions.preempted = dict(kept)


def found(petitions: Petitions, record: Record, *, lives: bool) -> None:
    """Have a stored petition that was being ended, since it was preempted, wait again: that is no interruption.

    A command that stood still, and whose processes do not `live`, gets its place as others do.
    """
    mark = petitions.preempted.get(record.seq)
    if mark is None:
        return
    if mark.how == REQUEUE and record.state is State.CANCELLING and record.outcome is Outcome.INTERRUPTED:
        record.on_interrupt = OnInterrupt.RERUN
    elif mark.how == PAUSE and not lives:
        petitions.forget_preempted(record.seq)


def adopted(petitions: Petitions, record: Record) -> None:
    """Note that a command of an earlier start of the service goes on, which may be preempted."""
    if record.preemptible is not None and record.state is State.RUNNING:
        note_running(petitions, record)
