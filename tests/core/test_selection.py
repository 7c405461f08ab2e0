"""Whom a round asks, when the next one is due, and what the answers make of the petitions."""

from __future__ import annotations

import pytest

from orcha._core import transitions
from orcha._core.admission import Admission, petition_name
from orcha._core.asking import FIRSTS_INTERVAL_SECONDS, MAX_FIRST_PETITIONS, OTHERS_INTERVAL_SECONDS
from orcha._core.asking_round import BROKEN, MAX_REFUSALS_PER_ROUND, NO, YES, Answered, Said
from orcha._core.petitions import Petitions
from orcha._core.quotas import RUNNING, Account, Limit
from orcha._core.reasons import SAYS_NO, ConditionSaidNo, GroupFull, MachineFull, QuotaInUse, ReplacesAnother
from orcha._core.record import Cancellation, Record
from orcha._core.selection import (
    MAX_HEADS,
    MAX_HEADS_WITHOUT_STARTS,
    MIN_ASKING_PAUSE_SECONDS,
    SECONDS_AFTER_A_START,
    Cost,
    Selection,
)
from orcha._core.state import Outcome, State


class AskedPetitions:
    """Petitions that wait, and a hook thread that asks them in no time."""

    def __init__(self, *, most_ready=10_000, **options):
        self.petitions = Petitions(most_ready=most_ready)
        self.admission = Admission(self.petitions, resources={"gpu": 1})
        self.admission.load([], {"rig": 1})
        self.selection = Selection(self.petitions, self.admission, **options)
        self.time = 100.0
        self.yes = set()
        self.asked = []

    def waits(self, count=1, *, manager="m", **declared):
        records = []
        for _ in range(count):
            seq = self.petitions.take_seq()
            record = Record(seq, seq.to_bytes(16, "big"), str(seq), manager, "me", b"", b"", 0.0)
            record.petition = object()
            for name, value in declared.items():
                setattr(record, name, value)
            assert transitions.submit.receive(self.petitions, record) is None
            transitions.submit.accept(self.petitions, record, self.petitions.now, start=False, new_channel=False)
            records.append(record)
        return records

    def makes(self, *, converting=False):
        is_due = self.selection.is_due(self.time)
        assert self.selection.make_ready() == []
        made = self.selection.next_round(self.time, converting=converting)
        assert is_due or converting or not (made.waiting or made.sample), "a round is due where it asks anybody"
        return made

    def said(self, record):
        return Said(YES) if record.seq in self.yes else Said(NO, SAYS_NO, at=self.time)

    def visit(self, *, samples=10_000, cost=0.0):
        """Make a round and have it asked; give the sequences that were asked."""
        made = self.makes()
        self.selection.handed_over()
        asking = made.ask(self.admission, self.petitions.granted, lambda: self.petitions.version)
        asked, answer = [], None
        try:
            while len(asked) < samples:
                record = asking.send(answer)
                asked.append(record.seq)
                answer = self.said(record)
        except StopIteration:
            pass
        self.settled = self.selection.settle(made.answers, made.unchanged, self.petitions.now)
        others = Cost(made.sampled, cost, cost) if made.sample else None
        self.selection.note(made, self.time, firsts=Cost(len(made.waiting), cost, cost), others=others)
        return asked

    def passes(self, seconds):
        self.time += seconds


@pytest.fixture
def world():
    return AskedPetitions()


def test_who_said_no_is_asked_again_when_something_has_ended_and_not_before(world):
    world.waits(3)
    assert world.visit() == [1, 2, 3]
    assert not world.selection.are_news
    assert world.visit() == []
    world.petitions.note_change()
    assert world.selection.are_news
    assert world.visit() == [1, 2, 3]


