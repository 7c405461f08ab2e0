"""A directory of users that hangs keeps nobody waiting but who is looked up, and that for a while."""

from __future__ import annotations

import grp
import pwd
import threading
from contextlib import contextmanager
from functools import partial

import pytest

from orcha._configuration.configured import together
from orcha._configuration.files import NOTHING
from orcha._configuration.reading import read
from orcha._protocol import values
from orcha._protocol.messages import List, ListEvents, Ping, Submit, Verdict, Who
from orcha._service import held_messages, lookups, user_directory
from orcha._service.lifecycle.reloading import ConfigurationSource, Reloading
from orcha._service.lookups import Lookups
from orcha._service.reports import user_names
from orcha._service.timers import Timers
from orcha._service.user_directory import UserDirectory
from orcha._service.verbs import events
from orcha.utils.threads import NoThreadError, ignore_death
from orcha.utils.users import name_of
from support.asking import EVERY, Person, asking, item
from support.waiting import DEADLINE, wait_for

NAMES = {0: "root", 7: "ann", 8: "sam"}
FOREVER = 10 * DEADLINE
LAB = "[quota.group.lab]\nqueued = 0\n"
"""A quota by which no member of a group may ask for anything."""


class Directory:
    """Stands in for passwd, sssd and LDAP: some users are not answered about until `answer`."""

    def __init__(self):
        self.groups = {}
        self.hangs = set()
        self.let_go = threading.Event()
        self.asked = []

    def look_up(self, uid):
        self.asked.append(uid)
        if uid in self.hangs:
            self.let_go.wait()
        return NAMES[uid], self.groups.get(uid, ())

    def answer(self):
        self.hangs.clear()
        self.let_go.set()


@contextmanager
def engine_with(directory, *, seconds=FOREVER, quotas="", folder=None):
    configured = together([read(quotas.encode(), "orcha.toml")])[0]
    with asking(folder, configured=configured) as asked:
        asked.engine.users._look_up = directory.look_up
        asked.engine.lookups._seconds = seconds
        try:
            yield asked
        finally:
            directory.answer()
            wait_for(lambda: not [each for each in threading.enumerate() if each.name == "orcha-lookup"])


@pytest.fixture
def directory(monkeypatch):
    monkeypatch.setattr(user_names, "_names", {})
    return Directory()


def send(asked, person, identity, **extras):
    """Ask for a petition, without waiting for the answer."""

    return asked.send(person, Submit, None, 1 << 20, [item(identity, **extras)])


def test_while_a_lookup_hangs_another_users_petition_starts_and_ends(directory):
    directory.hangs = {8}
    with engine_with(directory) as asked:
        late = send(asked, asked.stranger, "late")
        assert asked.submit(asked.user, "early").verdict == Verdict.ACCEPTED
        asked.wait_for("early", "succeeded")
        assert asked.ask(asked.user, Ping).verdict == Verdict.OK
        assert "late" not in asked.rows()
        directory.answer()
        assert asked.answer(asked.stranger, late).results[0].verdict == Verdict.ACCEPTED
        assert asked.rows()["late"]["user"] == "sam"


def test_after_a_while_a_petition_goes_on_without_the_answer(directory):
    directory.hangs = {8}
    directory.groups = {8: ("lab",)}
    with engine_with(directory, seconds=0.01, quotas=LAB) as asked:
        assert asked.submit(asked.stranger, "one").verdict == Verdict.ACCEPTED
        assert asked.rows()["one"]["user"] == "uid 8"
        assert directory.asked.count(8) == 1, "a lookup that hangs is not begun once more"
        directory.answer()
        wait_for(lambda: asked.rows()["one"]["user"] == "sam", what="the answer that came late counts")
        assert "@lab's 0 petitions wait" in asked.submit(asked.stranger, "two").reason


def test_a_directory_that_hangs_later_lets_what_was_known_count(directory, monkeypatch):
    directory.groups = {8: ("lab",)}
    with engine_with(directory, seconds=0.01, quotas=LAB) as asked:
        assert "@lab's 0 petitions wait" in asked.submit(asked.stranger, "one").reason
        known = asked.engine.users._known
        known["uid:8"] = known["uid:8"]._replace(due=0.0)  # a minute has passed
        directory.hangs = {8}
        assert "@lab's 0 petitions wait" in asked.submit(asked.stranger, "two").reason
        assert not known["uid:8"].is_answered


def test_groups_count_as_they_are_by_now(directory):
    directory.groups = {8: ("lab",)}
    with engine_with(directory, quotas=LAB) as asked:
        for identity in ("one", "two"):
            assert asked.submit(asked.stranger, identity).verdict == Verdict.REFUSED
        assert directory.asked.count(8) == 1
        directory.groups = {}
        known = asked.engine.users._known
        known["uid:8"] = known["uid:8"]._replace(due=0.0)
        assert asked.submit(asked.stranger, "two").verdict == Verdict.ACCEPTED


