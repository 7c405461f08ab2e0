"""Which petitions wait for the ends of others, where they are parked for that, and what fails."""

from __future__ import annotations

import threading

import pytest

from orcha._core import transitions
from orcha._core.admission import Admission, petition_name
from orcha._core.dependencies import Dependencies, Dependency, FailedDependency
from orcha._core.petitions import Petitions
from orcha._core.reasons import AfterOthers, DependencyFailed, PetitionPaused
from orcha._core.record import Phase, Record
from orcha._core.state import IfFails, Outcome

BUILD = Dependency(1, "build", must_succeed=True)
FETCH = Dependency(2, "fetch", must_succeed=False)


@pytest.fixture
def dependencies():
    return Dependencies()


def test_a_petition_that_waits_for_nothing_is_not_known(dependencies):
    dependencies.add(3, [], IfFails.CANCEL)
    assert (dependencies.are_used, dependencies.blocks(3), dependencies.first(3)) == (False, None, None)
    assert not dependencies.has_dependents(1)
    assert dependencies.ended(1, Outcome.FAILED) == []


def test_it_waits_until_each_has_ended(dependencies):
    dependencies.add(3, [BUILD, FETCH], IfFails.CANCEL)
    assert dependencies.blocks(3) == AfterOthers(("build", "fetch"))
    assert dependencies.first(3) == 1
    assert dependencies.ended(1, Outcome.SUCCEEDED) == []
    assert dependencies.blocks(3) == AfterOthers(("fetch",))
    assert dependencies.ended(2, Outcome.FAILED) == [], "it need not succeed"
    assert dependencies.blocks(3) is None


@pytest.mark.parametrize("if_fails", [IfFails.CANCEL, IfFails.HOLD])
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED, Outcome.BROKEN, None])
def test_it_fails_where_another_one_does_not_succeed(dependencies, if_fails, outcome):
    dependencies.add(3, [BUILD], if_fails)
    assert dependencies.ended(1, outcome) == [FailedDependency(3, BUILD, if_fails)]


@pytest.mark.parametrize("if_fails", [IfFails.RUN, IfFails.HELD])
def test_it_does_not_fail_where_no_failure_counts(dependencies, if_fails):
    dependencies.add(3, [BUILD], if_fails)
    assert dependencies.ended(1, Outcome.FAILED) == []
    assert dependencies.blocks(3) is None


def test_once_it_is_held_no_other_failure_counts(dependencies):
    other = Dependency(2, "other", must_succeed=True)
    dependencies.add(3, [BUILD, other], IfFails.HOLD)
    assert len(dependencies.ended(1, Outcome.FAILED)) == 1
    dependencies.hold(3, "build")
    assert dependencies.ended(2, Outcome.FAILED) == []
    assert (dependencies.are_used, dependencies.held) == (True, {3: "build"})
    dependencies.drop(3)
    assert (dependencies.held, dependencies.blocks(3), dependencies.first(3)) == ({}, None, None)


def test_a_petition_that_ends_waits_for_nothing_more(dependencies):
    dependencies.add(3, [BUILD], IfFails.CANCEL)
    dependencies.add(4, [BUILD], IfFails.CANCEL)
    dependencies.drop(3)
    assert dependencies.has_dependents(1)
    assert [failed.petition for failed in dependencies.ended(1, Outcome.FAILED)] == [4]
    dependencies.add(5, [FETCH], IfFails.CANCEL)
    dependencies.drop(5)
    assert not dependencies.has_dependents(2)


class Waiters:
    """Petitions that wait for others, and their admission."""

    def __init__(self):
        self.petitions = Petitions()
        self.admission = Admission(self.petitions, lock=threading.Lock())

    def record(self, number):
        return Record(self.petitions.take_seq(), number.to_bytes(16, "big"), f"p{number}", "m", "me", b"", b"", 0.0)

    def waits(self, number, *others, if_fails=IfFails.CANCEL):
        record = self.record(number)
        record.after = {other.key: True for other in others} or None
        assert transitions.submit.receive(self.petitions, record) is None
        self.admission.dependencies.add(
            record.seq, [Dependency(other.seq, other.key, must_succeed=True) for other in others], if_fails
        )
        transitions.submit.accept(self.petitions, record, self.petitions.now, start=False, new_channel=False)
        return record

    def ready(self):
        return [key[1] for key in self.petitions.waiting.head(99)]

    def goes_on(self):
        keys, more = self.admission.unpark_resumed()
        assert not more
        return keys