def test_no_round_is_due_before_something_happens_or_the_time_has_come(world):
    world.waits(3, manager="plugin")
    world.yes = {1}
    assert world.selection.is_due(world.time)
    world.visit()
    assert not world.selection.is_due(world.time)
    assert world.selection.is_due(world.time + SECONDS_AFTER_A_START)
    world.passes(SECONDS_AFTER_A_START)
    assert world.visit() == [2, 3]
    assert not world.selection.is_due(world.time + SECONDS_AFTER_A_START)
    assert world.selection.is_due(world.time + FIRSTS_INTERVAL_SECONDS)
    world.petitions.note_change()
    assert world.selection.is_due(world.time)


def test_a_yes_starts_in_the_order_of_asking(world):
    records = world.waits(3)
    world.yes = {2, 3}
    world.visit()
    assert [record.state for record in records] == [State.QUEUED, State.STARTING, State.STARTING]
    assert list(world.petitions.changes.transitions) == [2, 3]
    assert world.settled.are_starting
    assert (world.settled.blocked, records[0].why, records[0].asked) == ([(records[0], True)], SAYS_NO, 100.0)


def test_a_broken_one_ends_and_the_rest_of_the_round_counts(world):
    first, second = world.waits(2)
    answers = [Answered(first, BROKEN, error="it broke"), Answered(second, YES)]
    assert world.selection.settle(answers, [], world.petitions.now).are_starting
    assert (first.outcome, first.reason, second.state) == (Outcome.BROKEN, "it broke", State.STARTING)


def test_a_broken_one_without_a_word_says_so(world):
    (first,) = world.waits()
    world.selection.settle([Answered(first, BROKEN)], [], world.petitions.now)
    assert first.reason == "its condition broke"


def test_what_is_unchanged_is_only_as_old_as_the_last_question(world):
    (record,) = world.waits()
    world.visit()
    world.passes(1)
    world.petitions.note_change()
    world.visit()
    assert (record.asked, world.settled.blocked) == (101.0, [])


def test_the_same_no_of_one_in_a_group_is_no_news_to_the_log(world):
    world.waits(group="rig")
    world.visit()
    world.petitions.note_change()
    assert world.visit() == [1]
    assert world.settled.blocked == []


def test_what_its_group_blocks_is_parked_and_comes_back_when_the_slot_is_free(world):
    first, second = world.waits(2, group="rig")
    world.yes = {1, 2}
    assert world.visit() == [1]
    assert (second.why, second.asked, world.petitions.waiting.parked) == (GroupFull("rig", 1), None, 1)
    transitions.finish.action_going(world.petitions, 1, 1)
    transitions.finish.returned(world.petitions, 1, 1, None, world.petitions.now, processes=False)
    assert world.visit() == [2]
    assert (first.state, second.state) == (State.ENDED, State.STARTING)


def test_a_start_alone_has_the_others_asked_after_a_moment(world):
    world.waits(2)
    world.yes = {1}
    world.visit()
    assert world.visit() == []
    assert world.selection.due == world.time + SECONDS_AFTER_A_START
    world.passes(SECONDS_AFTER_A_START)
    assert world.visit() == [2]


FULL = Said(NO, MachineFull(1), for_all=True)


class FullMachine(AskedPetitions):
    """Petitions of a manager whose condition depends on nothing but what runs."""

    def said(self, record):
        return Said(YES) if record.seq in self.yes else FULL


@pytest.fixture
def full():
    world = FullMachine(are_all_own=True)
    for record in world.waits(4):
        record.is_plain = True
    world.yes = {1}
    assert world.visit() == [1, 2]
    world.passes(SECONDS_AFTER_A_START)
    return world


def test_a_start_has_nobody_asked_who_would_hear_that_no_slot_is_free(full):
    assert full.selection.is_due(full.time)
    assert full.visit() == []
    assert not full.selection.is_due(full.time)
    assert not full.selection.are_news
    full.petitions.note_change()
    assert full.visit() == [2]


def test_new_petitions_that_may_not_be_plain_are_asked_with_the_others(full):
    made = full.makes(converting=True)
    assert [record.seq for record in made.waiting] == [2, 3, 4]


def test_plain_new_petitions_are_asked_alone(full):
    assert full.selection.make_ready() == []
    assert full.selection.next_round(full.time, converting=True, are_plain=True).waiting == []


