"""In which order waiting petitions are asked, when asking stops, and who has to be asked before a yes counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orcha._core import transitions
from orcha._core.admission import Admission
from orcha._core.asking_round import (
    BROKEN,
    MAX_REFUSALS_PER_ROUND,
    MAX_REPEATS_PER_ROUND,
    NO,
    YES,
    Answered,
    Round,
    Said,
    in_order,
)
from orcha._core.converted import Converted
from orcha._core.petitions import Petitions
from orcha._core.reasons import SAYS_NO, BehindAnother, ConditionSaidNo, GroupFull, NeedsShort, StartsLater
from orcha._core.record import Record
from orcha._core.state import OnInterrupt


def petition(seq, priority=0, manager="m", **declared):
    record = Record(seq, b"", str(seq), manager, "", b"", None, 0.0)
    record.priority, record.petition = priority, object()
    for name, value in declared.items():
        setattr(record, name, value)
    return record


def converted(record, *, is_new=True, priority=0, **found):
    """Give what a conversion found out about a petition whose record does not say it yet."""
    names = (
        "retry",
        "on_interrupt",
        "timeout",
        "queue_timeout",
        "expect",
        "group",
        "needs",
        "once",
        "after",
        "at",
        "delay",
        "when",
    )
    known = {"is_command": False, "has_policy": True, **dict.fromkeys(names), **found}
    place = {name: getattr(record, name) for name in ("seq", "key", "manager", "owner")} | {"priority": priority}
    return Converted(record, is_new, petition=object(), **place, **known)


class Asking:
    """Drives a round, as the hook thread does."""

    def __init__(self, waiting, new=(), sample=(), look_ahead=None):
        self.petitions = Petitions()
        self.admission = Admission(self.petitions)
        self.round = Round(list(waiting), sample, look_ahead=look_ahead)
        self.round.new.extend(new)
        self.asked = []

    def run(self, said):
        """Ask `said` for each petition that is yielded; give the sequences in the order of asking."""
        asking = self.round.ask(self.admission, self.petitions.granted, lambda: self.petitions.version)
        answer = None
        try:
            while True:
                record = asking.send(answer)
                self.asked.append(record.seq)
                answer = said(record)
        except StopIteration:
            return self.asked

    def started(self):
        return [answered.record.seq for answered in self.round.answers if answered.answer is YES]


class Needing:
    """Each petition needs some of what there is, or breaks; a yes takes it."""

    def __init__(self, free, needs):
        self.free = free
        self.needs = needs

    def __call__(self, record):
        need = self.needs[record.seq]
        if need is None:
            return Said(BROKEN, error="it broke")
        if need > self.free:
            return Said(NO, SAYS_NO, at=1.0)
        self.free -= need
        return Said(YES)


def place(record):
    return (record.priority, record.seq)


PLACES = st.tuples(st.one_of(st.integers(-1, 1), st.sampled_from([math.inf, -math.inf])), st.booleans())


@given(
    places=st.lists(PLACES, max_size=12),
    needs=st.lists(st.one_of(st.integers(0, 3), st.none()), min_size=12, max_size=12),
    free=st.integers(0, 4),
    look_ahead=st.one_of(st.none(), st.integers(1, 6)),
    patience=st.integers(1, 4),
)
def test_nobody_is_passed_who_could_run(places, needs, free, look_ahead, patience):
    records = [petition(seq, priority) for seq, (priority, _) in enumerate(places)]
    new = [record for record, (_, is_new) in zip(records, places, strict=True) if is_new]
    waiting = sorted((record for record in records if record not in new), key=place)
    needing, events = Needing(free, needs), []
    by_seq = {record.seq: record for record in records}

    def said(record):
        asked = [seq for seq, _ in events]
        passed = [r for r in records if place(r) < place(record) and r.seq not in asked]
        noes = sum(by_seq[seq] not in new and answer is NO for seq, answer in events)
        assert record.seq not in asked, "asked twice"
        assert not passed or noes >= patience, "an earlier petition was not asked, and patience was left"
        assert not any(r in new for r in passed), "a petition that has just come was not asked"
        answer = needing(record)
        events.append((record.seq, answer.answer))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orcha._core.asking_round.MAX_REFUSALS_PER_ROUND", patience)
        asking = Asking(waiting, new, look_ahead=look_ahead)
        asking.run(said)

    candidates = sorted(records, key=place)[:look_ahead]
    assert asking.asked == [r.seq for r in sorted((by_seq[seq] for seq in asking.asked), key=place)]
    assert set(asking.asked) <= {r.seq for r in candidates}
    assert {r.seq for r in candidates if r in new} <= set(asking.asked)
    noes = [seq for seq, answer in events if by_seq[seq] not in new and answer is NO]
    assert len(noes) <= patience
    if len(noes) < patience:
        assert asking.asked == [r.seq for r in candidates]
    assert set(asking.started()) == {record.seq for record in records if record.key in asking.petitions.granted}


def test_while_everything_is_paused_a_yes_starts_nothing_and_a_no_is_told():
    asking = Asking([], [converted(petition(1)), converted(petition(2))])
    asking.round.may_start = False
    assert asking.run(lambda record: Said(YES) if record.seq == 1 else Said(NO, SAYS_NO, at=1.0)) == [1, 2]
    assert [(each.record.seq, each.answer) for each in asking.round.answers] == [(2, NO)]
    assert not asking.petitions.granted


def test_a_yes_counts_before_the_next_is_asked():
    asking = Asking([petition(1), petition(2)])
    asking.run(lambda _: Said(NO, SAYS_NO) if asking.petitions.granted else Said(YES))
    assert asking.started() == [1]


def test_a_blocked_petition_hides_nobody():
    asking = Asking([petition(1), petition(2)])
    asking.run(Needing(1, {1: 2, 2: 1}))
    assert asking.started() == [2]


def test_asking_stops_when_patience_is_over():
    asking = Asking([petition(seq) for seq in range(100)])
    assert len(asking.run(Needing(0, dict.fromkeys(range(100), 1)))) == asking.round.noes == MAX_REFUSALS_PER_ROUND


def test_only_a_no_costs_patience():
    asking = Asking([petition(seq) for seq in range(100)])
    needs = {seq: None if seq % 2 else 0 for seq in range(100)}
    assert len(asking.run(Needing(0, needs))) == 100
    assert asking.round.answers[1] == Answered(asking.round.waiting[1], BROKEN, None, "it broke")


def test_one_that_has_just_come_is_asked_behind_any_number_of_blocked_ones():
    asking = Asking([petition(seq) for seq in range(100)], [petition(100)])
    asking.run(Needing(1, {**dict.fromkeys(range(100), 2), 100: 1}))
    assert asking.started() == [100]


def test_look_ahead_asks_only_the_first_of_all():
    asking = Asking([petition(1), petition(2)], [petition(3)], look_ahead=2)
    assert asking.run(Needing(1, {1: 2, 2: 2, 3: 1})) == [1, 2]


def test_one_that_could_not_be_made_again_is_not_asked():
    broken = petition(1)
    broken.petition = None
    assert Asking([broken, petition(2)], sample=[broken]).run(lambda _: Said(YES)) == [2]


def test_order_is_by_priority_then_by_arrival():
    waiting = [petition(2, -1), petition(1, 0), petition(4, 0)]
    new = [petition(5, 0), petition(6, -1), petition(7, -math.inf), petition(8, math.inf)]
    assert [record.seq for record in in_order(waiting, new)] == [7, 2, 6, 1, 4, 5, 8]


def test_order_of_nothing_is_nothing():
    assert in_order([], []) == []
    assert in_order([one := petition(1)], []) == [one]
    assert in_order([], [one]) == [one]


# --- one no for all ---------------------------------------------------------------------------------------------------


def closing(why):
    """Give a condition that says no to all petitions of its manager."""
    return lambda _: Said(NO, why, for_all=True, at=7.0)


def test_a_no_to_all_of_a_manager_is_told_to_the_others_without_asking_them():
    why = ConditionSaidNo("no rig is free")
    waiting = [petition(seq) for seq in range(1, 4)]
    waiting[1].why = ConditionSaidNo("no rig is free")
    asking = Asking(waiting, [petition(4)])
    assert asking.run(closing(why)) == [1]
    told = {answered.record.seq: (answered.why, answered.asked) for answered in asking.round.answers}
    assert told == dict.fromkeys([1, 3, 4], (why, 7.0))
    assert asking.round.unchanged == [(waiting[1], 7.0)]
    assert asking.round.noes == 4


def test_others_than_that_manager_are_asked_behind_it():
    asking = Asking([petition(1), petition(2), petition(3, manager="other")])
    no = closing(SAYS_NO)
    assert asking.run(lambda record: Said(YES) if record.manager == "other" else no(record)) == [1, 3]
    assert asking.started() == [3]


def test_where_only_the_service_decides_a_petition_that_has_heard_it_is_passed_over():
    why = ConditionSaidNo("no rig is free")
    waiting = [petition(seq, why=why) for seq in range(1, 4)] + [petition(4), petition(5, manager="other", why=why)]
    asking = Asking(waiting)
    no = Said(NO, why, for_all=True)
    assert asking.run(lambda record: Said(YES) if record.manager == "other" else no) == [1, 5]
    assert [answered.record.seq for answered in asking.round.answers] == [4, 5]
    assert asking.round.unchanged == [(waiting[0], None)]
    assert (asking.round.noes, asking.started()) == (4, [5])


def test_a_petition_that_has_just_come_is_asked_behind_petitions_that_heard_the_same():
    why = ConditionSaidNo("no rig is free")
    asking = Asking([petition(seq, why=why) for seq in range(1, 4)], [petition(4, manager="other")])
    no = Said(NO, why, for_all=True)
    assert asking.run(lambda record: Said(YES) if record.manager == "other" else no) == [1, 4]
    assert (asking.round.noes, asking.started()) == (3, [4])


def test_a_petition_that_was_passed_over_is_asked_again_where_something_has_ended():
    why = ConditionSaidNo("no rig is free")
    asking = Asking([petition(seq, why=why) for seq in range(1, 4)] + [petition(4, manager="other")])
    full = [True]

    def said(record):
        if record.manager == "other" and full[0]:
            full[0] = False
            asking.petitions.note_change()
            return Said(YES)
        return Said(NO, why, for_all=True) if full[0] else Said(YES)

    assert asking.run(said) == [1, 4, 1, 2, 3, 4]
    assert asking.started() == [1, 2, 3, 4]


def test_a_petition_that_is_passed_over_costs_patience():
    why = ConditionSaidNo("no rig is free")
    asking = Asking([petition(seq, why=why) for seq in range(2 * MAX_REFUSALS_PER_ROUND)])
    asking.run(lambda _: Said(NO, why, for_all=True))
    assert (len(asking.asked), asking.round.noes) == (1, MAX_REFUSALS_PER_ROUND)


def test_a_no_to_all_costs_patience():
    asking = Asking([petition(seq) for seq in range(2 * MAX_REFUSALS_PER_ROUND)])
    asking.run(closing(SAYS_NO))
    assert (len(asking.asked), len(asking.round.answers)) == (1, MAX_REFUSALS_PER_ROUND)


# --- something ends meanwhile -----------------------------------------------------------------------------------------


class Scripted:
    """Answers as it is told, one after another; before a yes that is marked, something ends."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asking = None

    def __call__(self, record):
        answer = self.answers.pop(0) if self.answers else "no"
        if answer == "ends, yes":
            self.asking.petitions.note_change()
        return Said(NO, SAYS_NO) if answer == "no" else Said(YES)


