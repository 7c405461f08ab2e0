"""Whose petition comes first where several owners have some: beside an oracle that counts what is in use."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcha._core.admission import Admission, group_name
from orcha._core.asking_round import YES, Said
from orcha._core.fairness import Fairness, Turns
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.owner_turns import owner_first
from orcha._core.owners_queue import MAX_FAIR_PETITIONS, OwnersQueue
from orcha._core.petitions import Petitions
from orcha._core.reasons import InOrder, OwnerFirst
from orcha._core.record import Phase, Record
from orcha._core.resource_lines import MAX_PASSING_PETITIONS, RESOURCE_LOT, Lines
from orcha._core.selection import Selection
from orcha._core.state import State
from orcha._core.transitions import hold, start, submit
from orcha._core.waiting_queue import WaitingQueue
from orcha._core.weights import OwnerWeight

OWNERS = ("ann", "bob", "cleo")
RESOURCES = {"gpu": 4, "ram": 8}
SLOTS = 5
_NEEDS = ({}, {}, {"gpu": 1}, {"gpu": 2}, {"gpu": 4}, {"ram": 3}, {"gpu": 1, "ram": 4})


@st.composite
def workloads(draw, most=16):
    """Petitions of several owners, each of which may have many."""
    return [
        Job(
            str(number),
            float(draw(st.integers(0, 12))),
            float(draw(st.integers(1, 5))),
            draw(st.sampled_from([0, 0, 0, 1])),
            draw(st.sampled_from([None, None, "rig"])),
            draw(st.sampled_from(_NEEDS)),
            manager="m",
            owner=draw(st.sampled_from(OWNERS)),
        )
        for number in range(draw(st.integers(1, most)))
    ]


class Watched(VirtualSchedule):
    """A schedule that holds, whenever a petition starts, that no other one should have.

    Petitions of different groups may start in the other order within one round: `passed` has the id of each petition
    that was passed so, and the second at which it has to start.
    """

    def __init__(self, *given):
        super().__init__(*given)
        self._last_start = dict.fromkeys(OWNERS, 0)
        self._starts = 0
        self.passed = []

    def _said(self, candidate):
        said = super()._said(candidate)
        if said.answer is YES:
            self._is_first(candidate.seq)
            self._starts += 1
            self._last_start[self._jobs[candidate.seq].owner] = self._starts
        return said

    def _look(self):
        """Count what runs."""
        self._held = {owner: dict.fromkeys(("slots", *RESOURCES, "rig"), 0) for owner in OWNERS}
        for seq in self._petitions.granted.seqs():
            job = self._jobs[seq]
            held = self._held[job.owner]
            held["slots"] += 1
            held["rig"] += job.group == "rig"
            for name, amount in job.needs.items():
                held[name] += amount
        self._all = {name: sum(held[name] for held in self._held.values()) for name in self._held[OWNERS[0]]}

    def _rank(self, seq):
        job = self._jobs[seq]
        held = self._held[job.owner]
        share = max(held[name] / most for name, most in {"slots": SLOTS, **RESOURCES}.items())
        return job.priority, share, self._last_start[job.owner], seq

    def _fits(self, seq):
        job, used = self._jobs[seq], self._all
        has_slot = job.group is None or used["rig"] < self._capacity.groups["rig"]
        return has_slot and all(used[name] + amount <= RESOURCES[name] for name, amount in job.needs.items())

    def _is_first(self, seq):
        self._look()
        records, phases = self._records.items(), (Phase.WAITING, Phase.CONVERTING)
        waiting = [other for other, record in records if record.state is State.QUEUED and record.phase in phases]
        mine, granted = self._rank(seq), self._petitions.granted
        before = [other for other in waiting if not granted.has(other) and self._rank(other) < mine]
        for other in before:
            lot = self._petitions.waiting.lot_of((0, other, ""))
            is_comparable = (
                lot is None or lot.startswith(RESOURCE_LOT) or lot == group_name(self._jobs[seq].group or "")
            )
            if not (self._fits(other) and is_comparable):
                continue
            needs, rank = self._jobs[other].needs.keys(), self._rank(other)
            if any(self._rank(each) < rank and self._jobs[each].needs.keys() & needs for each in before):
                continue
            first, passed = self._jobs[seq], self._jobs[other]
            assert first.group != passed.group, f"{first} starts before {passed}"
            self.passed.append((passed.id, self._now.wall))


@given(workloads())
@settings(max_examples=100, deadline=None)
def test_no_petition_starts_while_one_of_an_owner_with_less_in_use_could(jobs):
    capacity = Capacity(slots={"m": SLOTS}, groups={"rig": 2}, resources=RESOURCES)
    schedule = Watched(jobs, capacity)
    planned = list(schedule.run())
    assert sorted(each.job.id for each in planned) == sorted(job.id for job in jobs)
    assert all(each.started is not None for each in planned), "all have started in the end"
    assert set(schedule.passed) <= {(each.job.id, each.started) for each in planned}, "passed within one round alone"


def test_who_comes_forward_in_a_line_by_a_start_of_another_owner_has_the_last_slot_before_a_later_petition():
    jobs = [
        Job("runs", 0.0, 100.0, 0, None, {"gpu": 1}, manager="m", owner="bob"),
        Job("of ann", 0.0, 50.0, manager="m", owner="ann"),
        Job("wide", 1.0, 10.0, 0, None, {"gpu": 4}, manager="m", owner="cleo"),
        Job("parked", 1.0, 10.0, 0, None, {"gpu": 1}, manager="m", owner="ann"),
        Job("of cleo", 2.0, 100.0, 1, manager="m", owner="cleo"),
        Job("later", 2.0, 100.0, 1, manager="m", owner="ann"),
    ]
    planned = VirtualSchedule(jobs, Capacity(slots={"m": 4}, resources={"gpu": 4})).run()
    begun = {each.job.id: each.started for each in planned}
    assert begun == {"runs": 0.0, "of ann": 0.0, "of cleo": 2.0, "parked": 2.0, "later": 12.0, "wide": 100.0}


@given(workloads(12), st.sampled_from(OWNERS))
@settings(max_examples=60, deadline=None)
def test_petitions_of_one_owner_start_as_if_there_were_no_owners(jobs, owner):
    capacity = Capacity(slots={"m": 2}, groups={"rig": 1}, resources=RESOURCES)
    of_one = [job._replace(owner=owner) for job in jobs]
    schedules = [VirtualSchedule(of_one, capacity), VirtualSchedule([job._replace(owner="") for job in jobs], capacity)]
    plans = [[(each.job.id, each.started) for each in schedule.run()] for schedule in schedules]
    assert plans[0] == plans[1]
    assert schedules[0]._petitions.fairness is None


@given(
    st.integers(1, 60),
    st.integers(1, 6),
    st.lists(st.sampled_from(["bob", "cleo", "dan"]), min_size=1, max_size=3, unique=True),
    st.sampled_from([{}, {"gpu": 1}]),
    st.sampled_from([None, "rig"]),
)
@settings(max_examples=80, deadline=None)
def test_many_petitions_of_one_owner_delay_the_first_of_another_by_one_turn(many, slots, others, needs, group):
    jobs = [Job(f"ann{number}", 0.0, 10.0, 0, group, needs, manager="m", owner="ann") for number in range(many)]
    jobs += [Job(owner, 5.0, 1.0, 0, group, needs, manager="m", owner=owner) for owner in others]
    capacity = Capacity(slots={"m": slots}, groups={"rig": slots}, resources={"gpu": slots})
    planned = list(VirtualSchedule(jobs, capacity).run())
    order = [each.job.owner for each in planned if each.started >= 5.0]
    firsts = [order.index(owner) for owner in others]
    assert max(firsts) <= len(others), "the first petition of each other owner is among the next to start"
    assert all(each.started <= 11.0 + len(others) for each in planned if each.job.owner != "ann")


def test_a_large_need_is_passed_by_so_many_small_ones_at_most():
    """Ann holds one for ever, and Bob never holds more than she does, so that his petitions would always be first."""
    jobs = [Job("long", 0.0, 10_000.0, needs={"gpu": 1}, manager="m", owner="ann")]
    jobs += [Job("large", 1.0, 1.0, needs={"gpu": 3}, manager="m", owner="ann")]
    jobs += [Job(f"b{n}", 1.5 if n else 0.5, 2.0, 0, "few", {"gpu": 1}, manager="m", owner="bob") for n in range(45)]
    capacity = Capacity(slots={"m": 99}, groups={"few": 1}, resources={"gpu": 4})
    order = [each.job.id for each in VirtualSchedule(jobs, capacity).run()]
    assert order.index("large") == 2 + MAX_PASSING_PETITIONS


# --- by itself ---------------------------------------------------------------------------------------------------


def test_what_is_in_use_is_the_largest_share():
    fairness = Fairness("ann", RESOURCES.get, slots=10)
    fairness.count("bob", {"gpu": 1, "ram": 1}, 1)
    assert fairness.share("bob") == 0.25
    fairness.count("bob", None, 1)
    fairness.count("bob", None, 1)
    assert fairness.share("bob") == 0.3
    fairness.count("bob", {"gpu": 1, "ram": 1}, -1)
    assert fairness.share("bob") == 0.2
    assert fairness.share(None) == 0.0


def test_shares_are_reckoned_again_where_there_is_more():
    most = {"gpu": 1}
    petitions = Petitions()
    fairness = Fairness("ann", most.get, slots=10)
    petitions.granted.count_anew()
    petitions.granted.count_for(fairness)
    fairness.count("bob", {"gpu": 1}, 1)
    most["gpu"] = 2
    petitions.granted.count_anew()
    assert fairness.share("bob") == 0.5
    fairness.count("bob", {"unheard of": 1}, 1)
    assert fairness.share("bob") == 1.0


class Owned:
    """Petitions of several owners."""

    def __init__(self, **options):
        self.petitions = Petitions(**options)
        self.petitions.slots = 4
        self.admission = Admission(self.petitions, resources={"gpu": 2})
        self.admission.load([], {"rig": 1})
        self.selection = Selection(self.petitions, self.admission, are_all_own=True)

    def waits(self, owner, **declared):
        record = Record(self.petitions.take_seq(), b"", "", "m", owner, b"", b"", 0.0)
        record.key = str(record.seq)
        record.petition = object()
        for name, value in declared.items():
            setattr(record, name, value)
        assert submit.receive(self.petitions, record) is None
        submit.accept(self.petitions, record, self.petitions.now, start=False, new_channel=False)
        return record

    def starts(self, record):
        assert start.start(self.petitions, record, self.petitions.now)

    def head(self, count=9):
        return [key[1] for key in self.petitions.waiting.head(count)]


def test_what_ran_before_a_second_owner_came_is_counted():
    owned = Owned()
    first, second = owned.waits("ann"), owned.waits("ann")
    assert type(owned.petitions.waiting) is WaitingQueue
    owned.starts(first)
    other = owned.waits("bob")
    assert isinstance(owned.petitions.waiting, OwnersQueue)
    assert owned.petitions.fairness.share(None) == 0.25
    assert owned.head() == [other.seq, second.seq]
    assert owner_first(owned.petitions, second) == OwnerFirst(0.25, 0.0)
    assert owner_first(owned.petitions, other) is None
    owned.petitions.release(first)
    assert owned.head() == [other.seq, second.seq], "as much in use, and ann's last start was later"
    owned.starts(other)
    assert owner_first(owned.petitions, second) is None


def test_an_owner_who_waits_for_a_condition_is_not_told_as_first():
    owned = Owned()
    owned.starts(owned.waits("ann"))
    second, other = owned.waits("ann"), owned.waits("bob", asked=1.0)
    assert owner_first(owned.petitions, second) is None
    other.asked = None
    assert owner_first(owned.petitions, second) is not None
    owned.admission.pause(f"petition:{second.seq}")
    owned.admission.park(second)
    assert owner_first(owned.petitions, second) is None


def test_of_a_group_and_a_resource_the_owner_with_least_is_told_as_first():
    owned = Owned()
    owned.starts(owned.waits("ann", group="rig", needs={"gpu": 2}))
    for declared in ({"group": "rig"}, {"needs": {"gpu": 1}}):
        second, other = owned.waits("ann", **declared), owned.waits("bob", **declared)
        for each in (second, other):
            assert owned.admission.blocked_by(each) is not None
            owned.admission.park(each)
        assert owned.petitions.waiting.is_parked(second.place)
        assert owner_first(owned.petitions, second) == OwnerFirst(1.0, 0.0)
        assert owner_first(owned.petitions, other) is None
    assert owned.admission.resources.before(other.seq) == 0
    assert owned.admission.resources.before(second.seq) == 1


def test_a_start_of_one_owner_lets_another_owners_petition_come_first_in_a_line():
    """Nothing has ended: only what the owners have in use is another, and the first of the line with that."""
    owned = Owned()
    owned.starts(owned.waits("ann", needs={"gpu": 1}))
    large, small = owned.waits("bob", needs={"gpu": 2}), owned.waits("ann", needs={"gpu": 1})
    others = [owned.waits("bob") for _ in range(3)]
    for each in (large, small):
        assert owned.admission.blocked_by(each) is not None
        owned.admission.park(each)
    owned.admission.unpark()
    assert owned.petitions.waiting.is_parked(small.place), "bob has less in use, and waits for all devices"
    for each in others:
        owned.starts(each)
    owned.admission.unpark()
    assert not owned.petitions.waiting.is_parked(small.place)
    assert owned.petitions.waiting.is_parked(large.place)
    assert owned.admission.blocked_by(small) is None


def test_a_forecast_too_lets_a_petition_come_first_in_a_line_after_starts_of_another_owner():
    jobs = [
        Job("first", 0.0, 100.0, manager="m", owner="ann", needs={"gpu": 1}),
        Job("large", 1.0, 50.0, manager="m", owner="bob", needs={"gpu": 4}),
        Job("small", 2.0, 50.0, manager="m", owner="ann", needs={"gpu": 1}),
        *(Job(name, 3.0, 10.0, manager="m", owner="bob") for name in ("one", "two")),
    ]
    planned = VirtualSchedule(jobs, Capacity({"m": 5}, {}, {"gpu": 4})).run()
    started = {each.job.id: each.started for each in planned}
    assert started == {"first": 0.0, "one": 3.0, "two": 3.0, "small": 3.0, "large": 100.0}


def test_a_slot_of_a_group_goes_to_the_owner_who_has_least():
    owned = Owned()
    running = owned.waits("ann", group="rig")
    owned.starts(running)
    owned.starts(owned.waits("ann"))
    mine, others = [owned.waits("ann", group="rig") for _ in range(2)], [owned.waits("bob", group="rig")]
    for each in (*mine, *others):
        owned.admission.park(each)
    lot = group_name("rig")
    assert owned.petitions.waiting.first_parked(lot) == others[0].place
    assert owned.petitions.waiting.lots() == [lot]
    assert owned.admission.before(mine[1], "rig") == 2
    owned.petitions.release(running)
    assert owned.admission.unpark() == []
    assert owned.head() == [others[0].seq]
    for each in (*mine, *others):
        hold.park(owned.petitions, each, lot)
    hold.unpark_these(owned.petitions, [mine[0].place])
    assert owned.admission.blocked_by(mine[0]) == InOrder(1)


def test_all_of_a_lot_leave_it_in_order():
    owned = Owned()
    records = [owned.waits(OWNERS[number % 2]) for number in range(6)]
    for record in records:
        hold.park(owned.petitions, record, "lot")
    assert len(owned.petitions.waiting) == 0
    assert owned.petitions.waiting.parked == 6
    assert not owned.petitions.waiting.is_empty
    waiting = owned.petitions.waiting
    first, urgent = records[0].place, (-1, *records[2].place[1:])
    waiting.move_parked(records[2].place, urgent)
    assert waiting.first_parked("lot") == urgent
    waiting.move_parked(urgent, records[2].place)
    assert waiting.first_parked("lot") == first
    assert hold.unpark(owned.petitions, "lot", 2) == []
    assert owned.head() == [1, 2]
    assert hold.unpark(owned.petitions, "lot", 9) == []
    assert owned.head() == [1, 2, 3, 4, 5, 6]
    hold.park(owned.petitions, records[2], "lot")
    hold.unpark_these(owned.petitions, [records[2].place])
    assert owned.petitions.waiting.place(records[4].place) == 4


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_of_several_owners_the_first_in_a_line_that_waits_still_is_found(seconds):
    fairness, gone = Fairness("ann", {"gpu": 4}.get, slots=4), set()
    lines = Lines(lambda waiter: waiter.place[1] not in gone, lambda: fairness)
    places = [(0, seq, str(seq)) for seq in range(6)]
    for place, owner in zip(places, ("ann", "ann", "bob", "bob", "cleo", "cleo"), strict=True):
        fairness.enter(place[1], owner)
        lines.enter(place, {"gpu": 1}, None, ["gpu"], "gpu", seconds=seconds)
    fairness.count("ann", {"gpu": 1}, 1)
    gone |= {2, 4, 5}
    assert lines.first("gpu").place == places[3], "bob's second petition, since cleo has none that waits"
    gone |= {0, 1}
    lines.leave(3)
    assert lines.first("gpu") is None
    assert not lines.waiters


def test_the_counts_of_several_owners_are_those_of_their_queues():
    fairness = Fairness("ann", {}.get, slots=4)
    queue = OwnersQueue(WaitingQueue(), fairness, most_ready=10)
    places = [(0, seq, str(seq)) for seq in range(1, 5)]
    for place, owner in zip(places, ("ann", "ann", "bob", "bob"), strict=True):
        fairness.enter(place[1], owner)
        queue.add(place)
    for place, lot in ((places[0], "x"), (places[2], "x"), (places[2], "y"), (places[3], "y")):
        queue.park(place, lot)
    assert (len(queue), queue.parked, queue.parked_in("x"), queue.parked_in("y"), queue.lots()) == (
        1,
        3,
        1,
        2,
        ["x", "y"],
    )
    queue.remove(places[0])
    assert queue.unpark("y", 1) == [places[2]]
    queue.remove_all([places[1], places[3]])
    assert (len(queue), queue.parked, queue.lots(), queue.is_empty) == (0, 0, [], True)


def test_which_petitions_are_asked_while_all_say_no_is_known_where_one_owner_comes_first():
    fairness = Fairness("ann", {}.get, slots=4)
    queue = OwnersQueue(WaitingQueue(), fairness, most_ready=10)
    assert queue.surely_firsts(1) == []
    places = [(priority, seq, str(seq)) for seq, priority in enumerate((0, 0, 0, 1, 0, 0), 1)]
    for place, owner in zip(places, ("ann", "ann", "ann", "ann", "bob", "bob"), strict=True):
        fairness.enter(place[1], owner)
        queue.add(place)
    assert queue.surely_firsts(1) == [], "both owners have nothing in use"
    fairness.count("bob", {}, 1)
    assert queue.surely_firsts(2) == places[:2]
    assert queue.surely_firsts(3) == places[:3]
    assert queue.surely_firsts(4) == [], "ann has no more"
    queue.remove(places[0])
    queue.add((2, 7, "7"))
    assert queue.surely_firsts(3) == [], "one of bob's comes before one of ann's"


def test_the_owners_who_have_more_are_known_also_where_their_groups_are_compared():
    fairness = Fairness("ann", {}.get, slots=4)
    queue = OwnersQueue(WaitingQueue(), fairness, most_ready=10)
    for seq, owner in enumerate(("ann", "ann", "bob"), 1):
        fairness.enter(seq, owner)
        queue.add((0, seq, str(seq)))
    assert [queue.firsts(count)[1] for count in (1, 2, 3)] == [{None}, {None}, frozenset()]
    fairness.use_weights({"ann": OwnerWeight("@lab"), "bob": OwnerWeight("@lab")})
    assert [queue.firsts(count)[1] for count in (1, 2, 3)] == [{None}, {None}, frozenset()]


def test_each_owner_has_spilled_petitions_of_their_own():
    owned = Owned(most_ready=3)
    mine = [owned.waits("ann") for _ in range(9)]
    other = owned.waits("bob")
    waiting = owned.petitions.waiting
    assert (waiting.ready, waiting.spilled, len(waiting)) == (4, 6, 10)
    assert owned.head(2) == [mine[0].seq, other.seq]
    assert waiting.is_ready(other.place)
    assert waiting.firsts(2) == ([mine[0].place, other.place], {None})
    assert waiting.firsts(8) == (waiting.head(8), {None}), "all that are ready, and others are spilled"
    owned.petitions.waiting.remove_all([mine[0].place, mine[1].place])
    assert waiting.wants_refill()
    assert [key[1] for key in waiting.refill()] == [4, 5]
    for _ in range(2):
        owned.waits("ann", priority=-1)
    assert [key[1] for key in waiting.spill()] == [4, 5]


def test_behind_the_first_petitions_one_owner_follows_another():
    owned = Owned()
    keys = [owned.waits(OWNERS[number % 3]).place for number in range(3 * MAX_FAIR_PETITIONS)]
    waiting = owned.petitions.waiting
    assert sorted(waiting.head(len(keys))) == keys
    assert len(waiting.head(MAX_FAIR_PETITIONS + 5)) == MAX_FAIR_PETITIONS + 5
    assert [waiting.index(key) for key in waiting.head(9, 300)] == list(range(300, 309))
    assert waiting.place(keys[3]) == 3
    assert waiting.place(keys[-1]) == MAX_FAIR_PETITIONS
    assert waiting.before(keys[4], 3) == keys[:3]


def test_what_is_loaded_is_shared_out():
    owned = Owned()
    petitions = owned.petitions
    for seq, owner in ((1, "ann"), (2, "ann"), (3, "bob"), (4, "ann"), (5, "bob")):
        petitions.note_owner(seq, owner)
    petitions.load_waiting([(0, seq, str(seq)) for seq in range(1, 6)])
    assert [key[1] for key in petitions.waiting.refill()] == [1, 2, 4, 3, 5]
    assert owned.head() == [1, 3, 2, 5, 4]
    assert petitions.waiting.heads_of_others((0, 1, "1")) == [(0, 3, "3")]


def test_a_line_beside_another_owners():
    fairness = Fairness("ann", {"gpu": 4}.get, slots=100)
    lines = Lines(lambda _: True, lambda: fairness)
    for seq in range(1, 9):
        fairness.enter(seq, "ann" if seq < 6 else "bob")
        lines.enter((0, seq, str(seq)), {"gpu": 1}, None, ["gpu"], "gpu")
    fairness.count("ann", {"gpu": 1}, 1)
    assert lines.first("gpu").place[1] == 6
    assert [waiter.place[1] for waiter in lines.firsts("gpu", 2, lambda _: True)] == [6, 7]
    assert [each.place[1] for each in lines.firsts("gpu", 9, lambda each: each.place[1] != 7)] == [6, 8, 1, 2, 3, 4, 5]
    assert lines.before((0, 1, "1"), "gpu", lambda _: True) == 1
    assert lines.before((0, 4, "4"), "gpu", lambda _: True) == 3 + 3
    forward = lines.come_forward(lambda waiter: not lines.is_before(lines.first("gpu").place, waiter.place))
    assert [waiter.place[1] for waiter in forward] == [6, 7, 8, 1, 2, 3, 4, 5]
    lines.rebuild()
    assert lines.first("gpu").place[1] == 6


def of(owner, seq, priority=0):
    record = Record(seq, b"", str(seq), "m", owner, b"", None, 0.0)
    record.priority = priority
    return record


def test_turns_follow_what_starts():
    fairness = Fairness("ann", {}.get, slots=10)
    records = [of("ann", 1), of("ann", 2), of("ann", 3), of("bob", 4), of("bob", 5), of("bob", 6, -1)]
    for record in records:
        fairness.enter(record.seq, record.owner)
    records.sort(key=lambda record: (record.priority, record.seq))
    given_ = []
    for record in Turns(fairness, records):
        given_.append(record.seq)
        fairness.count(record.owner, None, 1)
    assert given_ == [6, 1, 4, 2, 5, 3]


def test_turns_end_where_an_owner_has_more_than_is_here():
    fairness = Fairness("ann", {}.get, slots=10)
    records = [of("ann", 1), of("bob", 2), of("bob", 3), of("cleo", 4)]
    for record in records:
        fairness.enter(record.seq, record.owner)
    assert [each.seq for each in Turns(fairness, records, cut={None}, fresh={3})] == [1, 3]
    turns = Turns(fairness, records)
    for each in turns:
        if each.seq == 2:
            break
    assert [each.seq for each in turns.rest()] == [3, 4]


@pytest.mark.parametrize(("look_ahead", "asked"), [(None, [4, 2, 5, 3]), (2, [4, 2])])
def test_a_round_of_several_owners(look_ahead, asked):
    owned = Owned()
    owned.selection.look_ahead = look_ahead
    owned.starts(owned.waits("ann"))
    for owner in ("ann", "ann", "bob", "bob"):
        owned.waits(owner)
    assert owned.selection.make_ready() == []
    made = owned.selection.next_round(0.0, converting=False)
    found = []
    asking = made.ask(owned.admission, owned.petitions.granted, lambda: owned.petitions.version)
    candidate = next(asking, None)
    while candidate is not None:
        found.append(candidate.seq)
        try:
            candidate = asking.send(Said(YES))
        except StopIteration:
            candidate = None
    assert found == asked