@pytest.mark.parametrize(
    "change", ["not plain", "another reason", "another manager", "paused", "started", "a lease", "a plugin"]
)
def test_the_others_are_asked_after_a_start_where_any_may_hear_something_else(full, change):
    records, petitions = full.petitions.records, full.petitions
    records[2].is_plain = change != "not plain"
    if change == "another reason":
        records[3].why = SAYS_NO
    elif change == "another manager":
        records[4].manager = "other"
    elif change == "paused":
        full.admission.paused = frozenset({petition_name(2)})
    elif change == "started":
        petitions.starts += 1
    elif change == "a lease":
        petitions.eager[2] = "2"
    elif change == "a plugin":
        full.selection._are_all_own = False
    assert [record.seq for record in full.makes().waiting] == [2, 3, 4]


def test_where_many_could_start_more_are_asked_at_once(world):
    world.waits(2 * MAX_HEADS)
    world.yes = set(range(1, MAX_HEADS + 1))
    world.visit()
    assert (world.selection.heads, world.selection.are_news) == (MAX_HEADS, True)
    assert world.visit() == list(range(MAX_HEADS + 1, MAX_HEADS + MAX_REFUSALS_PER_ROUND + 1))
    assert (world.selection.heads, world.selection.are_news) == (MAX_HEADS_WITHOUT_STARTS, False)


def test_who_is_new_counts_among_the_first_so_many():
    world = AskedPetitions(look_ahead=2)
    world.waits(3)
    assert world.visit() == [1, 2]
    assert world.makes().waiting == []
    assert [record.seq for record in world.makes(converting=True).waiting] == [1, 2]


def test_one_that_was_left_out_is_asked_when_those_before_it_are_not_kept():
    world = AskedPetitions(look_ahead=1)
    (waits,) = world.waits()
    refused = Record(7, b"", "7", "m", "me", b"", None, 0.0)
    refused.priority, refused.petition = -1, object()
    made = world.makes(converting=True)
    made.waiting, made.new = [], [refused, waits]
    world.selection.handed_over()
    asking = made.ask(world.admission, world.petitions.granted, lambda: world.petitions.version)
    assert next(asking) is refused
    asking.close()
    world.selection.note(made, world.time)
    assert world.selection.are_news
    assert world.visit() == [waits.seq]
    assert not world.selection.are_news


def test_those_behind_the_ready_ones_are_loaded_when_few_are_left():
    world = AskedPetitions(most_ready=2)
    world.waits(5)
    world.petitions.take()
    world.yes = {1, 2}
    assert world.visit() == [1, 2]
    assert world.selection.make_ready() == [(0, 3, "3"), (0, 4, "4")]
    asked = world.selection.next_round(world.time, converting=False)
    assert asked.waiting == [], "their records are not there"


# --- by time ----------------------------------------------------------------------------------------------------------


def test_where_a_plugins_condition_said_no_it_is_asked_again_a_second_later(world):
    world.waits(2)
    world.visit()
    assert world.selection.due == world.time + FIRSTS_INTERVAL_SECONDS
    world.passes(FIRSTS_INTERVAL_SECONDS / 2)
    assert world.visit() == []
    world.passes(FIRSTS_INTERVAL_SECONDS / 2)
    assert world.visit() == [1, 2]
    assert world.selection.due == world.time + FIRSTS_INTERVAL_SECONDS


def test_where_the_services_own_conditions_say_no_nothing_is_due():
    world = AskedPetitions(own={"m"}, are_all_own=True)
    world.waits(2 * MAX_REFUSALS_PER_ROUND)
    world.said = lambda record: Said(NO, SAYS_NO)
    world.visit()
    assert world.selection.due is None


def test_time_asks_none_of_those_that_wait_for_the_service_alone():
    world = AskedPetitions(own={"own"})
    world.waits(2, manager="own")
    world.visit()
    world.selection._arm(world.time)
    assert world.visit() == []
    assert world.selection.due is None


