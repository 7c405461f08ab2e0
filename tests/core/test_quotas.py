"""Quotas: what the petitions of a user or of a group of users may have together, and who waits for that."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orcha._core import quotas as module
from orcha._core import transitions as change
from orcha._core.admission import Admission, group_name, petition_name
from orcha._core.forecast.virtual_schedule import VirtualSchedule
from orcha._core.forecast.workload import Capacity, Job
from orcha._core.petitions import Petitions
from orcha._core.quota_rules import ANY_NUMBER, Quota, QuotaRules, accounts_of, read_accounts, written
from orcha._core.quotas import BESIDE, OUTPUT, QUEUED, QUOTA_LOT, RUNNING, SLOTS, Account, Limit, Used
from orcha._core.reasons import SAYS_NO, GroupPaused, InOrder, NeedsShort, QuotaInUse, QuotaSpent, QuotaTooSmall
from orcha._core.record import Record
from orcha._core.selection import Selection
from orcha.interfaces.built_in import ARRAY_MANAGER, BESIDE_MANAGER

ANN, BOB = "uid:1", "uid:2"


def account(name, resources=None, **limits):
    """Give an account with these limits."""
    found = {what: Limit(most, f"quota.user.{name}.{what}", "orcha.toml:1") for what, most in limits.items()}
    return Account(name, found, {what: Limit(most) for what, most in (resources or {}).items()})


class SharedMachine:
    """Petitions of some users with quotas, and their admission."""

    def __init__(self, resources=None, **accounts):
        self.petitions = Petitions()
        self.petitions.slots_of = {"commands": 9}
        self.admission = Admission(self.petitions, resources=resources or {})
        self.selection = Selection(self.petitions, self.admission)
        self.unmade = []
        self.holds(**accounts)

    def holds(self, **accounts):
        """Have other quotas hold: ann's and bob's accounts."""
        named = {f"uid:{'ab'.index(name[0]) + 1}": found for name, found in accounts.items()}
        self.admission.set_quotas(lambda owner: named.get(owner, ()), lambda: self.unmade)
        while self.admission.unpark_resumed()[1]:
            pass

    @property
    def quotas(self):
        return self.petitions.quotas

    def waits(self, owner=ANN, needs=None, group=None, manager="commands"):
        seq = self.petitions.take_seq()
        record = Record(seq, seq.to_bytes(16, "big"), f"p{seq}", manager, owner, b"", b"", 0.0)
        record.needs, record.group = needs, group
        assert change.submit.receive(self.petitions, record) is None
        change.submit.accept(self.petitions, record, self.petitions.now, start=False, new_channel=False)
        return record

    def blocks(self, record):
        """Ask a petition, and park it where it is blocked."""
        why = record.why = self.admission.blocked_by(record)
        if why is not None:
            self.admission.park(record)
        return why

    def runs(self, *args, **more):
        record = self.waits(*args, **more)
        assert self.admission.blocked_by(record) is None
        self.petitions.granted.take(record)
        assert change.start.start(self.petitions, record, self.petitions.now)
        return record

    def ends(self, record):
        self.petitions.release(record, hook=False)
        self.admission.unpark()

    def lot(self, record):
        return self.petitions.waiting.lot_of(record.place)

    def ready(self):
        return [key[2] for key in self.petitions.waiting.head(99)]


def test_what_is_in_use_up_to_the_quota_lets_no_more_start_until_something_ends():
    world = SharedMachine(ann=(account("ann", running=2),))
    first, _ = world.runs(), world.runs()
    third, others = world.waits(), world.waits(BOB)
    assert world.blocks(third) == QuotaInUse("ann", RUNNING, 2, 2, 1)
    assert world.blocks(others) is None
    assert world.lot(third).startswith(QUOTA_LOT)
    assert world.admission.held_by(third.seq, None, ANN) == QuotaInUse("ann", RUNNING, 2, 2, 1)
    assert world.admission.reasons(third) == [QuotaInUse("ann", RUNNING, 2, 2, 1)]
    assert world.quotas.used("ann") == Used(1, 2, 2, {})
    world.ends(first)
    assert world.ready() == [others.key, third.key]
    assert world.admission.blocked_by(third) is None


def test_as_many_commands_may_run_beside_others_as_petitions_may_run_and_they_are_counted_apart():
    world = SharedMachine(ann=(account("ann", running=1, queued=1),))
    world.runs()
    assert world.quotas.refusal_beside(ANN) is None
    beside = world.waits()
    beside.manager = BESIDE_MANAGER
    world.petitions.granted.take(beside)
    assert world.quotas.used("ann") == Used(0, 1, 1, {}, 1)
    spent = world.quotas.refusal_beside(ANN)
    assert spent == QuotaSpent("ann", BESIDE, 1, 1, 1, "quota.user.ann.running", "orcha.toml:1")
    assert "1 of ann's 1 commands beside others run (quota.user.ann.running, " in spent.text()
    assert world.quotas.refusal(ANN) is None, "it does not wait"
    assert world.quotas.refusal_beside(BOB) is None
    world.petitions.granted.give_back(beside)
    assert world.quotas.refusal_beside(ANN) is None
    world.holds(ann=(account("ann", output=10),))
    world.quotas.note_output({ANN: 10})
    assert world.quotas.refusal_beside(ANN) == QuotaSpent(
        "ann", OUTPUT, 10, 10, 1, "quota.user.ann.output", "orcha.toml:1"
    )


def test_a_slot_is_counted_of_managers_that_have_a_number_of_them():
    world = SharedMachine(ann=(account("ann", slots=1),))
    world.runs(manager="actions")
    assert world.blocks(world.runs(manager="actions")) is None
    world.runs()
    assert world.blocks(world.waits()) == QuotaInUse("ann", SLOTS, 1, 1, 1)
    assert world.blocks(world.waits(manager="actions")) is None
    assert world.quotas.used("ann").slots == 1


def test_who_waits_for_a_quota_keeps_nobody_from_a_resource():
    """Ann's second petition came first into the line for devices, before her first one took all that she may have."""
    world = SharedMachine({"gpu": 3}, ann=(account("ann", {"gpu": 2}),))
    world.petitions.note_owner(0, ANN)
    world.petitions.note_owner(1, BOB)
    held = world.runs(BOB, {"gpu": 2})
    large, second = world.waits(ANN, {"gpu": 2}), world.waits(ANN, {"gpu": 2})
    assert world.blocks(large) == world.blocks(second) == NeedsShort("gpu", 2, 1, 3)
    world.ends(held)
    assert world.ready() == [large.key]
    world.petitions.granted.take(large)
    assert change.start.start(world.petitions, large, world.petitions.now)
    third = world.waits(BOB, {"gpu": 1})
    assert world.admission.blocked_by(third) is None
    world.petitions.note_change()
    world.admission.unpark()
    assert world.blocks(second) == QuotaInUse("ann", "gpu", 2, 2, 2)
    assert world.lot(second).startswith(QUOTA_LOT)


