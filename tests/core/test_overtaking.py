"""What a petition takes before earlier ones: what there is enough of, what a plan leaves, what nobody can have yet."""

from __future__ import annotations

from itertools import islice

import pytest

from core.gaps import starts_of
from orcha._core.admission import Admission
from orcha._core.devices import Device
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.groups import GroupRules
from orcha._core.overtaking import Overtaking, Run
from orcha._core.petitions import Petitions
from orcha._core.quotas import RUNNING, Account, Limit
from orcha._core.record import Phase, Record
from orcha._core.resource_lines import Waiter
from orcha._core.start_log import StartRate
from orcha._core.state import State
from orcha._core.things import Claim, Things, resource
from orcha._core.waiting_elsewhere import MAX_KNOWN_PETITIONS, WaitingElsewhere

CARDS = (Device("0", {"mem": 8}), Device("1", {"mem": 8}), Device("2"), Device("3", {"mem": 16}))
CAPACITY = Capacity(resources={"gpu": 4, "ram": 8, "cpu": 16, "card": CARDS})


def job(name, came, seconds, needs, **more):
    """Give a petition that says how long it takes."""
    return Job(name, came, seconds, needs=needs, expect=seconds, **more)


LONG, BIG = job("long", 0, 60, {"gpu": 2}), job("big", 1, 10, {"gpu": 4})


def starts(jobs, capacity=CAPACITY):
    return starts_of(VirtualSchedule(jobs, capacity).run())


@pytest.mark.parametrize(
    ("big", "short"),
    [
        ({"gpu": 4, "ram": 4}, {"gpu": 1, "ram": 4}),  # there is enough ram for both
        ({"gpu": 4, "cpu": 12}, {"gpu": 1, "cpu": 8}),  # not for both, which never run at once
        ({"gpu": 4, "ram": 8}, {"gpu": 1, "ram": 3}),  # all want both, so they go in their order
    ],
)
def test_a_petition_that_takes_something_else_as_well_goes_where_it_ends_in_time(big, short):
    for seconds, begun in ((57, 3), (58, 70)):
        assert starts([LONG, BIG._replace(needs=big), job("short", 3, seconds, short)])["short"] == begun


@pytest.mark.parametrize(("seconds", "begun"), [(26, 4), (27, 40)])
def test_where_others_may_pass_one_another_only_what_ends_before_any_can_start_goes(seconds, begun):
    """The last one needs no cards: it passes the first one, which could have the processors and waits for cards."""
    runs = [LONG, job("ram", 0, 30, {"ram": 2})]
    jobs = [*runs, job("cards", 1, 10, {"gpu": 4, "cpu": 16}), job("all", 2, 10, {"ram": 8, "cpu": 10})]
    assert starts([*jobs, job("short", 4, seconds, {"ram": 1})])["short"] == begun


def test_a_line_that_somebody_would_enter_for_want_of_what_is_taken_keeps_others():
    """The first one waits for cards, and would wait for ram, too: those behind it could not have ram any more."""
    jobs = [LONG, job("both", 1, 10, {"gpu": 4, "ram": 4}), job("ram", 2, 9, {"ram": 8, "cpu": 1}, not_before=50.0)]
    found = starts([*jobs, job("all", 2, 40, {"ram": 5}), job("short", 3, 57, {"gpu": 1, "ram": 3})])
    assert found["both"] == 60


@pytest.mark.parametrize("need", [1, "0.5", "1@mem>=16", "0.5@mem>=16"])
@pytest.mark.parametrize(("seconds", "begun"), [(57, 3), (58, 70)])
def test_a_device_is_taken_by_what_ends_before_an_earlier_one_can_start(need, seconds, begun):
    jobs = [job("long", 0, 60, {"card": 2}), job("big", 1, 10, {"card": 4}), job("short", 3, seconds, {"card": need})]
    assert starts(jobs)["short"] == begun


def test_a_part_of_a_device_is_taken_by_what_ends_before_an_earlier_one_can_start():
    jobs = [job("half", 0, 60, {"card": "0.5@name=0"}), job("big", 1, 10, {"card": "0.75@name=0"})]
    for seconds, begun in ((57, 3), (58, 60)):
        short = job("short", 3, seconds, {"card": "0.25@name=0"})
        assert starts([*jobs, short])["short"] == begun


