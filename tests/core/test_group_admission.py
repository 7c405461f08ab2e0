"""What people set for a group beside its slots: which petitions that holds back, and which go past these."""

from __future__ import annotations

import pytest

from orcha._core import group_admission
from orcha._core import transitions as change
from orcha._core.admission import Admission
from orcha._core.conditions.kinds import Unknown
from orcha._core.conditions.terms import Reading
from orcha._core.group_admission import GroupUse, group_name
from orcha._core.groups import NO_RULES, GroupRules, rules_of
from orcha._core.moment import Moment
from orcha._core.petitions import STARTS, Petitions
from orcha._core.reasons import (
    GroupFull,
    GroupPaused,
    GroupTextIsFalse,
    GroupUnknown,
    InOrder,
    LongerThanAllowed,
    RateReached,
    UserFull,
)
from orcha._core.record import Record
from orcha._core.selection import Selection
from orcha._core.start_log import StartRate


class OneGroup:
    """Petitions of a group, and their admission."""

    def __init__(self, slots=None, **rules):
        self.petitions = Petitions()
        self.admission = Admission(self.petitions, now=lambda: self.petitions.now)
        self.admission.load([], {"rig": slots, "other": None}, {"rig": GroupRules(**rules)})
        self.admission.of_groups.load_starts({}, self.petitions.now)

    def passes(self, seconds):
        """Let time pass."""
        wall, steady = self.petitions.now
        self.petitions.now = Moment(wall + seconds, steady + seconds)

    def waits(self, owner="ann", group="rig", priority=0):
        seq = self.petitions.take_seq()
        record = Record(seq, seq.to_bytes(16, "big"), f"p{seq}", "m", owner, b"", b"", 0.0)
        record.group, record.priority = group, priority
        assert change.submit.receive(self.petitions, record) is None
        change.submit.accept(self.petitions, record, self.petitions.now, start=False, new_channel=False)
        return record

    def starts(self, record):
        assert self.admission.blocked_by(record) is None
        self.petitions.granted.take(record)
        self.petitions.granted.note_yes(record)
        assert change.start.start(self.petitions, record, self.petitions.now)
        return record

    def new(self, group="rig"):
        """Have a petition come that starts with the transaction that accepts it."""
        seq = self.petitions.take_seq()
        record = Record(seq, seq.to_bytes(16, "big"), f"p{seq}", "m", "ann", b"", b"", 0.0)
        record.group = group
        assert change.submit.receive(self.petitions, record) is None
        self.petitions.granted.take(record)
        self.petitions.granted.note_yes(record)
        change.submit.accept(self.petitions, record, self.petitions.now, start=True, new_channel=False)
        return record

    def runs(self, owner="ann", **declared):
        return self.starts(self.waits(owner, **declared))

    def ends(self, record):
        change.finish.action_going(self.petitions, record.seq, record.attempt)
        change.finish.returned(self.petitions, record.seq, record.attempt, None, self.petitions.now, processes=False)

    def parks(self, record):
        """Ask, park what is blocked, and give the reason."""
        reason = self.admission.blocked_by(record)
        assert reason is not None
        assert self.admission.park(record) == []
        return reason

    def asked(self):
        """Give the sequences of those whose conditions are asked next."""
        assert self.admission.unpark() == []
        return [key[1] for key in self.petitions.waiting.head(99)]


def test_so_many_of_one_owner_run_and_those_of_others_go_past():
    world = OneGroup(slots=3, per_user=1)
    first = world.runs("ann")
    second, third = world.waits("ann"), world.waits("ann")
    assert world.parks(second) == world.parks(third) == UserFull("rig", "ann", 1)
    assert world.admission.held_by(second.seq, "rig", "ann") == UserFull("rig", "ann", 1)
    assert world.admission.reasons(second) == [UserFull("rig", "ann", 1)]
    bobs = world.runs("bob")
    assert world.asked() == []
    assert world.admission.before(third, "rig") == 1
    world.ends(bobs)
    assert world.asked() == [], "what another owner gives back is nothing to her"
    world.ends(first)
    assert world.asked() == [second.seq]
    world.runs("ann", group="other")