def test_what_a_client_sends_meanwhile_stays_in_its_order_and_goes_with_the_client(directory):
    directory.hangs = {8}
    with engine_with(directory) as asked:
        first = send(asked, asked.stranger, "one", waits=True)
        asked.answer(asked.user, asked.send(asked.user, Ping))
        sent = [asked.send(asked.stranger, Ping) for _ in range(3)]
        gone = Person("submitter", "uid:8")
        asked.send(gone, List, EVERY, 10)
        asked.engine.peer_closed(gone)
        assert asked.stranger.heard == []
        directory.answer()
        assert asked.answer(asked.stranger, first).results[0].verdict == Verdict.ACCEPTED
        answers = [asked.answer(asked.stranger, each) for each in sent]
        assert [said for said in asked.stranger.heard if said in answers] == answers
        assert gone.id not in asked.engine.outbox.peers


def test_what_a_client_sent_that_is_cut_off_meanwhile_is_not_done(directory):
    directory.hangs = {8}
    with engine_with(directory) as asked:
        send(asked, asked.stranger, "one")
        asked.stranger.is_lost = True
        other = Person("submitter", "uid:8")
        last = send(asked, other, "two")
        directory.answer()
        assert asked.answer(other, last).results[0].verdict == Verdict.ACCEPTED
        assert list(asked.rows()) == ["two"]


def test_who_sends_too_much_meanwhile_is_not_waited_for(directory, monkeypatch):
    monkeypatch.setattr(held_messages, "MAX_HELD_EVENTS", 2)
    directory.hangs = {8}
    with engine_with(directory) as asked:
        sent = [send(asked, asked.stranger, identity) for identity in ("a", "b", "c")]
        answers = [asked.answer(asked.stranger, each).results[0].verdict for each in sent]
        assert answers == [Verdict.ACCEPTED] * 3
        assert asked.rows()["a"]["user"] == "uid 8"


def test_what_is_held_has_few_bytes_and_who_sends_most_of_them_is_not_waited_for(directory, monkeypatch):
    """However few messages they are: one may have 8 MiB."""
    monkeypatch.setattr(held_messages, "MAX_HELD_BYTES", 100_000)
    directory.hangs = {7, 8}
    with engine_with(directory) as asked:
        small = send(asked, asked.user, "small")
        sent = [send(asked, asked.stranger, identity, text="x" * 40_000) for identity in ("a", "b", "c")]
        answers = [asked.answer(asked.stranger, each).results[0].verdict for each in sent]
        assert answers == [Verdict.ACCEPTED] * 3
        assert {*asked.rows()} == {"a", "b", "c"}
        held = asked.engine.held_messages
        assert {*held.held} == {"uid:7"}
        assert held._size == held.held["uid:7"].size
        again = send(asked, asked.stranger, "d", text="x" * 40_000)
        directory.answer()
        assert asked.answer(asked.user, small).results[0].verdict == Verdict.ACCEPTED
        assert asked.answer(asked.stranger, again).results[0].verdict == Verdict.ACCEPTED
        wait_for(lambda: (held.held, held._size) == ({}, 0), what="nothing is held or counted any more")


def test_a_message_that_is_longer_with_the_fields_that_it_left_out_is_held_as_well():
    assert held_messages._size_of(Submit(1, None, 0, [item("a", text="x" * (9 << 20))])) == 8 << 20


def test_users_of_whom_a_list_tells_are_looked_up_for_it(directory, monkeypatch, tmp_path):
    monkeypatch.setattr(user_directory, "NAME_SECONDS", FOREVER)
    with engine_with(directory, folder=tmp_path) as asked:
        asked.submit(asked.stranger, "one")
        asked.wait_for("one", "succeeded")
    directory.let_go.clear()
    directory.hangs = {8}
    with engine_with(directory, folder=tmp_path) as asked:
        asked.engine.users._known.clear()
        listed = asked.send(asked.owner, List, EVERY, 10)
        asked.submit(asked.user, "two")
        assert [each.request for each in asked.owner.heard if hasattr(each, "request")] == []
        directory.answer()
        assert {row["id"]: row["user"] for row in asked.answer(asked.owner, listed).rows} == {
            "one": "sam",
            "two": "ann",
        }