def test_a_device_beside_those_that_an_earlier_one_needs_is_taken_for_any_time():
    jobs = [job("long", 0, 60, {"card": 2}), job("big", 1, 10, {"card": 3}), job("beside", 3, 500, {"card": 1})]
    assert starts(jobs) == {"long": 0, "big": 60, "beside": 3}


@pytest.mark.parametrize(("seconds", "begun"), [(57, 3), (58, 70)])
def test_beside_a_device_of_which_somebody_has_a_part_goes_what_ends_before_an_earlier_one_can_start(seconds, begun):
    jobs = [job("half", 0, 60, {"card": "0.5"}), job("big", 1, 10, {"card": 4})]
    assert starts([*jobs, job("short", 3, seconds, {"card": 1})])["short"] == begun


@pytest.mark.parametrize(
    ("big", "due"),
    [
        (BIG, 60.0),
        (BIG._replace(group="rig"), None),  # it leaves the line when its group is full
    ],
)
def test_until_when_a_resource_is_held_is_told_where_the_order_is_sure(big, due):
    in_group = Job("other", 1, 10, group="rig", needs={"gpu": 4}, expect=10)
    schedule = VirtualSchedule([LONG, big, in_group, Job("now", 2, 1)], CAPACITY._replace(groups={"rig": 1}))
    assert [each.job.id for each in islice(schedule.run(), 2)] == ["long", "now"]
    found = schedule._admission.resources.backfill.held_for((0, 9, "later"), {"gpu": 1}, "gpu")
    assert found == ("2", due, ())


@pytest.mark.parametrize(("seconds", "begun"), [(58, 2), (59, None)])
def test_a_device_that_a_foreign_process_is_on_may_be_free_at_any_time(seconds, begun):
    jobs = [job("long", 0, 60, {"card": "2@mem>=8"}), job("big", 1, 10, {"card": 4})]
    schedule = VirtualSchedule([*jobs, job("short", 2, seconds, {"card": 1})], CAPACITY)
    schedule._admission.resources.inventory.occupied = {"card": {"3": "python (pid 7)"}}
    assert starts_of(schedule.run())["short"] == begun


# --- what else a petition takes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capacity", "begun"),
    [
        (CAPACITY._replace(rules={"rig": GroupRules(per_user=1)}), 70),
        (CAPACITY._replace(rules={"rig": GroupRules(per_user=2)}), 3),
        (CAPACITY._replace(rules={"rig": GroupRules(rate=StartRate(1, 100.0))}), 160),
        (CAPACITY._replace(rules={"rig": GroupRules(rate=StartRate(2, 100.0))}), 3),
        (CAPACITY._replace(quotas={"": (Account("me", {RUNNING: Limit(2)}, {}),)}), 70),
        (CAPACITY._replace(quotas={"": (Account("me", {RUNNING: Limit(3)}, {}),)}), 3),
        (CAPACITY._replace(quotas={"": (Account("me", {}, {"ram": Limit(1)}),)}), 3),
    ],
)
def test_what_an_earlier_one_may_have_of_a_group_or_a_quota_is_not_taken(capacity, begun):
    jobs = [LONG, BIG._replace(group="rig"), job("short", 3, 57, {"gpu": 1}, group="rig")]
    assert starts(jobs, capacity)["short"] == begun


def test_what_waits_for_its_group_or_a_quota_may_take_what_a_later_one_would():
    """The first one is in no line, and needs nothing that the short one takes but a slot, or a part of the quota."""
    quota = Account("me", {RUNNING: Limit(3)}, {})
    for capacity in (CAPACITY._replace(slots={"": 3}), CAPACITY._replace(quotas={"": (quota,)})):
        jobs = [LONG, Job("holds", 0, 20, group="rig"), *(Job(f"waits{each}", 0, 1, group="rig") for each in range(2))]
        jobs += [BIG, job("short", 3, 57, {"gpu": 1})]
        assert starts(jobs, capacity._replace(groups={"rig": 1}))["short"] == 70


def test_what_needs_the_whole_machine_and_waits_for_its_group_lets_nobody_go_before_others():
    jobs = [LONG, Job("holds", 0, 20, group="rig"), job("whole", 1, 1, {"*": 1}, group="rig"), BIG]
    assert starts([*jobs, job("short", 3, 5, {"gpu": 1})], CAPACITY._replace(groups={"rig": 1}))["short"] > 60


