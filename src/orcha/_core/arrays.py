"""Arrays: a petition that stands for many alike, its elements; only a few elements are petitions at a time.

An element is known by its position, from 0. It becomes a petition of its own when it is about to be considered, and
is a byte for its outcome and one for its code after its end, so that an array of 100,000 costs little.

>>> array = Array(7, "train", 3, Bounds(at_most=2))
>>> array.take(4), array.has_room
([0, 1], False)
>>> array.note_end(0, Outcome.FAILED, 3), array.take(4), array.is_over
(0, [2], False)
>>> array.note_end(1, Outcome.SUCCEEDED, 0), array.note_end(2, Outcome.SUCCEEDED, 0), array.ending().code
(0, 0, 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.changes import ELEMENTS_PER_PART, PART_BYTES, ArrayStop
from orcha._core.codes import CANCELLED_CODE
from orcha._core.state import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ELEMENTS = 1_000_000
"""Elements of one array."""
WINDOW_ELEMENTS = 32
"""Elements of an array that wait as petitions of their own."""
_BYTES_PER_ELEMENT = 2
_MAX_CODE = 255


class Bounds(NamedTuple):
    """How much of an array may run, and when no more of it starts."""

    at_most: int | None = None
    """How many elements may wait or run as petitions at once; None for any number."""
    max_fails: int | None = None
    """How many may fail before no more are started; None for any number."""


class Counts(NamedTuple):
    """Counts of an array's elements by their state."""

    total: int
    live: int
    """Elements that are petitions and have not ended."""
    succeeded: int
    failed: int
    """Elements that ended neither with success nor by a cancel."""
    cancelled: int

    @property
    def waiting(self) -> int:
        """How many elements are no petitions yet."""
        return self.total - self.live - self.succeeded - self.failed - self.cancelled


