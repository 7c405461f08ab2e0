"""Which commands that run give their place to a more urgent one, and which of them come back.

A command that waits takes a place only where nothing but slots and resources keeps it from starting, and where it
starts with what it gets: nobody gives a place in vain. Its priority has to be strictly more urgent, as it was given:
what a petition has gained by waiting takes nothing from anybody.
"""

from __future__ import annotations

from itertools import chain, combinations, islice
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.group_admission import is_group_lot
from orcha._core.preempted import PAUSE
from orcha._core.reasons import GroupFull, NeedsShort, ShareShort, UserFull
from orcha._core.record import Phase, Record
from orcha._core.room import Room
from orcha._core.state import State
from orcha.interfaces.built_in import COMMAND_MANAGER
from orcha.interfaces.needs import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orcha._core.admission import Admission
    from orcha._core.granted import GrantedSlots
    from orcha._core.petitions import Petitions

MAX_HEADS = 96
"""Waiting petitions that are looked at."""
MAX_HEADS_OF_A_LOT = 16
"""Petitions of one lot that are looked at."""
MAX_SETS = 1_000
"""Sets of commands that are tried for one petition, before commands are added one after the other."""
_ROOM = (GroupFull, UserFull, NeedsShort, ShareShort)
"""Reasons that are over when others give their place."""


class Displaced(NamedTuple):
    """A command that gives its place, and the petition that takes it."""

    record: Record
    by: Record


class Preemption:
    """Chooses who gives a place, and who gets it back; changes nothing.

    Args:
        petitions: what waits and runs.
        admission: what keeps petitions from starting.
        may_give: tells whether the service can take a command's place: what watches over it answers, and where it is to
            run anew, another attempt would get the same standard input.

    """

    def __init__(
        self, petitions: Petitions, admission: Admission, may_give: Callable[[Record], bool] = lambda _: True
    ) -> None:
        """Have chosen nobody."""
        self._petitions = petitions
        self._admission = admission
        self._can_give = may_give
        self._seen: tuple[int, ...] = ()
        self._seen_back: tuple[int, ...] = ()

    def chosen(self) -> list[Displaced]:
        """Give the commands that give their place now, where anything has changed since this was asked last."""
        if (seen := self._now()) == self._seen:
            return []
        self._seen = seen
        victims = [record for record in self._petitions.preemptible.values() if self._may_give(record)]
        if not victims:
            return []
        victims.sort(key=_least_urgent_first)
        found: list[Displaced] = []
        room = self._room_when_all_have_ended()
        first: list[Record] = []
        for record in self._waiting(victims[0].given_priority):
            lower = [each for each in victims if each.given_priority > record.given_priority]
            given = self._given(record, lower, room, first) if self._waits_for_room(record) else []
            if given is None:
                first.append(record)
                continue
            found += (Displaced(each, record) for each in given)
            victims = [each for each in victims if each not in given]
        return found

    def _now(self) -> tuple[int, ...]:
        """Give what is another one where anything may be decided otherwise."""
        petitions, waiting = self._petitions, self._petitions.waiting
        return (petitions.version, petitions.starts, len(waiting), waiting.parked, len(petitions.preemptible))

    def _may_give(self, record: Record) -> bool:
        if record.state is not State.RUNNING or record.phase is not Phase.ACTION:
            return False
        if record.seq in self._petitions.preempted or record.preemptible is None:
            return False
        return self._can_give(record)

    def _room_when_all_have_ended(self) -> Room:
        """Give what is free once all that is being ended has ended."""
        book, records = self._petitions.granted.copy(), self._petitions.records
        for seq in book.seqs():
            record = records.get(seq)
            if record is not None and (record.state is State.CANCELLING or self._is_about_to_stand_still(record)):
                _gives(book, record)
        return self._room(book)

    def _is_about_to_stand_still(self, record: Record) -> bool:
        return record.seq in self._petitions.preempted and record.seq not in self._petitions.lent

    def _room(self, book: GrantedSlots) -> Room:
        return Room(book, self._admission.of_groups, self._petitions.slots_of)

    def _waiting(self, least: float) -> Iterator[Record]:
        """Give the first petitions that are more urgent than `least`, with all that they have gained, in order."""
        waiting, records = self._petitions.waiting, self._petitions.records
        keys = waiting.head(MAX_HEADS)
        for lot in waiting.lots():
            if is_group_lot(lot) or self._admission.resources.is_lot(lot):
                keys += waiting.first_parked_in(lot, MAX_HEADS_OF_A_LOT)
        for key in sorted(keys):
            if key[0] >= least:
                return
            if key[1] in records:
                yield records[key[1]]

    def _waits_for_room(self, record: Record) -> bool:
        """Tell whether a petition waits for slots and resources alone, which others can give."""
        if record.manager != COMMAND_MANAGER or record.petition is None or record.phase is not Phase.WAITING:
            return False
        needs = record.needs or {}
        if WHOLE in needs or any(not isinstance(each, _ROOM) for each in self._admission.reasons(record)):
            return False
        return not (needs and self._admission.resources.is_behind(record.place, needs))

    def _given(
        self, record: Record, lower: Sequence[Record], room: Room, first: Sequence[Record]
    ) -> list[Record] | None:
        """Give who gives a petition its place, and note in `room` that it has that; None where it does not get one.

        None too where a petition that is asked `first` would take the place.
        """
        book = room.book
        if not room.lacks(record):
            book.take(record)
            return []
        given = _smallest(record, lower, room)
        if given is None:
            return None
        if any(not room.lacks(each) for each in first):
            for each in given:
                book.take(each)
            return None
        book.take(record)
        return given

    # --- who comes back -----------------------------------------------------------------------------------------

    def coming_back(self) -> list[Record]:
        """Give the commands that stand still and have their place again, where anything has changed since.

        First come the more urgent that wait.
        What a more urgent one waits for may be free in part, while the rest is being ended: it is kept for that one.
        """
        if (seen := self._now()) == self._seen_back:
            return []
        self._seen_back = seen
        petitions = self._petitions
        now = self._room(petitions.granted.copy())
        found: list[Record] = []
        back = [record for record in sorted(petitions.lent.values(), key=_most_urgent_first) if not now.lacks(record)]
        if not back:
            return found
        later = self._room_when_all_have_ended()
        for record in back:
            for other in self._waiting(record.given_priority):
                is_more_urgent = other.given_priority < record.given_priority
                if is_more_urgent and not later.book.has(other.seq) and self._could_start(other, later):
                    later.book.take(other)
            if not (now.lacks(record) or later.lacks(record)):
                now.book.take(record)
                later.book.take(record)
                found.append(record)
        return found

    def _could_start(self, record: Record, room: Room) -> bool:
        return not room.lacks(record) and self._waits_for_room(record)


