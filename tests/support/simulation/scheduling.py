"""What holds of each question and each start, whatever code decides about them: an oracle of the simulated service.

It looks at what was planned and at what really runs, and knows nothing of lots and lines.
One file, since each question and each start is judged by the same plans, and by what runs then.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from orcha._core.admission import ALL, group_name, petition_name
from orcha._core.asking_round import MAX_REFUSALS_PER_ROUND, MAX_REPEATS_PER_ROUND, in_order
from orcha._core.conditions.terms import Reading
from orcha._core.converted import Converted
from orcha._core.group_admission import group_of
from orcha._core.groups import NO_RULES
from orcha._core.quotas import QUOTA_LOT
from orcha._core.reasons import BehindAnother, NeedsShort
from orcha._core.record import Phase, Record
from orcha._core.state import Outcome, State
from orcha.interfaces.built_in import ARRAY_MANAGER, COMMAND_MANAGER
from orcha.interfaces.needs import WHOLE
from support.simulation.allowances import Running
from support.simulation.plans import CAPACITY
from support.simulation.stock import held_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orcha._core.asking_round import Round
    from orcha._core.converted import Candidate
    from orcha._core.record import Key
    from orcha._store.contract import KeptDependency
    from support.simulation.plans import Plan
    from support.simulation.service import Service
    from support.simulation.stock import Held

BATCH_SECONDS = 0.01
"""What is kept at a time was decided so much earlier, at most."""


def _held_at(at: float, ends: list[tuple[float, int]]) -> int:
    """Give how much is held at a time, where each holder goes on for so long."""
    return sum(amount for end, amount in ends if end > at)


class Unloaded(NamedTuple):
    """A waiting petition whose key alone the service has in memory."""

    seq: int
    token: bytes
    place: Key

    @property
    def priority(self) -> float:
        """The priority that the service knows."""
        return self.place[0]


def record_behind(candidate: Candidate) -> Record:
    """Give the record of a petition that may be asked."""
    return candidate.record if isinstance(candidate, Converted) else candidate


class Scheduling:
    """Says of one service what may be asked, what may start, and who goes first."""

    def __init__(self, service: Service) -> None:
        """Look at a service that is about to recover."""
        self._service = service
        self._world = service.world
        self._petitions = service.engine.petitions
        self._admission = service.engine.admission

    def plan(self, candidate: Candidate | Unloaded) -> Plan:
        """Give what a petition was planned to be."""
        token = candidate.token if isinstance(candidate, Unloaded) else record_behind(candidate).token
        return self._world.plans[token]

    @staticmethod
    def _has_ended(candidate: Candidate) -> bool:
        """Tell whether a petition has ended since its round was made: its answer counts no more, and starts nothing.

        The core knows its owner no more either, so that it may be asked in the turn of another owner.
        """
        return record_behind(candidate).state is State.ENDED

    # --- who may be asked ---------------------------------------------------------------------------------------

    def may_be_asked(self, candidate: Candidate) -> None:
        """Hold that a petition is asked only where nobody and nothing holds it back."""
        record = record_behind(candidate)
        if self._has_ended(candidate):
            return
        assert not self._is_paused(candidate), f"{record} is paused, and asked"
        assert self._group_has_room(candidate), f"{record} is asked, and its group has no room"
        assert self._lacks_quota(candidate) is None, f"{record} is asked, and {self._lacks_quota(candidate)}"
        assert not self._whole_blocks(candidate), f"{record} is asked, and the whole machine is taken, or wanted"
        assert self._fits(candidate), f"{record} is asked, and what it needs is not there"
        assert self._text_holds(candidate), f"{record} is asked, and its condition in text is false"
        assert self._others_have_ended(candidate), f"{record} is asked, and waits for others"
        assert self._time_has_come(candidate), f"{record} is asked before its time"

    def _time_has_come(self, candidate: Candidate) -> bool:
        """Tell whether a petition may start by now: by the time it named, and the pause after a failure."""
        record, plan, now = record_behind(candidate), self.plan(candidate), self._world.time
        if record.phase is Phase.CONVERTING:
            return plan.at is None and plan.delay is None
        due = self._world.dues.get(record.seq) if not record.attempt else None
        if due is not None and now.highest < due:
            return False
        key = record.seq, record.attempt
        until = self._world.rests.get(key)
        has_failed = not record.attempt or self._world.on_starts[key]  # else it was never started, and waits at once
        return until is None or now.steady >= until - BATCH_SECONDS or not has_failed

    def _others_have_ended(self, candidate: Candidate) -> bool:
        """Tell whether the petitions that this one names have ended as it wants."""
        plan, record = self.plan(candidate), record_behind(candidate)
        if not (plan.after or plan.after_ok or record.after or "@" in record.key):  # a firing waits for others, too
            return True
        if record.phase is Phase.CONVERTING:
            return not (plan.after or plan.after_ok or record.after)
        may_fail = plan.if_dependency_fails != "cancel"
        ends = {final.record.seq: final.record.outcome for final in self._petitions.finals}  # kept with its start
        return all(
            (each.has_ended or each.after in ends)
            and (may_fail or not each.must_succeed or ends.get(each.after, each.outcome) is Outcome.SUCCEEDED)
            for each in self._dependencies(candidate.seq)
        )

    def _dependencies(self, seq: int) -> list[KeptDependency]:
        """Give what a petition waits for, also where it was accepted in this batch, and is not kept yet."""
        store, named = self._world.store, self._petitions.changes.dependencies.get(seq, ())
        return store.dependencies([seq]) or [store.declared(seq, each) for each in named]

    # --- who may start ------------------------------------------------------------------------------------------

    def passed_by(self, asked: Round, starts: Candidate) -> list[Candidate]:
        """Give the petitions before this one that could start too, at the moment when this petition says yes.

        A petition that came back into the queue after the round began, since its pause or its rest ended, is asked in
        the next round: it is in this round neither asked nor parked.
        """
        if asked.repeats >= MAX_REPEATS_PER_ROUND or asked.is_sampling or self._has_ended(starts):
            return []
        waiting = [asked.again.get(record.seq, record) for record in asked.waiting]
        considered = in_order([each for each in waiting if each.petition is not None], asked.new)
        if asked.look_ahead is not None and asked.fairness is not None:
            return []  # the first ones are not the first by their sequence
        before = [each for each in considered[: asked.look_ahead] if self._was_before(asked, each, starts)]
        if len(before) >= MAX_REFUSALS_PER_ROUND:
            return []
        others = list(before)
        if starts.group is not None:  # of its group also petitions that wait for a slot
            parked = [record for record in self._petitions.records.values() if record.petition is not None]
            mine = [each for each in parked if self._is_parked_for(each, starts.group)]
            others += [
                each for each in mine if self._is_before(each, starts) and self._is_comparable(asked, each, starts)
            ]
        could = [each for each in others if self.could_start(each, asked.new) and self._could_by_rate(each)]
        passed = [each for each in could if not self._is_behind_parked(each)]
        if self._petitions.version == asked.version and self._length(starts) is None:  # else there may be a gap
            of_one = [each for each in before if self.plan(each).owner == self.plan(starts).owner]
            passed += [each for each in of_one if self._is_starved(each, starts)]
        return passed

    def _could_by_rate(self, candidate: Candidate) -> bool:
        """Tell whether the rate of its group let a petition start when the last batch began, by which rates count."""
        group = self.plan(candidate).group
        at = self._petitions.now.steady
        return group is None or self._world.groups.may_start_by_rate(group, self._starts_ahead(candidate), at)

    def _is_comparable(self, asked: Round, candidate: Candidate, starts: Candidate) -> bool:
        """Tell whether what owners have in use is what it was when the round began, starts aside."""
        is_one_owner = self.plan(candidate).owner == self.plan(starts).owner
        return is_one_owner or self._petitions.version == asked.version

    def _is_before(self, one: Candidate, other: Candidate | Unloaded) -> bool:
        """Tell whether a petition surely comes before another one: owners with as much in use may take turns."""
        if self.plan(one).owner == self.plan(other).owner:
            return one.place < other.place
        return (one.priority, self._share(one)) < (other.priority, self._share(other))

    def _share(self, candidate: Candidate | Unloaded) -> float:
        """Give the largest share that the owner of a petition has of anything."""
        owner = self.plan(candidate).owner
        plans = [plan for plan in self.granted_plans() if plan.owner == owner]
        amounts, _ = held_by((plan.needs, None) for plan in plans)
        there = {name: most if isinstance(most, int) else len(most) for name, most in self._world.stock.there.items()}
        shares = (float(amount) / (there.get(name) or 1) for name, amount in amounts.items())
        return max([len(plans) / CAPACITY, *shares])

    def _was_before(self, asked: Round, candidate: Candidate, starts: Candidate) -> bool:
        """Tell whether a petition's turn was before that of another one, with the values that are known now."""
        if not self._is_comparable(asked, candidate, starts):
            return False
        places = self._service.places_at_begin
        if any(places.get(each.seq, each.place) != each.place for each in (candidate, starts)):
            return False  # people gave it another priority meanwhile
        are_same = self._service.values_at_begin is self._admission.conditions._values
        return self._is_before(candidate, starts) and (are_same or not self._texts(candidate))

    def _is_behind_parked(self, candidate: Candidate) -> bool:
        """Tell whether another petition goes first, which is parked for the same, and is asked in the next round.

        That is a petition of the same group that waits for a slot, or a petition that counts for the same quota.
        """
        group, owner = self.plan(candidate).group, self.plan(candidate).owner
        others = [each for each in self._petitions.records.values() if each.seq != candidate.seq]
        parked = [
            each
            for each in others
            if (group is not None and self._is_parked_for(each, group)) or self._is_parked_for_quota(each, owner)
        ]
        return any(not self._is_before(candidate, each) for each in parked)

    def _is_parked_for(self, record: Record, group: str) -> bool:
        lot = self._petitions.waiting.lot_of(record.place)
        return lot is not None and group_of(lot) == group

    def _is_parked_for_quota(self, record: Record, owner: str) -> bool:
        """Tell whether a petition is parked for a quota, and counts for a quota that counts for this owner, too."""
        lot = self._petitions.waiting.lot_of(record.place)
        return (
            lot is not None
            and lot.startswith(QUOTA_LOT)
            and not self._accounts(owner).isdisjoint(self._accounts(self.plan(record).owner))
        )

    def _accounts(self, owner: str) -> set[str]:
        """Name the quotas that count for an owner."""
        return {account for account, _ in self._world.allowances.accounts(owner)}

    def could_start(self, candidate: Candidate, new: Iterable[Candidate] = ()) -> bool:
        """Tell whether a petition would start if it were asked now; `new` ones are accepted in the same round."""
        record = record_behind(candidate)
        if not self._waits(candidate) or record.cancellation is not None or candidate.petition is None:
            return False
        plan = self.plan(candidate)
        if plan.condition_breaks or not self._service.says_yes(plan, record.manager):
            return False
        if not (self._nothing_blocks(candidate) and self._fits(candidate)) or self._stands_behind(candidate, new):
            return False
        return not (self._world.allowances.tables and self._stands_behind_in_quota(candidate, new))

    def _nothing_blocks(self, candidate: Candidate) -> bool:
        """Tell whether neither people nor other petitions hold a petition back, resources aside."""
        return (
            not self._admission.keys.replaces(candidate.seq)
            and not self._is_paused(candidate)
            and self._group_has_room(candidate, ahead=self._starts_ahead(candidate))
            and self._lacks_quota(candidate) is None
            and not self._whole_blocks(candidate)
            and self._others_have_ended(candidate)
            and self._time_has_come(candidate)
            and self._text_holds(candidate)
            and not self._may_come_after_a_preempted_one(candidate)
        )

    def _may_come_after_a_preempted_one(self, candidate: Candidate) -> bool:
        """Tell whether a command that stands still may have its place again first."""
        lent = self._petitions.lent.values()
        return any(candidate.priority >= record.given_priority for record in lent)

    def _text_holds(self, candidate: Candidate) -> bool:
        """Tell whether a petition's condition in text holds, and its group's, by what was looked at."""
        return all(map(self._holds, self._texts(candidate)))

    def _texts(self, candidate: Candidate) -> list[str]:
        plan, rules = self.plan(candidate), self._world.groups.rules
        return [text for text in (plan.when, rules.get(plan.group or "", NO_RULES).when) if text is not None]

    def _holds(self, text: str) -> bool:
        """Tell whether a condition in text holds, as Python says."""
        waiting, plans = self._petitions.waiting, self.granted_plans()
        names = {
            "load": lambda minutes: self._admission.conditions.get(Reading("load", (minutes,))),
            "running": len(plans),
            "running_in": lambda group: sum(plan.group == group for plan in plans),
            "queued": len(waiting) + waiting.parked,
        }
        try:
            return bool(eval(text, {"__builtins__": {}}, names))
        except TypeError:  # nobody has looked yet
            return False

    def _waits(self, candidate: Candidate) -> bool:
        """Tell whether a petition waits, or has just come, and has no slot."""
        record = record_behind(candidate)
        is_waiting = record.state is State.QUEUED and record.phase in (Phase.WAITING, Phase.CONVERTING)
        is_live = self._petitions.live.get(record.key) is record
        is_known = record.token in self._world.plans  # an element of an array is after its conversion
        return is_waiting and is_live and is_known and not self._petitions.granted.has(record.seq)

    def _is_paused(self, candidate: Candidate) -> bool:
        """Tell whether people hold back a petition, or its group."""
        group = self.plan(candidate).group
        names = {petition_name(candidate.seq), *([] if group is None else [group_name(group)])}
        return not names.isdisjoint(self._admission.paused)

    def is_stopped(self) -> bool:
        """Tell whether nothing starts at all."""
        return ALL in self._admission.paused or self._service.engine.draining is not None

    def _group_has_room(self, candidate: Candidate, ahead: int | None = None) -> bool:
        """Tell whether fewer of its group run, and have just started, than may; so many are about to start.

        Without that number only what surely started counts.
        """
        plan, groups = self.plan(candidate), self._world.groups
        if plan.group is None:
            return True
        return groups.may_start_by_rate(plan.group, ahead) and groups.is_full(plan, self.granted_plans()) is None

    def _starts_ahead(self, candidate: Candidate) -> int:
        """Count the petitions of its group that have their slot, and whose start is not kept.

        A petition that ended while it was asked, and said yes, has its slot until the visit is over, and starts never.
        """
        group, rows = self.plan(candidate).group, self._world.store.rows_by_seq
        if self._world.groups.rules.get(group or "", NO_RULES).rate is None:
            return 0
        mine = [(seq, self._petitions.records.get(seq)) for seq, plan in self._granted() if plan.group == group]
        return sum(
            seq in self._service.asked_now
            if record is None
            else record.state is State.QUEUED or seq not in rows or rows[seq].started is None
            for seq, record in mine
        )

    def _fits(self, candidate: Candidate) -> bool:
        """Tell whether what a petition needs is free."""
        needs = self.plan(candidate).needs
        return not needs or self._world.stock.fits(needs, self.held())

    def _whole_blocks(self, candidate: Candidate) -> bool:
        """Tell whether another petition has the whole machine, or this one wants it and is not alone."""
        if not self._world.has_leases:
            return False
        others = [plan for seq, plan in self._granted() if seq != candidate.seq]
        return bool(others) if WHOLE in self.plan(candidate).needs else any(WHOLE in plan.needs for plan in others)

    # --- quotas -------------------------------------------------------------------------------------------------

    def _lacks_quota(self, candidate: Candidate | Unloaded) -> str | None:
        """Say which quota keeps a petition from starting."""
        allowances = self._world.allowances
        if not allowances.tables:
            return None
        others = [self._runs(seq) for seq in self._petitions.granted.seqs() if seq != candidate.seq]
        return allowances.lacks(Running(self.plan(candidate), self._is_command(candidate.seq)), others)

    def _runs(self, seq: int) -> Running:
        """Give what a petition takes of its owner's quotas, also while it stands still."""
        record = self._petitions.records.get(seq)
        plan = self._world.plan_of(seq) if record is None else self.plan(record)
        return Running(plan, self._is_command(seq))

    def _is_command(self, seq: int) -> bool:
        known = self._petitions.records.get(seq) or self._world.store.rows_by_seq.get(seq)
        return known is not None and known.manager == COMMAND_MANAGER

    def _stands_behind_in_quota(self, candidate: Candidate, new: Iterable[Candidate]) -> bool:
        """Tell whether a petition may wait first for a quota that counts for this one, too."""
        mine = self._accounts(self.plan(candidate).owner)
        if not mine:
            return False
        others = (each for each in self._others(candidate, new) if not self._is_before(candidate, each))
        return any(
            not mine.isdisjoint(self._accounts(self.plan(each).owner)) and self._lacks_quota(each) is not None
            for each in others
        )

    def may_be_taken(self, owner: str) -> None:
        """Hold that so many petitions wait as may, where one more of an owner has just been taken."""
        allowances, rows = self._world.allowances, self._world.store.rows_by_seq
        unmade = Counter[str]()
        for whose, count in self._service.engine.arrays.unmade():
            unmade[whose] += count
        waiting = Counter[str]()
        for known in self._petitions.live.values():
            seq = known.seq if isinstance(known, Record) else known[1]
            whose = known.owner if isinstance(known, Record) else rows[seq].owner
            manager = known.manager if isinstance(known, Record) else rows[seq].manager
            waiting[whose] += manager != ARRAY_MANAGER and not self._petitions.granted.has(seq)
        for account, limits in allowances.accounts(owner):
            mine = [whose for whose in {*waiting, *unmade} if allowances.is_of(whose, account)]
            count = sum(waiting[whose] + unmade[whose] for whose in mine)
            most = limits.get("queued", count)
            assert count <= most, f"{count} petitions of {account} wait, and {most} may"

    def held(self) -> Held:
        """Add up what is held of resources."""
        granted = self._petitions.granted
        devices = [granted.devices(key) for key in granted]
        return held_by(zip((plan.needs for plan in self.granted_plans()), devices, strict=True))

    def granted_plans(self) -> list[Plan]:
        """Give the plans of all that have a slot."""
        return [plan for _, plan in self._granted()]

    def _granted(self) -> list[tuple[int, Plan]]:
        """Give all that have a slot, by sequence, with their plans."""
        records, lent = self._petitions.records, self._petitions.lent
        known = {
            seq: self.plan(records[seq]) if seq in records else self._world.plan_of(seq)
            for seq in self._petitions.granted.seqs()
        }
        return [(seq, plan.standing_still() if seq in lent else plan) for seq, plan in known.items()]

    def _stands_behind(self, candidate: Candidate, new: Iterable[Candidate]) -> bool:
        """Tell whether an earlier petition may stand in a line for something that this one needs."""
        needs = self.plan(candidate).needs.keys()
        return any(
            (self.plan(other).needs.keys() & needs and not self._is_before(candidate, other))
            or (WHOLE in self.plan(other).needs and other.place < candidate.place)  # whatever owners have in use
            for other in self._others(candidate, new)
        )

    def _others(self, candidate: Candidate, new: Iterable[Candidate]) -> Iterator[Candidate | Unloaded]:
        """Give the other petitions that wait; `new` ones are accepted in the same round."""
        for each in [*self._petitions.records.values(), *new]:
            if each.seq != candidate.seq and self._waits(each):
                yield each
        yield from self._unloaded()

    def _unloaded(self) -> Iterator[Unloaded]:
        """Give the petitions that wait and are not in memory, as far as anybody knows what they need."""
        rows, plans = self._world.store.rows_by_seq, self._world.plans
        for known in self._petitions.live.values():
            if not isinstance(known, Record) and rows[known[1]].token in plans:
                yield Unloaded(known[1], rows[known[1]].token, known)

    # --- who goes before others ---------------------------------------------------------------------------------

    def delayed_by(self, asked: Round, starts: Candidate) -> list[Candidate]:
        """Give the earlier petitions of the same owner that may start later since this one starts now.

        Only petitions that wait for nothing but an amount of one resource are looked at, and of them the first:
        it could start as soon as enough ends, if all that nobody knows the length of ends at once. Lengths count from
        the moment at which this one was asked: nobody knows before how long its own condition takes.
        """
        plan = self.plan(starts)
        if self._petitions.version != asked.version or asked.is_sampling or self._has_ended(starts):
            return []
        new = {each.seq: each for each in asked.new}  # a record has no priority before its petition is accepted
        waiting: list[Candidate] = [
            new.get(each.seq, each)
            for each in self._petitions.records.values()
            if each.seq != starts.seq and self._waits(each)
        ]
        found: list[Candidate] = []
        for name in plan.needs.keys() - {WHOLE}:
            mine = [each for each in waiting if name in self.plan(each).needs]
            first = [each for each in mine if all(each is other or self._is_before(each, other) for other in mine)]
            found += [each for each in first if self._is_delayed(asked, each, starts, name)]
        return found

    def _is_delayed(self, asked: Round, candidate: Candidate, starts: Candidate, name: str) -> bool:
        first = record_behind(candidate)
        there, needs = self._world.stock.there[name], self.plan(first).needs
        if not isinstance(there, int) or [*needs] != [name] or self.plan(first).owner != self.plan(starts).owner:
            return False
        stands = isinstance(first.why, NeedsShort | BehindAnother) and first.why.resource == name
        stands = stands and first.seq not in self._service.asked_now  # else its own condition said no
        has_place = (
            first.manager != COMMAND_MANAGER or len(self._petitions.granted.of_manager(COMMAND_MANAGER)) < CAPACITY
        )
        may_start = has_place and first.cancellation is None and self._world.stock.fits(needs, (Counter(), Counter()))
        if not (stands and may_start and self._was_before(asked, first, starts) and self._nothing_blocks(first)):
            return False
        mine, theirs = int(self.plan(starts).needs[name]), int(needs[name])
        ends = [(self._seconds_left(seq), int(each.needs.get(name, 0))) for seq, each in self._granted()]
        begin = min(at for at in (0.0, *(at for at, _ in ends)) if _held_at(at, ends) + theirs <= there)
        length = self._length(starts)
        is_over = length is not None and length <= begin
        return not is_over and _held_at(begin, ends) + theirs + mine > there

    def _length(self, candidate: Candidate) -> float | None:
        """Give how long a petition takes, as far as anybody said that, its group included."""
        plan, record = self.plan(candidate), record_behind(candidate)
        limit = self._world.limits.get(record.token, plan.timeout)
        return limit if plan.expect is None else plan.expect

    def _seconds_left(self, seq: int) -> float:
        """Give how long something runs at most; 0 where nobody knows, or where it should have ended."""
        record, limit = self._petitions.records.get(seq), self._world.length_of(seq, self._world.plan_of(seq))
        if limit is None or record is None or record.state not in (State.QUEUED, State.STARTING, State.RUNNING):
            return 0.0
        if record.state is State.QUEUED:
            return limit
        return 0.0 if record.started is None else max(0.0, min(limit, record.started + limit - self._service.asked_at))

    def _is_starved(self, candidate: Candidate, starts: Candidate) -> bool:
        """Tell whether a later petition takes what an earlier one stands in line for.

        Nothing has ended since the round began, so what blocks the earlier petition now has blocked it when its turn
        came, also where that was its first turn. With two needs it may have lacked the other one alone then.
        """
        needs, why, theirs = self.plan(candidate).needs, candidate.why, self.plan(starts).needs
        shared = (needs.keys() & theirs.keys()) - {WHOLE}
        if isinstance(why, NeedsShort | BehindAnother):
            shared &= {why.resource}
        elif len(needs) > 1:
            return False
        if not shared:
            return False
        held, stock = self.held(), self._world.stock
        shared = {each for each in shared if stock.may_take_what_is_waited_for(each, theirs[each], needs[each], held)}
        return (
            not stock.fits({name: needs[name] for name in shared}, held)
            and stock.fits(needs, (Counter(), Counter()))
            and self._waits(candidate)
            and record_behind(candidate).cancellation is None
            and candidate.seq not in self._service.asked_now  # else its own condition said no
            and self._nothing_blocks(candidate)
        )