class Array:
    """The elements of one array that has not ended: which are petitions, and how the others ended."""

    def __init__(self, seq: int, key: str, total: int, bounds: Bounds, ends: bytes = b"") -> None:
        """Take the stored data of an array; `ends` has two bytes for each element, or is empty."""
        self.seq = seq
        self.key = key
        self.total = total
        self.bounds = bounds
        self.stop: ArrayStop | None = None
        """Why no more elements start."""
        self.live: dict[int, int] = {}
        """The sequence numbers of the petitions of elements, by position."""
        self._ends = bytearray(ends.ljust(total * _BYTES_PER_ELEMENT, b"\0")[: total * _BYTES_PER_ELEMENT])
        self._next = 0
        self._count()

    def _count(self) -> None:
        self._left = self._ends[::_BYTES_PER_ELEMENT].count(0)
        self._failed = counts_of(self._ends, self.total, 0).failed

    # --- which elements are next --------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether another element may be a petition, as far as the array's own bounds go."""
        return self.bounds.at_most is None or len(self.live) < self.bounds.at_most

    @property
    def unmade(self) -> int:
        """How many elements are no petitions, and have not ended."""
        return self._left - len(self.live)

    def take(self, room: int) -> list[int]:
        """Give the positions of the next elements, up to `room` of them; they are live from now on."""
        if self.stop is not None:
            return []
        if self.bounds.at_most is not None:
            room = min(room, self.bounds.at_most - len(self.live))
        taken: list[int] = []
        while len(taken) < room and self._next < self.total:
            position = self._next
            self._next += 1
            if not self.has_ended(position) and position not in self.live:
                self.live[position] = 0
                taken.append(position)
        return taken

    def put_back(self, position: int) -> None:
        """Put an element back among the next elements, since it became no petition after all."""
        del self.live[position]
        self._next = min(self._next, position)

    def again(self, positions: Iterable[int]) -> set[int]:
        """Have elements that have ended wait once more; give the parts of the ends that are to be kept."""
        parts = set()
        for position in positions:
            self._note(position, 0, 0)
            self._next = min(self._next, position)
            parts.add(position // ELEMENTS_PER_PART)
        self._count()
        return parts

    @property
    def ends(self) -> bytes:
        """How elements have ended, two bytes an element."""
        return bytes(self._ends)

    # --- ends ---------------------------------------------------------------------------------------------------

    def has_ended(self, position: int) -> bool:
        """Tell whether an element has ended."""
        return bool(self._ends[position * _BYTES_PER_ELEMENT])

    def is_to_come(self, position: int) -> bool:
        """Tell whether an element is no petition yet.

        >>> array = Array(7, "train", 2, Bounds(at_most=1))
        >>> array.live[0] = 8
        >>> array.is_to_come(0), array.is_to_come(1)
        (False, True)
        """
        return position not in self.live and not self.has_ended(position)

    def note_end(self, position: int, outcome: Outcome, code: int | None) -> int:
        """Note how an element ended; give the part of the ends that is to be kept."""
        self.live.pop(position, None)
        self._left -= not self.has_ended(position)
        self._failed += outcome not in {Outcome.SUCCEEDED, Outcome.CANCELLED}
        self._note(position, int(outcome), min(abs(code or 0), _MAX_CODE))
        return position // ELEMENTS_PER_PART

    def cancel_rest(self) -> set[int]:
        """Note that each element that is no petition and has not ended is cancelled; give the parts to be kept.

        Of most parts no element was made: such a part is noted as a whole. Element by element 100,000 take 50 ms.
        """
        begin, self._next = self._next, self.total
        made, parts = {position // ELEMENTS_PER_PART for position in self.live}, set()
        while begin < self.total:
            number = begin // ELEMENTS_PER_PART
            rest = range(begin, min(self.total, (number + 1) * ELEMENTS_PER_PART))
            begin = rest.stop
            span = slice(rest.start * _BYTES_PER_ELEMENT, rest.stop * _BYTES_PER_ELEMENT)
            if number in made or any(self._ends[span]):
                each = (position for position in rest if not self.has_ended(position) and position not in self.live)
                parts |= self.cancel_these(each)
            else:
                self._ends[span] = bytes((Outcome.CANCELLED, CANCELLED_CODE)) * len(rest)
                self._left -= len(rest)
                parts.add(number)
        return parts

    def cancel_these(self, positions: Iterable[int]) -> set[int]:
        """Note that elements which are no petitions and have not ended are cancelled; give the parts to be kept."""
        parts = set()
        for position in positions:
            self._note(position, int(Outcome.CANCELLED), CANCELLED_CODE)
            self._left -= 1
            parts.add(position // ELEMENTS_PER_PART)
        return parts

    def _note(self, position: int, outcome: int, code: int) -> None:
        at = position * _BYTES_PER_ELEMENT
        self._ends[at : at + _BYTES_PER_ELEMENT] = bytes((outcome, code))

    def part(self, number: int) -> bytes:
        """Give a part of the ends as it is kept."""
        return bytes(self._ends[number * PART_BYTES : (number + 1) * PART_BYTES])

    @property
    def has_failed_too_often(self) -> bool:
        """Whether as many elements failed as may, so that no more start."""
        return self.stop is None and self.bounds.max_fails is not None and self._failed >= self.bounds.max_fails

    @property
    def is_over(self) -> bool:
        """Whether all elements have ended."""
        return not self._left

    def ending(self) -> ArrayStop:
        """Give how the array ends, once all elements have: as its first failed element, unless it was cancelled."""
        if self.stop is not None and self.stop.outcome is Outcome.CANCELLED:
            return self.stop
        found = first_not_succeeded(self._ends)
        if found is None:
            return ArrayStop(Outcome.SUCCEEDED, 0, None)
        failed = self.counts().failed
        reason = f"{failed} of {self.total} elements failed" if failed else "elements were cancelled"
        if self.stop is not None:
            reason = self.stop.reason or reason
        return ArrayStop(Outcome.FAILED if failed else Outcome.CANCELLED, found or 1, reason)

    def counts(self) -> Counts:
        """Count the elements."""
        return counts_of(self._ends, self.total, len(self.live))

    def ended_otherwise(self) -> list[int]:
        """Give the positions of elements that ended without success."""
        return not_succeeded(self._ends)


def counts_of(ends: bytes | bytearray, total: int, live: int) -> Counts:
    """Count elements by what is kept of their ends.

    >>> counts_of(bytes((1, 0, 2, 3, 0, 0)), 3, 1)
    Counts(total=3, live=1, succeeded=1, failed=1, cancelled=0)
    """
    outcomes = ends[::_BYTES_PER_ELEMENT]
    succeeded, cancelled = outcomes.count(Outcome.SUCCEEDED), outcomes.count(Outcome.CANCELLED)
    ended = len(outcomes) - outcomes.count(0)
    return Counts(total, live, succeeded, ended - succeeded - cancelled, cancelled)


def without_failures(ends: bytes) -> bytes:
    r"""Give what is kept of ends with those alone that succeeded: the other elements wait once more.

    >>> without_failures(bytes((1, 0, 2, 7, 3, 130, 0, 0)))
    b'\x01\x00\x00\x00\x00\x00\x00\x00'
    """
    return without(ends, not_succeeded(ends))


def without(ends: bytes, positions: Iterable[int]) -> bytes:
    r"""Give what is kept of ends without those of some elements, which wait once more.

    >>> without(bytes((1, 0, 2, 7)), [0])
    b'\x00\x00\x02\x07'
    """
    left = bytearray(ends)
    for position in positions:
        left[position * _BYTES_PER_ELEMENT : (position + 1) * _BYTES_PER_ELEMENT] = b"\0\0"
    return bytes(left)


def outcome_at(ends: bytes | bytearray, position: int) -> Outcome | None:
    """Give how an element ended; None where it has not.

    >>> outcome_at(bytes((1, 0, 0, 0)), 0), outcome_at(bytes((1, 0, 0, 0)), 1), outcome_at(b"", 1)
    (<Outcome.SUCCEEDED: 1>, None, None)
    """
    outcome = ends[position * _BYTES_PER_ELEMENT : position * _BYTES_PER_ELEMENT + 1]
    return Outcome(outcome[0]) if outcome and outcome[0] else None


def not_succeeded(ends: bytes | bytearray) -> list[int]:
    """Give the positions of elements that ended without success."""
    outcomes = ends[::_BYTES_PER_ELEMENT]
    return [position for position, outcome in enumerate(outcomes) if outcome not in {0, int(Outcome.SUCCEEDED)}]


def first_not_succeeded(ends: bytes | bytearray) -> int | None:
    """Give the code of the first element that failed, else of the first that was cancelled; None for neither.

    >>> first_not_succeeded(bytes((1, 0, 3, 130, 2, 7))), first_not_succeeded(b"")
    (7, None)
    """
    found = None
    for position in not_succeeded(ends):
        outcome, code = ends[position * _BYTES_PER_ELEMENT], ends[position * _BYTES_PER_ELEMENT + 1]
        if outcome != Outcome.CANCELLED:
            return code
        found = code if found is None else found
    return found


__all__ = [
    "MAX_ELEMENTS",
    "WINDOW_ELEMENTS",
    "Array",
    "Bounds",
    "Counts",
    "counts_of",
    "first_not_succeeded",
    "not_succeeded",
    "outcome_at",
    "without",
    "without_failures",
]
