"""A forecast starts what the service would start, when it would start it."""

from __future__ import annotations

import heapq
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcha._core.devices import Device
from orcha._core.forecast import virtual_schedule
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.groups import GroupRules
from orcha._core.petitions import Petitions
from orcha._core.preempted import PAUSE, REQUEUE
from orcha._core.start_log import StartRate
from orcha._core.transitions import hold
from orcha.interfaces.built_in import COMMAND_MANAGER

ONE = Capacity(slots={"": 1})


def starts(jobs, capacity=ONE, **options):
    """Give what starts, in order, with the time."""
    return [(each.job.id, each.started) for each in VirtualSchedule(jobs, capacity, **options).run()]


@pytest.mark.parametrize(
    ("jobs", "capacity", "expected"),
    [
        ([], ONE, []),
        ([Job("a", 5.0, 1.0)], ONE, [("a", 5.0)]),
        ([Job("a", 0.0, 0.0), Job("b", 0.0, 0.0)], ONE, [("a", 0.0), ("b", 0.0)]),
        ([Job("a", 0, 10), Job("b", 0, 10), Job("c", 1, 1, priority=-1)], ONE, [("a", 0), ("c", 10), ("b", 11)]),
        ([Job("a", 0, 10), Job("b", 1, 10)], Capacity(), [("a", 0), ("b", 1)]),
        (
            [Job("a", 0, 10, group="g"), Job("b", 0, 10, group="g"), Job("c", 0, 10)],
            Capacity(groups={"g": 1}),
            [("a", 0), ("c", 0), ("b", 10)],
        ),
        (
            [
                Job("small", 0, 10, needs={"gpu": 1}),
                Job("large", 1, 10, needs={"gpu": 2}),
                Job("next", 2, 1, needs={"gpu": 1}),
            ],
            Capacity(resources={"gpu": 2}),
            [("small", 0), ("large", 10), ("next", 20)],
        ),
        (  # what two resources are needed for is not kept from starting by the line for one of them
            [
                Job("half", 2, 7, priority=-1, needs={"gpu": 1}),
                Job("whole", 2, 5, needs={"gpu": 2}),
                Job("ram", 6, 3, needs={"ram": 3}),
                Job("both", 7, 7, priority=-1, needs={"gpu": 1, "ram": 2}),
            ],
            Capacity(resources={"gpu": 2, "ram": 3}),
            [("half", 2), ("ram", 6), ("both", 9), ("whole", 16)],
        ),
        (
            [Job(name, 0, 10, group="g", owner=name[0]) for name in ("a1", "a2", "b1")],
            Capacity(groups={"g": 2}, rules={"g": GroupRules(per_user=1)}),
            [("a1", 0), ("b1", 0), ("a2", 10)],
        ),
        (
            [Job(name, 0, 1, group="g") for name in "abcd"],
            Capacity(rules={"g": GroupRules(rate=StartRate(2, 60.0), when="load(1) < 0")}, begun={"g": [-90.0, -20.0]}),
            [("a", 0), ("b", 40), ("c", 60), ("d", 100)],
        ),
        (
            [Job("runs", 0, 100, group="g", started=-20.0), Job("b", 0, 1, group="g")],
            Capacity(rules={"g": GroupRules(rate=StartRate(1, 60.0))}, begun={"g": [-20.0], "other": [-5.0]}),
            [("runs", -20), ("b", 40)],
        ),
        ([Job("late", 0, 1, not_before=30.0), Job("b", 1, 1)], ONE, [("b", 1), ("late", 30)]),
        ([Job("past", 5, 1, not_before=3.0)], ONE, [("past", 5)]),
        (
            [Job("a", 0, 10), Job("after", 0, 1, after={"a": True}, priority=-9), Job("b", 0, 10)],
            Capacity(slots={"": 2}),
            [("a", 0), ("b", 0), ("after", 10)],
        ),
        ([Job("a", 0, 1), Job("after", 5, 1, after={"a": True})], ONE, [("a", 0), ("after", 5)]),
        ([Job("after", 0, 1, after={"unknown": True})], ONE, [("after", 0)]),
        ([Job("runs", 0, 100, started=-60.0), Job("b", 0, 1)], ONE, [("runs", -60), ("b", 40)]),
        ([Job("over", 0, 10, started=-60.0), Job("b", 0, 1)], ONE, [("over", -60), ("b", 0)]),
        (
            [Job("x", 0, 5, manager="x"), Job("y", 0, 5, manager="y")],
            Capacity(slots={"x": 1, "y": 1}),
            [("x", 0), ("y", 0)],
        ),
        ([Job("same", 0, 5), Job("same", 1, 5)], ONE, [("same", 0), ("same", 5)]),
    ],
)
def test_who_starts_when(jobs, capacity, expected):
    assert starts(jobs, capacity) == expected


