"""What people change of a command after it was accepted: what becomes of its message, and of its record."""

from __future__ import annotations

import doctest

import pytest

from orcha._core import alterations, dependencies, transitions
from orcha._core.admission import Admission
from orcha._core.alterations import altered, named, refusal_of_what_runs
from orcha._core.changes import Altered, NewAlteration
from orcha._core.converted import Converted
from orcha._core.dependencies import Dependencies, Dependency
from orcha._core.moment import Moment
from orcha._core.petitions import Petitions
from orcha._core.reasons import StartsLater
from orcha._core.record import Phase, Record
from orcha._core.retry import Tries
from orcha._core.state import IfFails, OnInterrupt, State
from orcha.interfaces import Retry

NOW = Moment(1000.0, 5.0)


@pytest.mark.parametrize("module", [alterations, dependencies])
def test_the_examples_hold(module):
    assert doctest.testmod(module).failed == 0


# --- the message --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "asked", "expected"),
    [
        ({"group": "a"}, {"group": "b"}, {"group": "b"}),
        ({"group": "a", "label": "x"}, {"unset": ["group"]}, {"label": "x"}),
        ({"needs": {"gpu": 1}}, {"unset": ["needs"], "needs": {"rig": 2}}, {"needs": {"rig": 2}}),
        ({"needs": {"gpu": 1}}, {"needs": {"gpu": 2}}, {"needs": {"gpu": 2}}),
        ({}, {"needs": {"gpu": 2}}, {"needs": {"gpu": 2}}),
        ({"after": ["a"]}, {"after": ["b", "a", 7]}, {"after": ["a", "b", "7"]}),
        ({"after": ["a"], "after_ok": ["b"]}, {"unset": ["after"], "after_ok": ["c"]}, {"after_ok": ["c"]}),
        ({"retry": {"times": 1, "delay": 9}}, {"retry": 4}, {"retry": {"times": 4, "delay": 9}}),
        ({}, {"retry": 4}, {"retry": {"times": 4}}),
        ({"timeout": 60}, {"timeout_by": -20}, {"timeout": 40}),
        ({"timeout": 60}, {"timeout": 30, "timeout_by": 5}, {"timeout": 35}),
        ({"delay": 60}, {"at": 2000.0}, {"at": 2000.0}),
        ({"at": 60}, {"delay": 5}, {"at": 1005.0}),
        ({"at": 60}, {"unset": ["at"]}, {}),
        ({"delay": 60}, {"unset": ["at"]}, {}),
        ({"argv": ["a"]}, {"priority": 4}, {"argv": ["a"]}),
    ],
)
def test_what_is_asked_for_is_put_into_the_message(fields, asked, expected):
    before = dict(fields)
    assert altered(fields, asked, NOW.wall) == expected
    assert fields == before


@pytest.mark.parametrize(
    ("fields", "asked", "why"),
    [
        ({}, {"timeout_by": 60}, "no time limit"),
        ({"timeout": 60}, {"timeout_by": -60}, "60 s less is nothing"),
        ({"timeout": 60}, {"timeout_by": float("inf")}, "number of seconds"),
        ({"timeout": 60}, {"timeout_by": True}, "number of seconds"),
        ({}, {"delay": "soon"}, "number of seconds"),
        ({}, {"after": "build"}, "after is a list of ids"),
        ({}, {"after": [1.5]}, "after is a list of ids"),
        ({}, {"needs": ["gpu"]}, "dict of amounts"),
        ({}, {"at": 2000.0, "delay": 5}, "at and delay both say when it may start: give one of them"),
    ],
)
def test_what_makes_no_sense_is_said(fields, asked, why):
    with pytest.raises(ValueError, match=why):
        altered(fields, asked, NOW.wall)