def test_where_slots_and_share_are_short_both_are_named_and_the_first_that_may_goes():
    world = OneGroup(slots=2, per_user=1)
    anns, bobs = world.runs("ann"), world.runs("bob")
    waiting = [world.waits(owner) for owner in ("ann", "ann", "bob", "cid")]
    assert world.admission.reasons(waiting[0]) == [UserFull("rig", "ann", 1), GroupFull("rig", 2)]
    assert [world.parks(record) for record in waiting] == [
        UserFull("rig", "ann", 1), UserFull("rig", "ann", 1), UserFull("rig", "bob", 1), GroupFull("rig", 2)
    ]  # fmt: skip
    assert world.admission.groups_in_use()[-1] == GroupUse("rig", 2, 2, 4, paused=False, rules=GroupRules(per_user=1))
    world.ends(bobs)
    assert world.asked() == [waiting[3].seq], "nothing of this owner has started yet"
    world.starts(waiting[3])
    world.ends(anns)
    assert world.asked() == [waiting[0].seq]


def test_what_has_become_free_since_the_round_began_is_the_first_ones():
    world = OneGroup(slots=2, per_user=1)
    anns, bobs = world.runs("ann"), world.runs("bob")
    first = world.waits("ann")
    world.parks(first)
    world.ends(anns)
    later = world.waits("cid", priority=1)
    assert world.parks(later) == InOrder(1)
    assert world.asked()[0] == first.seq
    world.ends(bobs)
    assert world.asked() == [first.seq, later.seq]


def test_where_the_condition_of_one_says_no_another_one_is_asked():
    world = OneGroup(slots=1, per_user=1)
    running = world.runs("ann")
    no, another = world.waits("bob"), world.waits("cid")
    for record in (no, another):
        world.parks(record)
    world.ends(running)
    assert world.asked() == [no.seq]
    assert world.admission.park(no) == []
    assert world.asked() == [no.seq, another.seq]
    assert world.admission.park(no) == [], "nobody else waits"


def test_rules_are_changed_while_petitions_wait():
    world = OneGroup(slots=3, per_user=1)
    world.runs("ann")
    second, third = world.waits("ann"), world.waits("ann")
    for record in (second, third):
        world.parks(record)
    world.admission.set_group("rig", 3, GroupRules(per_user=2))
    assert world.admission.unpark_resumed() == ([], False)
    assert world.asked() == [second.seq, third.seq]
    world.starts(second)
    assert world.parks(third) == UserFull("rig", "ann", 2)
    world.admission.set_group("rig", 3, NO_RULES)
    assert dict(world.admission.of_groups.rules) == {}
    assert world.admission.unpark_resumed() == ([], False)
    world.starts(third)
    fourth = world.waits("ann")
    assert world.parks(fourth) == GroupFull("rig", 3)
    world.admission.set_group("rig", 3, GroupRules(per_user=4))
    world.admission.set_group("rig", 4, GroupRules(per_user=4))
    assert world.asked() == [fourth.seq], "what was parked before there was a rule goes all the same"
    assert world.admission.unpark_resumed() == ([], False)


def test_where_no_rule_is_about_owners_all_wait_in_one_lot():
    world = OneGroup(slots=1, longest=60.0)
    first, second, third = world.runs("ann"), world.waits("bob"), world.waits("ann")
    assert world.parks(second) == world.parks(third) == GroupFull("rig", 1)
    world.petitions.note_change()
    assert world.asked() == []
    world.ends(first)
    assert world.asked() == [second.seq]


def test_a_pause_holds_the_lots_of_owners_too():
    world = OneGroup(per_user=1)
    running, second = world.runs("ann"), world.waits("ann")
    world.parks(second)
    world.admission.pause(group_name("rig"))
    world.ends(running)
    assert world.asked() == []
    assert world.admission.reasons(second) == [GroupPaused("rig")]
    world.admission.resume(group_name("rig"))
    assert world.admission.unpark_resumed() == ([], False)
    assert world.asked() == [second.seq]


def test_of_many_that_may_go_some_leave_the_lot_at_a_time_and_all_in_the_end(monkeypatch):
    monkeypatch.setattr(group_admission, "MAX_UNPARKED_PETITIONS", 2)
    world = OneGroup(slots=0, per_user=9)
    waiting = [world.waits("ann") for _ in range(5)]
    for record in waiting:
        assert world.parks(record) == GroupFull("rig", 0)
    world.admission.of_groups.slots = {"rig": None}
    world.petitions.note_change()
    assert world.asked() == [record.seq for record in waiting[:2]]
    assert world.asked() == [record.seq for record in waiting[:4]]
    assert world.asked() == [record.seq for record in waiting]