CARDS = (Device("0", {"mem": 8}), Device("1", {"mem": 24}), Device("2", {"mem": 8}))
OF_CARDS = Capacity(resources={"card": CARDS})


def card(name, came, seconds, need, **more):
    return Job(name, came, seconds, needs={"card": need}, **more)


@pytest.mark.parametrize(
    ("jobs", "capacity", "expected"),
    [
        (  # each gets the devices that the service would give
            [card("a", 0, 9, 1), card("half", 1, 9, "0.5"), card("other", 2, 9, "0.5"), card("big", 3, 9, "1@mem>=20")],
            OF_CARDS,
            [("a", 0, "0"), ("half", 1, "1"), ("other", 2, "1"), ("big", 11, "1")],
        ),
        (  # what runs has the devices that it has
            [
                card("runs", 0, 60, 1, started=-1.0, devices={"card": ("1",)}),
                card("a", 0, 9, 1),
                card("b", 1, 1, "1@name=1"),
            ],
            OF_CARDS,
            [("runs", -1, "1"), ("a", 0, "0"), ("b", 59, "1")],
        ),
        ([card("a", 0, 9, 1)], OF_CARDS._replace(drained={"card": ["0"]}), [("a", 0, "1")]),
        (
            [card("a", 0, 9, 2), card("b", 1, 1, 1)],
            OF_CARDS._replace(drained={"card": ["0"]}),
            [("a", 0, "12"), ("b", 9, "1")],
        ),
        ([card("a", 0, 9, 1)], OF_CARDS._replace(drained={"card": [None]}), []),
        ([card("a", 0, 9, 1)], OF_CARDS._replace(occupied={"card": {"0": "python (pid 7)"}}), [("a", 0, "1")]),
        ([card("a", 0, 9, "1@name=0")], OF_CARDS._replace(occupied={"card": {"0": "python (pid 7)"}}), []),
    ],
)
def test_who_gets_which_devices_when(jobs, capacity, expected):
    planned = VirtualSchedule(jobs, capacity).run()
    found = [(each.job.id, each.started, "".join(each.devices["card"])) for each in planned if each.devices]
    assert found == expected


def command(name, came, seconds, priority=0, **more):
    return Job(name, came, seconds, priority, manager=COMMAND_MANAGER, **more)