def test_a_later_petition_does_not_take_what_an_earlier_one_waits_for_in_the_same_quota():
    world = SharedMachine({"gpu": 9}, ann=(account("ann", {"gpu": 2}),))
    small = world.runs(ANN, {"gpu": "1"})
    large, later = world.waits(ANN, {"gpu": 2}), world.waits(ANN, {"gpu": 1})
    assert world.blocks(large) == QuotaInUse("ann", "gpu", 1, 2, 2)
    assert world.blocks(later) == InOrder(1)
    assert world.lot(large) == world.lot(later)
    world.admission.pause(petition_name(large.seq))
    assert world.admission.blocked_by(later) is None
    world.admission.unpark()
    assert world.ready() == [large.key, later.key]
    world.admission.resume(petition_name(large.seq))
    assert world.blocks(large) == QuotaInUse("ann", "gpu", 1, 2, 2)
    assert world.blocks(later) == InOrder(1)
    world.ends(small)
    assert world.ready() == [large.key]
    assert world.admission.blocked_by(large) is None


def test_what_needs_more_than_the_quota_ever_gives_says_so_and_keeps_nobody_back():
    world = SharedMachine({"gpu": 9, "ram": 9}, ann=(account("ann", {"gpu": 4}),), bob=(account("bob", running=0),))
    large = world.waits(ANN, {"gpu": 3})
    world.holds(ann=(account("ann", {"gpu": 2}),))
    assert world.admission.refusal(None, {"gpu": 3}, of=(ANN, "commands")) == QuotaTooSmall("ann", "gpu", 3, 2)
    assert world.admission.refusal(None, {"gpu": 2}, of=(ANN, "commands")) is None
    assert world.admission.refusal(None, {"gpu": 2}, of=("uid:9", "commands")) is None
    assert world.blocks(large) == QuotaTooSmall("ann", "gpu", 3, 2)
    small = world.runs(ANN, {"gpu": 2, "ram": 1})
    assert world.blocks(world.waits(ANN, {"gpu": 1})) == QuotaInUse("ann", "gpu", 2, 2, 1)
    world.ends(small)
    assert world.lot(large).startswith(QUOTA_LOT)
    world.holds(ann=(account("ann", {"gpu": 3}),))
    assert world.admission.blocked_by(large) is None
    assert world.admission.reasons(large, "rig", {"gpu": 4})[0] == QuotaTooSmall("ann", "gpu", 4, 3)