def test_where_more_wait_elsewhere_than_are_known_nothing_that_they_need_is_taken():
    holds = [LONG, Job("holds", 0, 20, group="rig")]
    for number, begun in ((0, 3), (1, 3), (MAX_KNOWN_PETITIONS + 1, 70)):
        parked = [Job(f"waits{each}", 0, 1, needs={"ram": 8}, group="rig", priority=9) for each in range(number)]
        found = starts(
            [*holds, *parked, BIG, job("short", 3, 57, {"gpu": 1, "ram": 1})], CAPACITY._replace(groups={"rig": 1})
        )
        assert found["short"] == begun


def test_where_nothing_is_parked_it_is_noted_that_all_are_known():
    petitions = Petitions()
    resources = Admission(petitions, resources={"gpu": 4}).resources
    resources._elsewhere._more.add("gpu")
    resources.backfill.may_go(waiter(1, {"gpu": 1}))
    assert not resources._elsewhere.are_more("gpu")


def test_when_nothing_is_parked_all_that_wait_are_known_again():
    gone: set[int] = set()
    elsewhere = WaitingElsewhere(lambda petition: None if petition.seq in gone else petition.place)
    for number in range(MAX_KNOWN_PETITIONS + 1):
        elsewhere.add(petition(number, {"gpu": 1}))
    elsewhere.add(petition(0, {"gpu": 1, "ram": 1}))
    assert (elsewhere.are_more("gpu"), elsewhere.are_more("ram"), elsewhere.count()) == (True, False, 65)
    elsewhere.are_no_more()
    elsewhere.drop(0)
    assert (elsewhere.are_more("gpu"), len(elsewhere.who_need("gpu")), elsewhere.who_need("ram")) == (False, 63, [])
    assert sorted(elsewhere.names()) == ["gpu", "ram"]
    elsewhere.add(petition(90, {"gpu": 1}))
    gone.update((5, 6))
    elsewhere.add(petition(91, {"gpu": 1}))
    assert (elsewhere.are_more("gpu"), len(elsewhere.who_need("gpu"))) == (False, 63)


def petition(number, needs):
    """Give a petition that waits."""
    found = Record(number, b"", str(number), "manager", "me", b"", None, 0.0)
    found.phase, found.needs = Phase.WAITING, needs
    return found


@pytest.mark.parametrize(
    ("changes", "waits"),
    [({}, True), ({"phase": Phase.RESTING}, False), ({"state": State.HELD}, False)],
)
def test_who_waits_elsewhere_is_known_until_it_waits_for_something_else(changes, waits):
    petitions = Petitions()
    resources = Admission(petitions, resources={"gpu": 4}).resources
    record = petition(7, {"gpu": 1})
    resources.waits_elsewhere(record)
    petitions.live["7"] = record
    for name, value in changes.items():
        setattr(record, name, value)
    assert bool(resources._elsewhere.who_need("gpu")) == waits


def test_who_waits_elsewhere_is_not_another_petition_that_has_its_id_now():
    petitions = Petitions()
    resources = Admission(petitions, resources={"gpu": 4}).resources
    resources.waits_elsewhere(petition(7, {"gpu": 1}))
    assert resources._elsewhere.who_need("gpu") == []
    petitions.live["7"] = petition(8, {"gpu": 1})
    assert resources._elsewhere.who_need("gpu") == []


def test_who_waits_elsewhere_and_lives_no_more_is_looked_at_once():
    looked, left = [], {}

    def place_of(candidate):
        looked.append(candidate.seq)
        return left.get(candidate.seq)

    elsewhere = WaitingElsewhere(place_of, lambda candidate: candidate.seq == 1)
    gone, runs, waits = (petition(number, {"gpu": 1}) for number in (1, 2, 3))
    left[3] = waits.place
    for each in (gone, runs, waits):
        elsewhere.add(each)
    assert [[found.place[1] for found in elsewhere.who_need("gpu")] for _ in range(2)] == [[3], [3]]
    assert looked == [1, 2, 3, 2, 3]
    assert elsewhere.count() == 3, "as many are known as before"


def test_who_waits_elsewhere_has_the_place_that_people_gave_it_though_its_key_alone_is_in_memory():
    petitions = Petitions()
    resources = Admission(petitions, resources={"gpu": 4}).resources
    record = petition(7, {"gpu": 1})
    resources.waits_elsewhere(record)
    petitions.live["7"] = (-5, 7, "7")
    assert [waiter.place for waiter in resources._elsewhere.who_need("gpu")] == [(-5, 7, "7")]