LOW = command("low", 0, 60, 5, preemptible=REQUEUE, needs={"gpu": 2})
STILL = LOW._replace(id="still", preemptible=PAUSE)
URGENT = command("urgent", 20, 10, -1, needs={"gpu": 1})


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([LOW, URGENT], [("low", 0, 20, "urgent"), ("low", 30, 90, None), ("urgent", 20, 30, None)]),
        ([STILL, URGENT], [("still", 0, 70, None), ("urgent", 20, 30, None)]),
        ([LOW, URGENT._replace(priority=5)], [("low", 0, 60, None), ("urgent", 60, 70, None)]),
        ([STILL._replace(started=-9.0), URGENT], [("still", -9, 61, None), ("urgent", 20, 30, None)]),
        (  # who has given its place goes on when it is free again
            [STILL._replace(started=-9.0, stands_still=True), URGENT._replace(submitted=-5.0, started=-5.0)],
            [("still", -9, 56, None), ("urgent", -5, 5, None)],
        ),
        *(  # so it does where people have changed since whether it may be preempted
            (
                [
                    STILL._replace(started=-9.0, stands_still=True, preemptible=changed),
                    URGENT._replace(submitted=-5.0, started=-5.0),
                ],
                [("still", -9, 56, None), ("urgent", -5, 5, None)],
            )
            for changed in (None, REQUEUE)
        ),
        (  # both give their places, and one of them has its place again first
            [STILL._replace(needs={"gpu": 1}), LOW._replace(needs={"gpu": 1}), URGENT._replace(needs={"gpu": 2})],
            [("low", 0, 20, "urgent"), ("low", 30, 90, None), ("still", 0, 70, None), ("urgent", 20, 30, None)],
        ),
    ],
)
def test_who_gives_a_place_to_whom_is_foretold(jobs, expected):
    schedule = VirtualSchedule(jobs, Capacity(resources={"gpu": 2}))
    planned = sorted((each.job.id, each.started, each.ended, each.gives_way_to) for each in schedule.run())
    assert planned == expected
    of_the_urgent = [ended for name, _, ended, _ in planned if name == "urgent"]
    are_paused = any(name == "still" for name, *_ in planned)
    assert [*schedule.came_back.items()] == [("still", ended) for ended in of_the_urgent if are_paused]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_petition_that_gave_its_place_runs_for_all_of_its_time_in_the_end(data):
    jobs = []
    for number in range(data.draw(st.integers(2, 12))):
        came, seconds, priority = (float(data.draw(st.integers(0, most))) for most in (20, 15, 3))
        needs = data.draw(
            st.sampled_from([{}, {"gpu": 1}, {"gpu": 2}, {"card": 1}, {"card": "0.5"}, {"gpu": 1, "ram": 2}])
        )
        how = data.draw(st.sampled_from([None, PAUSE, REQUEUE]))
        jobs.append(command(str(number), came, seconds, priority, needs=needs, preemptible=how))
    capacity = Capacity(slots={COMMAND_MANAGER: 3}, resources={"gpu": 2, "ram": 3, "card": CARDS})
    last = [each for each in VirtualSchedule(jobs, capacity).run() if each.gives_way_to is None]
    assert sorted(each.job.id for each in last) == sorted(job.id for job in jobs)
    for each in last:
        ran = each.ended - each.started
        assert ran >= each.job.seconds if each.job.preemptible == PAUSE else ran == each.job.seconds


def test_with_a_look_ahead_only_the_first_ones_are_considered():
    jobs = [Job("a", 0, 10, group="g"), Job("b", 0, 10, group="g"), Job("c", 1, 10)]
    assert starts(jobs, Capacity(slots={"": 1}, groups={"g": 1}), look_ahead=1) == [("a", 0), ("b", 10), ("c", 20)]


def test_with_a_look_ahead_a_start_has_that_one_asked_at_once_that_is_among_the_first_ones_then():
    jobs = [Job("a", 0, 10, manager="m"), Job("b", 1, 99, manager="m"), Job("c", 2, 5)]
    assert starts(jobs, Capacity(slots={"": 1, "m": 1}), look_ahead=1) == [("a", 0), ("b", 10), ("c", 10)]


@pytest.mark.parametrize(
    ("jobs", "capacity", "reasons"),
    [
        (
            [Job("a", 0, 1, needs={"gpu": 3})],
            Capacity(resources={"gpu": 2}),
            ["it needs 3 gpu, and the service has 2: need less of it, or serve with --resource gpu=3"],
        ),
        ([Job("a", 0, 1, paused=True)], ONE, ["it is paused"]),
        ([Job("a", 0, 1, group="g")], Capacity(paused_groups=frozenset("g")), ["its group g is paused"]),
        ([Job("a", 0, 1)], Capacity(is_paused=True), ["everything is paused"]),
        (
            [Job("a", 0, 1, succeeds=False), Job("b", 0, 1, after={"a": True}), Job("c", 0, 1, after={"b": True})],
            ONE,
            [
                "cancelled: it comes after 'a', which did not succeed",
                "cancelled: it comes after 'b', which did not succeed",
            ],
        ),
        (
            [
                Job("a", 0, 1, succeeds=False),
                Job("b", 0, 1, after={"a": True}),
                Job("c", 0, 1, after={"a": True, "b": True}),
            ],
            ONE,
            ["cancelled: it comes after 'a', which did not succeed"] * 2,
        ),
        (
            [Job("a", 0, 1, succeeds=False), Job("b", 9, 1, after={"a": True})],
            ONE,
            ["cancelled: it comes after 'a', which did not succeed"],
        ),
        (
            [Job("a", 0, 1, paused=True), Job("b", 0, 1, after={"a": False})],
            ONE,
            ["it is paused", "it waits for a to end"],
        ),
    ],
)
def test_what_does_not_start_has_a_reason(jobs, capacity, reasons):
    found = [each for each in VirtualSchedule(jobs, capacity).run() if each.started is None]
    assert [each.reason for each in found] == reasons


