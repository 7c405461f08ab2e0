"""The arrays that have not ended: which of their elements become petitions when, and what follows from their ends."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core import transitions
from orcha._core.array_items import ITEMS_PER_PART, Spec, item_at, message_of, spec_of, unpacked
from orcha._core.arrays import WINDOW_ELEMENTS, Array
from orcha._core.authority import SUBMITTER
from orcha._core.changes import PART_BYTES, ArrayStop
from orcha._core.codes import CANCELLED_CODE
from orcha._core.record import Record
from orcha._core.state import Outcome, State
from orcha._protocol import values
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Kind, Verdict
from orcha._service.lifecycle.stored_records import record_of
from orcha._service.submissions import Asked
from orcha.interfaces.built_in import COMMAND_MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orcha._core.admission import Admission
    from orcha._core.petitions import Petitions
    from orcha._service.channels.channel_book import ChannelBook
    from orcha._service.lifecycle.stored_records import StoredPetitions
    from orcha._service.submissions import Submissions
    from orcha._service.timers import Timers
    from orcha._store.contract import Store

BUSY_SECONDS = 1.0
"""Seconds after which elements are made that could not be made at once."""
_TEMPORARY = frozenset((Verdict.BUSY, Verdict.STOPPING))


class LiveArray(NamedTuple):
    """An array that has not ended, and the message from which its elements are made."""

    array: Array
    record: Record
    """The array's own petition."""
    spec: Spec


class _ArrayOwner:
    """Stands for the client that asks for elements: the owner of their array, without a connection."""

    id = 0
    role = SUBMITTER
    is_other = False
    door = key = ""

    def __init__(self, identity: str) -> None:
        self.identity = identity


class _ElementAsker:
    """Takes the answer to the submit of an element's petition."""

    credit = 0

    def __init__(self, book: ArrayBook, entry: LiveArray, position: int) -> None:
        self.peer = _ArrayOwner(entry.record.owner)
        self._book = book
        self._entry = entry
        self._position = position

    def answer(self, position: int, verdict: int, channel: bytes | None, reason: str | None) -> None:
        """Take the verdict of the submit."""
        del position, channel
        if verdict not in {Verdict.ACCEPTED, Verdict.KNOWN}:
            self._book.refused(self._entry, self._position, verdict, reason)