# --- plans --------------------------------------------------------------------------------------------------------


def gap_of(runs=(), **resources):
    """Give what may go before nobody yet, where there is so much of each resource."""
    petitions = Petitions()
    admission = Admission(petitions, resources=resources)
    inventory = admission.resources.inventory
    return Overtaking(Things(petitions, inventory, admission.of_groups, 0.0), inventory, runs)


def waiter(number, needs, *lines, seconds=10.0):
    """Give a petition that stands in some lines."""
    found = Waiter((0, number, str(number)), needs, None)
    found.stand_in(lines)
    found.seconds = seconds
    return found


def claim(**needs):
    return Claim({resource(name): amount for name, amount in needs.items()}, needs)


@pytest.mark.parametrize(("comes_back_for", "begins"), [({}, 60.0), ({"gpu": 1}, None), ({"ram": 1}, 60.0)])
def test_what_a_petition_that_stands_still_takes_again_is_foretold_to_nobody(comes_back_for, begins):
    gap = gap_of([Run(claim(gpu=3), {}, 60.0), Run(claim(), {}, None, claim(**comes_back_for))], gpu=4, ram=8)
    gap.wait(waiter(1, {"gpu": 4}, "gpu"))
    assert gap.start_of(0, "gpu") == begins
    assert [gap.fits(waiter(2, {"gpu": 1}, seconds=seconds)) for seconds in (60.0, 61.0, None)] == [True, False, False]


def test_what_takes_as_much_as_a_petition_that_was_refused_and_is_too_long_for_the_gap_is_refused_as_well():
    gap = gap_of([Run(claim(gpu=3), {}, 60.0)], gpu=4)
    gap.wait(waiter(1, {"gpu": 4}, "gpu"))
    tried = [waiter(number, {"gpu": 1}, seconds=seconds) for number, seconds in enumerate((60.0, 62.0, 61.0), 2)]
    assert [gap.is_refused(each) for each in tried] == [False, False, False]
    assert [gap.fits(each) for each in tried[:2]] == [True, False]
    assert [gap.is_refused(each) for each in tried] == [False, True, True]
    assert not gap.is_refused(waiter(5, {"gpu": 2}, seconds=62.0))


def test_the_gap_in_which_a_petition_was_refused_behind_another_one_is_that_before_the_other_one():
    gap = gap_of([Run(claim(gpu=3), {}, 60.0)], gpu=4)
    gap.wait(waiter(1, {"gpu": 4}, "gpu"))
    assert gap.fits(waiter(2, {"gpu": 1}, seconds=60.0))
    gap.wait(waiter(3, {"gpu": 1}, "gpu", seconds=50.0))
    assert not gap.fits(waiter(4, {"gpu": 1}, seconds=20.0))
    assert gap.is_refused(waiter(5, {"gpu": 1}, seconds=0.5))


def test_of_many_that_take_the_same_and_are_too_long_for_a_gap_a_shorter_one_goes():
    long = [job(f"long {number}", 2 + number, 100, {"gpu": 1}) for number in range(3)]
    assert starts([LONG, BIG, *long, job("end", 3, 8, {"gpu": 1}), job("short", 12, 20, {"gpu": 1})]) == {
        "long": 0,
        "end": 3,
        "short": 12,
        "big": 60,
        "long 0": 70,
        "long 1": 70,
        "long 2": 70,
    }


def test_petitions_that_compete_through_another_one_alone_pass_nobody():
    gap = gap_of([Run(claim(gpu=2, ram=2), {}, 60.0)], gpu=2, ram=2)
    for number, needs in enumerate(({"gpu": 1}, {"gpu": 1, "ram": 1}, {"ram": 2})):
        gap.wait(waiter(number, needs, *needs))
    assert [gap.start_of(place, "ram") for place in (1, 2)] == [60.0, 70.0]


def test_when_a_petition_starts_that_needs_the_whole_machine_is_not_known():
    gap = gap_of(gpu=2)
    gap.wait(waiter(1, {"gpu": 1, "*": 1}, "gpu"))
    assert gap.start_of(0, "gpu") is None
    assert not gap.fits(waiter(2, {"gpu": 1}))
