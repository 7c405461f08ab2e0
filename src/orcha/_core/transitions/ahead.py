"""Starts that are kept ahead: the row of a waiting command says STARTING before the command's turn comes.

The command waits in its place as any other petition: its condition is asked, people may change it, another petition may
go before it. When its turn comes, its start is on the disk already, so that it begins at once. Every other step of the
petition leads on from the row as it is kept; `put_back` is the step that only has the row say QUEUED again.

Only first attempts are kept ahead: then nothing is kept of an earlier attempt, and a row that is put back is as
it was. And none of a group with a rate is: the rate counts a start when its turn comes, and has to know of that after a
restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._core.changes import AttemptStep
from orcha._core.petitions import QUEUED
from orcha._core.state import State

if TYPE_CHECKING:
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.record import Record


def keep_ahead(petitions: Petitions, record: Record, now: Moment) -> bool:
    """Keep the start of a waiting command with the next transaction; False where that cannot be done.

    The next transaction must be taken before anything else happens to the petition.
    """
    is_first = record.command and not record.attempt and petitions.waits(record)
    is_counted = record.group is not None and record.group in petitions.granted.start_logs
    if not is_first or is_counted or record.seq in petitions.ahead or record.seq in petitions.changes.transitions:
        return False
    petitions.step(record, QUEUED, State.STARTING, now, begins=True)
    petitions.keep_attempt(AttemptStep(record.seq, 1))
    petitions.ahead[record.seq] = False
    return True


def kept(petitions: Petitions) -> None:
    """Note that all starts that were to be kept ahead are on the disk."""
    petitions.ahead = dict.fromkeys(petitions.ahead, True)


def put_back(petitions: Petitions, record: Record, now: Moment) -> None:
    """Have the row of a petition say again that it waits, where its start was kept ahead."""
    if record.seq in petitions.ahead:
        petitions.step(record, QUEUED, State.QUEUED, now)


__all__ = ["keep_ahead", "kept", "put_back"]