def test_all_members_of_a_group_count_together_and_the_owner_with_less_is_first():
    lab = account("@lab", running=2)
    world = SharedMachine(ann=(account("ann", running=2), lab), bob=(lab,))
    first, second = world.runs(), world.runs()
    anns, bobs = world.waits(), world.waits(BOB)
    assert world.blocks(anns).whose == "ann"
    assert world.blocks(bobs) == QuotaInUse("@lab", RUNNING, 2, 2, 1)
    world.ends(first)
    assert world.ready() == [bobs.key, anns.key]
    world.ends(second)
    assert world.quotas.used("@lab") == Used(2, 0, 0, {})


def test_so_many_petitions_may_wait_and_so_much_output_be_kept():
    world = SharedMachine(ann=(account("ann", queued=3), account("@lab", output=100)))
    assert world.quotas.refusal(BOB, 1000) is None
    running = world.runs()
    waiting = world.waits()
    array = Record(world.petitions.take_seq(), b"a" * 16, "array", ARRAY_MANAGER, ANN, b"", b"", 0.0)
    world.petitions.enter(array)
    world.unmade = [(ANN, 1), (BOB, 7)]
    assert world.quotas.queued("ann") == 2
    assert world.quotas.refusal(ANN) is None
    spent = QuotaSpent("ann", QUEUED, 2, 3, 2, "quota.user.ann.queued", "orcha.toml:1")
    assert world.quotas.refusal(ANN, 2) == spent
    world.quotas.note_output({ANN: 60, BOB: 900})
    assert world.quotas.refusal(ANN) is None
    world.quotas.note_output({ANN: 100})
    assert world.quotas.refusal(ANN).what == OUTPUT
    assert (world.quotas.output("@lab"), world.quotas.output("bob")) == (100, 0)
    world.petitions.release(running, hook=False)
    change.cancel.cancel(world.petitions, waiting, change.cancel.cancelled(None), world.petitions.now)
    world.petitions.forget(array)
    world.unmade = []
    assert world.quotas.queued("ann") == 0
    world.quotas.forget(77, ANN)


def test_quotas_that_come_while_petitions_run_and_wait_count_these():
    world = SharedMachine()
    world.admission.set_quotas(None)
    assert world.petitions.quotas is None
    running, waiting = world.runs(ANN), world.waits(BOB)
    world.petitions.take()
    world.petitions.unload([waiting.place])
    world.holds(ann=(account("ann", running=1),), bob=(account("bob", queued=1),))
    assert world.blocks(world.waits(ANN)) == QuotaInUse("ann", RUNNING, 1, 1, 1)
    assert world.quotas.queued("bob") == 1
    world.petitions.granted.take(running)
    assert world.quotas.used("ann").running == 1
    world.admission.set_quotas(None)
    world.admission.unpark_resumed()
    assert len(world.ready()) == 2


