"""A later petition of a known length runs in a gap before an earlier one, and delays none: beside two oracles."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from core.gaps import delays, starts_of
from orcha._core import backfill, transitions
from orcha._core.admission import Admission
from orcha._core.backfill import MAX_PLANNED_PETITIONS, _seconds_left
from orcha._core.devices import Device
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.granted import LENT, Grant
from orcha._core.groups import GroupRules
from orcha._core.moment import Moment
from orcha._core.overtaking import Overtaking
from orcha._core.petitions import Petitions
from orcha._core.record import Record
from orcha._core.reservations import Plan, Want
from orcha._core.resource_lines import MAX_KNOWN_NEEDS, MAX_PASSING_PETITIONS
from orcha._core.start_log import StartRate
from orcha._core.timeline import Timeline

GPUS = 4
LENGTHS = st.integers(1, 9)


def starts(jobs, capacity):
    return starts_of(VirtualSchedule(jobs, capacity).run())


@st.composite
def queues(draw, most=14):
    """Petitions of one owner that need one resource and say how long each takes."""
    jobs = []
    for number in range(draw(st.integers(1, most))):
        seconds = float(draw(LENGTHS))
        needs = {"gpu": draw(st.integers(1, GPUS))}
        jobs.append(Job(str(number), float(draw(st.integers(0, 9))), seconds, needs=needs, expect=seconds))
    return sorted(jobs, key=lambda job: job.submitted)


def planned_when_they_come(jobs):
    """Give each petition the first time at which enough is free for as long as it takes, in the order of coming."""
    taken = [0] * 400
    found = {}
    for job in jobs:
        begin, length, amount = int(job.submitted), int(job.seconds), job.needs["gpu"]
        while max(taken[begin : begin + length]) + amount > GPUS:
            begin += 1
        for time in range(begin, begin + length):
            taken[time] += amount
        found[job.id] = float(begin)
    return found


@given(queues())
@settings(max_examples=150, deadline=None)
def test_where_all_lengths_are_known_each_starts_when_it_was_foretold_as_it_came(jobs):
    assert starts(jobs, Capacity(resources={"gpu": GPUS})) == planned_when_they_come(jobs)


CARDS = (Device("0", {"mem": 8}), Device("1", {"mem": 8}), Device("2"), Device("3", {"mem": 16}))
CAPACITY = Capacity(slots={"m": 6}, groups={"rig": 2, "lab": 1}, resources={"gpu": GPUS, "ram": 8, "card": CARDS})
WORLDS = {
    "one line": (CAPACITY._replace(groups={}), [{"gpu": 1}, {"gpu": 2}, {"gpu": 3}, {"gpu": 4}, {"ram": 3}, {"*": 1}]),
    "several lines": (
        Capacity(resources={"gpu": GPUS, "ram": 8, "cpu": 6}),
        [
            {"gpu": 1, "cpu": 1},
            {"gpu": 3, "ram": 4, "cpu": 3},
            {"ram": 1, "cpu": 5},
            {"gpu": 4},
            {"ram": 7},
            {"cpu": 5},
        ],
    ),
    "devices": (
        Capacity(resources={"card": CARDS, "ram": 8}),
        [{"card": each} for each in (1, 2, 3, "0.5", "0.25", "1@mem>=8", "2@mem>=8", "1@name=2", "0.5@mem>=8")]
        + [{"card": 1, "ram": 4}, {"ram": 6}, {"card": 4}],
    ),
    "groups": (
        CAPACITY._replace(rules={"free": GroupRules(per_user=2), "rated": GroupRules(rate=StartRate(2, 5.0))}),
        [{"gpu": 1}, {"gpu": 3}, {"gpu": 4, "ram": 1}, {"ram": 5}, {"card": "1@mem>=8"}, {}],
    ),
}


@st.composite
def mixtures(draw, needs, groups):
    """Petitions of one owner with all kinds of needs; most say how long they take."""
    jobs = []
    for number in range(draw(st.integers(3, 14))):
        seconds, priority = float(draw(LENGTHS)), draw(st.sampled_from([0, 0, 0, -1]))
        expect, manager = draw(st.sampled_from([seconds, seconds, None])), draw(st.sampled_from(["m", "m", "other"]))
        more = {"group": draw(st.sampled_from(groups)), "needs": draw(st.sampled_from(needs))}
        came = float(draw(st.integers(0, 9)))
        jobs.append(Job(str(number), came, seconds, priority, manager=manager, expect=expect, **more))
    return jobs


@pytest.mark.parametrize("world", WORLDS)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_petition_that_goes_before_others_delays_none_of_them(world, data):
    capacity, needs = WORLDS[world]
    jobs = data.draw(mixtures(needs, [None, None, None, *capacity.groups, *capacity.rules]))
    found = list(delays(jobs, capacity))
    event(f"petitions that went before others: {min(len(found), 3)}")
    assert not [str(each) for each in found if each is not None]


def job(name, came, seconds, gpus, expect=inf, **more):
    """Give a petition whose length is known, and expected to be what it is unless something else is said."""
    return Job(name, came, seconds, needs={"gpu": gpus}, expect=seconds if expect == inf else expect, **more)


@pytest.mark.parametrize(
    ("jobs", "begun"),
    [
        ([job("long", 0, 60, 2), job("big", 1, 10, 4), job("fits", 2, 58, 2)], {"big": 60, "fits": 2}),
        ([job("long", 0, 60, 2), job("big", 1, 10, 4), job("late", 2, 59, 2)], {"big": 60, "late": 70}),
        ([job("long", 0, 60, 2), job("big", 1, 10, 3), job("beside", 2, 99, 1)], {"big": 60, "beside": 2}),
        ([job("long", 0, 60, 2), job("big", 1, 10, 4), job("unknown", 2, 1, 1, None)], {"big": 60, "unknown": 70}),
        (  # what runs for an unknown time may end at once
            [job("long", 0, 60, 2, None), job("big", 1, 10, 4), job("short", 2, 1, 1)],
            {"big": 60, "short": 70},
        ),
        (  # of two that run, one for an unknown time, the other one ends first
            [job("long", 0, 60, 1), job("other", 0, 90, 1, None), job("big", 1, 9, 4), job("short", 2, 58, 1)],
            {"big": 90, "short": 2},
        ),
        (  # the gap is closed as soon as something is overdue
            [job("long", 0, 60, 2, 5), job("big", 1, 10, 4), job("a", 3, 2, 1), job("b", 7, 1, 1)],
            {"big": 60, "a": 3, "b": 70},
        ),
        (  # a length that proves wrong delays
            [job("long", 0, 60, 2), job("big", 1, 10, 4), job("wrong", 2, 99, 2, 5)],
            {"wrong": 2, "big": 101},
        ),
        (  # what is urgent waits for a large need as everybody does
            [job("long", 0, 60, 2), job("big", 1, 10, 4, priority=-1), job("fits", 2, 58, 2)],
            {"big": 60, "fits": 2},
        ),
        (  # the second large one is held free what it needs as well
            [job("long", 0, 60, 2), job("big", 1, 10, 4), job("next", 2, 10, 4), job("late", 3, 60, 1)],
            {"big": 60, "next": 70, "late": 80},
        ),
        (  # the petition may go once the one before it is told to be shorter, when that starts
            [job("long", 0, 60, 2), job("big", 1, 10, 3, None), job("beside", 2, 99, 1), job("no", 3, 99, 1)],
            {"big": 60, "beside": 2, "no": 70},
        ),
        (  # a petition that runs when the forecast begins has a part of its length left
            [job("long", 0, 60, 2, started=-30.0), job("big", 1, 10, 4), job("fits", 2, 28, 2), job("late", 2, 29, 2)],
            {"big": 30, "fits": 2, "late": 40},
        ),
    ],
)
def test_who_goes_before_a_large_one(jobs, begun):
    found = starts(jobs, Capacity(resources={"gpu": GPUS}))
    assert {name: found[name] for name in begun} == begun


def test_behind_more_than_are_planned_nobody_goes_before_others():
    large = [job(f"large{number}", 1, 1, 4) for number in range(MAX_PLANNED_PETITIONS + 1)]
    for before, begun in ((MAX_PLANNED_PETITIONS, 2), (MAX_PLANNED_PETITIONS + 1, 60 + MAX_PLANNED_PETITIONS + 1)):
        jobs = [job("long", 0, 60, 2), *large[:before], job("short", 2, 1, 1)]
        assert starts(jobs, Capacity(resources={"gpu": GPUS}))["short"] == begun


BIG = job("big", 1, 10, 3)


@pytest.mark.parametrize(
    ("slots", "begun"),
    [
        # What the late one needs is free when the large one starts, and the only slot would not be.
        ({"slots": {"m": 1}}, {"big": 60, "late": 70, "short": 3}),
        # With the only slot of the group taken the large one would leave its line, and others would pass it.
        ({"groups": {"rig": 1}}, {"big": 60, "late": 70, "short": 169}),
        ({"groups": {"rig": 3}}, {"big": 60, "late": 2, "short": 3}),
    ],
)
def test_the_slot_of_an_earlier_one_is_not_taken(slots, begun):
    jobs = [BIG, job("late", 2, 99, 1), job("short", 3, 50, 1)]
    of_group = (each._replace(group="rig", manager="m") for each in jobs)
    found = starts([job("long", 0, 60, 2), *of_group], Capacity(resources={"gpu": GPUS}, **slots))
    assert {name: found[name] for name in begun} == begun


@pytest.mark.parametrize(
    ("first", "begun"),
    [
        ({"group": "rig"}, 70),  # its group has a slot at 20, and it wants two cards then
        ({"manager": "m"}, 70),  # it waits for a slot of its manager
        ({"group": "rig", "paused": True}, 3),  # it waits for people
    ],
)
def test_what_waits_in_no_line_is_delayed_by_nobody(first, begun):
    capacity = Capacity(slots={"m": 1}, groups={"rig": 1}, resources={"gpu": GPUS})
    holds = Job("holds", 0, 20, group="rig", manager="m")
    jobs = [job("long", 0, 60, 2), holds, job("first", 1, 10, 2)._replace(**first), job("big", 2, 10, 4)]
    assert starts([*jobs, job("short", 3, 57, 1)], capacity)["short"] == begun


def test_nothing_is_given_away_of_what_may_go_in_another_order_than_planned():
    """The second one stands behind nobody for ram, and starts before the first one, for which ram is held."""
    jobs = [job("long", 0, 60, 2), Job("ram", 0, 30, needs={"ram": 2}, expect=30)]
    jobs += [Job("both", 1, 10, needs={"gpu": 4, "ram": 4}, expect=10), Job("all", 2, 10, needs={"ram": 8}, expect=10)]
    jobs += [Job("small", 3, 5, needs={"gpu": 1, "ram": 1}, expect=5)]
    found = starts(jobs, Capacity(resources={"gpu": GPUS, "ram": 8}))
    assert found == {"long": 0, "ram": 0, "all": 30, "small": 40, "both": 60}


def test_nobody_goes_before_one_that_waits_for_the_whole_machine():
    jobs = [job("long", 0, 60, 2), Job("bench", 1, 5, needs={"*": 1, "gpu": 1}, expect=5), job("short", 2, 1, 1)]
    found = starts(jobs, Capacity(resources={"gpu": GPUS}))
    assert (found["bench"], found["short"]) == (60, 65)


@pytest.mark.parametrize(("asked_at", "goes"), [(0.0, True), (4.0, False)], ids=["at_once", "after_slow_conditions"])
def test_a_gap_is_as_long_as_it_is_when_the_petition_is_asked(asked_at, goes):
    """The batch of all questions began at 0: conditions that took long may have been asked before this one."""
    petitions = Petitions()
    admission = Admission(petitions, resources={"gpu": 2}, clock=lambda: Moment(asked_at, asked_at))

    def waits(seq, gpus, expect):
        record = Record(seq, seq.to_bytes(16, "big"), f"p{seq}", "m", "ann", b"", b"", 0.0)
        record.needs, record.expect = {"gpu": gpus}, expect
        assert transitions.submit.receive(petitions, record) is None
        transitions.submit.accept(petitions, record, petitions.now, start=False, new_channel=False)
        return record

    runs, large, small = waits(1, 1, 5.0), waits(2, 2, 9.0), waits(3, 1, 5.0)
    petitions.granted.take(runs)
    assert transitions.start.start(petitions, runs, petitions.now)
    assert admission.blocked_by(large) is not None
    assert (admission.blocked_by(small) is None) == goes


def test_a_petition_that_goes_before_others_is_not_among_those_that_may_pass():
    jobs = [job("other", 0, 1, 1, owner="bob"), job("long", 0, 1000, 2, owner="ann"), job("big", 1, 1, 4, owner="ann")]
    jobs += [job(f"a{number}", 2 + 2 * number, 1, 1, owner="ann") for number in range(MAX_PASSING_PETITIONS + 9)]
    schedule = VirtualSchedule(jobs, Capacity(resources={"gpu": GPUS}))
    planned, passed = [], []
    for each in schedule.run():
        planned.append(each.job.id)
        passed += [waiter.passed for waiter in schedule._admission.resources._lines.waiters.values()]
    assert planned[-1] == "big"
    assert passed
    assert not any(passed)


_EVERYTHING = [needs for _, all_needs in WORLDS.values() for needs in all_needs if "cpu" not in needs]


class Counted(VirtualSchedule):
    """A schedule that holds that never more is taken than there is."""

    def _take(self, now):
        super()._take(now)
        granted = self._petitions.granted
        assert all(granted.held(name) <= granted.inventory.capacity(name) for name in ("gpu", "ram", "card"))
        assert all(share <= 1 for share in granted.used("card").values())
        assert granted.in_group("rig") <= 2


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            LENGTHS,
            st.sampled_from(_EVERYTHING),
            st.sampled_from([None, None, "rig"]),
            st.sampled_from(["ann", "ann", "bob"]),
            st.sampled_from([0, 0, -1]),
            st.sampled_from(["right", "wrong", "unknown"]),
        ),
        max_size=16,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_they_need_all_start_and_never_more_is_taken_than_there_is(drawn):
    jobs = []
    for number, (came, seconds, needs, group, owner, priority, known) in enumerate(drawn):
        expect = {"right": seconds, "wrong": seconds / 2, "unknown": None}[known]
        jobs.append(Job(str(number), came, seconds, priority, group, needs, owner=owner, manager="m", expect=expect))
    planned = list(Counted(jobs, CAPACITY._replace(groups={"rig": 2})).run())
    assert len(planned) == len(jobs)
    assert all(each.started is not None for each in planned)


FILLED = [job("long", 0, 60, 2), job("filler", 0, 5, 2), job("big", 1, 10, 4)]
"""A large petition waits at 1. At 5 there is a gap before it until 60."""


@pytest.fixture
def made(monkeypatch):
    """Give the plans that are made."""
    made = []

    def counted(*arguments):
        made.append(Overtaking(*arguments))
        return made[-1]

    monkeypatch.setattr(backfill, "Overtaking", counted)
    return made


@pytest.mark.parametrize(
    ("capacity", "short", "plans"),
    [
        (Capacity(resources={"gpu": GPUS}), {}, 1),
        (Capacity(resources={"gpu": GPUS, "ram": 8}), {"needs": {"gpu": 1, "ram": 1}}, 1),
        # How many slots there are for petitions of which nothing is known is told apart when it is asked.
        (Capacity(slots={"m": 9}, resources={"gpu": GPUS}), {"manager": "m"}, 2),
        (Capacity(resources={"gpu": (Device("0"), Device("1"), Device("2"), Device("3"))}), {}, 2),
    ],
)
def test_who_came_forward_into_a_gap_is_planned_for_again_only_where_that_may_differ(made, capacity, short, plans):
    found = starts([*FILLED, job("short", 3, 50, 1)._replace(**short)], capacity)
    assert found == {"long": 0, "filler": 0, "short": 5, "big": 60}
    assert len(made) == plans


def test_who_came_forward_into_a_gap_is_planned_for_again_where_another_one_that_has_just_come_starts_first(made):
    jobs = [*FILLED, job("short", 3, 50, 1), job("urgent", 5, 50, 1, priority=-1)]
    found = starts(jobs, Capacity(resources={"gpu": GPUS}))
    assert found == {"long": 0, "filler": 0, "urgent": 5, "short": 5, "big": 60}
    assert len(made) == 2


@pytest.mark.parametrize("expect", [20.0, None])
def test_behind_the_first_one_of_the_line_another_one_comes_forward_whose_end_is_before_the_large_one(expect):
    first, short = job("first", 2, 20, 1, expect, priority=-1), job("short", 3, 50, 1)
    found = starts([*FILLED, first, short], Capacity(resources={"gpu": GPUS}))
    assert found == {"long": 0, "filler": 0, "first": 5, "short": 5, "big": 60}


def test_where_needs_are_of_more_kinds_than_are_remembered_a_short_one_goes_as_well():
    kinds = [Job(str(number), 2, 99, needs={"gpu": 3, "ram": number}, expect=99) for number in range(1, 21)]
    assert len(kinds) > MAX_KNOWN_NEEDS
    found = starts([*FILLED, *kinds, job("short", 3, 50, 1)], Capacity(resources={"gpu": GPUS, "ram": 99}))
    assert (found["short"], found["big"]) == (5, 60)


@given(st.lists(st.tuples(LENGTHS, st.integers(1, GPUS)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_to_fit_something_in_is_to_find_the_first_time_and_to_take_from_then_on(drawn):
    at_once, step_by_step = Timeline(), Timeline()
    for seconds, amount in drawn:
        begin = step_by_step.earliest(0.0, seconds, GPUS - amount)
        step_by_step.take(begin, begin + seconds, amount)
        assert at_once.fit(seconds, GPUS - amount, amount) == begin
        assert [at_once.peak(time, time + 1) for time in range(99)] == [
            step_by_step.peak(time, time + 1) for time in range(99)
        ]


def test_what_is_taken_for_ever_leaves_no_time_at_which_more_fits_in():
    gpus = Timeline()
    assert gpus.fit(inf, 0, 1) == 0.0
    assert gpus.fit(1.0, 0, 1) is None


RAM, GPU = ("resource", "ram"), ("resource", "gpu")


def test_a_plan_gives_each_the_first_time_at_which_all_is_free():
    plan = Plan({RAM: 2, GPU: 1})
    plan.runs(Want({RAM: 2}, 5.0))
    plan.runs(Want({GPU: 1}, 9.0))
    assert [plan.reserve(Want(amounts, 10.0)) for amounts in ({RAM: 1, GPU: 1}, {RAM: 1}, {GPU: 1})] == [9.0, 5.0, 19.0]
    assert plan.reserve(Want({RAM: 3}, 1.0)) is None, "there never is so much"


def test_what_is_closed_from_a_time_on_is_promised_to_nobody_who_would_have_it_then():
    plan = Plan({RAM: 2, GPU: 1})
    plan.runs(Want({GPU: 1}, None))
    plan.runs(Want({RAM: 2}, 10.0))
    plan.runs(Want({GPU: 1}, 15.0))
    assert plan.reserve(Want({RAM: 1, GPU: 1}, 5.0)) is None, "what runs for an unknown time may have it still"
    assert plan.reserve(Want({RAM: 1}, 4.0)) == 10.0
    assert plan.reserve(Want({RAM: 1}, 10.0)) is None
    assert [plan.has_gap(RAM, 1, seconds) for seconds in (9.0, 15.0, 16.0)] == [False, False, False]


def test_what_stands_still_for_a_more_urgent_one_goes_on_for_nobody_knows_how_long():
    lent = Grant(1, LENT, None, {"gpu": 1}, None, "ann", 60.0)
    assert _seconds_left(lent, None, Moment(0.0, 0.0)) is None
    assert _seconds_left(lent._replace(manager="m"), None, Moment(0.0, 0.0)) == 60.0
