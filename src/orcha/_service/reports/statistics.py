"""Statistics of a service since its start: counts, rates, and how long petitions waited and ran."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from orcha._core.state import Outcome, State
from orcha._service.lifecycle.installed_build import Build

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._core.changes import Changes
    from orcha._core.record import Record

# Looked up once: an attribute of an enumeration costs ten times a global name.
_ENDED, _HELD, _QUEUED, _STARTING = State.ENDED, State.HELD, State.QUEUED, State.STARTING

MAX_REMEMBERED_TIMES = 1_000
"""Waiting and running times that are remembered."""
RATE_WINDOW_SECONDS = 60
"""Seconds over which rates are taken."""


class Rate:
    """Counts what happened in each of the last seconds.

    >>> rate = Rate()
    >>> rate.add(120, now=10.5), rate.a_second(now=11.0, since=0.0)
    (None, 10.909090909090908)
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seconds: deque[tuple[int, int]] = deque()

    def add(self, count: int, now: float) -> None:
        """Count some."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + count)
        else:
            self._seconds.append((second, count))
            self._drop(now)

    def _drop(self, now: float) -> None:
        while self._seconds and self._seconds[0][0] <= now - RATE_WINDOW_SECONDS:
            self._seconds.popleft()

    def a_second(self, now: float, since: float) -> float:
        """Give how many there were a second in the last minute, or since `since` where that is less long ago."""
        self._drop(now)
        span = min(float(RATE_WINDOW_SECONDS), max(1.0, now - since))
        return sum(count for _, count in self._seconds) / span


class Statistics:
    """Counts what each transaction kept; the engine thread's."""

    def __init__(self, started: float, steady: float) -> None:
        """Begin at the service's start: in seconds since 1970, and on the monotonic clock, which measures."""
        self.started = started
        self.build = Build()
        self._steady = steady
        self.accepted = 0
        self.starts = 0
        self.ends = 0
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.waited: deque[float] = deque(maxlen=MAX_REMEMBERED_TIMES)
        self.ran: deque[float] = deque(maxlen=MAX_REMEMBERED_TIMES)
        self._accepted, self._started, self._finished = Rate(), Rate(), Rate()
        self._running: dict[int, float] = {}
        self._counted_starts = 0

    def note(self, changes: Changes, records: dict[int, Record], now: float, steady: float) -> None:
        """Count what a transaction has kept; `now` is compared with when petitions were submitted."""
        ends = 0
        self.accepted += len(changes.petitions)
        for new in changes.petitions:
            if new.state is _ENDED:
                ends += 1
                self._ended(new.seq, new.outcome, steady)
            elif new.state is _STARTING:
                self.begins(new.seq, now - new.submitted, steady)
        for seq, step in changes.transitions.items():
            if step.state is _STARTING:
                record = records.get(seq)
                if record is None or record.state is not _QUEUED:  # else its start is kept ahead
                    self.begins(seq, 0.0 if record is None else now - record.submitted, steady)
            elif step.state is _ENDED:
                ends += 1
                self._ended(seq, step.outcome, steady)
            elif step.state is _QUEUED or step.state is _HELD:
                self._running.pop(seq, None)
        self.ends += ends
        self._note_rates(len(changes.petitions), ends, steady)

    def _note_rates(self, accepted: int, ends: int, steady: float) -> None:
        if accepted:
            self._accepted.add(accepted, steady)
        if self.starts != self._counted_starts:
            self._started.add(self.starts - self._counted_starts, steady)
            self._counted_starts = self.starts
        if ends:
            self._finished.add(ends, steady)

    def _ended(self, seq: int, outcome: Outcome | None, steady: float) -> None:
        if outcome is not None:
            self.outcomes[outcome] += 1
        begun = self._running.pop(seq, None)
        if begun is not None:
            self.ran.append(steady - begun)

    def begins(self, seq: int, waited: float, steady: float) -> None:
        """Count a start, once, of a petition that has `waited` this number of seconds."""
        if seq in self._running:
            return
        self.starts += 1
        self._running[seq] = steady
        self.waited.append(max(0.0, waited))

    def uptime(self, steady: float) -> float:
        """Give the seconds since the service's start."""
        return steady - self._steady

    def rates(self, steady: float) -> dict[str, float]:
        """Give how many were accepted, started and ended a second in the last minute."""
        rates = {"accepted": self._accepted, "started": self._started, "ended": self._finished}
        return {name: rate.a_second(steady, self._steady) for name, rate in rates.items()}


def percentiles(times: Iterable[float]) -> dict[str, float | None]:
    """Give the 50th, 90th and 99th percentile and the largest, by nearest rank; None for nothing.

    >>> percentiles([3, 1, 2])
    {'p50': 2, 'p90': 3, 'p99': 3, 'max': 3}
    """
    found = sorted(times)
    ranks = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    return {name: found[-(-len(found) * rank // 100) - 1] if found else None for name, rank in ranks.items()}