def _smallest(record: Record, lower: Sequence[Record], room: Room) -> list[Record] | None:
    """Take the place of as few commands as may be, the least urgent and latest first; None where all are too few."""
    book = room.book
    for each in lower:
        _gives(book, each)
    enough = not room.lacks(record)
    for each in lower:
        book.take(each)
    if not enough:
        return None
    sets = chain.from_iterable(combinations(lower, size) for size in range(1, len(lower) + 1))
    for some in islice(sets, MAX_SETS):
        for each in some:
            _gives(book, each)
        if not room.lacks(record):
            return list(some)
        for each in some:
            book.take(each)
    return _one_after_another(record, lower, room)


def _one_after_another(record: Record, lower: Sequence[Record], room: Room) -> list[Record]:
    """Take the place of one command after the other until that is enough, then let go who was not wanted."""
    book, given = room.book, list[Record]()
    left = iter(lower)
    while room.lacks(record):
        given.append(next(left))
        _gives(book, given[-1])
    for each in list(given):
        book.take(each)
        if room.lacks(record):
            _gives(book, each)
        else:
            given.remove(each)
    return given


def _gives(book: GrantedSlots, record: Record) -> None:
    """Have a command hold no place in a copy of the book."""
    if record.state is not State.CANCELLING and record.preemptible == PAUSE:
        book.lend(record.seq)
    else:
        book.give_back(record)


def _least_urgent_first(record: Record) -> tuple[float, float, int]:
    return (-record.given_priority, -(record.started or 0.0), -record.seq)


def _most_urgent_first(record: Record) -> tuple[float, int]:
    return (record.given_priority, record.seq)


__all__ = ["Displaced", "Preemption"]
