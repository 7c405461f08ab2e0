"""Resources: what is lacking, and the lines of petitions that wait for it."""

from __future__ import annotations

import pytest

from orcha._core import needs
from orcha._core import resource_lines as lines_module
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.reasons import BehindAnother, NeedsShort, NeverEnough
from orcha._core.resource_lines import Lines

FIRST, SECOND, THIRD = (0, 1, "first"), (0, 2, "second"), (0, 3, "third")


@pytest.fixture
def gone():
    return set()


@pytest.fixture
def lines(gone):
    return Lines(lambda waiter: waiter.place not in gone)


def wait(lines, place, *names, **wanted):
    lines.enter(place, wanted, None, names or tuple(wanted), next(iter(wanted)))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [({"gpu": 2}, None), ({"gpu": 3}, "gpu"), ({"gpu": 1, "tape": 1}, "tape"), ({"none": 1}, "none")],
)
def test_more_than_there_ever_is_is_named(wanted, found):
    assert needs.beyond(wanted, {"gpu": 2, "none": 0}) == found


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (NeedsShort("gpu", 2, 1, 2), "it needs 2 gpu, 1 of 2 is free"),
        (NeedsShort("gpu", 1, 0, 2), "it needs 1 gpu, 0 of 2 are free"),
        (
            BehindAnother("gpu", 1, 2, 2),
            "it needs 1 gpu, 2 of 2 are free, and another petition that waits for it is first",
        ),
        (NeverEnough("gpu", 1, 0), "it needs 1 gpu, and the service has no gpu: serve with --resource gpu=1"),
        (
            NeverEnough("gpu", 4, 2),
            "it needs 4 gpu, and the service has 2: need less of it, or serve with --resource gpu=4",
        ),
    ],
)
def test_the_reasons(said, text):
    assert said.text() == text


def test_a_line_is_in_the_order_of_the_waiting(lines):
    for place in (THIRD, FIRST, SECOND, (-1, 9, "urgent")):
        wait(lines, place, gpu=1)
    assert lines.first("gpu").place == (-1, 9, "urgent")
    assert lines.leave(9)
    assert not lines.leave(9)
    assert lines.first("gpu").place == FIRST
    assert (lines.first("ram"), lines.names()) == (None, ["gpu"])


def test_who_waits_no_more_is_skipped(lines, gone):
    wait(lines, FIRST, gpu=1)
    wait(lines, SECOND, gpu=1)
    gone.add(FIRST)
    assert lines.first("gpu").place == SECOND
    assert list(lines.waiters) == [2]
    gone.add(SECOND)
    assert (lines.first("gpu"), lines.names()) == (None, [])


def test_one_stays_in_line_for_what_it_lacked_before(lines):
    wait(lines, FIRST, "gpu", gpu=1, ram=1)
    assert lines.first("ram") is None
    wait(lines, FIRST, "ram", gpu=1, ram=1)
    assert (lines.first("gpu").place, lines.first("ram").place) == (FIRST, FIRST)


def test_one_can_stand_in_further_lines(lines):
    wait(lines, FIRST, "gpu", gpu=1, ram=1)
    lines.stand(lines.waiters[1], ["ram", "gpu"])
    assert (lines.first("ram").place, lines.waiters[1].lines) == (FIRST, {"gpu", "ram"})


def test_one_with_another_place_waits_anew(lines):
    wait(lines, FIRST, gpu=1)
    wait(lines, SECOND, gpu=1)
    wait(lines, (1, 1, "first"), gpu=1)
    assert lines.first("gpu").place == SECOND
    lines.leave(2)
    assert lines.first("gpu").place == (1, 1, "first")


def test_one_that_is_in_no_line_is_known_all_the_same(lines):
    lines.enter(FIRST, {"gpu": 9}, None, (), "gpu")
    assert (lines.first("gpu"), lines.waiters[1].at) == (None, "gpu")


def test_the_first_ones_come_forward_once_as_long_as_they_go(lines):
    for place in (FIRST, SECOND, THIRD):
        wait(lines, place, gpu=1)
    forward = lines.come_forward(lambda waiter: waiter.place != THIRD)
    assert [waiter.place for waiter in forward] == [FIRST, SECOND]
    assert lines.first("gpu").place == FIRST
    assert lines.come_forward(lambda _: True) == []
    wait(lines, FIRST, gpu=1)  # asked, and there was not enough
    assert [waiter.place for waiter in lines.come_forward(lambda _: True)] == [FIRST]


def test_of_several_lines_the_earliest_head_comes_first(lines):
    """Else the later one takes what the earlier one needs beside the resource for which it waits."""
    wait(lines, SECOND, "gpu", gpu=2)
    wait(lines, FIRST, "ram", gpu=1, ram=1)
    asked = []
    lines.come_forward(lambda waiter: asked.append(waiter.place) or len(asked) < 2)
    assert asked == [FIRST, SECOND]
    assert [lines.first(name).place for name in ("gpu", "ram")] == [SECOND, FIRST]


