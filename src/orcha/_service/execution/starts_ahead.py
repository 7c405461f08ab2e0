"""Where commands are over in no time, the next one begins as soon as a slot is free, without waiting for the disk.

A start has to be on the disk before anything is executed. So in the slot of a command that has ended, nothing runs
while a transaction keeps that end and the next start: for commands of some milliseconds that is a quarter of the time.
Where commands end soon after their start, a transaction that is made anyway also keeps the starts of the next commands,
some more than run. These commands go on waiting in their places (`_core/transitions/ahead.py`). When the turn of such a
command comes, the command goes to a shim at once. The end before it waits for the ends of other commands then, since
nobody but its client needs the transaction.

What is kept ahead is put back where nothing comes of it for a moment, and before people look at petitions or decide
about them: nobody meets a petition whose row says that it starts while it waits.

It is an optimization, behind one seam: where `note_end` is never called, each start waits for its transaction. Decision
18 says what it gains.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._service import faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.petitions import Petitions
    from orcha._core.record import Record
    from orcha._service.reports.statistics import Statistics
    from orcha._service.timers import Timers

MAX_GATHERED_ENDS = 6
"""Ends that one transaction waits for: each of them holds its shim until the transaction is made."""
MAX_STARTS_AHEAD = 16
"""Starts that are kept ahead at most; after a power cut nobody knows of these whether they were executed."""
MAX_AHEAD_SECONDS = 0.25
"""How long the start of a command that has not begun stays kept; then its row says QUEUED again."""
MAX_LOOK_SECONDS = 1.0
"""How long after a person looked no start is kept ahead, since that person may decide something."""


class StartsAhead:
    """Keeps starts ahead, and has them begin; the engine's."""

    def __init__(
        self,
        petitions: Petitions,
        timers: Timers,
        statistics: Statistics,
        is_wanted: Callable[[], bool],
    ) -> None:
        """Keep nothing ahead.

        Args:
            petitions: the petitions.
            timers: put back what has not begun.
            statistics: counts starts, also starts that one transaction keeps together with their ends.
            is_wanted: whether anything may be kept ahead now.

        """
        self._petitions = petitions
        self._timers = timers
        self._statistics = statistics
        self._is_wanted = is_wanted
        self.begin_at_once: Callable[[Record], None] = lambda _: None
        """Hands a command whose start is kept to its shim; set before the first command."""
        self.ends = 0
        """Ends of short commands since the last transaction."""
        self.has_begun = False
        """Whether a start that was kept ahead has begun since then."""
        self._due: dict[int, float] = {}
        """When each start is put back, by sequence, on the monotonic clock."""
        self._is_armed = False
        self._looked_until = 0.0

    def note_end(self) -> None:
        """Note the end of a short command: other commands may be over as soon."""
        self.ends += 1

    @property
    def may_gather(self) -> bool:
        """Whether the transaction of these ends may wait for other ends: commands in their places run, or none can."""
        return not self.has_begun or (bool(self._petitions.ahead) and self.ends < self._most_ends())

    def _most_ends(self) -> int:
        return min(3 * len(self._petitions.granted), MAX_GATHERED_ENDS)

    def begin(self) -> None:
        """Have the commands begin whose turn has come and whose start is kept."""
        petitions = self._petitions
        for record in petitions.take_prompt():
            self.has_begun = True
            self._statistics.begins(record.seq, petitions.now.wall - record.submitted, petitions.now.steady)
            self.begin_at_once(record)

    def about_to_keep(self) -> None:
        """Keep the starts of the next commands with the transaction that is about to be made."""
        if self._petitions.prompt:
            self.begin()
        ends, self.ends, self.has_begun = self.ends, 0, False
        if not ends or not self._petitions.waiting or faults.HOLD is not None:
            return
        now = time.monotonic()
        if now < self._looked_until or not self._is_wanted():
            return
        petitions = self._petitions
        count = min(2 * max(len(petitions.granted), self._most_ends()), MAX_STARTS_AHEAD)
        known = {one.seq for one in petitions.changes.petitions} | petitions.ahead.keys()
        for seq in [key[1] for key in petitions.waiting.head(count) if key[1] not in known]:
            record = petitions.records.get(seq)
            if record is None or not _is_plain(record):
                continue
            if transitions.ahead.keep_ahead(petitions, record, petitions.now):
                self._due[seq] = now + MAX_AHEAD_SECONDS
        if self._due and not self._is_armed:
            self._is_armed = True
            self._timers.at(now + MAX_AHEAD_SECONDS, self._look)

    def note_look(self) -> None:
        """Note that somebody looks at petitions, or decides about them: for a moment nothing is kept ahead."""
        self._looked_until = time.monotonic() + MAX_LOOK_SECONDS

    def put_back(self, due: float = math.inf) -> None:
        """Put back what is due by then, with the next transaction; everything by default."""
        petitions = self._petitions
        for seq in list(petitions.ahead):
            if self._due.get(seq, 0.0) <= due:
                transitions.ahead.put_back(petitions, petitions.records[seq], petitions.now)
        self._due = {seq: at for seq, at in self._due.items() if seq in petitions.ahead}

    def _look(self) -> None:
        self._is_armed = False
        self.put_back(time.monotonic())
        if self._due:
            self._is_armed = True
            self._timers.at(min(self._due.values()), self._look)


def _is_plain(record: Record) -> bool:
    """Tell whether a command of the built-in manager waits for nothing but a slot, as far as it says."""
    return record.needs is None and record.when is None and not record.has_hooks


__all__ = ["StartsAhead"]
