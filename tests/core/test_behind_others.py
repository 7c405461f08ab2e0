"""Who waits behind whom: a large need is not starved by small ones, and what is blocked delays nobody."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job

GPUS = 4
CAPACITY = Capacity(slots={"m": 3}, groups={"rig": 1, "closed": 0}, resources={"gpu": GPUS, "ram": 8})
OWNERS = ("ann", "bob")
_TIMES = st.integers(0, 12).map(float)
_SECONDS = st.integers(1, 5).map(float)
_PRIORITIES = st.sampled_from([0, 0, 0, 1, -1])
_NEEDS = st.sampled_from([{}, {}, {"gpu": 1}, {"gpu": 4}, {"ram": 3}, {"gpu": 1, "ram": 4}])


def _starts(jobs: list[Job], capacity: Capacity) -> dict[str, float | None]:
    return {each.job.id: each.started for each in VirtualSchedule(jobs, capacity).run()}


@given(st.lists(st.tuples(_TIMES, _SECONDS, _PRIORITIES, st.integers(1, GPUS)), min_size=1, max_size=20))
@example([(0.0, 2.0, 0, 1), (0.0, 1.0, 0, GPUS), *((float(second), 2.0, 0, 1) for second in range(1, 10))])
def test_no_petition_takes_of_a_resource_before_one_that_waits_for_more_of_it(asked):
    jobs = [
        Job(str(number), submitted, seconds, priority, needs={"gpu": amount})
        for number, (submitted, seconds, priority, amount) in enumerate(sorted(asked))
    ]
    starts = _starts(jobs, Capacity(resources={"gpu": GPUS}))
    places = sorted(jobs, key=lambda job: (job.priority, int(job.id)))
    for at, first in enumerate(places):
        for later in places[at + 1 :]:
            assert first.submitted > starts[later.id] or starts[first.id] <= starts[later.id], (first, later)


@given(st.data())
def test_what_is_blocked_delays_nobody(data):
    draw = data.draw
    jobs = [
        Job(
            str(number),
            draw(_TIMES),
            draw(_SECONDS),
            draw(_PRIORITIES),
            draw(st.sampled_from([None, None, "rig"])),
            draw(_NEEDS),
            manager="m",
            owner=draw(st.sampled_from(OWNERS)),
        )
        for number in range(draw(st.integers(1, 8)))
    ]
    ways = ({"paused": True}, {"group": "closed"}, {"after": {"never": False}}, {"paused": True, "group": "rig"})
    blocked = [
        Job(
            f"blocked {number}",
            draw(_TIMES),
            1.0,
            draw(st.sampled_from([-5, 0, 5])),
            needs=draw(_NEEDS),
            manager="m",
            owner=draw(st.sampled_from(OWNERS)),
            **draw(st.sampled_from(ways)),
        )
        for number in range(draw(st.integers(1, 8)))
    ]
    never = Job("never", 0.0, 1.0, manager="m", owner="ann", paused=True)
    # A second owner changes whose turn it is, so both have a petition in either workload.
    others = [Job(f"of {owner}", 100.0, 1.0, manager="m", owner=owner) for owner in OWNERS]
    alone = _starts([never, *jobs, *others], CAPACITY)
    beside = _starts([never, *jobs, *blocked, *others], CAPACITY)
    assert {name: start for name, start in beside.items() if not name.startswith("blocked")} == alone
    assert all(beside[job.id] is None for job in blocked)
