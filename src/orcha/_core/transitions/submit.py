"""How messages become petitions: they are converted, then accepted or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.changes import AttemptStep, Changes, NewChannel, NewPetition
from orcha._core.effects import Do, Effect
from orcha._core.reasons import StartsLater
from orcha._core.record import Phase
from orcha._core.state import Outcome, State
from orcha._core.transitions.start import enter_starting
from orcha._core.tuples import new_tuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from orcha._core.converted import Converted
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Cancellation, Key, Record

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ACTION, _RESTING, _WAITING = Phase.ACTION, Phase.RESTING, Phase.WAITING
_ACCEPT, _ANSWER, _DO_ON_START, _REFUSE = Do.ACCEPT, Do.ANSWER, Do.ON_START, Do.REFUSE
_REJECTED = Outcome.REJECTED
_ENDED, _QUEUED = State.ENDED, State.QUEUED


def receive(
    petitions: Petitions,
    record: Record,
    cancellation: Cancellation | None = None,
    after: Mapping[str, bool] | None = None,
) -> Record | Key | None:
    """Take a message that is to be converted; give the live petition that has its id already, if any.

    The petition waits for the petitions in `after`, beside the petitions that it names itself.
    With a `cancellation` it was cancelled before it came, and ends as soon as it is accepted.
    """
    known = petitions.live.get(record.key)
    if known is not None:
        return known
    record.cancellation = cancellation
    if after is not None:
        record.after = after
    petitions.enter(record)
    return None


def enter_converted(record: Record, converted: Converted) -> None:
    """Enter into a petition's record what its conversion found out."""
    record.petition = converted.petition
    if record.phase is not _ACTION:
        record.command = converted.is_command
    if converted.is_new:
        record.priority = converted.priority
    record.retry = converted.retry
    record.is_plain = converted.is_plain
    if not converted.has_policy:
        return
    record.on_interrupt = converted.on_interrupt
    record.timeout = converted.timeout
    record.queue_timeout = converted.queue_timeout
    record.expect = converted.expect
    record.group = converted.group
    record.needs = converted.needs
    record.once = converted.once
    record.after = converted.after
    record.at = converted.at
    record.delay = converted.delay
    record.when = converted.when
    record.preemptible = converted.preemptible


# --- accepted -----------------------------------------------------------------------------------------------------


def accept(petitions: Petitions, record: Record, now: Moment, *, start: bool, new_channel: bool) -> None:
    """Keep a converted petition: started at once, waiting, or (cancelled meanwhile) ended."""
    if new_channel:
        own = record.token == record.channel
        petitions.changes.channels.append(NewChannel(record.channel, record.owner, own=own))
    if record.cancellation is not None:
        _accept_ended(petitions, record, record.cancellation)
        return
    if start:
        record.attempt = 1
        enter_starting(petitions, record, now)
        record.started = record.submitted  # as its row has it: the next start of the service reckons with that
    elif not record.is_plain and _starts_later(petitions, record, now):
        record.phase = _RESTING
    else:
        record.phase = _WAITING
        petitions.enqueue(record)
    keep(petitions, record)
    petitions.effects.append(new_tuple(Effect, (_ACCEPT, record, None)))
    if start:
        petitions.effects.append(new_tuple(Effect, (_DO_ON_START, record, None)))


def _starts_later(petitions: Petitions, record: Record, now: Moment) -> bool:
    """Have a petition that was asked for with a time rest until then; False where that time has come, or there is none.

    Until then the petition is kept with the time of its first attempt, as others are with that of their next one.
    """
    if record.at is None and record.delay is None:
        return False
    due = record.starts_after
    if record.delay is None and due <= now.wall:
        petitions.note_change()  # until now it was blocked for its time
        return False
    record.due = due
    record.rests_until = None if record.delay is None else now.steady + record.delay
    record.why = StartsLater(due)
    petitions.keep_attempt(AttemptStep(record.seq, 0, due=due, is_command=record.command))
    return True


def _accept_ended(petitions: Petitions, record: Record, cancellation: Cancellation) -> None:
    petitions.ungrant(record)
    petitions.set_outcome(record, cancellation.outcome, cancellation.code, cancellation.reason)
    keep(petitions, record)
    petitions.effects.append(Effect(_ACCEPT, record))
    petitions.forget(record)
    _let_others_pass(petitions, record)


