"""Every legal situation of a petition: what it is, and the fields of a record that make it.

`moves.py` says which event leads from which situation to which. The page docs/architecture.md shows both tables.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.record import Phase
from orcha._core.state import Outcome, State

if TYPE_CHECKING:
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record


class Fields(NamedTuple):
    """What a situation looks like in a record; None is for a field that may be anything."""

    state: State
    phase: Phase
    returned: bool | None = None
    """Whether the action, or all of the command, is over."""
    processes_gone: bool | None = None
    cancelled: bool | None = False
    """Whether a cancel, a limit or a shutdown has been decided."""
    command: bool | None = None
    owes_on_finish: bool | None = None
    """Whether the on_finish of the last attempt must come back before the petition goes on."""
    has_slot: bool | None = True
    ahead: bool = False
    """Whether its start is kept already, though it waits."""


_UNBEGUN = Fields(State.QUEUED, Phase.CONVERTING, has_slot=None)
_RESTS = Fields(State.QUEUED, Phase.RESTING, owes_on_finish=False, has_slot=False)
_TRIED_AGAIN = Fields(State.QUEUED, Phase.FINISHED, command=False, owes_on_finish=False)
_GOES = Fields(State.STARTING, Phase.ACTION, returned=False, processes_gone=True)
_IS_ENDED = Fields(State.CANCELLING, Phase.ACTION, returned=False, processes_gone=False, cancelled=True)
_HAS_OUTCOME = Fields(State.ENDED, Phase.FINISHED, cancelled=None)


class Situation(Enum):
    """What can be the matter with a petition; each value is a sentence, and the fields that make it."""

    CONVERTING = "The manager makes a petition of its message.", (_UNBEGUN,)
    CONVERTING_CANCELLED = (
        "The manager makes a petition of its message, and it ends as soon as it is accepted.",
        (_UNBEGUN._replace(cancelled=True),),
    )
    WAITING = (
        "It waits in the queue. It has a slot only between its condition's yes and its start.",
        (_UNBEGUN._replace(phase=Phase.WAITING),),
    )
    AHEAD = (
        "It waits in the queue, and its start is kept already, so that it begins at once when its turn comes.",
        (_UNBEGUN._replace(phase=Phase.WAITING, command=True, owes_on_finish=False, ahead=True),),
    )
    RESTING = "It waits for the time of its first or next attempt.", (_RESTS,)
    OWING_ON_FINISH = (
        "It is to wait again, and the on_finish of its last attempt is not back.",
        (_RESTS._replace(owes_on_finish=True),),
    )
    HELD = (
        "It was interrupted, and waits for a person's decision.",
        (Fields(State.HELD, Phase.WAITING, has_slot=False),),
    )
    HELD_OWING_ON_FINISH = (
        "It is held, and the on_finish of its last attempt is not back.",
        (Fields(State.HELD, Phase.RESTING, owes_on_finish=True, has_slot=False),),
    )
    STARTING = (
        "Its start is kept, and the answer of on_start is not here.",
        (_GOES._replace(phase=Phase.ON_START),),
    )
    EXECUTING = "Its action was called, or its command was handed to a shim.", (_GOES,)
    RUNNING = "The first process of its command runs.", (_GOES._replace(state=State.RUNNING, command=True),)
    RETRY_UNRETURNED = (
        "Its attempt failed and it is tried again, but its action has not returned.",
        (_TRIED_AGAIN._replace(returned=False),),
    )
    RETRY_SWEEPING = (
        "Its attempt failed and it is tried again, but processes of the attempt live.",
        (_TRIED_AGAIN._replace(returned=True, processes_gone=False),),
    )
    CANCELLING_ON_START = (
        "It is to be ended, and the answer of on_start is not here.",
        (_IS_ENDED._replace(phase=Phase.ON_START, processes_gone=None),),
    )
    CANCELLING = "It is to be ended: its processes are being ended.", (_IS_ENDED,)
    CANCELLING_UNRETURNED = (
        "It is to be ended: its processes are gone, and its action has not returned.",
        (_IS_ENDED._replace(processes_gone=True, command=False),),
    )
    CANCELLING_SWEEPING = (
        "It is to be ended: its action has returned, and its processes are being ended.",
        tuple(
            _IS_ENDED._replace(phase=phase, returned=True, command=False) for phase in (Phase.ON_START, Phase.ACTION)
        ),
    )
    LEAVING = (
        "It was interrupted and nothing of it lives; it waits again, or is held, when its on_finish is back.",
        (Fields(State.CANCELLING, Phase.FINISHED, True, True, cancelled=True, owes_on_finish=False, has_slot=False),),
    )
    ENDED_UNRETURNED = (
        "It has its outcome, and its action has not returned.",
        (_HAS_OUTCOME._replace(returned=False, command=False),),
    )
    ENDED_SWEEPING = (
        "It has its outcome and its action has returned; its processes are being ended.",
        (_HAS_OUTCOME._replace(returned=True, processes_gone=False, command=False),),
    )
    ENDED_OUTLIVED = (
        "It has its outcome, and processes of its command live that nothing can kill.",
        (_HAS_OUTCOME._replace(returned=True, processes_gone=False, command=True),),
    )
    ENDED = "It has its outcome, and nothing of it lives.", ()
    REFUSED = "Nothing of it is kept.", ()

    def __init__(self, sentence: str, fields: tuple[Fields, ...]) -> None:
        """Take the name of a situation and a record's fields in it; no fields where the petition is live no more."""
        self.sentence = sentence
        self.fields = fields


_LOOKS = [(each, fields) for each in Situation for fields in each.fields]
_BY_PHASE = {
    key: [look for look in _LOOKS if look[1][:2] == key]
    for key in {(fields.state, fields.phase) for _, fields in _LOOKS}
}


def situation(petitions: Petitions, record: Record) -> Situation:
    """Give the situation of a petition; an AssertionError tells of a combination of fields that is none."""
    owes, has_slot = record.seq in petitions.owing, petitions.granted.has(record.seq)
    if not petitions.is_live(record):
        assert not has_slot, f"{record} is live no more, and has a slot"
        assert record.outcome is not None, f"{record} is live no more, and has no outcome"
        return Situation.REFUSED if record.outcome is Outcome.REJECTED else Situation.ENDED
    found = Fields(
        record.state,
        record.phase,
        record.returned,
        record.processes_gone,
        record.cancellation is not None,
        record.command,
        owes,
        has_slot,
        record.seq in petitions.ahead,
    )
    fitting = _fitting(found)
    assert len(fitting) == 1, f"{record} is in no legal situation: {found}, {fitting}"
    return fitting[0]


@lru_cache(1024)
def _fitting(found: Fields) -> list[Situation]:
    """Give the situations that look like this; there are a few hundred looks, and tests ask at every step."""
    likely = _BY_PHASE.get((found.state, found.phase), [])
    return [each for each, fields in likely if _fits(found, fields)]


def _fits(found: Fields, fields: Fields) -> bool:
    return all(want is None or have == want for have, want in zip(found, fields, strict=True))