def test_who_waits_for_the_one_that_it_replaces_is_not_asked_by_time(world):
    older, newer = world.waits(2, once="key")
    world.petitions.granted.take(older)
    for record in (older, newer):
        world.admission.keys.take(record, lambda _: True)
    world.petitions.waiting.remove(older.place)
    world.selection.handed_over()
    world.selection._arm(world.time)
    assert world.visit() == []


def test_nothing_is_due_when_nobody_waits_or_everything_stands_still(world):
    (record,) = world.waits()
    world.visit()
    world.selection.stand_still()
    assert world.selection.due is None
    transitions.cancel.cancel(world.petitions, record, Cancellation(Outcome.CANCELLED, 130, None), world.petitions.now)
    world.selection._arm(world.time)
    assert world.visit() == []
    assert world.selection.due is None


def test_a_round_is_wanted_while_anybody_waits_or_is_parked_or_time_is_to_be_forgotten(world):
    assert not world.selection.has_waiting()
    blocked, parked = world.waits(2, group="rig")
    assert world.selection.has_waiting()
    world.yes.add(blocked.seq)
    world.visit()
    assert world.petitions.waiting.parked == 1
    assert not world.petitions.waiting
    assert world.selection.has_waiting()
    transitions.cancel.cancel(world.petitions, parked, Cancellation(Outcome.CANCELLED, 130, None), world.petitions.now)
    world.makes()
    assert not world.selection.has_waiting()


def test_the_others_are_asked_part_by_part_from_the_first_ones_on_and_then_anew(world):
    world.waits(MAX_FIRST_PETITIONS + 10)
    world.visit()
    world.passes(FIRSTS_INTERVAL_SECONDS)
    assert world.visit(samples=MAX_FIRST_PETITIONS + 4) == list(range(1, MAX_FIRST_PETITIONS + 5))
    world.passes(OTHERS_INTERVAL_SECONDS)
    assert world.visit() == list(range(MAX_FIRST_PETITIONS + 5, MAX_FIRST_PETITIONS + 11))
    world.passes(OTHERS_INTERVAL_SECONDS)
    assert world.visit() == list(range(MAX_FIRST_PETITIONS + 1, MAX_FIRST_PETITIONS + 11))


def test_a_turn_that_is_due_sooner_stays_due(world):
    world.waits()
    world.visit()
    due = world.selection.due
    world.petitions.note_change()
    world.passes(FIRSTS_INTERVAL_SECONDS / 2)
    world.visit()
    assert world.selection.due == due


def test_where_the_others_are_hurried_they_are_asked_with_the_next_turn(world):
    world.waits(MAX_FIRST_PETITIONS + 2)
    world.visit()
    world.passes(FIRSTS_INTERVAL_SECONDS)
    world.visit()
    world.selection.hurry(world.time)
    world.passes(MIN_ASKING_PAUSE_SECONDS)
    world.selection._arm(world.time)
    assert world.visit() == [MAX_FIRST_PETITIONS + 1, MAX_FIRST_PETITIONS + 2]


def test_others_of_which_none_waits_for_a_plugin_cost_a_turn_and_no_question():
    world = AskedPetitions(own={"own"})
    world.waits(MAX_FIRST_PETITIONS)
    world.waits(5, manager="own")
    world.visit()
    world.passes(FIRSTS_INTERVAL_SECONDS)
    assert world.visit() == list(range(1, MAX_FIRST_PETITIONS + 1))
    world.passes(OTHERS_INTERVAL_SECONDS)
    assert world.visit() == []
    assert world.selection.due > world.time