def scripted(answers, waiting, new=(), look_ahead=None):
    script = Scripted(*answers)
    script.asking = Asking(map(petition, waiting), list(map(petition, new)), look_ahead=look_ahead)
    script.asking.run(script)
    return script.asking


@pytest.mark.parametrize("new", [[], [5]])
@pytest.mark.parametrize("look_ahead", [None, 9])
def test_where_something_ended_meanwhile_those_that_said_no_are_asked_before_a_later_yes(new, look_ahead):
    asking = scripted(["no", "yes", "no", "ends, yes", "yes", "no", "yes"], [1, 2, 3, 4], new, look_ahead)
    assert asking.asked == [1, 2, 3, 4, 1, 3, 4, *new]
    assert asking.started() == [2, 1, 4]


def test_they_are_asked_again_as_often_as_something_ends():
    asking = scripted(["no", "no", "ends, yes", "no", "ends, yes", "yes", "no", "no"], [1, 2, 3])
    assert asking.asked == [1, 2, 3, 1, 2, 1, 2, 3]


def test_not_more_often_than_so_many_times():
    asking = scripted(["no", "ends, yes"] * 20, [1, 2])
    assert asking.asked == [1, 2] * (MAX_REPEATS_PER_ROUND + 1)
    assert asking.started() == [2]


