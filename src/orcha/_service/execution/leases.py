"""Leases: attempts that execute nothing, and that end when their time is over, or people give them back."""

from __future__ import annotations

import heapq
import logging
import time
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.codes import CANCELLED_CODE
from orcha._core.record import Phase
from orcha._core.state import Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha._service.clock_looks import ClockLooks
from orcha._service.reports import lease_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.mailbox import Mailbox
    from orcha._service.timers import Timers
    from orcha._store.contract import Store

WARNING_SECONDS = 300.0
"""Seconds before its end at which who follows a lease is warned."""
ABSENCE_SECONDS = 30.0
"""Seconds for which nobody may follow a lease that lasts only while somebody does: a connection may come back."""
OVER, NOT_FOLLOWED = "its time is over", "its client has gone"
_LIVE_STATES = (State.STARTING, State.RUNNING)


class Leases:
    """Begins, warns and ends; the engine thread's, but for `go`."""

    def __init__(
        self,
        petitions: Petitions,
        store: Store,
        timers: Timers,
        mailbox: Mailbox,
        say: Callable[[Record, str], None],
        is_followed: Callable[[bytes], bool],
        report: Callable[..., None],
    ) -> None:
        """Know of no lease.

        Args:
            petitions: the petitions that leases are.
            store: has the lengths that people changed.
            timers: call back.
            mailbox: takes what is to happen in a batch of its own.
            say: adds a line for people to the channel of a petition.
            is_followed: tells whether a client follows a channel.
            report: writes to the log.

        """
        self._petitions = petitions
        self._store = store
        self._timers = timers
        self._mailbox = mailbox
        self._say = say
        self._is_followed = is_followed
        self._report = report
        self._lengths: dict[int, float] = {}
        """Lengths that people changed, in seconds, by sequence."""
        self.held: dict[int, Record] = {}
        """Leases that are held, by sequence."""
        self._attached: dict[int, Record] = {}
        """Leases that wait or are held, and last only while somebody follows them."""
        self._due: list[tuple[float, int]] = []
        """Times of the clock on the wall at which leases are to be looked at; a heap."""
        self._warned: dict[int, float] = {}
        """The end time whose warning was given, by sequence."""
        self._looks = ClockLooks(timers, self._look)

    def load(self) -> None:
        """Take over the lengths that people changed."""
        kept = {int(seq): float(text) for seq, text in self._store.decided(transitions.lease.LENGTH).items()}
        live = {row.seq for row in self._store.rows(list(kept)) if row.state is not State.ENDED}
        self._lengths = {seq: length for seq, length in kept.items() if seq in live}
        for seq in kept.keys() - live:  # a lease that had its length changed, and was cancelled while it waited
            transitions.lease.forget_length(self._petitions, seq)

    # --- begin ------------------------------------------------------------------------------------------------------

    def converted(self, record: Record, reason: str | None = None) -> None:
        """Take what a lease's message says, which was made a petition of; a `reason` says why that could not be."""
        if reason is not None:
            text = "lease %s goes on until it is given back: its message cannot be read: %s"
            self._report(logging.ERROR, text, record.key, reason)
        if record.seq in self._lengths:
            transitions.lease.set_length(record, self._lengths[record.seq])
        if getattr(record.petition, "while_attached", False):
            self._attached[record.seq] = record
            self.peer_gone()
        if record.phase is Phase.ACTION and record.state in _LIVE_STATES:
            self._begin(record)

    def go(self, record: Record) -> None:
        """Begin, in a batch of its own; on any thread."""
        self._mailbox.post(self._go, record.seq, record.attempt)

    def _go(self, seq: int, attempt: int) -> None:
        record = self._petitions.current(seq, attempt)
        if record is not None and record.state in _LIVE_STATES:
            self._begin(record)

    def _begin(self, record: Record) -> None:
        """Hold a lease from its start on; its start may lie before the present start of the service."""
        petitions = self._petitions
        if record.state is State.STARTING:
            transitions.command.running(petitions, record.seq, record.attempt, petitions.now)
            self._say(record, f"{lease_text.lent(record)}\n")
        self.held[record.seq] = record
        self._watch(record)

    def adopt(self, record: Record) -> None:
        """Take a lease that was held when the service ended; its message is to be converted again."""
        transitions.command.adopt(self._petitions, record)
        self.held[record.seq] = record

    # --- the end ----------------------------------------------------------------------------------------------------

    def _watch(self, record: Record) -> None:
        """Look at a lease when it is to be warned of, and when its time is over."""
        until = lease_text.until(record)
        if until is None:
            return
        assert record.timeout is not None
        warns = record.timeout > WARNING_SECONDS and self._warned.get(record.seq) != until
        heapq.heappush(self._due, (until - WARNING_SECONDS if warns else until, record.seq))
        self._looks.ask_for(self._due[0][0])

    def _look(self) -> None:
        now = time.time()
        while self._due and self._due[0][0] <= now:
            record = self.held.get(heapq.heappop(self._due)[1])
            until = None if record is None else lease_text.until(record)
            if record is None or until is None or record.state not in _LIVE_STATES:
                continue
            if until <= now:
                self.end_well(record, OVER)
                continue
            if until - WARNING_SECONDS <= now and self._warned.get(record.seq) != until:
                self._warned[record.seq] = until
                self._say(record, f"{lease_text.ends_soon(record)}\n")
            self._watch(record)
        if self._due:
            self._looks.ask_for(self._due[0][0])

    def end_well(self, record: Record, reason: str) -> None:
        """End a lease that is held: its time is over, or it is given back."""
        self._end(record, CommandEnd(Outcome.SUCCEEDED, 0, reason))

    def _end(self, record: Record, end: CommandEnd) -> None:
        transitions.command.ended(self._petitions, record.seq, record.attempt, end, self._petitions.now)
        self.forget(record)

    def end(self, record: Record) -> None:
        """Let a cancelled lease end, in a batch of its own: nothing of it lives."""
        self._mailbox.post(self._end_cancelled, record.seq, record.attempt)

    def _end_cancelled(self, seq: int, attempt: int) -> None:
        record = self._petitions.current(seq, attempt)
        if record is not None:
            self._end(record, CommandEnd(Outcome.CANCELLED, CANCELLED_CODE, by_itself=False))

    def forget(self, record: Record) -> None:
        """Forget a lease that has ended."""
        self.held.pop(record.seq, None)
        self._attached.pop(record.seq, None)
        self._warned.pop(record.seq, None)
        if self._lengths.pop(record.seq, None) is not None:
            transitions.lease.forget_length(self._petitions, record.seq)

    # --- what people and clients do ---------------------------------------------------------------------------------

    def extend(self, record: Record, seconds: float) -> None:
        """Have a lease that has an end last longer, whether it waits or is held."""
        transitions.lease.extend(self._petitions, record, seconds)
        assert record.timeout is not None
        self._lengths[record.seq] = record.timeout
        if record.seq in self.held:
            self._say(record, f"{lease_text.lent(record)}\n")
            self._watch(record)

    def peer_gone(self) -> None:
        """Look soon which leases nobody follows any more, since a client may have gone."""
        if self._attached:
            self._timers.at(time.monotonic() + ABSENCE_SECONDS, self._look_for_absent)

    def _look_for_absent(self) -> None:
        for record in list(self._attached.values()):
            if record.state is State.ENDED or not self._petitions.is_live(record):
                self.forget(record)
            elif not self._is_followed(record.channel):
                self._end_absent(record)

    def _end_absent(self, record: Record) -> None:
        if record.state in _LIVE_STATES and record.seq in self.held:
            self.end_well(record, NOT_FOLLOWED)
            return
        cancellation = transitions.cancel.cancelled(NOT_FOLLOWED)
        transitions.cancel.cancel(self._petitions, record, cancellation, self._petitions.now)


__all__ = ["Leases"]