def test_where_others_end_while_they_are_asked_by_time_the_cursor_begins_anew(world):
    world.waits(MAX_FIRST_PETITIONS + 3)
    world.visit()
    world.passes(FIRSTS_INTERVAL_SECONDS)
    world.visit(samples=MAX_FIRST_PETITIONS + 1)
    for record in list(world.petitions.records.values())[MAX_FIRST_PETITIONS + 1 :]:
        transitions.cancel.cancel(
            world.petitions, record, Cancellation(Outcome.CANCELLED, 130, None), world.petitions.now
        )
    world.selection.handed_over()
    world.passes(OTHERS_INTERVAL_SECONDS)
    assert world.visit() == []
    world.passes(OTHERS_INTERVAL_SECONDS)
    assert world.visit() == [MAX_FIRST_PETITIONS + 1]


def test_it_is_known_that_parked_petitions_may_leave_their_lots(world):
    (record,) = world.waits(1)
    world.selection.handed_over()
    world.petitions.note_change()
    assert not world.selection.may_unpark(), "no petition is parked"
    transitions.hold.park(world.petitions, record, "rig")
    assert world.selection.may_unpark()
    world.selection.make_ready()
    assert not world.selection.may_unpark(), "nothing has happened since"


# --- a yes of a petition that has just come ---------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["stopped", "cancelled", "replaces", None])
def test_a_yes_counts_unless_something_was_decided_meanwhile(world, why):
    older, newer = world.waits(2)
    older.once = newer.once = "key"
    world.petitions.granted.take(newer)
    if why == "replaces":
        world.petitions.granted.take(older)
        for record in (older, newer):
            world.admission.keys.take(record, lambda _: True)
    if why == "cancelled":
        newer.cancellation = Cancellation(Outcome.CANCELLED, 130, None)
    version = world.petitions.version
    assert world.selection.counts(newer, are_stopped=why == "stopped") is (why is None)
    assert world.petitions.granted.has(2) is (why is None)
    assert (world.petitions.version > version) is (why is not None)
    assert newer.why == (ReplacesAnother() if why == "replaces" else None)


def test_only_another_reason_is_news():
    record = Record(1, b"", "a", "m", "me", b"", None, 0.0)
    assert transitions.wait.note_no(record, None, 1.0) is None
    assert transitions.wait.note_no(record, SAYS_NO, 2.0) is True
    assert transitions.wait.note_no(record, ConditionSaidNo(None), 3.0) is None
    assert transitions.wait.note_no(record, ConditionSaidNo("no rig"), 4.0) is False
    assert (record.why, record.asked) == (ConditionSaidNo("no rig"), 4.0)


# --- a petition that says no, and has come to wait for its group or its quota meanwhile ---------------------------


def test_a_petition_that_says_the_same_no_after_it_waited_for_a_quota_lets_another_one_go_instead():
    """The first one says no; the second one takes all of the quota before that answer is taken."""
    world = AskedPetitions()
    quota = Account("me", {RUNNING: Limit(1)}, {})
    world.admission.set_quotas(lambda _: (quota,))
    first, second, third = world.waits(3)
    world.yes = {second.seq}
    assert world.visit() == [first.seq, second.seq]
    assert [first.why, third.why] == [QuotaInUse("me", RUNNING, 1, 1, 1)] * 2, "both are parked for the quota"
    world.petitions.release(second, hook=False)
    assert world.visit() == [first.seq]
    assert first.why is SAYS_NO
    world.yes = {third.seq}
    assert world.visit() == [first.seq, third.seq]


def test_a_petition_that_says_the_same_no_as_its_manager_lets_another_one_of_its_group_go_instead():
    """Commands say no since the machine is full; an action takes the slot of the group before that answer is taken."""
    world = AskedPetitions()
    full = Said(NO, MachineFull(0), for_all=True)
    world.said = lambda record: full if record.manager == "commands" else Said(YES)
    (before,) = world.waits(manager="commands")
    (command,) = world.waits(manager="commands", group="rig")
    action, other = world.waits(2, group="rig")
    assert world.visit() == [before.seq, action.seq]
    assert [command.why, other.why] == [GroupFull("rig", 1)] * 2, "both are parked for the group"
    world.petitions.release(action, hook=False)
    assert world.visit() == [before.seq]
    assert command.why == full.why
    assert world.visit() == [before.seq, other.seq]
