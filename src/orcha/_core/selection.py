"""Which waiting petitions are asked next whether they may start, and what their answers make of them.

They are asked since something has happened: the first ones, in order. Or they are asked by time alone, where a
condition said no and nobody knows what that condition depends on.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.asking import Asking
from orcha._core.asking_round import BROKEN, MAX_REFUSALS_PER_ROUND, YES, Round
from orcha._core.reasons import ReplacesAnother
from orcha._core.transitions import finish, start, wait
from orcha._core.tuples import new_tuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from orcha._core.admission import Admission
    from orcha._core.asking_round import Answered
    from orcha._core.fairness import Lane
    from orcha._core.moment import Moment
    from orcha._core.petitions import Petitions
    from orcha._core.reasons import Reason
    from orcha._core.record import Key, Record

MAX_HEADS = 96
"""Waiting petitions of one round, at most."""
MAX_HEADS_WITHOUT_STARTS = MAX_REFUSALS_PER_ROUND + 8
"""Waiting petitions of a round that follows a round in which no petition could start."""
SECONDS_AFTER_A_START = 0.05
"""How long after the last asking a start alone has blocked conditions asked again."""
MIN_ASKING_PAUSE_SECONDS = 0.05
"""How long it takes at least until time alone has a condition asked."""


class Cost(NamedTuple):
    """What asking some petitions cost."""

    asked: int = 0
    processor: float = 0.0
    """Seconds of a processor."""
    elapsed: float = 0.0
    """Seconds that passed."""


class Settled(NamedTuple):
    """What the answers of a round made of the petitions."""

    are_starting: bool
    """Whether any petition starts."""
    blocked: list[tuple[Record, bool]]
    """Petitions that wait for another reason than before; and whether they had none before."""
    unloaded: list[Key]
    """Petitions that wait with the others again, and whose records are to be loaded."""


class Selection:
    """Makes rounds of asking, and takes what they found out; the engine's."""

    def __init__(
        self,
        petitions: Petitions,
        admission: Admission,
        *,
        look_ahead: int | None = None,
        own: Collection[str] = (),
        are_all_own: bool = False,
    ) -> None:
        """Have asked nobody.

        Args:
            petitions: what waits and runs.
            admission: what blocks a petition whatever its condition says.
            look_ahead: how many of the first ones may be considered at all; None for any number.
            own: managers whose conditions depend on nothing but the service, and need not be asked by time.
            are_all_own: whether no other manager is served.

        """
        self._petitions = petitions
        self._admission = admission
        self.look_ahead = look_ahead
        self._own = own
        self._are_all_own = are_all_own
        self.heads = MAX_HEADS
        """How many of the first ones are asked: more where many of the last ones could start."""
        self._more = False
        """Whether more of the first ones are to be asked, though nothing has changed."""
        self._is_one_left_out = False
        """Whether that is so since a petition was left out of the last round."""
        self._asked_version = -1
        self._asked_starts = 0
        self._starts_due: float | None = None
        """When a start has blocked conditions asked again."""
        self._heard: tuple[int, str, Reason] | None = None
        """How many had started when the last round was over, and what all of a manager heard in it, once all of these
        had been let start."""
        self._asking = Asking()
        self._time_due: float | None = None
        """When time alone has some asked."""
        self._cursor: Key | None = None
        """Where the others were asked up to."""

    # --- which petitions a round asks --------------------------------------------------------------------------------

    @property
    def are_news(self) -> bool:
        """Whether the waiting petitions are to be asked once more, or parked ones may wait with them again."""
        if self._petitions.waiting.is_empty:
            return False
        return self._are_to_be_asked or self._admission.may_unpark()

    @property
    def _are_to_be_asked(self) -> bool:
        """Whether the waiting petitions are to be asked, though they were asked before."""
        petitions = self._petitions
        return (self._more or petitions.version != self._asked_version) and bool(petitions.waiting)

    def may_unpark(self) -> bool:
        """Tell whether something has happened since parked petitions were looked at."""
        return self._admission.may_unpark()

    def has_waiting(self) -> bool:
        """Tell whether anybody waits: else a round would ask nobody, and nothing is due."""
        if self._petitions.look_for_waiting():
            return True
        self._time_due = self._starts_due = None
        return False

    def is_due(self, now: float) -> bool:
        """Tell whether a round may ask anybody now, or let parked petitions go."""
        petitions = self._petitions
        if self._are_to_be_asked or petitions.waiting.parked or self._admission.of_groups.due is not None:
            return True
        if petitions.starts != self._asked_starts and (self._starts_due is None or self._starts_due <= now):
            return True
        return self._time_due is not None and self._time_due <= now

    @property
    def due(self) -> float | None:
        """When to make another round though nothing happens until then, on the steady clock; None for never."""
        by_time, after_start, by_rate = self._time_due, self._starts_due, self._admission.of_groups.due
        if by_rate is not None:
            return min(by_rate, by_time or by_rate, after_start or by_rate)
        if by_time is None or after_start is None:
            return after_start if by_time is None else by_time
        return min(by_time, after_start)

    def make_ready(self) -> list[Key]:
        """Let go what is parked and can go, and keep enough of the queue ready; give whose records are to be loaded.

        It is called just before `next_round`. What all owners used before is reckoned up to this moment for both first:
        the end of a petition has done that for its own owner alone. Compared with earlier shares of the other owners,
        the petition of the wrong owner might leave its lot, and a later petition might start before the right one.
        """
        petitions = self._petitions
        if petitions.fairness is not None and petitions.fairness.counts_past:
            petitions.granted.pass_time()
        unloaded = self._admission.unpark()
        if petitions.waiting:
            petitions.unload(petitions.waiting.spill())
            if petitions.waiting.wants_refill():
                unloaded += petitions.waiting.refill()
            if petitions.eager:
                unloaded += petitions.unloaded_eager()
        return unloaded

    def next_round(self, now: float, *, converting: bool, are_plain: bool = False) -> Round:
        """Give the first petitions in order, and a sample of the others, as far as they are to be asked now.

        `converting` says that new ones come with them, and `are_plain` that all of the new ones are known to be plain.
        """
        petitions = self._petitions
        waiting: list[Record] = []
        sample: list[Record] = []
        by_time, always = False, set[int]()
        cut: frozenset[Lane] = frozenset()
        narrow = self.look_ahead is not None and converting  # new petitions count among the first ones
        if not petitions.waiting:
            self._time_due = self._starts_due = None
        elif self._are_to_be_asked or narrow or self._is_start_due(now):
            self._asked_starts, self._starts_due = petitions.starts, None
            if petitions.ageing is not None:
                petitions.ageing.most_heads = self.look_ahead or MAX_HEADS
            if (are_plain or not converting) and self._would_hear_the_same():
                self.heads, self._more = MAX_HEADS_WITHOUT_STARTS, False
            elif self.look_ahead is None:
                heads, cut = petitions.waiting.firsts(self.heads)
                waiting = self._records(heads)
            else:
                waiting = self._records(petitions.waiting.head(self.look_ahead))
            if petitions.eager and self.look_ahead is None:
                waiting, always = self._with_eager(waiting)
        elif self._time_due is not None and self._time_due <= now:
            self._time_due = None
            waiting, sample = self._by_time(now)
            by_time = bool(waiting or sample)
        return Round(
            waiting,
            sample,
            look_ahead=self.look_ahead,
            by_time=by_time,
            version=petitions.version,
            fairness=petitions.fairness,
            always=always,
            cut=cut,
        )

    def _would_hear_the_same(self) -> bool:
        """Tell whether the first petitions, which are to be asked since others have started, would hear what they know.

        They would where the last round found out that all petitions of a manager hear the same no, nothing has happened
        since, and each petition that is to be asked knows that no. Of several owners these are the petitions of the
        owner whose turn it is.
        """
        petitions, heard = self._petitions, self._heard
        if heard is None or heard[0] != petitions.starts or petitions.version != self._asked_version:
            return False
        if self._is_one_left_out or petitions.eager or self.look_ahead is not None or not self._are_all_own:
            return False
        _, manager, why = heard
        records = self._records(petitions.waiting.surely_firsts(self.heads))
        if not records or not records[0].is_plain or self._admission.blocked_by(records[0]) is not None:
            return False
        return not [each for each in records if each.why is not why or each.manager != manager]

    def _with_eager(self, heads: list[Record]) -> tuple[list[Record], set[int]]:
        """Give the first ones and all leases that wait with the others, in order; and which are leases."""
        petitions = self._petitions
        asked, always = {record.seq: record for record in heads}, set()
        for seq in list(petitions.eager):
            record = petitions.records.get(seq)
            if record is None or not petitions.waits(record):
                if record is not None or not petitions.is_unloaded(seq, petitions.eager[seq]):
                    del petitions.eager[seq]
            elif not petitions.waiting.is_parked(record.place):
                asked[seq] = record
                always.add(seq)
        return sorted(asked.values(), key=_place), always

    def handed_over(self) -> None:
        """Note that the conditions that are asked from now on know all that is known now."""
        self._asked_version = self._petitions.version
        self._more = False

    def stand_still(self) -> None:
        """Note that nothing starts now, so that time has nobody asked."""
        self._time_due = self._starts_due = None

    def hurry(self, now: float) -> None:
        """Have also those asked soon that are not among the first."""
        self._cursor = None
        self._asking.hurry(now)

    def _is_start_due(self, now: float) -> bool:
        if self._petitions.starts == self._asked_starts:
            return False
        if self._starts_due is None:
            self._starts_due = now + SECONDS_AFTER_A_START
        return self._starts_due <= now

    def _records(self, keys: list[Key]) -> list[Record]:
        records = self._petitions.records
        return [records[key[1]] for key in keys if key[1] in records]

    # --- by time ------------------------------------------------------------------------------------------------

    def _by_time(self, now: float) -> tuple[list[Record], list[Record]]:
        """Give whose turn it is; where it is nobody's yet, be back when it is."""
        waiting, asking = self._petitions.waiting, self._asking
        keys = waiting.head(self.look_ahead or waiting.ready)
        if next(self._opaque(keys), None) is None:
            return [], []  # nobody waits for a condition: the next no of one begins it anew
        firsts = asking.whom(self._opaque(keys), now)
        others: list[Record] = []
        if self._are_many and now >= asking.others.due:
            begin = 0 if self._cursor is None else waiting.index(self._cursor)
            part = waiting.head(asking.others.count, max(begin, asking.firsts.count))
            others = [record for record in self._opaque(part) if record not in firsts]
            if not others:
                asking.others.took(now=now, asked=0, processor=0.0, elapsed=0.0)
                self._cursor = _after(part[-1]) if part else None
        if not firsts and not others:
            self._arm(max(asking.due(are_many=self._are_many), now + MIN_ASKING_PAUSE_SECONDS))
        return firsts, others

    @property
    def _are_many(self) -> bool:
        """Whether more petitions wait than the first ones, which are asked by time."""
        return self.look_ahead is None and len(self._petitions.waiting) > self._asking.firsts.count

    def _opaque(self, keys: Iterable[Key]) -> Iterator[Record]:
        """Give the petitions among these that wait for a plugin's condition, as far as is known."""
        records, replaces = self._petitions.records, self._admission.keys.replaces
        for key in keys:
            record = records.get(key[1])
            if (
                record is not None
                and record.manager not in self._own
                and (record.once is None or not replaces(record.seq))
            ):
                yield record

    def _arm(self, at: float) -> None:
        """Be back at that time, unless that is sooner already."""
        if self._time_due is None or at < self._time_due - MIN_ASKING_PAUSE_SECONDS:
            self._time_due = at

    # --- what came of it ----------------------------------------------------------------------------------------

    def note(self, asked: Round, now: float, *, firsts: Cost | None = None, others: Cost | None = None) -> None:
        """Learn from a round whose answers are settled, and from what it cost where time alone had it made."""
        if self._admission.resources.left:
            self._admission.resources.note_left()
        if self._petitions.may_have_waiting and self._petitions.waiting:
            self._is_start_due(now)
        if asked.waiting or asked.yeses:
            self._heard = None if asked.heard is None else (self._petitions.starts, *asked.heard)
        asking = self._asking
        if asked.by_time:
            self._note_cost(asked, now, firsts or Cost(), others or Cost())
        elif asked.opaque:
            asking.rest(now)
        if asked.by_time or asked.opaque or self._leaves_some(asked):
            self._arm(max(asking.due(are_many=self._are_many), now + MIN_ASKING_PAUSE_SECONDS))
        are_left = len(asked.waiting) >= self.heads and asked.noes < MAX_REFUSALS_PER_ROUND
        if asked.fairness is not None:
            are_left = are_left and asked.yeses > 0  # else the petitions behind are asked by time
        if self.look_ahead is not None:
            are_left = asked.yeses > 0 and bool(self._petitions.waiting)  # each start brings one among the first ones
        self._more = are_left or asked.left_out  # petitions before the one left out may not have been kept
        self._is_one_left_out = asked.left_out
        if asked.waiting:
            self.heads = min(MAX_HEADS, MAX_HEADS_WITHOUT_STARTS + 2 * asked.yeses)

    def _leaves_some(self, asked: Round) -> bool:
        """Tell whether petitions behind those refused may never have been asked."""
        return bool(asked.waiting) and len(self._petitions.waiting) > MAX_REFUSALS_PER_ROUND and not self._are_all_own

    def _note_cost(self, asked: Round, now: float, firsts: Cost, others: Cost) -> None:
        asking = self._asking
        if firsts.asked or now >= asking.firsts.due:
            asking.firsts.took(now=now, asked=firsts.asked, processor=firsts.processor, elapsed=firsts.elapsed)
        if asked.sample:
            asking.others.took(now=now, asked=others.asked, processor=others.processor, elapsed=others.elapsed)
            last = asked.sample[max(0, asked.sampled - 1)].place
            waiting = self._petitions.waiting
            is_end = asked.sampled == len(asked.sample) and not waiting.head(1, waiting.index(_after(last)))
            self._cursor = None if is_end else _after(last)

    def settle(
        self, answers: Iterable[Answered], unchanged: Iterable[tuple[Record, float | None]], now: Moment
    ) -> Settled:
        """Start the petitions that said yes, in the order in which they were asked, and park what is blocked."""
        blocked: list[tuple[Record, bool]] = []
        unloaded: list[Key] = []
        yes: list[Record] = []
        for record, answer, why, error, asked in answers:
            if answer is YES:
                yes.append(record)
            elif answer is BROKEN:
                reason = error or "its condition broke"
                finish.break_waiting(self._petitions, record, reason, now)
            else:
                if (news := wait.note_no(record, why, asked, now.wall)) is not None:
                    blocked.append((record, news))
                unloaded += self._admission.park(record, now.wall)
        wait.note_asked(unchanged)
        if yes:
            start.start_all(self._petitions, yes, now)
        return new_tuple(Settled, (bool(yes), blocked, unloaded))

    def counts(self, record: Record, *, are_stopped: bool) -> bool:
        """Tell whether the yes of a petition that is about to be accepted counts; its slot is free again otherwise.

        What it says of itself may have decided otherwise meanwhile, and so may people.
        """
        replaces = record.once is not None and self._admission.keys.replaces(record.seq)
        if replaces:
            wait.note_no(record, ReplacesAnother(), None)
        if not (are_stopped or replaces or record.cancellation is not None):
            return True
        self._petitions.granted.give_back(record)
        self._petitions.note_change()
        return False


_place = attrgetter("place")


def _after(key: Key) -> Key:
    """Give what comes after a key and before all others that do."""
    return (*key[:2], key[2] + "\0")


__all__ = ["Cost", "Selection", "Settled"]