class ArrayBook:
    """Has elements become petitions, a few at a time, and arrays end with their last elements; the engine thread's."""

    def __init__(  # noqa: PLR0913 - each is one neighbour
        self,
        *,
        petitions: Petitions,
        admission: Admission,
        store: Store,
        stored: StoredPetitions,
        channels: ChannelBook,
        submissions: Submissions,
        timers: Timers,
        convert: Callable[[Record], None],
        takes_any: Callable[[], bool],
    ) -> None:
        """Prepare.

        Args:
            petitions: the petitions.
            admission: tells whether an array waits for others or is paused.
            store: what is kept of arrays.
            stored: brings back the records of elements that are only kept.
            channels: have the channel of each array, which names its elements.
            submissions: the elements that are not decided yet.
            timers: have elements made later that could not be made at once.
            convert: has the message of an element converted.
            takes_any: tells whether messages are taken now.

        """
        self._petitions = petitions
        self._admission = admission
        self._store = store
        self._stored = stored
        self._channels = channels
        self._submissions = submissions
        self._timers = timers
        self._convert = convert
        self._takes_any = takes_any
        self.entries: dict[int, LiveArray] = {}
        """The arrays that have not ended, by seq. Who calls this book for each petition looks at this first."""
        self._unkept: set[int] = set()
        """New arrays whose transaction has not come yet, by seq: no element can be made of what is not kept."""
        self.elements: dict[int, tuple[LiveArray, int]] = {}
        """The array and the position of each element that is a petition which has not ended, by seq."""
        self.due: dict[int, LiveArray] = {}
        """Arrays whose elements started or ended, so that other elements may become petitions."""
        self._templates: dict[int, dict[str, Any]] = {}
        """The fields of the message of each array whose elements have become petitions."""
        self._parts: dict[int, tuple[int, list[Any]]] = {}
        """The part of each array's items that was looked at last."""
        self._is_later = False
        self._has_begun = False
        """Whether elements become petitions: not before all petitions that wait from before are in memory."""

    # --- who asks -----------------------------------------------------------------------------------------------

    def get(self, seq: int) -> LiveArray | None:
        """Give an array that has not ended."""
        return self.entries.get(seq)

    def all(self) -> list[LiveArray]:
        """Give all arrays that have not ended, the oldest first."""
        return list(self.entries.values())

    def unmade(self) -> Iterator[tuple[str, int]]:
        """Give the owner of each array that has not ended, and how many of its elements are no petitions yet."""
        for entry in self.entries.values():
            if entry.array.stop is None:
                yield entry.record.owner, entry.array.unmade

    def running(self, entry: LiveArray) -> list[int]:
        """Give the elements of an array that run, by seq."""
        return [seq for seq in entry.array.live.values() if not self._waits(seq)]

    def reserves(self, key: str) -> bool:
        """Tell whether an id is that of an element of an array that has not ended."""
        return self.element(key) is not None

    def element(self, key: str) -> tuple[LiveArray, int] | None:
        """Give the array that has not ended, and the position in it, of an element's id."""
        head, _, number = key.rpartition(".")
        known = self._petitions.live.get(head)
        entry = self.entries.get(known.seq) if isinstance(known, Record) else None
        position = None if entry is None else position_of(entry.spec, number)
        return None if entry is None or position is None else (entry, position)

    # --- an array begins ----------------------------------------------------------------------------------------

    def enter(self, record: Record, spec: Spec, ends: bytes = b"") -> None:
        """Have the elements of a new array become petitions once the array is kept, except ended elements."""
        array = self._enter(record, spec, ends)
        self._unkept.add(record.seq)
        self._keep_ends(array, range(-(-len(ends) // PART_BYTES)))

    def _enter(self, record: Record, spec: Spec, ends: bytes) -> Array:
        array = Array(record.seq, record.key, spec.total, spec.bounds, ends)
        self.entries[record.seq] = LiveArray(array, record, spec)
        return array

    def kept(self, record: Record) -> None:
        """Begin with an array that is kept, or forget it where it is not."""
        self._unkept.discard(record.seq)
        entry = self.entries.get(record.seq)
        if entry is None:
            return
        if self._petitions.is_live(record):
            self._fill(entry)
        else:
            self._forget(entry.array)

    def load(self) -> None:
        """Take over the arrays that are kept, and their elements."""
        for row in self._store.live_arrays():
            record = record_of(self._store.rows([row.petition])[0])
            transitions.array.load(self._petitions, record)
            self._enter(record, spec_of(row.spec), self._store.array_ends(record.seq)).stop = row.stop
        for element in self._store.live_elements():
            entry = self.entries.get(element.array)
            if entry is not None:
                entry.array.live[element.position] = element.petition
                self.elements[element.petition] = entry, element.position

    # --- elements become petitions ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Have elements become petitions from now on, since the ids of all petitions that wait are known.

        A petition may have the id of an element of a later array, as when an element of an earlier array was retried.
        """
        self._has_begun = True
        self.fill_all()

    def fill_all(self) -> None:
        """Have more elements become petitions wherever they may."""
        if not self._has_begun:
            return
        for entry in list(self.entries.values()):
            stop = entry.array.stop
            if stop is not None and stop.outcome is Outcome.FAILED:  # found out at the start: what waits was not loaded
                waiting = [seq for seq in entry.array.live.values() if self._waits(seq)]
                self._cancel_elements(entry, waiting, stop.reason or "too many of its array failed")
            self._fill(entry)

    def fill_due(self) -> None:
        """Have more elements become petitions in place of elements that started or ended."""
        if not self.due or not self._has_begun:
            return
        due, self.due = self.due, {}
        for seq, entry in due.items():
            if seq in self.entries:
                self._fill(entry)

    def _fill(self, entry: LiveArray) -> None:
        array = entry.array
        if array.seq in self._unkept:
            return
        if array.stop is not None:  # an element that was being made when its array was stopped may be no petition yet
            self._keep_ends(array, array.cancel_rest())
            self._end_if_over(entry)
            return
        if not array.has_room or self._admission.held_by(array.seq, None) is not None:
            return
        waiting = len(array.live) - len(self.running(entry))
        if waiting > WINDOW_ELEMENTS // 2:
            return
        if not self._takes_any():
            self._later()
            return
        for position in array.take(WINDOW_ELEMENTS - waiting):
            self._make(entry, position)

    def _later(self) -> None:
        if not self._is_later:
            self._is_later = True
            self._timers.at(time.monotonic() + BUSY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._is_later = False
        self.fill_all()

    def _make(self, entry: LiveArray, position: int) -> None:
        """Have an element become a petition: its message is made, and goes the way of all messages."""
        array, record, spec = entry
        try:
            item = item_at(spec, position, self._part(entry, position))
            message = values.encode(message_of(self._template(record), item))
        except (ValueError, TypeError) as error:
            self.refused(entry, position, Verdict.REFUSED, str(error))
            return
        petitions, token = self._petitions, new_identity()
        seq, identity, now = petitions.take_seq(), f"{array.key}.{item.number}", petitions.now.wall
        element = Record(seq, token, identity, COMMAND_MANAGER, record.owner, token, message, now)
        array.live[position] = seq
        self.elements[seq] = entry, position
        self._submissions.add(element, Asked(_ElementAsker(self, entry, position), 0, None))
        if transitions.submit.receive(petitions, element) is None:
            self._convert(element)
        else:  # a petition of an earlier array of this id has not gone
            self._submissions.undecided.pop(token)
            self.refused(entry, position, Verdict.BUSY, None)

    def _template(self, record: Record) -> dict[str, Any]:
        """Give the fields of an array's message."""
        fields = self._templates.get(record.seq)
        if fields is None:
            gathered = self._petitions.changes.altered.get(record.seq)
            extras = self._store.rows([record.seq])[0].extras if gathered is None else gathered.extras
            fields = values.decode(extras, channel=bytes)
            if not isinstance(fields, dict):
                raise ValueError("what was kept of its array is damaged")
            self._templates[record.seq] = fields
        return fields | {"priority": record.priority}

    def _part(self, entry: LiveArray, position: int) -> list[Any] | None:
        """Give the part of the items that holds an element's item; the part that was looked at last is remembered."""
        if not entry.spec.are_listed:
            return None
        number, seq = position // ITEMS_PER_PART, entry.array.seq
        known = self._parts.get(seq)
        if known is None or known[0] != number:
            kept = self._store.array_items(seq, number)
            known = self._parts[seq] = number, [] if kept is None else unpacked(kept)
        return known[1]

    def refused(self, entry: LiveArray, position: int, verdict: int, reason: str | None) -> None:
        """Note that an element became no petition: it is tried again later, or has ended as rejected."""
        array = entry.array
        self.elements.pop(array.live.get(position, 0), None)
        if array.has_ended(position) or array.seq not in self.entries:
            array.live.pop(position, None)
        elif verdict in _TEMPORARY:
            array.put_back(position)
            self._later()
        else:
            self._tell(entry, array.seq, {"index": entry.spec.number_of(position), "refused": reason or "refused"})
            self._note_end(entry, position, Outcome.REJECTED, 1)
            self._timers.at(time.monotonic(), self.fill_due)

    # --- what gathers for a transaction -------------------------------------------------------------------------

    def about_to_keep(self) -> None:
        """Put what follows from the ends and starts of elements into the transaction that keeps these."""
        if not self.entries and not self.elements:
            return
        petitions, elements = self._petitions, self.elements
        changes = petitions.changes
        for new in changes.petitions:
            if new.seq in elements:
                entry, position = elements[new.seq]
                changes.elements[new.seq] = entry.array.seq, position
                self._tell(entry, new.seq, {"index": entry.spec.number_of(position), "seq": new.seq, "id": new.id})
                self.due[entry.array.seq] = entry
        for seq in elements.keys() & changes.transitions.keys():
            self.due[elements[seq][0].array.seq] = elements[seq][0]
        for final in petitions.finals:  # which grow: an end may bring others about
            record = final.record
            if record.seq in elements:
                entry, position = elements.pop(record.seq)
                self._note_end(entry, position, record.outcome or Outcome.BROKEN, record.code)
            elif record.seq in self.entries:
                self._ended_as_a_whole(self.entries[record.seq])

    def _tell(self, entry: LiveArray, seq: int, what: dict[str, Any]) -> None:
        """Tell the followers of an array about an element."""
        channel = self._channels.get(entry.record.channel)
        if channel is not None:
            self._channels.append(channel, Kind.VALUE, seq, values.encode(what))

    def _note_end(self, entry: LiveArray, position: int, outcome: Outcome, code: int | None) -> None:
        array = entry.array
        self._keep_ends(array, [array.note_end(position, outcome, code)])
        if array.seq not in self.entries:
            return
        self.due[array.seq] = entry
        if array.has_failed_too_often:
            failed = array.counts().failed
            reason = f"cancelled: {failed} element{'s' * (failed > 1)} of {array.key!r} failed, as many as may"
            self._stop(entry, ArrayStop(Outcome.FAILED, 1, reason))
            self._cancel_elements(entry, [seq for seq in array.live.values() if self._waits(seq)], reason)
        self._end_if_over(entry)

    def _waits(self, seq: int) -> bool:
        record = self._petitions.records.get(seq)
        return record is None or record.state in {State.QUEUED, State.HELD}

    def _end_if_over(self, entry: LiveArray) -> None:
        array = entry.array
        if array.is_over and array.seq in self.entries:
            self._forget(array)
            transitions.array.end(self._petitions, entry.record, array.ending(), self._petitions.now)

    def _forget(self, array: Array) -> None:
        for known in (self.entries, self.due, self._parts, self._templates):
            known.pop(array.seq, None)

    def elements_of(self, seq: int) -> list[int]:
        """Give an array's elements that are petitions and have not ended, by seq; none for other petitions."""
        entry = self.entries.get(seq)
        return [] if entry is None else [element for element in entry.array.live.values() if element]

    def live_elements(self, entry: LiveArray) -> list[Record]:
        """Give the records of an array's elements that are petitions and have not ended."""
        known = ((seq, self.elements.get(seq)) for seq in list(entry.array.live.values()))
        found = (
            (seq, self._stored.find(f"{entry.array.key}.{entry.spec.number_of(at[1])}")) for seq, at in known if at
        )
        return [record for seq, record in found if record is not None and record.seq == seq]

    def changed(self, entry: LiveArray) -> None:
        """Make elements that become petitions later from the array's message as it is now."""
        self._templates.pop(entry.array.seq, None)
        self._petitions.note_change()
        self._timers.at(time.monotonic(), partial(self._fill_if_there, entry.array.seq))

    def make_anew(self, entry: LiveArray, element: Record) -> None:
        """Make the message of an element anew that is not converted yet: its array's message has changed."""
        known = self.elements.get(element.seq)
        if known is not None:
            item = item_at(entry.spec, known[1], self._part(entry, known[1]))
            message = values.encode(message_of(self._template(entry.record), item))
            transitions.retry.take_message(element, message)

    def _fill_if_there(self, seq: int) -> None:
        if seq in self.entries:
            self._fill(self.entries[seq])

    def _keep_ends(self, array: Array, parts: Iterable[int]) -> None:
        for part in parts:
            self._petitions.changes.array_ends[array.seq, part] = array.part(part)

    def _stop(self, entry: LiveArray, stop: ArrayStop) -> None:
        """Have no more elements become petitions: elements that are no petitions are cancelled."""
        array = entry.array
        array.stop = stop
        transitions.array.stop(self._petitions, entry.record, stop)
        self._keep_ends(array, array.cancel_rest())

    def again(self, entry: LiveArray, positions: Sequence[int] | None = None) -> bool:
        """Have elements that have ended wait once more, or all that did not succeed; False where there is none."""
        array = entry.array
        positions = array.ended_otherwise() if positions is None else positions
        self._keep_ends(array, array.again(positions))
        self._fill(entry)
        return bool(positions)

    # --- cancelled ----------------------------------------------------------------------------------------------

    def cancel(
        self,
        entry: LiveArray,
        reason: str,
        waiter: Callable[[Record], None],
        at_once: Callable[[Record], None] | None = None,
    ) -> None:
        """End an array and all its elements; the waiter is answered when none of their processes lives.

        `at_once` kills what an element runs without asking it to end first.
        """
        entry.record.waiters.append(waiter)
        if entry.array.stop is None or entry.array.stop.outcome is not Outcome.CANCELLED:
            self._stop(entry, ArrayStop(Outcome.CANCELLED, CANCELLED_CODE, reason))
        self._cancel_elements(entry, list(entry.array.live.values()), reason, at_once)
        self._end_if_over(entry)

    def cancel_element(self, entry: LiveArray, position: int) -> bool:
        """Cancel an element that is no petition yet; False where it is one, or was one."""
        array = entry.array
        if not array.is_to_come(position):
            return False
        self._keep_ends(array, [array.note_end(position, Outcome.CANCELLED, CANCELLED_CODE)])
        self._end_if_over(entry)
        return True

    def cancel_unmade(self, entry: LiveArray, positions: Iterable[int]) -> None:
        """Cancel elements that are no petitions yet, and have not ended."""
        array = entry.array
        left = (each for each in positions if array.is_to_come(each))
        self._keep_ends(array, array.cancel_these(left))
        self._end_if_over(entry)

    def _cancel_elements(
        self, entry: LiveArray, seqs: Iterable[int], reason: str, at_once: Callable[[Record], None] | None = None
    ) -> None:
        petitions = self._petitions
        for seq in seqs:
            known = self.elements.get(seq)
            record = known and self._stored.find(f"{entry.array.key}.{entry.spec.number_of(known[1])}")
            if record is None or record.seq != seq:
                continue
            transitions.cancel.cancel(petitions, record, transitions.cancel.cancelled(reason), petitions.now)
            if at_once is not None:
                at_once(record)

    def _ended_as_a_whole(self, entry: LiveArray) -> None:
        """End the elements of an array that ended before them."""
        array, record = entry.array, entry.record
        self._forget(array)
        self._stop(entry, ArrayStop(record.outcome or Outcome.CANCELLED, record.code or 1, record.reason))
        self._cancel_elements(entry, list(array.live.values()), record.reason or "its array was cancelled")


def position_of(spec: Spec, number: str) -> int | None:
    """Give the position of an element by the end of its id; None where that is no element's."""
    is_number = number.isascii() and number.isdecimal() and len(number) < 17 and str(int(number)) == number
    return spec.position_of(int(number)) if is_number else None
