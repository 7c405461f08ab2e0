"""Whether a petition that goes before earlier ones delays any of them: the same schedule with it and without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from orcha._core.admission import petition_name
from orcha._core.asking_round import NO, Said
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.reasons import MachineFull
from orcha._core.record import Phase
from orcha._core.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orcha._core.forecast.workload import Capacity, Foretold, Job


class Delay(NamedTuple):
    """An earlier petition that starts later where another one goes before it."""

    gap: str
    """The petition that goes before it."""
    delayed: str
    at: float
    """When the petition goes before it."""
    without: float | None
    beside: float | None

    def __str__(self) -> str:
        """Say it."""
        return f"{self.gap} goes before others at {self.at}: {self.delayed} starts at {self.beside}, not {self.without}"


class Stopped(VirtualSchedule):
    """A schedule in which nothing comes, and nothing later starts, once a petition could go before earlier ones."""

    def __init__(self, jobs: Iterable[Job], capacity: Capacity, gap: int | None = None, *, goes: bool = True) -> None:
        """Stop at the gap of this number, where the petition `goes` before others or never starts; None for none."""
        super().__init__(jobs, capacity)
        self.gaps: list[tuple[str, float]] = []
        """Each petition that went before earlier ones, and when."""
        self.earlier: list[str] = []
        """The petitions that waited before the petition at the stop."""
        self._gap, self._goes = gap, goes
        self._stop: tuple[float, int, str] | None = None
        self._is_frozen = False
        backfill = self._admission.resources.backfill
        self._may_go, backfill.may_go = backfill.may_go, self._watch

    def _watch(self, small):
        place = small.place
        if self._stop is not None and place >= self._stop:
            return False
        if not self._may_go(small):
            return False
        if self._stop is not None:
            return True
        self.gaps.append((self._jobs[place[1]].id, self._now.wall))
        if len(self.gaps) - 1 != self._gap:
            return True
        self._stop = place
        self.earlier = [self._jobs[each.seq].id for each in self._records.values() if self._is_earlier(each)]
        return self._goes

    def _is_earlier(self, record):
        has_slot = self._petitions.granted.has(record.seq)
        is_waiting = record.state is State.QUEUED and record.phase in (Phase.WAITING, Phase.CONVERTING)
        job = self._jobs[record.seq]
        return is_waiting and not has_slot and (job.priority, record.seq) < self._stop[:2]

    def _said(self, candidate):
        if self._stop is not None and candidate.place > self._stop:
            return Said(NO, MachineFull(0))
        return super()._said(candidate)

    def _round(self, new, now):
        is_more = super()._round(new, now)
        if self._stop is None or self._is_frozen:
            return is_more
        self._is_frozen = True
        for record in list(self._records.values()):
            is_later = record.place > self._stop or record.place == self._stop
            if record.state is State.QUEUED and (is_later or record.phase is not Phase.WAITING):
                self._admission.pause(petition_name(record.seq))
        return True

    def _may_ever_start(self, seq, job):
        return self._stop is None and super()._may_ever_start(seq, job)


def starts_of(planned: Iterable[Foretold]) -> dict[str, float | None]:
    """Give when each petition starts."""
    return {each.job.id: each.started for each in planned}


def delays(jobs: list[Job], capacity: Capacity) -> Iterator[Delay | None]:
    """Give each delay of a petition by a later one that goes before it; None for each that goes and delays nobody."""
    whole = Stopped(jobs, capacity)
    list(whole.run())
    for number, (name, at) in enumerate(whole.gaps):
        beside, without = (Stopped(jobs, capacity, number, goes=goes) for goes in (True, False))
        with_it, without_it = starts_of(beside.run()), starts_of(without.run())
        assert beside.gaps[number] == without.gaps[number] == (name, at)
        assert beside.earlier == without.earlier
        found = [
            Delay(name, each, at, without_it[each], with_it[each])
            for each in beside.earlier
            if without_it[each] is not None and (with_it[each] is None or with_it[each] > without_it[each])
        ]
        yield from found or [None]


__all__ = ["Delay", "Stopped", "delays", "starts_of"]
