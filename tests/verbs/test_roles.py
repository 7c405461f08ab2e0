"""Who may do what: every message, for every role, by every door, against the table of the core."""

from __future__ import annotations

import itertools
import os
import threading
import typing
from collections import defaultdict
from dataclasses import replace

import pytest

from orcha._core.permissions import Deed, Entrance, Visibility, Whose, may
from orcha._core.redaction import METADATA
from orcha._protocol import messages, values
from orcha._protocol.messages import Verdict
from orcha._service import verbs
from orcha._service.verbs.follow import recheck
from orcha._service.verbs.marks import MARKS, deed_of
from orcha._service.verbs.sights import SOME_OTHER, Sights
from orcha.interfaces.roles import ATTEMPT, ROLES
from support.asking import Person, asking, item
from support.waiting import wait_for

MINE, OTHERS = "uid:7", "uid:8"
EVERY_MESSAGE = [
    messages.Submit(0, None, 0, [item("a")]),
    messages.Cancel(0, None, "a"),
    messages.Follow(bytes(16), 0, 1),
    messages.Unfollow(bytes(16)),
    messages.Credit(bytes(16), 1),
    messages.CloseChannel(bytes(16)),
    messages.Put(0, bytes(16), 1, 1, bytes(8), 1, []),
    messages.Finish(0, bytes(16), 1, 1, None),
    messages.List(0, 0, 1),
    messages.Show(0, "a"),
    messages.Call(0, "f", b"", b""),
    messages.Call(0, "m:send", b"", b""),
    messages.Call(0, "finish", b"", b""),
    messages.Ping(0),
    messages.Set(0, "a", None, b""),
    messages.Priority(0, "a", None, 1),
    messages.Pause(0, "a"),
    messages.Pause(0, None, 1),
    messages.Pause(0),
    messages.Pause(0, group="g"),
    messages.Resume(0, "a"),
    messages.Resume(0),
    messages.Remove(0, "a"),
    messages.Retry(0, bytes(16), "a"),
    messages.Retry(0, bytes(16), "a", secrets={}),
    messages.GiveSecrets(0, "a", None, {"A": b"x"}),
    messages.Signal(0, "a", None, 1),
    messages.Select(0, None, ["*"]),
    messages.Select(0, "cancel", ["*"]),
    messages.ChangeLease(0, "a"),
    messages.Stdin(0, 1, 1, 0, b""),
    messages.Resize(0, 1, 1, 1, 1),
    messages.AddSchedule(0, "a", "@daily", b""),
    messages.ListSchedules(0),
    messages.ChangeSchedule(0, "a", "pause"),
    messages.FireSchedule(0, bytes(16), "a"),
    messages.Stats(0),
    messages.ListResources(0),
    messages.Who(0),
    messages.ListEvents(0, 1),
    messages.DrainResource(0, "gpu", drained=True),
    messages.DrainService(0, drained=True),
    messages.SetResource(0, "gpu=1"),
    messages.SetGroup(0, "g", 1),
    messages.Unset(0, "group", "g"),
    messages.Reload(0),
    messages.SetKey(0, "ci"),
    messages.ListKeys(0),
    messages.Stop(0),
]
ABOUT_ONE = {
    "show": lambda seq, _: (messages.Show, None, seq),
    "set": lambda seq, _: (messages.Set, None, seq, values.encode({"priority": 3})),
    "priority": lambda seq, _: (messages.Priority, None, seq, 5),
    "give secrets": lambda seq, _: (messages.GiveSecrets, None, seq, {}),
    "signal": lambda seq, _: (messages.Signal, None, seq, 10),
    "pause": lambda seq, _: (messages.Pause, None, seq),
    "resume": lambda seq, _: (messages.Resume, None, seq),
    "remove": lambda seq, _: (messages.Remove, None, seq),
    "retry": lambda seq, _: (messages.Retry, os.urandom(16), None, seq),
    "stdin": lambda seq, _: (messages.Stdin, seq, 1, 0, b"x"),
    "resize": lambda seq, _: (messages.Resize, seq, 1, 24, 80),
    "put": lambda seq, _: (messages.Put, bytes(16), seq, 1, bytes(8), 1, []),
    "finish": lambda seq, _: (messages.Finish, bytes(16), seq, 1, 0),
    "cancel": lambda _, name: (messages.Cancel, None, name),
    "lease": lambda _, name: (messages.ChangeLease, name),
}
_names = (f"p{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def asked():
    with asking() as asked:
        yield asked


def test_every_message_is_among_the_messages_of_this_test():
    kinds = {type(message) for message in EVERY_MESSAGE}
    assert kinds == {*typing.get_args(messages.ClientMessage)} == {*verbs.HANDLERS} == {*MARKS}
    assert {deed_of(message) for message in EVERY_MESSAGE} == {*Deed}


def test_no_verb_runs_for_a_client_that_may_not_send_its_message(asked, monkeypatch):
    reached = defaultdict(list)
    for kind in verbs.HANDLERS:
        monkeypatch.setitem(verbs.HANDLERS, kind, lambda _, peer, message: reached[peer.id].append(message))
    people, all_are_taken = {}, threading.Event()
    for role, door in itertools.product((*ROLES, ATTEMPT, "", "owner"), Entrance):
        person = people[role, door] = Person(role, MINE)
        person.door = door.value
        for message in EVERY_MESSAGE:
            asked.engine.receive(person, message)
    asked.engine.post(all_are_taken.set)
    assert all_are_taken.wait(30)
    for (role, door), person in people.items():
        told = reached[person.id]
        assert told == [each for each in EVERY_MESSAGE if may(deed_of(each), role, Whose.OWN, door)], (role, door)
        refused = [each for each in EVERY_MESSAGE if each not in told and not _has_no_answer(each)]
        wait_for(lambda person=person, refused=refused: len(person.heard) >= len(refused))  # they leave with the batch
        assert len(person.heard) == len(refused)
        assert all(_is_refusal(answer) for answer in person.heard)


def _has_no_answer(message):
    return isinstance(message, messages.Unfollow | messages.Credit | messages.CloseChannel)


def _is_refusal(answer):
    if isinstance(answer, messages.Submitted):
        return [result.verdict for result in answer.results] == [Verdict.REFUSED]
    return isinstance(answer, messages.Gone) or answer.verdict == Verdict.DENIED


class Unmarked(messages._Message, tag=99, frozen=True):
    """A message that somebody adds without a mark."""

    request: int


def test_a_message_without_a_mark_is_refused_for_everybody(asked, monkeypatch):
    monkeypatch.setitem(verbs.HANDLERS, Unmarked, verbs.ping)
    for role in (*ROLES, ATTEMPT):
        assert asked.ask(Person(role, "uid:0"), Unmarked).verdict == Verdict.DENIED


@pytest.mark.parametrize("verb", ABOUT_ONE)
def test_each_verb_about_one_petition_asks_the_table_about_that_petition(asked, verb):
    for role, owner in itertools.product(ROLES, (MINE, OTHERS)):
        name = next(_names)
        asked.submit(Person("submitter", owner), name, waits=True)
        kind, *arguments = ABOUT_ONE[verb](asked.rows()[name]["seq"], name)
        answer = asked.ask(Person(role, MINE), kind, *arguments)
        whose = Whose.OWN if owner == MINE else Whose.OTHERS
        visibility = asked.engine.settings.visibility
        allowed = may(deed_of(kind(0, *arguments)), role, whose, Entrance.SOCKET, visibility)
        assert (answer.verdict != Verdict.DENIED) is allowed, (role, owner, answer)


def test_what_a_schedule_of_others_runs_is_for_admins_alone_and_when_it_runs_for_operators_too(asked, seen_as):
    seen_as(Visibility.OPEN)
    schedule = ("nightly", "0 3 * * *", values.encode({}), None, "UTC")
    assert asked.ask(Person("submitter", OTHERS), messages.AddSchedule, *schedule).verdict == Verdict.OK
    told = defaultdict(dict)
    changes = ({"expression": "0 4 * * *"}, {"argv": ["id"]}, {"cwd": "/"}, {"expression": "0 5 * * *", "cwd": "/"})
    for role, (number, change) in itertools.product(ROLES, enumerate(changes)):
        arguments = ("nightly", "set", values.encode(change))
        told[role][number] = asked.ask(Person(role, MINE), messages.ChangeSchedule, *arguments).verdict
    no, times = Verdict.DENIED, Verdict.OK
    of_plugins = Verdict.REFUSED  # what is executed is the plugin's affair here; nobody was denied
    assert [[*each.values()] for each in told.values()] == [
        [no, no, no, no],
        [no, no, no, no],
        [times, no, no, no],
        [times, of_plugins, of_plugins, of_plugins],
    ]


def test_where_petitions_are_private_only_ones_own_and_leases_are_named():
    with asking(leases=True, visibility=Visibility.PRIVATE, resources={"rig": 3}) as asked:
        submitter, others = Person("submitter", MINE), Person("submitter", OTHERS)
        asked.submit(submitter, "own", waits=True)
        asked.submit(others, "theirs", waits=True)
        assert asked.lock(others, "lease", needs={"rig": 1}, why="soldering").verdict == Verdict.ACCEPTED
        asked.wait_for("lease", "running")
        names = ("own", "theirs", "lease", "nothing-by-this-name")
        for role, told in (("submitter", ["own", SOME_OTHER, "lease", SOME_OTHER]), ("operator", [*names])):
            sights = Sights(asked.engine, Person(role, MINE))
            assert [sights.named(name) for name in names] == told
        (rig,) = asked.value(asked.ask(submitter, messages.ListResources))["resources"]
        (holder,) = rig["holders"]
        assert (holder["id"], holder["lease"]["why"]) == ("lease", "soldering")


@pytest.mark.may_leave("threads")
def test_output_of_others_is_not_read(asked):
    name = next(_names)
    channel = asked.submit(Person("submitter", OTHERS), name).channel
    asked.wait_for(name, "succeeded")
    for role in ROLES:
        person = Person(role, MINE)
        asked.engine.receive(person, messages.Follow(channel, 0, 1 << 20))
        asked.ask(person, messages.Ping)
        allowed = may(Deed.READ, role, Whose.OTHERS, Entrance.SOCKET)
        assert any(isinstance(said, messages.Gone) for said in person.heard) is not allowed
        assert any(isinstance(said, messages.Data) for said in person.heard) is allowed
    found = values.decode(asked.ask(asked.owner, messages.ListEvents, 1_000, id=name, verb="attach").value)["events"]
    assert [(each["who"], each["ids"], each["outcome"]) for each in found] == [(MINE, [name], "done")] * 2


@pytest.fixture
def seen_as(asked):
    """Have another visibility hold for a test."""
    before = asked.engine.settings

    def change(visibility):
        asked.engine.settings = replace(before, visibility=visibility)

    yield change
    asked.engine.settings = before


def test_of_others_the_metadata_is_seen_and_nothing_that_they_wrote(asked, seen_as):
    name, submitter = next(_names), Person("submitter", MINE)
    asked.submit(Person("submitter", OTHERS), name, waits=True)
    seen_as(Visibility.METADATA)
    row, shown = asked.rows(submitter)[name], asked.value(asked.ask(submitter, messages.Show, name))
    for known in (row, shown):
        assert (known["owner"], known["state"], known["sight"]) == (OTHERS, "queued", "metadata")
        assert {each for each, value in known.items() if value not in (None, [])} <= METADATA | {"sight"}
    assert {*row} - {"sight"} == {*asked.rows()[name]}
    assert {*shown} - {"sight"} == {*asked.value(asked.ask(asked.owner, messages.Show, name))}
    seen_as(Visibility.OPEN)
    assert "sight" not in asked.rows(submitter)[name]
    assert asked.value(asked.ask(submitter, messages.Show, name))["channel"]


@pytest.mark.parametrize("verb", ABOUT_ONE)
def test_where_petitions_are_private_those_of_others_are_as_if_they_were_not_there(asked, seen_as, verb):
    seen_as(Visibility.PRIVATE)
    name, submitter = next(_names), Person("submitter", MINE)
    asked.submit(Person("submitter", OTHERS), name, waits=True)
    seq = asked.rows()[name]["seq"]
    assert name not in asked.rows(submitter)
    told = []
    for identity, number in ((name, seq), ("no-such-petition", seq + 1_000_000)):
        kind, *arguments = ABOUT_ONE[verb](number, identity)
        answer = asked.ask(submitter, kind, *arguments)
        reason = (answer.reason or "").replace(identity, "ID").replace(str(number), "SEQ")
        told.append((answer.verdict, answer.value, reason))
    assert told[0] == told[1]


def test_an_id_that_somebody_else_has_taken_says_nothing_of_that_petition(asked, seen_as):
    name = next(_names)
    asked.submit(Person("submitter", OTHERS), name, waits=True)
    for visibility in Visibility:
        seen_as(visibility)
        refused = asked.submit(Person("submitter", MINE), name)
        assert ("queued" in refused.reason) is (visibility is Visibility.OPEN), refused


def test_who_may_not_read_any_more_does_not_go_on_following():
    with asking(visibility=Visibility.OPEN) as asked:
        reader, their_own = Person("submitter", MINE), Person("submitter", OTHERS)
        channel = asked.submit(their_own, "it", waits=True).channel
        for person in (reader, their_own):
            asked.engine.receive(person, messages.Follow(channel, 0, 1 << 20))
            asked.ask(person, messages.Ping)
        asked.engine.settings = replace(asked.engine.settings, visibility=Visibility.METADATA)
        asked.engine.post(recheck, asked.engine)
        asked.allow("it")
        asked.wait_for("it", "succeeded")
        for person in (reader, their_own):
            asked.ask(person, messages.Ping)
        gone = [[said for said in person.heard if isinstance(said, messages.Gone)] for person in (reader, their_own)]
        assert [len(each) for each in gone] == [1, 0]
        assert "only an operator may read the output of petitions of others" in gone[0][0].reason
        assert asked.records(reader, channel) == []
        assert asked.records(their_own, channel)


def test_a_message_counts_with_the_role_at_the_moment_when_the_service_comes_to_it():
    with asking() as asked:
        assert asked.submit(asked.user, "before", waits=True).verdict == Verdict.ACCEPTED
        held = threading.Event()
        asked.engine.post(held.wait, 30)
        numbers = [asked.send(asked.user, messages.Cancel, None, "before") for _ in range(2)]
        asked.user.role = "viewer"
        held.set()
        for number in numbers:
            assert asked.answer(asked.user, number).verdict == Verdict.DENIED
        assert asked.state("before") == "queued", "what was asked for before goes on"