def test_the_name_in_a_question_about_events_is_looked_up_apart(directory, monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(events, "_identity", lambda who: let_go.wait() and who)
    with engine_with(directory) as asked:
        about = asked.send(asked.owner, ListEvents, 10, who="sam")
        assert values.decode(asked.ask(asked.owner, ListEvents, 10).value)["events"] == []
        let_go.set()
        assert asked.answer(asked.owner, about).verdict == Verdict.OK


def test_a_question_about_the_events_of_a_user_who_is_not_found_in_time_is_not_answered_with_none(
    directory, monkeypatch
):
    let_go = threading.Event()
    monkeypatch.setattr(events, "_identity", lambda who: let_go.wait() and who)
    with engine_with(directory, seconds=0.01) as asked:
        answer = asked.ask(asked.owner, ListEvents, 10, who="sam")
        assert (answer.verdict, "has not answered" in answer.reason) == (Verdict.BUSY, True)
        assert asked.ask(asked.owner, ListEvents, 10, who="uid:8").verdict == Verdict.OK, "that is no name"
        let_go.set()


def test_a_reload_that_waits_for_the_directory_holds_up_no_search(directory):
    """The names of roles are looked up when the files are read."""
    let_go, reports = threading.Event(), []

    def load():
        let_go.wait()
        return NOTHING

    with engine_with(directory) as asked:
        reloading = Reloading(asked.engine, ConfigurationSource(load, NOTHING, {}), lambda _: asked.engine.settings)
        asked.engine.post(reloading.ask, reports.append)
        assert asked.ask(asked.owner, ListEvents, 10).verdict == Verdict.OK
        assert reports == []
        let_go.set()
        wait_for(lambda: reports, what="the end of the reload")


def test_neither_engine_nor_loop_asks_the_machine_for_users(monkeypatch):
    threads = {}

    def noted(name, call, *arguments):
        threads.setdefault(threading.current_thread().name, set()).add(name)
        return call(*arguments)

    for module, name in ((pwd, "getpwuid"), (pwd, "getpwnam"), (grp, "getgrgid"), (grp, "getgrnam")):
        monkeypatch.setattr(module, name, partial(noted, name, getattr(module, name)))
    configured = together([read(b"quota.default.running = 9", "orcha.toml")])[0]
    with asking(configured=configured) as asked:
        threads.clear()
        asked.submit(asked.user, "one")
        for person in (asked.user, asked.stranger, asked.owner):
            for kind, *arguments in ((List, EVERY, 10), (Who,), (Ping,), (ListEvents, 10)):
                assert asked.ask(person, kind, *arguments).request
        assert asked.ask(asked.owner, ListEvents, 10, who="root").verdict == Verdict.OK
        assert asked.rows()["one"]["user"] == name_of(7)
        assert threads.pop(threading.current_thread().name) == {"getpwuid"}, "that was this test's own question"
        assert "getpwnam" in threads["orcha-lookup"]
        assert set(threads) <= {"orcha-lookup", "orcha-log"}


class Steps:
    """Lookups whose calls to the engine the test makes one by one."""

    def __init__(self, seconds=0.0):
        self.timers, self.posted = Timers(), []
        self.lookups = Lookups(lambda *call: self.posted.append(call), self.timers, ignore_death, seconds)

    def begin(self, look, *takers):
        self.lookups.begin(look, *takers)
        self.settle()

    def settle(self):
        wait_for(lambda: self.posted)
        call, *arguments = self.posted.pop(0)
        call(*arguments)

    def pass_deadline(self):
        for call in self.timers.take(float("inf")):
            call()


def test_more_lookups_than_threads_wait_for_one_and_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(lookups, "MAX_LOOKUP_THREADS", 1)
    monkeypatch.setattr(lookups, "MAX_WAITING_LOOKUPS", 1)
    steps, let_go, found = Steps(), threading.Event(), []
    steps.begin(let_go.wait, found.append)
    steps.begin(lambda: "second", found.append)
    steps.begin(lambda: "third", found.append)
    assert "1 other questions" in str(found.pop())
    let_go.set()
    steps.settle()
    steps.settle()
    assert found == [True, "second"]
    steps.begin(lambda: 1 / 0, found.append)
    steps.settle()
    assert isinstance(found.pop(), ZeroDivisionError)


def test_what_comes_after_the_deadline_is_told_apart_also_of_a_lookup_that_waited_for_a_thread(monkeypatch):
    monkeypatch.setattr(lookups, "MAX_LOOKUP_THREADS", 1)
    steps, let_go, found, late = Steps(), threading.Event(), [], []
    steps.begin(let_go.wait, found.append, late.append)
    steps.begin(lambda: "second", found.append, late.append)
    steps.pass_deadline()
    assert [str(each) for each in found] == ["the directory of users has not answered within 0 s"] * 2
    let_go.set()
    steps.settle()
    steps.settle()
    assert late == [True, "second"]


def test_an_owner_who_was_not_found_before_the_start_is_looked_up_again_and_the_answer_is_news(directory):
    steps, news = Steps(), []
    users = UserDirectory(steps.lookups, steps.timers)
    users._look_up = directory.look_up
    users.on_news.append(news.append)
    directory.hangs, directory.groups = {8}, {8: ("lab",)}
    users.look_up_now(["uid:8"], seconds=0.0)
    assert users.known("uid:8") is None
    directory.answer()
    steps.settle()
    steps.settle()
    assert news == ["uid:8"], "quotas and weights have counted the petitions of this owner without the groups"
    assert users.known("uid:8").groups == ("lab",)


def test_where_no_thread_can_be_had_who_asked_is_told(monkeypatch):
    def none(thread):
        raise NoThreadError(thread.name)

    monkeypatch.setattr(lookups, "start", none)
    steps, found = Steps(), []
    steps.begin(lambda: "never", found.append)
    assert isinstance(found.pop(), NoThreadError)