def test_the_fields_that_change_are_named_and_others_refused():
    assert named({"unset": ["at", "after"], "timeout_by": 4, "group": "a"}) == {
        *("at", "delay", "after", "after_ok", "timeout", "group")
    }
    for asked, why in (
        ({"argv": ["x"]}, "'argv' cannot be changed"),
        ({"unset": ["argv"]}, "'argv' cannot be taken back"),
        ({"unset": "at"}, "unset is a list"),
        ({"unset": [1]}, "unset is a list"),
        ({}, "nothing is to be changed"),
        ({"unset": []}, "nothing is to be changed"),
    ):
        with pytest.raises(ValueError, match=why):
            named(asked)


def test_of_what_runs_little_can_be_changed():
    assert refusal_of_what_runs({"timeout", "expect", "label", "retry", "priority"}, "a") is None
    assert "its group and time of its start" in (refusal_of_what_runs({"at", "delay", "group", "label"}, "a") or "")


# --- the record ---------------------------------------------------------------------------------------------------


@pytest.fixture
def petitions():
    return Petitions()


def accepted(petitions, number=1, *, at=None):
    record = Record(petitions.take_seq(), bytes([number] * 16), f"p{number}", "m", "o", bytes(16), b"", 900.0)
    record.at = at
    assert transitions.submit.receive(petitions, record) is None
    transitions.submit.accept(petitions, record, NOW, start=False, new_channel=False)
    petitions.take()
    return record


def converted(record, **fields):
    """Give what a changed message was converted into."""
    given = {
        "retry": None,
        "on_interrupt": OnInterrupt.FAIL,
        **dict.fromkeys(("timeout", "queue_timeout", "expect", "group", "needs", "once", "after", "at", "delay")),
        "when": None,
        "has_policy": True,
    } | fields
    names = (record, False, record.seq, record.key, record.manager, record.owner, object(), True, record.priority)
    return Converted(*names, **given)


def alter(petitions, record, names, priority=None, resources=None, **fields):
    new = converted(record, **fields)
    kept = Altered(b"new", record.priority if priority is None else priority, new.group, new.needs, new.expect)
    note = NewAlteration(record.seq, NOW.wall, "me", "{}")
    transitions.alter.alter(petitions, resources or Admission(petitions).resources, record, new, kept, note, names, NOW)
    assert petitions.changes.altered[record.seq] is kept
    assert petitions.changes.alterations == [note]
    assert petitions.changes


def test_what_waits_has_another_place_and_declares_something_else(petitions):
    first, second = accepted(petitions), accepted(petitions, 2)
    version = petitions.version
    alter(petitions, second, {"priority", "group"}, priority=-1, group="gpu", needs={"gpu": 1}, timeout=9.0)
    assert [key[1] for key in petitions.waiting.head(9)] == [second.seq, first.seq]
    assert (second.group, second.needs, second.timeout, second.why) == ("gpu", {"gpu": 1}, 9.0, None)
    assert petitions.version > version
    assert not petitions.changes.attempts


def test_a_command_that_runs_may_be_preempted_from_now_on(petitions):
    record = accepted(petitions)
    record.command, record.priority = True, 3
    petitions.granted.take(record)
    transitions.start.start(petitions, record, NOW)
    transitions.command.running(petitions, record.seq, 1, NOW)
    alter(petitions, record, {"preemptible"}, preemptible="pause")
    assert petitions.preemptible == {record.seq: record}


def test_what_waits_rests_for_a_time_to_come_and_waits_again_without_it(petitions):
    record = accepted(petitions)
    alter(petitions, record, {"at", "delay"}, at=1500.0)
    assert (record.phase, record.due, record.why) == (Phase.RESTING, 1500.0, StartsLater(1500.0))
    assert petitions.changes.attempts[record.seq].due == 1500.0
    assert not petitions.waiting
    petitions.take()
    alter(petitions, record, {"label"}, at=1500.0)
    assert (record.phase, record.due, record.why) == (Phase.RESTING, 1500.0, StartsLater(1500.0))
    assert not petitions.changes.attempts
    petitions.take()
    alter(petitions, record, {"at", "delay"})
    assert (record.phase, record.due, record.why) == (Phase.WAITING, None, None)
    assert petitions.changes.attempts[record.seq].due is None
    assert petitions.waiting.head(9) == [record.place]