def test_patience_is_whole_again_then(monkeypatch):
    monkeypatch.setattr("orcha._core.asking_round.MAX_REFUSALS_PER_ROUND", 3)
    asking = scripted(["no", "no", "ends, yes", "no", "no", "yes"], [1, 2, 3, 4])
    assert asking.asked == [1, 2, 3, 1, 2, 3, 4]


def test_where_nobody_said_no_a_yes_counts_whatever_ended():
    asking = scripted(["ends, yes", "yes"], [1, 2])
    assert (asking.asked, asking.started()) == ([1, 2], [1, 2])


# --- what is declared, and what is news -------------------------------------------------------------------------------


def test_what_its_group_blocks_is_not_asked_and_says_why():
    asking = Asking([petition(1, group="rig"), petition(2, group="rig")])
    asking.admission.load([], {"rig": 1})
    assert asking.run(lambda _: Said(YES)) == [1]
    assert asking.round.answers[1] == Answered(asking.round.waiting[1], NO, GroupFull("rig", 1))


@pytest.mark.parametrize(
    ("declared", "is_news"), [({"why": SAYS_NO}, False), ({"why": SAYS_NO, "group": "any"}, True), ({}, True)]
)
def test_the_same_no_as_before_is_no_news_unless_others_of_the_group_may_go(declared, is_news):
    record = petition(1, **declared)
    asking = Asking([record])
    asking.admission.load([], {"any": None})
    asking.run(lambda _: Said(NO, SAYS_NO, at=3.0))
    assert [answered.asked for answered in asking.round.answers] == [3.0] * is_news
    assert asking.round.unchanged == ([] if is_news else [(record, 3.0)])
    assert asking.round.opaque