def test_a_petition_that_asks_for_more_time_than_its_group_gives_never_starts():
    world = OneGroup(longest=60.0)
    assert world.admission.refusal("rig", None, 61.0) == LongerThanAllowed("rig", 61.0, 60.0)
    for timeout in (None, 60.0):
        assert world.admission.refusal("rig", None, timeout) is None
    assert world.admission.refusal("other", None, 1e9) is None


@pytest.mark.parametrize("rules", [NO_RULES, GroupRules(2, 3.5, 60.0)])
def test_rules_are_read_as_they_were_kept(rules):
    assert rules.text() is None or rules_of(rules.text()) == rules
    assert rules_of("{}") == NO_RULES


def test_so_many_start_within_a_time_and_the_next_ones_when_it_has_passed():
    world = OneGroup(rate=StartRate(2, 60.0))
    world.runs()
    world.passes(10)
    world.runs()
    assert world.petitions.changes.decided == {(STARTS, "0:rig"): "0.0", (STARTS, "1:rig"): "10.0"}
    waiting = [world.waits() for _ in range(3)]
    reached = RateReached("rig", 2, 60.0, 60.0)
    assert [world.parks(record) for record in waiting] == [reached] * 3
    assert world.admission.held_by(waiting[2].seq, "rig", "ann") == reached
    assert world.asked() == []
    selection = Selection(world.petitions, world.admission)
    assert (world.admission.of_groups.due, selection.due) == (60.0, 60.0)
    world.passes(50)
    assert world.asked() == [waiting[0].seq]
    assert world.admission.of_groups.due == 70.0
    world.starts(waiting[0])
    world.passes(10)
    assert world.asked() == [waiting[1].seq]
    world.starts(waiting[1])
    assert world.admission.of_groups.due == 120.0
    world.passes(80)
    assert world.asked() == [waiting[2].seq]
    assert world.admission.of_groups.due is None
    world.starts(waiting[2])
    world.asked()
    assert selection.due is None


def test_a_yes_counts_at_once_and_no_more_when_it_is_dropped():
    world = OneGroup(rate=StartRate(1, 60.0), per_user=5)
    first, second = world.waits(), world.waits()
    assert world.admission.blocked_by(first) is None
    for _ in range(2):
        world.petitions.granted.take(first)
        world.petitions.granted.note_yes(first)
        assert world.admission.blocked_by(second) == RateReached("rig", 1, 60.0, 60.0)
        world.petitions.granted.give_back(first)
        assert world.admission.blocked_by(second) is None
    other = world.waits(group="other")
    world.starts(other)
    assert world.petitions.changes.decided == {}


def test_of_two_groups_with_rates_the_earlier_time_is_when_one_is_asked():
    world = OneGroup(rate=StartRate(1, 60.0))
    world.admission.set_group("other", None, GroupRules(rate=StartRate(1, 30.0)))
    world.admission.of_groups.change_rate("other", StartRate(1, 30.0), [-5.0], world.petitions.now)
    world.runs()
    world.parks(world.waits())
    parked = world.waits(group="other")
    world.parks(parked)
    world.asked()
    assert world.admission.of_groups.due == 25.0
    world.admission.of_groups.change_rate("other", None, [], world.petitions.now)
    world.petitions.note_change()
    assert world.asked() == [parked.seq]
    assert world.admission.of_groups.due == 60.0


LOAD = Reading("load", (1,))


