"""Weights of users and groups of users: groups are compared first, then the members of a group among themselves."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.test_fairness import OWNERS, RESOURCES, SLOTS, Owned, Watched, workloads
from core.test_past_use import HALF_LIFE, WatchedWithPast
from orcha._core.fairness import Ahead, Fairness
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.owner_turns import owner_first
from orcha._core.past_use import PastUse
from orcha._core.reasons import OwnerFirst
from orcha._core.weights import ALONE, OwnerWeight, read_weights

BIO = OwnerWeight("@bio")


@st.composite
def weights(draw):
    """Some of the owners have a weight, alone or with others in a group."""
    of_groups = {None: None, "@bio": draw(st.integers(1, 3)), "@chem": draw(st.integers(1, 3))}
    found = {}
    for owner in OWNERS:
        group, own = draw(st.sampled_from([None, "@bio", "@bio", "@chem"])), draw(st.integers(1, 3))
        found[owner] = OwnerWeight(None, own) if group is None else OwnerWeight(group, of_groups[group], own)
    return found


class Weighed(Watched):
    """A schedule that holds the same where owners and groups have weights."""

    def _rank(self, seq):
        job = self._jobs[seq]
        mine = self._capacity.weights[job.owner]
        members = [each for each in OWNERS if each == job.owner or self._group(each) == (mine.group or each)]
        of_all = self._share(members) / mine.weight, max(self._last_start[each] for each in members)
        own = (0.0, 0)
        if mine.group is not None:
            own = self._share([job.owner]) / mine.within, self._last_start[job.owner]
        return job.priority, *of_all, *own, seq

    def _group(self, owner):
        return self._capacity.weights[owner].group

    def _share(self, owners):
        most = {"slots": SLOTS, **RESOURCES}
        return max(sum(self._held[owner][name] for owner in owners) / most[name] for name in most)


@given(workloads(), weights())
@settings(max_examples=150, deadline=None)
def test_no_petition_starts_while_a_petition_of_a_group_with_less_for_its_weight_could(jobs, known):
    """Without groups of petitions: petitions that wait for slots of different groups may start in the other order."""
    jobs = [job._replace(group=None) for job in jobs]
    planned = list(Weighed(jobs, Capacity({"m": SLOTS}, {}, RESOURCES, weights=known)).run())
    assert sorted(each.job.id for each in planned) == sorted(job.id for job in jobs)
    assert all(each.started is not None for each in planned), "all have started in the end"


@given(workloads())
@settings(max_examples=60, deadline=None)
def test_equal_weights_without_groups_change_nothing(jobs):
    plans = []
    for known in ({}, dict.fromkeys(OWNERS, OwnerWeight(None, 2))):
        schedule = VirtualSchedule(jobs, Capacity({"m": SLOTS}, {"rig": 2}, RESOURCES, weights=known))
        plans.append([(each.job.id, each.started) for each in schedule.run()])
    assert plans[0] == plans[1]


@given(workloads())
@settings(max_examples=60, deadline=None)
def test_one_group_of_all_owners_changes_nothing(jobs):
    plans = []
    for known in ({}, dict.fromkeys(OWNERS, BIO)):
        schedule = VirtualSchedule(jobs, Capacity({"m": SLOTS}, {"rig": 2}, RESOURCES, weights=known))
        plans.append([(each.job.id, each.started) for each in schedule.run()])
    assert plans[0] == plans[1]


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_group_has_its_part_of_the_machine_however_many_members_it_has(members, one, other, times, with_past):
    """Each user asks for more than there is; all petitions take as long."""
    slots = (one + other) * times
    owners = ["ann", *(f"bob{number}" for number in range(members))]
    known = {"ann": OwnerWeight("@few", one), **{owner: OwnerWeight("@many", other) for owner in owners[1:]}}
    jobs = [Job(f"{owner}-{n}", 0.0, 10.0, manager="m", owner=owner) for owner in owners for n in range(3 * slots)]
    capacity = Capacity({"m": slots}, weights=known, half_life=HALF_LIFE if with_past else None)
    started = [(each.started, each.job.owner) for each in VirtualSchedule(jobs, capacity).run()]
    for now in (0.0, 10.0, 20.0):
        running = [owner for began, owner in started if began == now]
        assert running.count("ann") == one * times, "as its weight says"
        shares = [running.count(owner) for owner in owners[1:]]
        assert max(shares) - min(shares) <= 1, "and the members of the other group have as much as each other"


def test_a_member_of_a_group_with_a_weight_has_more_than_the_others():
    known = {"ann": OwnerWeight("@bio", 1, 3), "bob": BIO, "cleo": OwnerWeight(None, 1)}
    jobs = [Job(f"{owner}-{n}", 0.0, 10.0, manager="m", owner=owner) for owner in OWNERS for n in range(9)]
    planned = VirtualSchedule(jobs, Capacity({"m": 8}, weights=known)).run()
    running = [each.job.owner for each in planned if each.started == 0.0]
    assert [running.count(owner) for owner in OWNERS] == [3, 1, 4]


@given(workloads(), weights())
@settings(max_examples=40, deadline=None)
def test_all_start_where_what_was_used_before_counts_too(jobs, known):
    capacity = Capacity({"m": SLOTS}, {}, RESOURCES, half_life=HALF_LIFE, weights=known)
    assert all(each.started is not None for each in VirtualSchedule(jobs, capacity).run())


def a_start_of_another_owner_brings_one_forward():
    """Petition 5 waits for a gpu behind petition 1 of cleo, who starts petition 0 in the round that asks petition 7."""
    rows = [
        (11, 1, 1, {}, "cleo"),
        (2, 1, 0, {"gpu": 4}, "cleo"),
        (1, 4, 0, {"gpu": 1}, "ann"),
        (0, 1, 0, {}, "ann"),
        (0, 1, 0, {}, "ann"),
        (1, 1, 0, {"gpu": 1}, "ann"),
        (0, 1, 0, {}, "ann"),
        (11, 1, 1, {}, "ann"),
        (10, 1, 0, {}, "cleo"),
        (0, 4, 0, {"gpu": 1}, "ann"),
        (1, 4, 0, {"gpu": 4}, "bob"),
        (1, 1, 0, {"gpu": 1}, "bob"),
        (6, 5, 0, {}, "bob"),
        (7, 5, 0, {}, "cleo"),
    ]
    return [
        Job(str(number), float(came), float(seconds), priority, None, needs, manager="m", owner=owner)
        for number, (came, seconds, priority, needs, owner) in enumerate(rows)
    ]


@given(workloads())
@example(a_start_of_another_owner_brings_one_forward())
@settings(max_examples=40, deadline=None)
def test_one_group_of_all_owners_changes_nothing_of_what_was_used_before(jobs):
    jobs = [job._replace(group=None) for job in jobs]
    known = dict.fromkeys(OWNERS, BIO)
    capacity = Capacity({"m": SLOTS}, {}, RESOURCES, half_life=HALF_LIFE, weights=known)
    assert all(each.started is not None for each in WatchedWithPast(jobs, capacity).run())


# --- by itself ---------------------------------------------------------------------------------------------------


def weighed(first="ann", **known):
    fairness = Fairness(first, {"gpu": 4}.get, slots=10)
    fairness.use_weights(known)
    return fairness


def test_what_members_have_in_use_is_added_up():
    fairness = weighed(ann=BIO, bob=BIO)
    fairness.count("ann", {"gpu": 1}, 1)
    fairness.count("bob", {"gpu": 1}, 1)
    fairness.count("cleo", {"gpu": 2}, 1)
    assert fairness.standing(None) == (0.5, 2, 0.25, 1)
    assert fairness.standing("bob") == (0.5, 2, 0.25, 2)
    assert fairness.standing("cleo") == (0.5, 3, 0.0, 0)
    assert [fairness.share("bob"), fairness.share("bob", together=True), fairness.share("cleo", together=True)] == [
        0.25,
        0.5,
        0.5,
    ]
    fairness.count("ann", {"gpu": 1}, -1)
    assert fairness.standing("bob") == (0.25, 2, 0.25, 2)


def test_a_user_who_leaves_a_group_takes_along_what_is_in_use():
    fairness = weighed(ann=BIO, bob=BIO, cleo=BIO)
    for owner in OWNERS:
        fairness.count(owner, {"gpu": 1}, 1)
    fairness.use_weights({"bob": OwnerWeight(None, 2)})
    assert fairness.standing("cleo")[0] == 0.5
    assert fairness.standing("bob") == (0.125, 2, 0.0, 0)
    fairness.use_weights(None)
    assert not fairness.has_weights
    assert fairness.standing("cleo") == (0.25, 3, 0.0, 0)
    assert fairness.weights() == {}


def test_what_starts_ahead_counts_for_the_group_too():
    fairness = weighed(bob=OwnerWeight("@bio", 2, 4), cleo=OwnerWeight("@bio", 2))
    ahead = Ahead(fairness)
    ahead.start("bob")
    ahead.start("cleo")
    assert ahead.standing("bob") == (0.1, 2, 0.025, 1)
    assert ahead.standing("unheard of") == (0.0, 0, 0.0, 0)


def test_what_members_used_before_is_added_up():
    now = [0.0]
    fairness = weighed(bob=BIO, cleo=BIO)
    fairness.weigh_past(PastUse(HALF_LIFE, lambda: now[0], {"bob": {"gpu": 8.0}}))
    fairness.add_past("cleo", {"gpu": 1}, 10.0)
    fairness.add_past("ann", None, 10.0)
    window = HALF_LIFE / 0.6931471805599453
    used = 10.0 * window / 20.0
    assert fairness.most_used("bob", together=True) == ("gpu", pytest.approx(8.0 + used))
    assert fairness.most_used("bob") == ("gpu", 8.0)
    assert fairness.most_used(None, together=True) == ("", pytest.approx(used))
    now[0] = HALF_LIFE
    fairness.count_anew()
    assert fairness.most_used("cleo", together=True) == ("gpu", pytest.approx((8.0 + used) / 2))


def test_of_two_groups_it_is_told_which_has_less_in_use():
    owned, known = Owned(), {"ann": OwnerWeight("@bio", 3), "bob": OwnerWeight("@bio", 3), "cleo": ALONE}
    owned.petitions.use_weights(lambda owner: known[owner])
    owned.starts(owned.waits("ann"))
    owned.starts(owned.waits("ann"))
    second, other = owned.waits("bob"), owned.waits("cleo")
    assert owned.head() == [other.seq, second.seq]
    assert owner_first(owned.petitions, second) == OwnerFirst(0.5, 0.0, None, None, 3, 1, "@bio")
    owned.starts(second)
    owned.starts(other)
    owned.starts(owned.waits("cleo"))
    mine, theirs = owned.waits("cleo"), owned.waits("bob")
    assert owner_first(owned.petitions, mine) == OwnerFirst(0.5, 0.75, None, None, 1, 3, None, other_is_group=True)
    known["bob"] = known["cleo"] = OwnerWeight("@bio", 3, 2)
    owned.waits("cleo")
    owned.waits("bob")
    assert owned.petitions.fairness.weight("cleo").within == 2, "it is looked up again with each petition that comes"
    assert owner_first(owned.petitions, mine) == OwnerFirst(0.5, 0.25, None, None, 2, 2)
    assert owner_first(owned.petitions, theirs) is None


def test_weights_may_be_set_while_petitions_wait():
    owned = Owned()
    owned.starts(owned.waits("ann"))
    waits, other = owned.waits("bob"), owned.waits("cleo")
    owned.petitions.use_weights(lambda owner: ALONE if owner == "cleo" else BIO)
    assert owned.head() == [other.seq, waits.seq]
    owned.petitions.weigh_past(PastUse(HALF_LIFE, lambda: 0.0))
    assert owner_first(owned.petitions, waits) == OwnerFirst(0.25, 0.0, "0 slot-hours", "0 slot-hours", group="@bio")
    owned.petitions.use_weights(None)
    assert owned.head() == [waits.seq, other.seq]


def test_petitions_are_asked_anew_when_another_weight_of_their_owner_is_known():
    owned, known = Owned(), {"ann": ALONE, "bob": ALONE}
    owned.petitions.use_weights(lambda owner: known[owner])
    owned.waits("ann")
    owned.waits("bob")
    version = owned.petitions.version
    owned.petitions.renew_weight("bob")
    assert owned.petitions.version == version
    known["bob"] = BIO
    owned.petitions.renew_weight("bob")
    assert owned.petitions.version > version


def test_the_first_owner_is_weighed_from_the_second_owner_on():
    owned = Owned()
    owned.petitions.use_weights(lambda owner: BIO if owner == "ann" else ALONE)
    owned.waits("ann")
    assert owned.petitions.fairness is None
    owned.waits("bob")
    assert owned.petitions.fairness.weights() == {"ann": BIO}


def test_a_field_of_another_build_is_passed_over():
    assert read_weights({"ann": {"weight": 2, "colour": "red"}}) == {"ann": OwnerWeight(None, 2, 1)}


@pytest.mark.parametrize("wrong", [{"group": 1}, {"weight": 0}, {"within": 0.5}, {"weight": True}])
def test_weights_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="ann"):
        read_weights({"ann": wrong})