def test_a_no_that_depends_on_the_service_alone_is_not_opaque():
    asking = Asking([petition(1)])
    asking.run(lambda _: Said(NO, SAYS_NO))
    assert not asking.round.opaque


# --- a sample of those behind -----------------------------------------------------------------------------------------


def test_the_sample_is_asked_after_the_first_ones_whatever_they_say(monkeypatch):
    monkeypatch.setattr("orcha._core.asking_round.MAX_REFUSALS_PER_ROUND", 1)
    asking = Asking([petition(1), petition(2)], sample=[petition(seq) for seq in (5, 6, 7)])
    assert asking.run(lambda record: Said(YES) if record.seq == 7 else Said(NO, SAYS_NO)) == [1, 5, 6, 7]
    assert (asking.round.sampled, asking.started()) == (3, [7])


def test_the_one_at_which_sampling_stops_counts_as_not_asked():
    asking = Asking([], sample=[petition(5), petition(6), petition(7)])
    steps = asking.round.ask(asking.admission, asking.petitions.granted, lambda: 0)
    assert next(steps).seq == 5
    assert steps.send(Said(NO, SAYS_NO)).seq == 6
    asking.round.stop_sampling()
    assert asking.round.sampled == 1


def test_a_yes_of_the_sample_waits_for_those_of_it_that_said_no_before_something_ended():
    script = Scripted("no", "ends, yes", "yes", "yes")
    script.asking = Asking([], sample=[petition(5), petition(6), petition(7)])
    assert script.asking.run(script) == [5, 6, 5, 6, 7]
    assert (script.asking.started(), script.asking.round.sampled) == ([5, 6], 3)


