"""The decisions of a service in virtual time: the same rounds, groups, resources and dependencies, and no processes.

Each step of the schedule happens at the next moment at which something is due: a petition ends, is asked for, or has
come to its time. Then rounds of asking are made as in a service, until nothing more starts at that moment.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from orcha._core import transitions
from orcha._core.admission import ALL, Admission, group_name, petition_name
from orcha._core.asking_round import NO, YES, Said
from orcha._core.codes import FAILED_CODE
from orcha._core.converted import Converted, declares_nothing
from orcha._core.dependencies import Dependency
from orcha._core.effects import Do
from orcha._core.forecast.workload import Foretold
from orcha._core.inventory import Drain
from orcha._core.moment import Moment
from orcha._core.past_use import PastUse
from orcha._core.petitions import Petitions
from orcha._core.preempted import PAUSE
from orcha._core.preemption import Preemption
from orcha._core.reasons import EverythingPaused, MachineFull
from orcha._core.record import Phase, Record
from orcha._core.selection import Selection
from orcha._core.state import IfFails, OnInterrupt, Outcome, State
from orcha._core.transitions.command import CommandEnd
from orcha._core.weights import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from orcha._core.asking_round import Answered
    from orcha._core.converted import Candidate
    from orcha._core.effects import Final
    from orcha._core.forecast.workload import Capacity, Job
    from orcha._core.record import Key

MAX_NEW_PETITIONS_PER_ROUND = 1_000
"""Petitions that are asked for at one moment and come into one round, at most."""
_DRAIN = Drain("", "", 0.0)
_YES = Said(YES)
_SUCCEEDED = CommandEnd(Outcome.SUCCEEDED, 0)
_FAILED = CommandEnd(Outcome.FAILED, FAILED_CODE)
_STOPPED = CommandEnd(Outcome.FAILED, FAILED_CODE, by_itself=False)


class VirtualSchedule:
    """Finds out when each of some petitions starts.

    >>> from orcha._core.forecast.workload import Capacity, Job
    >>> jobs = [Job("a", 0.0, 10.0), Job("b", 1.0, 5.0), Job("c", 2.0, 1.0, priority=-1)]
    >>> [(each.job.id, each.started) for each in VirtualSchedule(jobs, Capacity(slots={"": 1})).run()]
    [('a', 0.0), ('c', 10.0), ('b', 11.0)]
    """

    def __init__(self, jobs: Iterable[Job], capacity: Capacity, *, look_ahead: int | None = None) -> None:
        """Take what is to run, in any order, and what there is for it.

        `look_ahead` is how many of the first waiting petitions may be considered; None for any number.
        """
        self._capacity = capacity
        self._jobs: dict[int, Job] = dict(enumerate(sorted(jobs, key=_came), 1))
        """By the sequence number of the petition."""
        self._records: dict[int, Record] = {}
        self._newest: dict[str, int] = {}
        """The sequence number of the newest petition of each id."""
        self._ended: dict[int, Outcome] = {}
        self._ends: list[tuple[float, int]] = []
        self._appointments: list[tuple[float, int]] = []
        groups = {job.group: None for job in self._jobs.values() if job.group is not None}
        self._petitions = Petitions()
        self._petitions.slots_of = capacity.slots
        self._petitions.slots = sum(count or 0 for count in capacity.slots.values()) or 1
        self._now = Moment(0.0, 0.0)
        self._admission = Admission(self._petitions, resources=capacity.resources, now=lambda: self._now)
        inventory = self._admission.resources.inventory
        inventory.occupied = capacity.occupied
        for resource, devices in capacity.drained.items():
            for device in devices:
                inventory.drain(resource, device, _DRAIN)
        self._admission.load(
            {group_name(group) for group in capacity.paused_groups}
            | {petition_name(seq) for seq, job in self._jobs.items() if job.paused},
            {**groups, **capacity.groups},
            {name: rules._replace(when=None) for name, rules in capacity.rules.items()},
        )
        last = max((time for times in capacity.begun.values() for time in times), default=0.0)
        kept = {group: dict(enumerate(self._counted(group))) for group in capacity.begun}
        self._admission.of_groups.load_starts(kept, Moment(last, last))
        if capacity.quotas:
            self._admission.set_quotas(lambda owner: capacity.quotas.get(owner, ()))
        if capacity.weights:
            self._petitions.use_weights(lambda owner: capacity.weights.get(owner, ALONE))
        if capacity.half_life is not None:
            begin = min((_came(job) for job in self._jobs.values()), default=0.0)
            past = PastUse(capacity.half_life, lambda: self._now.steady, capacity.used, begin)
            self._petitions.weigh_past(past)
        self._selection = Selection(self._petitions, self._admission, look_ahead=look_ahead, are_all_own=True)
        self._planned: list[Foretold] = []
        """What was found out in this step."""
        self._preemption = Preemption(self._petitions, self._admission)
        self._full: dict[str, Said] = {}
        """What the condition of each manager says while as many of its petitions run as may: always the same object."""
        self._begun: dict[int, float] = {}
        """When the petitions began that run and may be preempted."""
        self._left: dict[int, float] = {}
        """How many seconds are left of each petition that stands still."""
        self.came_back: dict[str, float] = {}
        """When each petition that stood still had its place again for the first time, by its id."""

    def _counted(self, group: str) -> Sequence[float]:
        """Give as many of the last starts of a group as its rate counts."""
        rules = self._capacity.rules.get(group)
        return self._capacity.begun[group][-rules.rate.starts :] if rules is not None and rules.rate is not None else ()

    def run(self) -> Iterator[Foretold]:
        """Give the petitions as they start; then the petitions that do not start, each with the reason.

        A petition that may be preempted is given when it ends or gives its place: nobody knows its end before.
        """
        coming = iter(self._jobs.items())
        following = next(coming, None)
        while (due := self._due(following)) is not None:
            time = self._aged_until(due)
            now = self._now = Moment(time, time)
            self._end_due(now)
            self._rise_due(now)
            self._age_due(now)
            new: list[int] = []
            while following is not None and _came(following[1]) <= now.wall:
                if self._may_ever_start(*following):
                    new.append(following[0])
                following = next(coming, None)
            self._decide(new, now)
            yield from self._planned
            self._planned = []
        yield from self._left_over()

    def _due(self, following: tuple[int, Job] | None) -> float | None:
        """Give the time at which something happens next; None where nothing does."""
        times = [queue[0][0] for queue in (self._ends, self._appointments) if queue]
        if following is not None:
            times.append(_came(following[1]))
        if (due := self._admission.of_groups.due) is not None:
            times.append(due)
        return min(times, default=None)

    def _aged_until(self, time: float) -> float:
        """Let petitions gain priority before a time; give the time of a gain that may let something start, or that.

        Most gains let nothing start, and are no moment of the schedule: a round for each would cost several gains.
        """
        ageing, version = self._petitions.ageing, self._petitions.version
        while ageing is not None and (due := ageing.due) is not None and due < time and self._is_going():
            self._age_due(Moment(due, due))
            if self._petitions.version != version:
                return due
        return time

    def _is_going(self) -> bool:
        """Tell whether anything that waits may start later: else petitions would gain priority for ever."""
        return bool(self._ends or self._appointments) or self._admission.of_groups.due is not None

    # --- what happens -------------------------------------------------------------------------------------------

    def _may_ever_start(self, seq: int, job: Job) -> bool:
        """Tell whether a new petition is accepted; it is not where it needs more than there is."""
        self._newest[job.id] = seq
        refused = self._admission.refusal(job.group, job.needs or None, of=(job.owner, job.manager))
        if refused is None or job.started is not None:
            return True
        self._ended[seq] = Outcome.REJECTED
        self._planned.append(Foretold(job, None, None, refused.text()))
        return False

    def _end_due(self, now: Moment) -> None:
        """End what has run for its time."""
        while self._ends and self._ends[0][0] <= now.wall:
            _, seq = heapq.heappop(self._ends)
            end = _SUCCEEDED if self._jobs[seq].succeeds else _FAILED
            record = self._records[seq]
            if seq in self._begun:
                self._planned.append(self._foretold(record, self._begun.pop(seq), now.wall))
            transitions.command.ended(self._petitions, seq, record.attempt, end, now)
            transitions.finish.hook_done(self._petitions, seq, now)
            self._take(now)

    def _rise_due(self, now: Moment) -> None:
        """Let petitions wait for their turn whose time has come."""
        while self._appointments and self._appointments[0][0] <= now.wall:
            _, seq = heapq.heappop(self._appointments)
            transitions.retry.time_came(self._petitions, seq, now)

    def _age_due(self, now: Moment) -> None:
        """Let petitions gain the priority that their waiting has brought by now."""
        if self._petitions.ageing is not None:
            self._load(transitions.age.step(self._petitions, self._admission.resources, now, len(self._jobs)))

    def _take(self, now: Moment) -> None:
        """Follow up what transitions left: starts and ends; nothing is kept."""
        _, effects, finals = self._petitions.take()
        for effect in effects:
            if effect.do is Do.ON_START:
                job = self._jobs[effect.record.seq]
                self._runs(effect.record, now.wall, now.wall + max(0.0, job.seconds), now)
        self._follow_up(finals, now)

    def _runs(self, record: Record, started: float, ends: float, now: Moment) -> None:
        """Have a petition run that has just started, and end then."""
        heapq.heappush(self._ends, (ends, record.seq))
        if record.preemptible is None:
            self._planned.append(self._foretold(record, started, ends))
            return
        self._begun[record.seq] = started
        transitions.command.running(self._petitions, record.seq, record.attempt, now)

    def _foretold(self, record: Record, started: float, ended: float, by: str | None = None) -> Foretold:
        return Foretold(self._jobs[record.seq], started, ended, None, record.devices, by)

    # --- who gives a place to whom ------------------------------------------------------------------------------

    def _preempt(self, now: Moment) -> bool:
        """Have petitions come back whose place is free, and have others give theirs; tell whether any does."""
        if not (self._petitions.lent or self._petitions.preemptible):
            self._petitions.unload_now()
            return False
        back = self._preemption.coming_back() if self._petitions.lent else []
        for record in back:
            transitions.preempt.come_back(self._petitions, record)
            heapq.heappush(self._ends, (now.wall + self._left.pop(record.seq), record.seq))
            self.came_back.setdefault(self._jobs[record.seq].id, now.wall)
        given = self._preemption.chosen() if self._petitions.preemptible else []
        for record, by in given:
            self._give_way(record, self._jobs[by.seq].id, now)
        self._petitions.take()  # the effects: nothing runs that would have to be told
        return bool(back or given)

    def _give_way(self, record: Record, by: str, now: Moment) -> None:
        """Have a petition give its place at once."""
        ends = next(each for each in self._ends if each[1] == record.seq)
        self._ends.remove(ends)
        heapq.heapify(self._ends)
        transitions.preempt.give_way(self._petitions, record, by, now)
        if record.preemptible == PAUSE:
            transitions.preempt.stands_still(self._petitions, record)
            self._left[record.seq] = ends[0] - now.wall
            return
        self._planned.append(self._foretold(record, self._begun.pop(record.seq), now.wall, by))
        transitions.command.ended(self._petitions, record.seq, record.attempt, _STOPPED, now)
        transitions.finish.hook_done(self._petitions, record.seq, now)

    def _follow_up(self, finals: Sequence[Final], now: Moment) -> None:
        """Let what waited for the ends go on, and cancel what must not go on without them."""
        admission = self._admission
        for record, *_ in finals:
            assert record.outcome is not None
            self._ended[record.seq] = record.outcome
            self._records.pop(record.seq, None)
            admission.dependencies.drop(record.seq)
            if not admission.dependencies.has_dependents(record.seq):
                continue
            for failed in admission.note_end(record.seq, record.outcome):
                dependent = self._records[failed.petition]
                if dependent.state is not State.QUEUED:
                    continue  # another petition that it comes after has failed at the same moment
                self._petitions.load(dependent)  # it may be only a key, which has another place by what it has gained
                reason = f"cancelled: it comes after {failed.on.id!r}, which did not succeed"
                cancellation = transitions.cancel.cancelled(reason)
                transitions.cancel.cancel(self._petitions, dependent, cancellation, now)
                self._planned.append(Foretold(self._jobs[failed.petition], None, now.wall, reason))
        self._unpark()
        if self._petitions.finals:
            self._take(now)

    def _unpark(self) -> None:
        are_more = True
        while are_more:
            unloaded, are_more = self._admission.unpark_resumed()
            self._load(unloaded)

    # --- rounds of asking ---------------------------------------------------------------------------------------

    def _decide(self, new: list[int], now: Moment) -> None:
        """Make rounds until nothing more starts at this moment."""
        for seq in [seq for seq in new if self._jobs[seq].started is not None]:
            self._go_on(self._enter(seq), now)
            new.remove(seq)
        if self._capacity.is_paused:
            for seq in new:
                record = self._enter(seq)
                self._accept(record, self._convert(record, seq), None, now)
            self._take(now)
            return
        while True:
            part, new = new[:MAX_NEW_PETITIONS_PER_ROUND], new[MAX_NEW_PETITIONS_PER_ROUND:]
            if not self._round([self._convert(self._enter(seq), seq) for seq in part], now) and not new:
                return

    def _round(self, new: list[Converted], now: Moment) -> bool:
        """Ask once; tell whether another round may start more."""
        selection, petitions = self._selection, self._petitions
        starts = petitions.starts
        self._preempt(now)
        self._load(selection.make_ready())
        are_plain = all(converted.is_plain for converted in new)
        asked = selection.next_round(now.steady, converting=bool(new), are_plain=are_plain)
        asked.new = new
        selection.handed_over()
        if not new and not asked.waiting:
            return False
        asking = asked.ask(self._admission, petitions.granted, lambda: petitions.version)
        candidate = next(asking, None)
        while candidate is not None:
            try:
                candidate = asking.send(self._said(candidate))
            except StopIteration:
                candidate = None
        fresh = {converted.seq: converted for converted in new}
        answers = {answered.record.seq: answered for answered in asked.answers if answered.record.seq in fresh}
        for seq, converted in fresh.items():
            self._accept(converted.record, converted, answers.get(seq), now)
        settled = selection.settle(
            [answered for answered in asked.answers if answered.record.seq not in fresh], asked.unchanged, now
        )
        self._load(settled.unloaded)
        selection.note(asked, now.steady)
        self._take(now)
        if self._preempt(now):
            return True
        if petitions.fairness is not None and petitions.starts != starts:
            return True  # the first petition of a line may be another owner's now
        return selection.are_news

    def _said(self, candidate: Candidate) -> Said:
        """Answer as the condition of its manager does: as many run as may."""
        slots = self._capacity.slots.get(candidate.manager)
        if slots is None or len(self._petitions.granted.of_manager(candidate.manager)) < slots:
            return _YES
        full = self._full.get(candidate.manager)
        if full is None:
            full = self._full[candidate.manager] = Said(NO, MachineFull(slots), for_all=True)
        return full

    # --- petitions ----------------------------------------------------------------------------------------------

    def _enter(self, seq: int) -> Record:
        """Take a petition that comes."""
        job = self._jobs[seq]
        # The id may be in use still, where a history has it twice: the name in the forecast is the number.
        since = job.submitted if job.waits_since is None else job.waits_since
        record = Record(seq, b"", str(seq), job.manager, job.owner, b"", None, since)
        self._records[seq] = record
        transitions.submit.receive(self._petitions, record)
        return record

    def _convert(self, record: Record, seq: int) -> Converted:
        job = self._jobs[seq]
        after = {name: must for name, must in job.after.items() if name in self._newest} or None
        return Converted(
            record,
            is_new=True,
            seq=seq,
            key=record.key,
            manager=job.manager,
            owner=record.owner,
            petition=job,  # type: ignore[arg-type]  # nothing looks into it
            is_command=True,
            priority=job.priority,
            retry=None,
            on_interrupt=OnInterrupt.FAIL,
            timeout=None,
            queue_timeout=None,
            expect=self._expected(job),
            group=job.group,
            needs=job.needs or None,
            once=None,
            after=after,
            at=job.not_before,
            delay=None,
            when=None,
            preemptible=PAUSE if job.stands_still else job.preemptible,  # people may have changed what it says since
            has_policy=True,
            is_plain=declares_nothing(job.group, job.needs, None, after, job.not_before, None, None),
        )

    def _expected(self, job: Job) -> float | None:
        """Give what is said of the length of a petition; of a petition that runs already, what is left of that."""
        if job.expect is None or job.started is None:
            return job.expect
        return max(0.0, job.started + job.expect - self._now.wall)

    def _accept(self, record: Record, converted: Converted, answered: Answered | None, now: Moment) -> None:
        """Have a new petition start, wait, or rest until its time."""
        transitions.submit.enter_converted(record, converted)
        failed = self._others_first(record, converted.after) if converted.after else None
        start = False
        if answered is not None and answered.answer is YES:
            start = self._selection.counts(record, are_stopped=False)
        elif answered is not None:
            transitions.wait.note_no(record, answered.why, None)
        transitions.submit.accept(self._petitions, record, now, start=start, new_channel=False)
        if record.phase is Phase.RESTING:
            assert record.due is not None
            heapq.heappush(self._appointments, (record.due, record.seq))
        elif not start and answered is not None:
            self._load(self._admission.park(record))
        if failed is not None:
            self._planned.append(Foretold(self._jobs[record.seq], None, now.wall, failed))
            transitions.cancel.cancel(self._petitions, record, transitions.cancel.cancelled(failed), now)

    def _others_first(self, record: Record, after: Mapping[str, bool]) -> str | None:
        """Have a petition wait for others; give why it cannot start any more, where one of them has failed."""
        unmet = []
        for name, must_succeed in after.items():
            seq = self._newest[name]
            outcome = self._ended.get(seq)
            if outcome is None:
                unmet.append(Dependency(seq, name, must_succeed))
            elif must_succeed and outcome is not Outcome.SUCCEEDED:
                return f"cancelled: it comes after {name!r}, which did not succeed"
        self._admission.dependencies.add(record.seq, unmet, IfFails.CANCEL)
        self._petitions.note_change()
        return None

    def _go_on(self, record: Record, now: Moment) -> None:
        """Take a petition that runs already."""
        job = self._jobs[record.seq]
        assert job.started is not None
        transitions.submit.enter_converted(record, self._convert(record, record.seq))
        granted = self._petitions.granted
        granted.take(record, job.devices)
        logs, granted.start_logs = granted.start_logs, {}  # when it started is among the starts that are given
        transitions.submit.accept(self._petitions, record, now, start=True, new_channel=False)
        granted.start_logs = logs
        self._petitions.take()
        self._runs(record, job.started, max(now.wall, job.started + job.seconds), now)
        if job.stands_still:
            self._give_way(record, "", now)

    def _load(self, keys: Iterable[Key]) -> None:
        """Take back the records of petitions that were only keys."""
        for key in keys:
            self._petitions.load(self._records[key[1]])

    # --- the end ------------------------------------------------------------------------------------------------

    def _left_over(self) -> Iterator[Foretold]:
        """Give what waits still, and why."""
        if self._capacity.is_paused:
            self._admission.pause(ALL)
        for seq, record in sorted(self._records.items()):
            reasons = self._admission.reasons(record) or [record.why or EverythingPaused()]
            yield Foretold(self._jobs[seq], None, None, reasons[0].text())


def _came(job: Job) -> float:
    """Give when a petition comes into the forecast."""
    return job.submitted if job.started is None else max(job.submitted, job.started)


__all__ = ["VirtualSchedule"]