def test_a_spilled_petition_is_counted_for_its_owner():
    world = SharedMachine()
    world.admission.set_quotas(None)
    world.petitions.note_owner(1, ANN)
    world.petitions.note_owner(2, BOB)
    world.petitions.load_waiting([(0, 1, "a"), (0, 2, "b")])
    world.holds(ann=(account("ann", queued=1),), bob=(account("bob", queued=1),))
    assert [world.quotas.queued(name) for name in ("ann", "bob")] == [1, 1]


def test_where_the_group_of_a_petition_is_paused_too_nobody_looks_at_it_again_and_again():
    """Each park and each return is a change, after which parked petitions are looked at."""
    world = SharedMachine(ann=(account("ann", running=1),))
    world.admission.load([group_name("rig")], {"rig": 5})
    runs = world.runs()
    held = world.waits(group="rig")
    assert world.blocks(held) == GroupPaused("rig")
    world.selection.make_ready()
    assert world.lot(held) == group_name("rig")
    assert not world.selection.may_unpark()
    world.admission.resume(group_name("rig"))
    world.admission.unpark_resumed()
    assert world.blocks(held) == QuotaInUse("ann", RUNNING, 1, 1, 1)
    world.admission.pause(group_name("rig"))
    world.selection.make_ready()
    assert world.blocks(held) == GroupPaused("rig")
    world.selection.make_ready()
    assert not world.selection.may_unpark()
    world.ends(runs)
    assert world.lot(held) == group_name("rig")


def test_a_user_who_has_left_a_group_loses_its_quota_when_a_petition_comes():
    """Also where the user always has petitions that wait or run."""
    world, known = SharedMachine(), {ANN: (account("@lab", running=1),)}
    world.admission.set_quotas(known.__getitem__)
    first, waits = world.runs(), world.waits()
    assert world.blocks(waits) == QuotaInUse("@lab", RUNNING, 1, 1, 1)
    known[ANN] = (account("ann", running=2, queued=9),)
    assert world.quotas.refusal(ANN) is None
    assert [each.name for each in world.quotas.accounts(ANN)] == ["ann"]
    second = world.runs()
    world.selection.make_ready()
    assert world.ready() == [waits.key], "nothing of the group holds it back any more"
    assert world.admission.blocked_by(waits) is None, "the first petition counts for the group to its end"
    assert (world.quotas.used("@lab").running, world.quotas.used("ann").running) == (1, 1)
    world.ends(first)
    world.ends(second)
    assert (world.quotas.used("@lab").running, world.quotas.used("ann").running) == (0, 0)


def test_what_waits_for_the_quota_of_a_group_goes_on_when_the_user_has_left_that():
    """Nothing of the group ends, and petitions of another member wait before it."""
    lab = account("@lab", running=1)
    world, known = SharedMachine(), {ANN: (lab,), BOB: (lab,)}
    world.admission.set_quotas(known.__getitem__)
    world.admission.renew_accounts(ANN)
    assert not world.petitions.waiting.parked, "ann has no petition"
    world.runs(BOB)
    bobs, anns = world.waits(BOB), world.waits()
    assert [type(world.blocks(each)) for each in (bobs, anns)] == [QuotaInUse] * 2
    world.admission.renew_accounts(ANN)
    world.admission.unpark_resumed()
    assert world.ready() == [], "ann is in the group still"
    known[ANN] = ()
    world.admission.renew_accounts(ANN)
    world.admission.unpark_resumed()
    assert sorted(world.ready()) == [bobs.key, anns.key]
    assert world.blocks(bobs) == QuotaInUse("@lab", RUNNING, 1, 1, 1)
    assert world.blocks(anns) is None
    world.admission.set_quotas(None)
    world.admission.renew_accounts(ANN)
    assert world.quotas is None


