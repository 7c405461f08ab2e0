"""What owners used before, beside an oracle that sums what each petition used."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.test_fairness import RESOURCES, SLOTS, Owned, Watched, workloads
from orcha._core.fairness import Fairness
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.owner_turns import owner_first
from orcha._core.owners_queue import OwnersQueue
from orcha._core.past_use import SLOTS as ALL_SLOTS
from orcha._core.past_use import PastUse, passed
from orcha._core.reasons import OwnerFirst
from orcha._core.waiting_queue import WaitingQueue
from orcha.interfaces.needs import WHOLE

HALF_LIFE = 10.0
WINDOW = HALF_LIFE / log(2)
_AMOUNTS = st.dictionaries(st.sampled_from(["", "gpu"]), st.floats(0, 1e6))


@given(_AMOUNTS, st.dictionaries(st.sampled_from(["", "gpu"]), st.integers(0, 9)), st.floats(0, 1e4), st.floats(0, 1e4))
def test_time_may_pass_in_parts(used, held, first, second):
    in_parts = passed(passed(used, held.items(), HALF_LIFE, first), held.items(), HALF_LIFE, second)
    at_once = passed(used, held.items(), HALF_LIFE, first + second)
    assert in_parts == pytest.approx(at_once, abs=1e-6)
    assert passed(used, held.items(), HALF_LIFE, -first) == used, "a clock that goes back changes nothing"


def decayed(began, ended, now):
    """Give what one unit from `began` to `ended` counts at the time `now`: the integral of the decay."""
    return WINDOW * (2 ** ((ended - now) / HALF_LIFE) - 2 ** ((began - now) / HALF_LIFE))


class WatchedWithPast(Watched):
    """A schedule that holds the same where what was used before counts, too."""

    def _rank(self, seq):
        now, job = self._now.wall, self._jobs[seq]
        most = {"slots": SLOTS, **RESOURCES}
        used = dict.fromkeys(most, 0.0)
        for each in (*self.told, *self._planned):
            if each.job.owner == job.owner and each.started is not None:
                amount = decayed(each.started, min(now, each.ended), now)
                for name, number in {"slots": 1, **each.job.needs}.items():
                    used[name] += number * amount
        held = self._held[job.owner]
        # Two ways to reckon the same differ by little: who has less by no more than that need not be first.
        share = max((held[name] + used[name] / WINDOW) / most[name] for name in most)
        return job.priority, round(share, 6), self._last_start[job.owner], seq

    def run(self):
        self.told = []
        for each in super().run():
            self.told.append(each)
            yield each


def comes(number, submitted, seconds, owner, **needs):
    return Job(str(number), float(submitted), float(seconds), needs=needs, manager="m", owner=owner)


CLEO_COMES_FIRST_BY_TIME_ALONE = [
    comes(0, 1, 1, "cleo", gpu=4),
    *(comes(number, 0, 1, "ann") for number in (1, 2, 3)),
    comes(4, 1, 1, "ann", gpu=1),
    comes(5, 0, 1, "ann"),
    comes(6, 0, 5, "cleo", gpu=2),
    *(comes(number, 0, 1, "ann") for number in (7, 8)),
    comes(9, 0, 2, "ann"),
    comes(10, 7, 1, "ann"),
    *(comes(number, 0, 1, "ann") for number in (11, 12, 13)),
    comes(14, 0, 1, "ann", gpu=4),
    comes(15, 0, 1, "ann", gpu=1),
]
"""What Cleo used fades while Ann uses more, and both wait for the same resource when it becomes free."""
ANN_COMES_FIRST_BEFORE_ANYTHING_ENDS = [
    comes(0, 0, 4, "ann", gpu=4),
    comes(1, 1, 5, "cleo", gpu=1),
    comes(2, 3, 5, "ann"),
    comes(3, 5, 2, "ann", gpu=1, ram=4),
    comes(4, 5, 5, "cleo", gpu=4),
    comes(5, 6, 2, "ann"),
]
"""Cleo is first in the line for a resource and uses more than Ann, who is first when another petition of hers comes."""


@given(workloads())
@example(CLEO_COMES_FIRST_BY_TIME_ALONE)
@example(ANN_COMES_FIRST_BEFORE_ANYTHING_ENDS)
@settings(max_examples=100, deadline=None)
def test_no_petition_starts_while_one_of_an_owner_with_less_could(jobs):
    """Without groups: petitions that wait for slots of different groups may start in the other order in one round."""
    jobs = [job._replace(group=None) for job in jobs]
    planned = list(WatchedWithPast(jobs, Capacity({"m": SLOTS}, {}, RESOURCES, half_life=HALF_LIFE)).run())
    assert sorted(each.job.id for each in planned) == sorted(job.id for job in jobs)
    assert all(each.started is not None for each in planned), "all have started in the end"


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 30), st.floats(5, 1e4))
@settings(max_examples=40, deadline=None)
def test_owners_with_equal_demand_come_to_equal_use(ann, bob, ahead, half_life):
    """Whatever the lengths of their petitions, and however long one of them was alone before."""
    jobs = [Job(f"ahead{n}", 0.0, 1.0, manager="m", owner="ann") for n in range(ahead)]
    jobs += [Job(f"ann{n}", float(ahead), float(ann), manager="m", owner="ann") for n in range(20)]
    jobs += [Job(f"bob{n}", float(ahead), float(bob), manager="m", owner="bob") for n in range(40 + 20 * ann // bob)]
    planned = list(VirtualSchedule(jobs, Capacity(slots={"m": 1}, half_life=half_life)).run())
    used, at, both, caught_up = {"ann": 0.0, "bob": 0.0}, 0.0, {"ann": 20 + ahead, "bob": 40 + 20 * ann // bob}, False
    for each in planned:
        used = {owner: amount * 2 ** ((at - each.started) / half_life) for owner, amount in used.items()}
        at, owner, other = each.started, each.job.owner, "bob" if each.job.owner == "ann" else "ann"
        if at >= ahead and both[other]:
            assert used[owner] <= used[other] + 1e-6, f"{owner} starts at {at}, and {other} has used less"
        caught_up = caught_up or (at >= ahead and used["ann"] <= used["bob"] + 1e-6)
        if caught_up and both[other]:
            assert abs(used["ann"] - used["bob"]) <= max(ann, bob) + 1e-6, "they differ by one petition at most"
        length, both[owner] = each.ended - each.started, both[owner] - 1
        window = half_life / log(2)
        used[owner] = used[owner] * 2 ** (-length / half_life) + window * (1 - 2 ** (-length / half_life))
        used[other] *= 2 ** (-length / half_life)
        at = each.ended


@given(
    st.integers(20, 120),
    st.integers(1, 6),
    st.lists(st.sampled_from(["bob", "cleo", "dan"]), min_size=1, max_size=3, unique=True),
    st.floats(60, 1e6),
)
@settings(max_examples=60, deadline=None)
def test_who_used_nothing_waits_for_one_turn_of_each_at_most(many, slots, others, half_life):
    jobs = [Job(f"ann{number}", 0.0, 10.0, manager="m", owner="ann") for number in range(many)]
    jobs += [Job(owner, 5.0, 1.0, manager="m", owner=owner) for owner in others]
    capacity = Capacity(slots={"m": slots}, half_life=half_life, used={"ann": {"": 1e5}})
    planned = list(VirtualSchedule(jobs, capacity).run())
    order = [each.job.owner for each in planned if each.started >= 5.0]
    assert max(order.index(owner) for owner in others) < len(others)


def test_what_was_used_before_the_forecast_counts():
    jobs = [Job(owner, 0.0, 10.0, manager="m", owner=owner) for owner in ("ann", "bob", "cleo")]
    used = {"ann": {"": 600.0}, "bob": {"gpu": 1.0, "gone": 9e9}}
    for half_life, order in ((None, ["ann", "bob", "cleo"]), (3_600.0, ["cleo", "bob", "ann"])):
        capacity = Capacity(slots={"m": 1}, resources={"gpu": 1}, half_life=half_life, used=used)
        assert [each.job.id for each in VirtualSchedule(jobs, capacity).run()] == order


# --- by itself ---------------------------------------------------------------------------------------------------


def test_what_was_used_adds_to_what_is_in_use_and_decays():
    clock = [0.0]
    past = PastUse(HALF_LIFE, lambda: clock[0])
    fairness = Fairness("ann", RESOURCES.get, slots=10)
    fairness.count("bob", {"gpu": 2}, 1)
    fairness.weigh_past(past)
    assert fairness.share("bob") == 0.5
    clock[0] = HALF_LIFE
    fairness.count_anew()
    assert fairness.share("bob") == pytest.approx(0.5 + 0.5 / 2), "half of what always having half would be"
    fairness.count("bob", {"gpu": 2}, -1)
    clock[0] = 2 * HALF_LIFE
    fairness.count_anew()
    assert fairness.share("bob") == pytest.approx(0.5 / 4)
    assert fairness.most_used("bob") == ("gpu", pytest.approx(2 * WINDOW / 4))
    assert fairness.most_used("nobody") == (ALL_SLOTS, 0.0)
    fairness.count("cleo", None, 1)
    assert fairness.share("cleo") == 0.1, "a new owner begins with nothing"
    assert list(fairness.used_before()) == ["bob"]
    clock[0] = 40 * HALF_LIFE
    fairness.count("cleo", None, -1)
    assert list(fairness.used_before()) == ["cleo"], "what makes no difference any more is not told"
    fairness.weigh_past(None)
    fairness.count_anew()
    assert (fairness.share("cleo"), fairness.used_before()) == (0.0, {})


def test_the_whole_machine_is_all_of_something():
    clock = [0.0]
    fairness = Fairness("ann", RESOURCES.get, slots=10)
    fairness.weigh_past(PastUse(HALF_LIFE, lambda: clock[0]))
    fairness.count("ann", {WHOLE: 1}, 1)
    clock[0] = HALF_LIFE
    fairness.count_anew()
    assert fairness.share(None) == pytest.approx(1.5)


def test_use_that_nobody_counted_is_added():
    past = PastUse(HALF_LIFE, lambda: 0.0, {"ann": {"": 1.0}, "bob": {"gpu": 2.0}})
    fairness = Fairness("ann", RESOURCES.get, slots=10)
    fairness.weigh_past(past)
    assert fairness.used_before() == {"ann": {"": 1.0}, "bob": {"gpu": 2.0}}
    fairness.add_past("ann", {"gpu": 1}, HALF_LIFE)
    gained = pytest.approx(WINDOW / 2)
    assert fairness.used_before()["ann"] == {"": pytest.approx(1.0 + WINDOW / 2), "gpu": gained}


def test_with_the_past_one_owner_is_counted_too_and_the_reason_says_what_was_used():
    owned = Owned()
    petitions, clock = owned.petitions, [0.0]
    assert petitions.granted.used_before() == {}
    petitions.weigh_past(None)
    first, second = owned.waits("ann"), owned.waits("ann")
    assert type(petitions.waiting) is WaitingQueue
    petitions.weigh_past(PastUse(HALF_LIFE, lambda: clock[0]))
    assert isinstance(petitions.waiting, OwnersQueue)
    owned.starts(first)
    clock[0] = HALF_LIFE
    petitions.release(first)
    assert petitions.granted.used_before() == {"ann": {"": pytest.approx(WINDOW / 2)}}
    other = owned.waits("bob")
    clock[0] = 2 * HALF_LIFE
    assert owner_first(petitions, second) == OwnerFirst(0.0625, 0.0, "0.001 slot-hours", "0 slot-hours")
    assert owned.selection.make_ready() == []
    assert owned.head() == [other.seq, second.seq]
    petitions.weigh_past(None)
    assert (owner_first(petitions, second), petitions.granted.used_before()) == (OwnerFirst(0.0, 0.0), {})


@pytest.mark.parametrize("declared", [({"gpu": 2}, None), (None, "rig")])
def test_owners_are_compared_as_of_one_moment_when_what_they_wait_for_becomes_free(declared):
    """Bob used more until now than Ann, whose petition ends; by the time that has passed since, Bob used less."""
    needs, group = declared
    owned, clock = Owned(), [0.0]
    owned.petitions.weigh_past(PastUse(HALF_LIFE, lambda: clock[0], {"bob": {"gpu": 1.6 * WINDOW}}))
    running = owned.waits("ann", needs={"gpu": 2}, group=group)
    owned.starts(running)
    mine, others = (owned.waits(owner, needs=needs, group=group) for owner in ("ann", "bob"))
    for each in (others, mine):
        assert owned.admission.blocked_by(each) is not None
        owned.admission.park(each)
    clock[0] = HALF_LIFE
    owned.petitions.release(running)
    assert owned.selection.make_ready() == []
    assert [owned.petitions.waiting.is_parked(each.place) for each in (others, mine)] == [False, True]
    assert owned.head() == [others.seq]


def test_a_petition_that_comes_first_in_a_line_by_time_alone_leaves_its_lot():
    owned, clock = Owned(), [0.0]
    owned.petitions.weigh_past(PastUse(HALF_LIFE, lambda: clock[0], {"ann": {"gpu": 1.2 * WINDOW}}))
    owned.starts(owned.waits("bob", needs={"gpu": 1}))
    small, large = owned.waits("ann", needs={"gpu": 1}), owned.waits("bob", needs={"gpu": 2})
    for each in (large, small):
        assert owned.admission.blocked_by(each) is not None
        owned.admission.park(each)
    for seconds, are_parked in ((0.0, [True, True]), (HALF_LIFE, [False, True])):
        clock[0] = seconds
        assert owned.selection.make_ready() == []
        assert [owned.petitions.waiting.is_parked(each.place) for each in (small, large)] == are_parked
    assert owned.admission.blocked_by(small) is None


def test_the_first_owner_is_counted_from_the_first_petition_on():
    owned = Owned()
    owned.petitions.weigh_past(PastUse(HALF_LIFE, lambda: 5.0, {"ann": {"": 8.0}}, 5.0 - HALF_LIFE))
    owned.waits("ann")
    assert owned.petitions.granted.used_before() == {"ann": {"": 4.0}}