def _let_others_pass(petitions: Petitions, record: Record) -> None:
    """Have the petitions asked again that heard, in the round of a new petition, that they wait behind that one.

    The new petition may have entered the lines for what it needs when it was asked, and never waits.
    """
    if record.needs:
        petitions.note_change()


def keep(petitions: Petitions, record: Record) -> None:
    """Keep a new petition with the next transaction, and what it declares."""
    changes = petitions.changes
    changes.petitions.append(_row(record))
    record.extras = None  # the row has it
    if record.expect is not None:
        changes.expected[record.seq] = record.expect
    if record.is_plain:
        return
    if record.group is not None:
        changes.groups[record.seq] = record.group
    if record.needs:
        changes.needs[record.seq] = record.needs
    if record.once is not None:
        changes.once[record.seq] = record.once


def _row(record: Record) -> NewPetition:
    return new_tuple(
        NewPetition,
        (
            record.seq,
            record.token,
            record.key,
            not isinstance(record.id, str),
            record.manager,
            record.owner,
            record.channel,
            record.state,
            record.attempt,
            record.priority,
            record.extras or b"",
            record.on_interrupt,
            record.submitted,
            record.outcome,
            record.code,
            record.reason,
        ),
    )


# --- refused ------------------------------------------------------------------------------------------------------


def refuse(petitions: Petitions, record: Record, verdict: int, reason: str) -> None:
    """Keep nothing of a message: its id is free again."""
    petitions.ungrant(record)
    petitions.effects.append(Effect(_REFUSE, record, (verdict, reason)))
    record.outcome = _REJECTED
    petitions.answer(record)
    petitions.forget(record)
    _let_others_pass(petitions, record)


def _undo_accept(petitions: Petitions, record: Record) -> None:
    """Take back an acceptance whose transaction was not kept; a later event that names the petition changes nothing."""
    if record.state is _QUEUED and record.phase is not _RESTING:
        petitions.dequeue(record)
    petitions.ungrant(record)
    petitions.forget(record)
    record.state = _ENDED
    record.outcome = _REJECTED
    petitions.note_change()


def take_back(
    petitions: Petitions,
    changes: Changes,
    effects: list[Effect],
    tokens: Container[bytes],
    verdict: int,
    reason: str,
) -> list[Effect]:
    """Undo the acceptance of the petitions with these tokens, whose transaction was not kept.

    What is left in `changes` can be kept then, without what the caller has appended for these petitions; given are
    the effects that are due after that. The submit of such a petition is refused, and its cancels are answered all the
    same.
    """
    gone = {new.seq for new in changes.petitions if new.token in tokens}
    changes.petitions = [new for new in changes.petitions if new.seq not in gone]
    changes.audit = [entry for entry in changes.audit if entry.petition not in gone]
    changes.firings = [firing for firing in changes.firings if firing.petition not in gone]
    named = {new.channel for new in changes.petitions}
    changes.channels = [channel for channel in changes.channels if channel.id in named]
    for seq in gone:
        changes.transitions.pop(seq, None)
        changes.attempts.pop(seq, None)
        changes.groups.pop(seq, None)
        changes.needs.pop(seq, None)
        changes.devices.pop((seq, 1), None)
        changes.once.pop(seq, None)
        changes.expected.pop(seq, None)
        changes.arrays.pop(seq, None)
        changes.elements.pop(seq, None)
        changes.dependencies.pop(seq, None)
        changes.priorities.pop(seq, None)
        changes.altered.pop(seq, None)
    changes.alterations = [note for note in changes.alterations if note.petition not in gone]
    changes.array_ends = {place: ends for place, ends in changes.array_ends.items() if place[0] not in gone}
    due = []
    for effect in effects:
        record = effect.record
        if record.seq not in gone or effect.do is _ANSWER:
            due.append(effect)
        elif effect.do is _ACCEPT:
            _undo_accept(petitions, record)
            if record.group is not None:
                petitions.drop_start(record.group, record.seq, changes)
            due.append(Effect(_REFUSE, record, (verdict, reason)))
            due += [Effect(_ANSWER, record, waiter) for waiter in record.waiters]
            record.waiters = []
    return due