def test_what_waits_for_the_quota_of_a_user_goes_on_when_a_group_of_the_user_gives_a_larger_one():
    world, known = SharedMachine(), {ANN: (account("ann", running=1),)}
    world.admission.set_quotas(known.__getitem__)
    world.runs()
    second, third = world.waits(), world.waits()
    assert [type(world.blocks(each)) for each in (second, third)] == [QuotaInUse] * 2
    known[ANN] = (account("ann", running=2),)
    world.admission.renew_accounts(ANN)
    world.admission.unpark_resumed()
    assert world.blocks(second) is None
    world.petitions.granted.take(second)
    assert world.blocks(third) == QuotaInUse("ann", RUNNING, 2, 2, 1)


def test_of_many_that_may_go_some_leave_a_lot_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPARKED_PETITIONS", 2)
    world = SharedMachine(ann=(account("ann", running=5),))
    running = [world.runs() for _ in range(5)]
    waiting = [world.waits() for _ in range(5)]
    for record in waiting:
        world.blocks(record)
    for record in running:
        world.petitions.release(record, hook=False)
    world.admission.unpark()
    assert len(world.ready()) == 2
    world.admission.unpark()
    world.admission.unpark()
    assert len(world.ready()) == 5


def test_where_the_condition_of_a_petition_says_no_another_one_that_waits_for_the_quota_goes_instead():
    world = SharedMachine(ann=(account("ann", running=1),), bob=(account("bob", running=1),))
    runs, other = world.runs(), world.runs(BOB)
    first, second, third, bobs = world.waits(), world.waits(), world.waits(), world.waits(BOB)
    for record in (first, second, third, bobs):
        world.blocks(record)
    world.ends(runs)
    assert world.ready() == [first.key]
    assert world.admission.blocked_by(first) is None
    first.why = SAYS_NO
    assert world.admission.park(first) == []
    assert world.ready() == [first.key, second.key]
    world.petitions.granted.take(second)
    assert change.start.start(world.petitions, second, world.petitions.now)
    assert world.blocks(first) == QuotaInUse("ann", RUNNING, 1, 1, 1)
    assert world.lot(third) == world.lot(first) != world.lot(bobs)
    world.ends(other)
    assert world.admission.blocked_by(bobs) is None
    assert world.admission.park(bobs) == [], "nobody else waits for bob's quota"
    assert world.ready() == [bobs.key]


def test_a_petition_that_waits_no_more_is_not_parked():
    world = SharedMachine(ann=(account("ann", running=0),))
    record = world.waits()
    world.petitions.dequeue(record)
    world.petitions.forget(record)
    assert world.quotas.park(record) is False


# --- over the decisions of a whole service ------------------------------------------------------------------------