# --- what a conversion of the same visit found out ---


def unread(seq):
    return Record(seq, b"", str(seq), "m", "", b"", None, 0.0)


def test_a_new_petition_is_asked_with_what_its_conversion_found_out_and_its_record_is_left_alone():
    first, second, third = (unread(seq) for seq in (1, 2, 3))
    asking = Asking([], [converted(first, priority=9), converted(second, group="rig"), converted(third, group="rig")])
    asking.admission.of_groups.slots = {"rig": 1}
    assert asking.run(lambda _: Said(YES)) == [2, 1]
    assert asking.started() == [2, 1]
    assert {id(answered.record) for answered in asking.round.answers} == {id(first), id(second), id(third)}
    assert asking.petitions.granted.in_group("rig") == 1
    assert [(record.petition, record.group, record.priority) for record in (first, second, third)] == [
        (None, None, 0)
    ] * 3


def test_a_petition_whose_object_was_made_again_is_asked_with_that_in_line_and_in_the_sample():
    blind, waiting, sampled = unread(1), unread(2), unread(3)
    waiting.why = sampled.why = SAYS_NO
    asking = Asking([blind, waiting], sample=[blind, sampled])
    asking.round.again = {record.seq: converted(record, is_new=False) for record in (waiting, sampled)}
    assert asking.run(lambda candidate: Said(NO, candidate.why, at=5.0)) == [2, 3]
    assert asking.round.unchanged == [(waiting, 5.0), (sampled, 5.0)]


def test_a_new_petition_that_names_others_or_a_time_is_held_back_though_nobody_knows_yet_what_these_came_to():
    named = [
        converted(unread(1), after={"first": False}),
        converted(unread(2), at=50.0),
        converted(unread(3), delay=7.0),
    ]
    asking = Asking([], [*named, converted(unread(4))])
    assert asking.run(lambda _: Said(YES)) == [4]
    assert [answered.why for answered in asking.round.answers[1:3]] == [StartsLater(50.0), StartsLater(7.0)]


def test_a_new_petition_stands_in_line_with_the_priority_that_its_conversion_found_out():
    petitions = Petitions()
    runs, large, small = (unread(seq) for seq in (1, 2, 3))
    runs.needs = {"gpu": 1}
    petitions.hold(runs)
    petitions.enter(large)
    petitions.enter(small)
    asking = Asking(
        [], [converted(large, priority=5, needs={"gpu": 2}), converted(small, priority=6, needs={"gpu": 1})]
    )
    asking.petitions, asking.admission = petitions, Admission(petitions, resources={"gpu": 2})
    assert asking.run(lambda _: Said(YES)) == []
    assert [answered.why for answered in asking.round.answers] == [
        NeedsShort("gpu", 2, 1, 2),
        BehindAnother("gpu", 1, 1, 2),
    ]


def test_what_a_conversion_says_of_no_policy_leaves_that_of_the_record():
    record = unread(1)
    record.on_interrupt, record.timeout = OnInterrupt.RERUN, 9.0
    found = converted(record, priority=4)
    found.has_policy = False
    transitions.submit.enter_converted(record, found)
    assert (record.priority, record.on_interrupt, record.timeout) == (4, OnInterrupt.RERUN, 9.0)