@pytest.fixture
def world():
    return Waiters()


def test_before_it_is_accepted_it_waits_for_all_that_it_names(world):
    record = world.record(1)
    record.after = {"a": True, "b": False}
    assert record.phase is Phase.CONVERTING
    assert world.admission.blocked_by(record) == AfterOthers(("a", "b"))


def test_a_petition_waits_too_for_others_that_it_is_received_with(world):
    record = world.record(1)
    assert transitions.submit.receive(world.petitions, record, after={"a": False}) is None
    assert world.admission.blocked_by(record) == AfterOthers(("a",))


def test_it_is_parked_until_the_other_one_has_ended(world):
    build = world.waits(1)
    test = world.waits(2, build)
    assert world.admission.blocked_by(test) == AfterOthers((build.key,), must_succeed=True)
    assert world.admission.held_by(test.seq, None) == AfterOthers((build.key,), must_succeed=True)
    assert world.admission.park(test) == []
    assert world.ready() == [build.seq]
    assert world.admission.before(test, None) is None
    assert world.admission.note_end(build.seq, Outcome.SUCCEEDED) == []
    assert world.goes_on() == []
    assert world.ready() == [build.seq, test.seq]
    assert world.admission.blocked_by(test) is None


def test_what_is_taken_from_the_store_is_parked_at_once(world):
    build = world.waits(1)
    test = world.waits(2, build)
    world.admission.park_stored([build.place, test.place])
    assert world.ready() == [build.seq]


def test_a_petition_that_is_held_says_why_until_people_resume_it(world):
    build = world.waits(1)
    test = world.waits(2, build, if_fails=IfFails.HOLD)
    [failed] = world.admission.note_end(build.seq, Outcome.FAILED)
    world.admission.hold_failed(failed)
    world.admission.pause(petition_name(test.seq))
    assert world.admission.blocked_by(test) == DependencyFailed(build.key)
    world.admission.resume(petition_name(test.seq))
    assert world.admission.blocked_by(test) is None
    world.admission.pause(petition_name(test.seq))
    assert world.admission.blocked_by(test) == PetitionPaused()


def test_a_petition_that_fails_by_the_end_of_another_one_is_blocked_until_it_is_cancelled(world):
    build = world.waits(1)
    test = world.waits(2, build)
    world.admission.park(test)
    assert [failed.petition for failed in world.admission.note_end(build.seq, Outcome.FAILED)] == [test.seq]
    assert world.goes_on() == []
    assert world.admission.blocked_by(test) == AfterOthers((build.key,), must_succeed=True)
    world.admission.park(test)
    assert world.ready() == [build.seq]
    assert world.admission.dependencies.blocks(test.seq) is not None
    world.admission.dependencies.drop(test.seq)
    assert world.admission.dependencies.blocks(test.seq) is None


def test_a_petition_that_is_to_be_held_leaves_the_lot_of_the_other_one(world):
    build = world.waits(1)
    test = world.waits(2, build, if_fails=IfFails.HOLD)
    world.admission.park(test)
    [failed] = world.admission.note_end(build.seq, Outcome.FAILED)
    world.goes_on()
    world.admission.park(test)
    world.admission.hold_failed(failed)
    world.admission.pause(petition_name(test.seq))
    world.goes_on()
    assert world.ready() == [build.seq, test.seq]
    world.admission.park(test)
    world.admission.resume(petition_name(test.seq))
    world.goes_on()
    assert world.ready() == [build.seq, test.seq]


def test_what_is_kept_is_taken_back_with_the_petition(world):
    record = world.waits(1)
    world.petitions.keep_dependencies(record.seq, [])
    world.petitions.keep_held(record.seq)
    changes, effects, _ = world.petitions.take()
    assert (changes.dependencies, changes.held_for) == ({record.seq: []}, [record.seq])
    transitions.submit.take_back(world.petitions, changes, effects, {record.token}, 4, "full")
    assert changes.dependencies == {}