def test_what_is_of_no_use_any_more_is_dropped(lines, gone, monkeypatch):
    monkeypatch.setattr(lines_module, "ENTRIES_BEFORE_PRUNING", 4)
    lines.__init__(lambda waiter: waiter.place not in gone)
    wait(lines, FIRST, gpu=1, ram=1)
    for seq in range(2, 5):
        wait(lines, (0, seq, "gone"), gpu=1)
        gone.add((0, seq, "gone"))
    assert len(lines.waiters) == 4
    wait(lines, (0, 5, "five"), ram=1)
    assert list(lines.waiters) == [1, 5]
    assert (lines.first("gpu").place, lines.first("ram").place) == (FIRST, FIRST)


def test_what_has_gone_from_the_begin_of_a_line_is_dropped_when_it_is_much(lines, gone, monkeypatch):
    monkeypatch.setattr(lines_module, "MIN_USELESS_ENTRIES_TO_DROP", 2)
    places = [(0, seq, str(seq)) for seq in range(1, 6)]
    for place in places:
        wait(lines, place, gpu=1)
    for done, kept in ((1, 5), (2, 3), (3, 3)):
        gone.add(places[done - 1])
        assert lines.first("gpu").place == places[done]
        assert [waiter.place for waiter in lines.come_forward(lambda _: False)] == []
        assert len(lines._lines["gpu"][None].places) == kept
        assert lines.before(places[4], "gpu", lambda _: True) == 4 - done
    wait(lines, (0, 0, "zero"), gpu=1)
    assert lines.first("gpu").place == (0, 0, "zero")
    gone.update((*places, (0, 0, "zero")))
    assert (lines.first("gpu"), lines.names()) == (None, [])


def test_those_before_a_place_are_counted_as_the_caller_says_and_all_of_them_where_they_are_many(
    lines, gone, monkeypatch
):
    places = [(0, seq, str(seq)) for seq in range(1, 5)]
    for place in places:
        wait(lines, place, gpu=1)
    assert lines.before(places[3], "gpu", lambda waiter: waiter.place != places[0]) == 2
    monkeypatch.setattr(lines_module, "MAX_COUNTED_PETITIONS", 2)
    assert lines.before(places[3], "gpu", lambda _: False) == 3


def test_who_comes_back_to_a_line_stands_there_once(lines):
    wait(lines, (0, 1, "a"), gpu=1)
    assert lines.leave(1)
    wait(lines, (0, 1, "a"), gpu=1)
    assert lines.before((0, 2, "b"), "gpu", lambda _: True) == 1


@pytest.mark.parametrize(("needs", "early"), [({"gpu": 1}, set()), ({"gpu": 1, "cpu": 1}, {1})])
def test_who_enters_a_line_has_nobody_looked_for_who_could_go(monkeypatch, needs, early):
    looked = []
    come_forward = lines_module.Lines.come_forward

    def noted(lines, *conditions):
        looked.append(schedule._now.wall)
        return come_forward(lines, *conditions)

    monkeypatch.setattr(lines_module.Lines, "come_forward", noted)
    jobs = [Job(str(number), number, 100, needs=needs) for number in range(5)]
    schedule = VirtualSchedule(jobs, Capacity(resources={"gpu": 1, "cpu": 1}))
    assert [each.started for each in schedule.run()] == [0, 100, 200, 300, 400]
    assert {time for time in looked if time < 100} == early
    assert {100, 200, 300} <= {*looked}


def test_no_other_one_is_looked_for_once_too_little_is_free_for_any(monkeypatch):
    looked, found_first = [], lines_module.Lines._found_first

    def noted(lines, name):
        looked.append(name)
        return found_first(lines, name)

    jobs = [Job(str(number), 0, 100, needs={"gpu": 1}, owner=f"owner{number % 2}") for number in range(6)]
    schedule = VirtualSchedule(jobs, Capacity(resources={"gpu": 1}))
    found = iter(schedule.run())
    assert [next(found).started for _ in range(2)] == [0, 100]
    monkeypatch.setattr(lines_module.Lines, "_found_first", noted)
    assert next(found).started == 200
    assert len(looked) <= 3, "it is looked for once, and known when the petition is asked"


@pytest.mark.parametrize("expect", [100.0, None])
def test_one_round_is_enough_where_nothing_is_free_for_those_behind(monkeypatch, expect):
    rounds = []
    made = VirtualSchedule._round

    def counted(schedule, new, now):
        rounds.append(now.wall)
        return made(schedule, new, now)

    monkeypatch.setattr(VirtualSchedule, "_round", counted)
    jobs = [Job(str(number), number, 100, needs={"gpu": 1}, expect=expect) for number in range(4)]
    schedule = VirtualSchedule(jobs, Capacity(resources={"gpu": 1}))
    assert [each.started for each in schedule.run()] == [0, 100, 200, 300]
    assert rounds.count(3) == rounds.count(100) == 1