JOBS = st.lists(
    st.tuples(
        st.integers(0, 20).map(float),
        st.integers(0, 9).map(float),
        st.integers(-1, 1),
        st.sampled_from([None, "g", "h"]),
        st.sampled_from([{}, {"gpu": 1}, {"gpu": 2}, {"gpu": 1, "ram": 2}, {"ram": 3}]),
    ),
    max_size=40,
).map(lambda found: [Job(str(number), *fields) for number, fields in enumerate(found)])
CAPACITY = Capacity(slots={"": 3}, groups={"g": 1, "h": None}, resources={"gpu": 2, "ram": 3})


@settings(max_examples=150, deadline=None)
@given(JOBS)
def test_nothing_exceeds_what_there_is_and_all_start(jobs):
    planned = list(VirtualSchedule(jobs, CAPACITY).run())
    assert sorted(each.job.id for each in planned) == sorted(job.id for job in jobs)
    for moment in {each.started for each in planned}:
        lives = [each.job for each in planned if each.started <= moment < each.ended]
        assert len(lives) <= 3
        assert sum(job.group == "g" for job in lives) <= 1
        for resource, amount in CAPACITY.resources.items():
            assert sum(job.needs.get(resource, 0) for job in lives) <= amount
    assert all(each.started >= each.job.submitted for each in planned)


@settings(max_examples=150, deadline=None)
@given(JOBS, st.integers(1, 4))
def test_without_groups_and_needs_it_is_a_queue_by_priority(jobs, slots):
    """A list of free slots, each with the time at which it is free, gives the same times."""
    jobs = [job._replace(group=None, needs={}) for job in jobs]
    found = {each.job.id: each.started for each in VirtualSchedule(jobs, Capacity(slots={"": slots})).run()}
    assert found == queued(jobs, slots)


def queued(jobs, slots):
    """Give the start of each of the jobs in one queue, the lowest priority first."""
    coming = sorted(jobs, key=lambda job: job.submitted)
    free, waiting, found = [0.0] * slots, [], {}
    place = {job.id: number for number, job in enumerate(coming)}
    while coming or waiting:
        now = max(free[0], coming[0].submitted if not waiting else 0.0)
        while coming and coming[0].submitted <= now:
            job = coming.pop(0)
            heapq.heappush(waiting, (job.priority, place[job.id], job))
        _, _, job = heapq.heappop(waiting)
        found[job.id] = max(now, job.submitted)
        heapq.heapreplace(free, found[job.id] + job.seconds)
    return found


def test_more_wait_than_are_kept_ready(monkeypatch):
    monkeypatch.setattr(virtual_schedule, "Petitions", partial(Petitions, most_ready=8))
    jobs = [Job(str(number), 0.0, 1.0) for number in range(100)]
    assert starts(jobs, Capacity(slots={"": 2})) == [(str(number), number // 2) for number in range(100)]
    jobs = [job._replace(group="g") for job in jobs]
    assert starts(jobs, Capacity(groups={"g": 2})) == [(str(number), number // 2) for number in range(100)]


def test_more_come_at_once_than_a_round_takes():
    jobs = [Job(str(number), 0.0, 1.0) for number in range(2_500)]
    assert starts(jobs, Capacity(slots={"": 100})) == [(str(number), number // 100) for number in range(2_500)]


def test_a_petition_of_which_only_the_key_is_kept_is_cancelled_where_its_gains_have_brought_it(monkeypatch):
    monkeypatch.setattr(hold, "MAX_LOADED_PETITIONS", 1)
    jobs = [Job("fails", 0.0, 100.0, succeeds=False)]
    jobs += [Job(str(number), float(number), 1.0, group="ages", after={"fails": True}) for number in range(1, 5)]
    capacity = Capacity(groups={"ages": 1}, rules={"ages": GroupRules(age=10.0)})
    found = list(VirtualSchedule(jobs, capacity).run())
    assert [(each.job.id, each.started, each.ended) for each in found[1:]] == [
        (str(number), None, 100.0) for number in range(1, 5)
    ]