def test_the_condition_of_a_group_holds_back_all_of_it_until_it_is_true():
    world = OneGroup(slots=2, when="load(1) < 4")
    first, second = world.waits(), world.waits()
    reason = GroupTextIsFalse("rig", "load(1) < 4", ("load(1) is not known yet",))
    assert world.parks(first).condition == reason.condition
    world.parks(second)
    conditions = world.admission.conditions
    assert world.asked() == []
    assert world.admission.is_waited_for("load(1) < 4")
    assert not world.admission.is_waited_for("load(1) < 5")
    assert conditions.look(world.admission.is_waited_for)
    conditions.take({LOAD: 5.5})
    assert world.admission.reasons(first) == [GroupTextIsFalse("rig", "load(1) < 4", ("load(1) < 4 is false: 5.5",))]
    conditions.take({LOAD: 1.0})
    assert conditions.are_true
    world.petitions.note_change()
    assert world.asked() == [first.seq, second.seq]
    assert not world.admission.is_waited_for("load(1) < 4")
    world.starts(first)
    conditions.take({LOAD: Unknown("gone")})
    assert isinstance(world.parks(second), GroupTextIsFalse)


OVER_MEANWHILE = {
    "its rate": (GroupRules(rate=StartRate(1, 60.0)), lambda world: world.passes(60.0)),
    "its condition": (GroupRules(when='running_in("other") > 0'), lambda world: world.new(group="other")),
}


@pytest.mark.parametrize("what", OVER_MEANWHILE)
def test_a_petition_is_asked_again_whose_group_let_it_start_between_its_question_and_the_answer(what):
    rules, lets_start = OVER_MEANWHILE[what]
    world = OneGroup(**rules._asdict())
    world.new()
    waiting = world.waits()
    reason = world.admission.blocked_by(waiting)
    assert isinstance(reason, RateReached | GroupTextIsFalse)
    change.wait.note_no(waiting, reason, None, 0.0)
    lets_start(world)
    version = world.petitions.version
    assert world.admission.park(waiting) == []
    assert world.petitions.version > version
    assert world.asked() == [waiting.seq]


def test_a_condition_about_the_service_itself_is_asked_when_something_starts():
    world = OneGroup(when='running_in("other") >= 1')
    first = world.waits()
    world.parks(first)
    assert world.asked() == []
    world.runs(group="other")
    assert world.asked() == [first.seq]


@pytest.mark.parametrize(("takes_new", "most", "is_refused"), [(True, 9, False), (True, 2, True), (False, 9, True)])
def test_a_new_petition_may_name_a_new_group_unless_that_is_refused_or_there_are_too_many(
    monkeypatch, takes_new, most, is_refused
):
    monkeypatch.setattr(group_admission, "MAX_GROUPS", most)
    world = OneGroup()
    world.admission.of_groups.takes_new = takes_new
    assert (world.admission.refusal("rgi", None) == GroupUnknown("rgi", "rig")) is is_refused


def test_of_a_new_group_as_many_start_as_such_groups_have_slots():
    world = OneGroup()
    world.admission.of_groups.new_slots = 1
    first, second = (Record(seq, b"", f"n{seq}", "m", "ann", b"", b"", 0.0) for seq in (1, 2))
    first.group = second.group = "new"
    assert world.admission.blocked_by(first) is None
    world.petitions.granted.take(first)
    assert world.admission.blocked_by(second) == GroupFull("new", 1)
    world.admission.of_groups.takes_new = False
    assert world.admission.blocked_by(second) == GroupUnknown("new", None)


def test_of_a_petition_that_was_not_converted_yet_the_group_is_given():
    world = OneGroup(slots=0)
    record = world.waits(group=None)
    assert world.admission.reasons(record) == []
    assert world.admission.reasons(record, "rig") == [GroupFull("rig", 0)]


def test_a_group_that_there_is_no_more_lets_nothing_start_and_its_rules_are_gone():
    world = OneGroup(slots=1, per_user=1)
    record = world.waits()
    world.admission.forget_group("rig")
    assert isinstance(world.admission.blocked_by(record), GroupUnknown)
    assert (world.admission.groups, world.admission.of_groups.rules) == ({"other": None}, {})


def test_a_start_that_is_not_kept_counts_for_no_rate():
    world = OneGroup(rate=StartRate(1, 60.0))
    new, other = world.new(), world.new(group="other")
    waiting = world.waits()
    assert world.parks(waiting) == RateReached("rig", 1, 60.0, 60.0)
    changes, effects, _ = world.petitions.take()
    change.submit.take_back(world.petitions, changes, effects, {new.token, other.token}, 4, "full")
    assert changes.decided == {(STARTS, "0:rig"): None}
    assert world.asked() == [waiting.seq]
    assert world.admission.blocked_by(waiting) is None