_OWNERS = (ANN, BOB, "uid:3")
_JOBS = st.lists(
    st.tuples(
        st.sampled_from(_OWNERS),
        st.integers(0, 20),
        st.integers(1, 9),
        st.integers(0, 3),
        st.integers(-1, 1),
        st.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=50)
@given(
    _JOBS,
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_nobody_is_ever_above_a_quota_and_all_that_may_run_does_in_the_end(jobs, running, gpu, lab, slots):
    """Each job is (owner, asked for, seconds, gpu, priority, whether it takes a slot)."""
    together = account("@lab", {"gpu": 3}, slots=lab)
    quotas = {ANN: (account("ann", {"gpu": gpu}, running=running), together), BOB: (together,)}
    known = [
        Job(str(number), came, seconds, priority, None, {"gpu": need} if need else {}, owner=owner, manager=kind)
        for number, (owner, came, seconds, need, priority, is_slot) in enumerate(jobs)
        for kind in ("commands" if is_slot else "actions",)
    ]
    capacity = Capacity(slots={"commands": slots}, resources={"gpu": 4}, quotas=quotas)
    found = list(VirtualSchedule(known, capacity).run())
    for each in found:
        if each.started is None:
            assert each.job.owner == ANN
            assert each.job.needs["gpu"] > gpu
            assert each.reason.startswith("quota: it needs")
    ran = [each for each in found if each.started is not None]
    for moment in {each.started for each in ran}:
        now = [each.job for each in ran if each.started <= moment < each.ended]
        mine = [job for job in now if job.owner == ANN]
        members = [job for job in now if job.owner in (ANN, BOB)]
        assert len(mine) <= running
        assert sum(job.needs.get("gpu", 0) for job in mine) <= gpu
        assert sum(job.needs.get("gpu", 0) for job in members) <= 3
        assert sum(job.manager == "commands" for job in members) <= lab


def test_a_forecast_waits_for_the_quota_as_the_service_does():
    jobs = [Job("a1", 0, 10, owner=ANN), Job("a2", 0, 10, owner=ANN), Job("b", 0, 10, owner=BOB)]
    capacity = Capacity(quotas={ANN: (account("ann", running=1),)})
    assert [(each.job.id, each.started) for each in VirtualSchedule(jobs, capacity).run()] == [
        ("a1", 0),
        ("b", 0),
        ("a2", 10),
    ]


@pytest.mark.parametrize("what", [RUNNING, SLOTS, "gpu"])
def test_where_nothing_is_in_use_a_quota_of_none_says_that(what):
    assert "none" in QuotaTooSmall("ann", what, 1, 0).text()


def test_accounts_are_read_as_they_were_written():
    found = (account("ann", {"gpu": 2}, running=1), account("@lab", queued=5))
    read = read_accounts(written(found))
    assert written(read) == written(found)
    for wrong in ([1], [{}], [{"name": "ann", "limits": 1}], [{"name": "ann", "limits": {"running": []}}]):
        with pytest.raises(ValueError, match="no account"):
            read_accounts(wrong)


def quota(**limits):
    return Quota({what: Limit(most) for what, most in limits.items()}, {"gpu": Limit(limits.get("running", 9))})


def test_the_users_own_quota_counts_more_than_that_of_a_group_and_that_more_than_the_default():
    rules = QuotaRules(
        quota(running=1, queued=5),
        {"ann": quota(running=ANY_NUMBER), "uid:2": quota(running=7)},
        {"lab": quota(running=3), "staff": quota(running=4, queued=2), "few": quota(running=1)},
        {"lab": quota(running=6), "all": Quota()},
    )
    assert rules.are_any
    assert not QuotaRules().are_any
    assert accounts_of(QuotaRules(), ["ann"], ["lab"]) == ()

    def limits(names, groups=()):
        return {
            each.name: {what: limit.most for what, limit in each.limits.items()}
            for each in accounts_of(rules, names, groups)
        }

    assert limits(["carl", "uid:3"]) == {"carl": {"running": 1, "queued": 5}}
    assert limits(["carl", "uid:3"], ["lab", "staff", "few"]) == {
        "carl": {"running": 4, "queued": 2},
        "@lab": {"running": 6},
    }
    assert limits(["ann", "uid:1"], ["staff", "all"]) == {"ann": {"queued": 2}}
    assert limits(["bob", "uid:2"]) == {"bob": {"running": 7, "queued": 5}}


def test_what_waits_is_counted_by_owner_and_who_runs_is_told():
    world = SharedMachine(ann=(account("ann", running=1),))
    assert world.petitions.waiting.counts(ANN) == {ANN: 0}
    running, waiting = world.runs(), world.waits()
    assert world.petitions.waiting.counts(ANN) == {ANN: 1}
    others = world.waits(BOB)
    world.blocks(waiting)
    assert world.petitions.waiting.counts(ANN) == {ANN: 1, BOB: 1}
    assert [seq for seq, _ in world.quotas.counted("ann")] == [running.seq]
    assert world.quotas.counted("bob") == []
    assert set(world.quotas.all_accounts()) == {ANN, BOB}
    world.petitions.granted.take(Record(99, b"", "stranger", "commands", "uid:9", b"", b"", 0.0))
    assert world.blocks(others) is None