def test_a_time_that_has_passed_lets_it_wait_at_once(petitions):
    record = accepted(petitions, at=1500.0)
    assert record.phase is Phase.RESTING
    alter(petitions, record, {"at", "delay"}, at=990.0)
    assert petitions.waiting.head(9) == [record.place]
    petitions.take()
    alter(petitions, record, {"at", "delay"}, at=995.0)
    assert not petitions.changes.attempts


def test_what_runs_keeps_the_limit_with_which_it_began_unless_that_is_changed(petitions):
    record = accepted(petitions)
    transitions.start.start(petitions, record, NOW)
    record.timeout = 60.0
    alter(petitions, record, {"label"}, timeout=5.0)
    assert record.timeout == 60.0
    petitions.take()
    record.tries = Tries(Retry(times=1), 1, "[]", 0.25)
    alter(petitions, record, {"timeout", "retry"}, timeout=120.0, retry=Retry(times=9))
    assert (record.timeout, record.retry) == (120.0, Retry(times=9))
    assert record.tries == Tries(Retry(times=9), 1, "[]", 0.25)
    assert record.state is State.STARTING
    petitions.take()
    alter(petitions, record, {"expect"}, expect=4.0)
    assert (record.expect, record.tries.retry) == (4.0, Retry(times=9))


def test_an_array_stays_what_rests_while_its_elements_go_their_ways(petitions):
    record = accepted(petitions)
    petitions.dequeue(record)
    record.phase = Phase.RESTING
    kept = Altered(b"new", 4, "gpu", None, None)
    note = NewAlteration(record.seq, NOW.wall, "me", "{}")
    transitions.alter.alter_array(petitions, record, converted(record, group="gpu"), kept, note)
    assert (record.group, record.priority, record.petition, record.command) == ("gpu", 4, None, False)
    assert petitions.changes.altered == {record.seq: kept}
    assert not petitions.waiting
    transitions.array.reprioritize(petitions, record, 9)
    assert (record.priority, petitions.changes.priorities) == (9, {record.seq: 9})


def test_what_needs_something_else_stands_in_no_line_for_what_it_needed(petitions):
    record = accepted(petitions)
    resources = Admission(petitions, resources={"gpu": 1}).resources
    other = accepted(petitions, 2)
    other.needs = {"gpu": 1}
    petitions.granted.take(other)
    record.needs = {"gpu": 1}
    assert resources.blocked_by(record) is not None
    version = petitions.version
    resources.leave(record.seq)
    resources.note_left()
    assert petitions.version == version, "nothing is free for a petition behind it"
    assert resources.before(record.seq) is None


@pytest.mark.parametrize("asked", [{"expect": 5.0}, {"unset": ["expect"]}])
def test_who_says_how_long_it_takes_knows_better_than_what_that_was_found_out_from(asked):
    kept = {"argv": ["make"], "expect": 60.0, "expect_source": "the longest of 5"}
    assert "expect_source" not in altered(kept, asked, 0.0)
    assert altered(kept, {"label": "x"}, 0.0)["expect_source"] == "the longest of 5"


# --- circles ------------------------------------------------------------------------------------------------------


def test_a_way_goes_over_others_and_over_the_elements_of_an_array():
    found = Dependencies()
    for seq, others in ((2, [(1, "a")]), (3, [(2, "b"), (1, "a")]), (5, [(3, "c")])):
        found.add(seq, [Dependency(other, name, must_succeed=False) for other, name in others], IfFails.RUN)
    elements = {7: [5, 8]}
    assert found.way(7, 2, lambda seq: elements.get(seq, ())) == ["c", "b"]
    assert found.way(7, 9, lambda seq: elements.get(seq, ())) is None
    assert found.way(4, 4, lambda seq: ()) == []
