"""Known faults of schedulers, put into the core one at a time: what holds of the simulated service finds each."""

from __future__ import annotations

import pytest

from orcha._core import transitions
from orcha._core.admission import Admission, petition_name
from orcha._core.asking_round import Round
from orcha._core.conditions.book import ConditionBook
from orcha._core.granted import GrantedSlots
from orcha._core.once_keys import OnceKeys
from orcha._core.resource_lines import Lines
from orcha.interfaces import Retry
from support.invariants import ALWAYS, Seen, nobody_runnable_is_left
from support.simulated import World, settle
from support.simulated_hooks import Plan


class Story:
    """A simulated service in which one petition after another comes; what holds is looked at after each step."""

    def __init__(self):
        self.world = World()
        self.seen = Seen()
        self.count = 0

    def comes(self, **planned):
        self.count += 1
        self.world.submit(Plan(**planned), f"p{self.count}", b"%016d" % self.count)
        return self.count

    def rests(self):
        settle(self.world)
        self.holds()

    def holds(self):
        for holds in ALWAYS:
            holds(self.world, self.seen)
        self.seen.remember(self.world)

    def comes_and_rests(self, **planned):
        seq = self.comes(**planned)
        self.rests()
        return seq

    def ends(self, seq, value=None):
        if value is not None:
            self.world.finish((seq, 1), value)
        self.world.returns((seq, 1), None)

    def flag_goes_up(self):
        self.world.flags.add("x")
        self.world.petitions.note_change()


def something_ends_between_two_questions(story):
    first, _, earlier = (story.comes_and_rests() for _ in range(3))
    story.comes(priority=5)
    story.world.petitions.note_change()
    story.world.dispatch()
    world = story.world
    while world.visit.in_flight is None or world.visit.in_flight.seq <= earlier:
        world.hook_step()
    story.ends(first)
    story.rests()


def a_slot_of_a_group_becomes_free(story):
    first = story.comes_and_rests(group="rig")
    story.comes_and_rests(group="rig")
    story.ends(first)
    story.rests()
    nobody_runnable_is_left(story.world)


def one_of_a_group_ends(story):
    first = story.comes_and_rests(group="pair")
    story.ends(first)
    story.rests()


def a_small_need_comes_after_a_large_one(story):
    story.comes_and_rests(needs={"gpu": 1})
    story.comes_and_rests(needs={"gpu": 2})
    story.comes_and_rests(needs={"gpu": 1})


def one_waits_and_starts(story):
    story.comes_and_rests(flag="x")
    story.flag_goes_up()
    story.rests()


def one_is_paused(story):
    seq = story.comes_and_rests(flag="x")
    story.world.pause(petition_name(seq))
    story.flag_goes_up()
    story.rests()


def one_replaces_another_that_runs(story):
    story.comes_and_rests(once="nightly")
    story.comes_and_rests(once="nightly", if_exists="replace")


def one_is_tried_again_in_a_while(story):
    seq = story.comes_and_rests(retry=Retry(times=1, delay=150, jitter=0))
    story.ends(seq, 7)
    story.rests()
    story.world.time_passes()
    story.rests()


def a_condition_in_text_comes_to_hold(story):
    story.world.load = 9.0
    story.comes_and_rests(when="load(1) < 4")
    story.world.sample(0.0)
    story.rests()
    nobody_runnable_is_left(story.world)


def a_condition_in_text_is_false(story):
    story.world.load = 9.0
    story.comes_and_rests(when="load(1) < 4")


def leak_a_slot(patch):
    uncount = GrantedSlots._uncount

    def forgets_the_group(book, key, grant):
        if grant.group is not None:
            book._in_group[grant.group] += 1
        uncount(book, key, grant)

    patch.setattr(GrantedSlots, "_uncount", forgets_the_group)


def start_twice(patch):
    start_all = transitions.start.start_all

    def starts_them_again(petitions, records, now):
        start_all(petitions, records, now)
        for record in records:
            transitions.start._start_dequeued(petitions, record, now)

    patch.setattr(transitions.start, "start_all", starts_them_again)


def end_a_rest_early(patch):
    rise = transitions.retry.rise

    def rises_at_once(petitions, record, now):
        record.rests_until = None
        rise(petitions, record, now)

    patch.setattr(transitions.retry, "rise", rises_at_once)


def open_no_lot_of_a_group(patch):
    patch.setattr(Admission, "unpark", lambda admission: admission.resources.unpark())


FAULTS = {
    "an overtake": (
        something_ends_between_two_questions,
        lambda patch: patch.setattr(Round, "_something_ended", lambda *_: False),
    ),
    "a lost wake-up": (a_slot_of_a_group_becomes_free, open_no_lot_of_a_group),
    "a leaked slot": (one_of_a_group_ends, leak_a_slot),
    "a starved large need": (
        a_small_need_comes_after_a_large_one,
        lambda patch: patch.setattr(Lines, "first", lambda *_: None),
    ),
    "a double start": (one_waits_and_starts, start_twice),
    "a paused one started": (one_is_paused, lambda patch: patch.setattr(Admission, "_paused_by", lambda *_: None)),
    "a key let in twice": (
        one_replaces_another_that_runs,
        lambda patch: patch.setattr(OnceKeys, "replaces", lambda *_: False),
    ),
    "a condition that nobody looks at": (
        a_condition_in_text_comes_to_hold,
        lambda patch: patch.setattr(ConditionBook, "take_true", lambda _: set()),
    ),
    "a false condition that lets start": (
        a_condition_in_text_is_false,
        lambda patch: patch.setattr(ConditionBook, "blocked_by", lambda *_: None),
    ),
    "a rest that ends early": (one_is_tried_again_in_a_while, end_a_rest_early),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_happens_is_right_without_the_fault(fault):
    FAULTS[fault][0](Story())


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_found(fault, monkeypatch):
    happens, seed = FAULTS[fault]
    seed(monkeypatch)
    with pytest.raises(AssertionError):
        happens(Story())
