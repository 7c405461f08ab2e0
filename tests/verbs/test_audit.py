"""What the record of deeds says that the command line does not show: doors, keys, and too many refusals."""

from __future__ import annotations

import pytest

from orcha._core.permissions import Visibility
from orcha._core.retention import AUDIT_ENTRIES_PER_LOOK
from orcha._protocol import values
from orcha._protocol.identities import new_identity
from orcha._protocol.messages import Cancel, Item, List, ListEvents, Retry, Select, Submit, Verdict
from orcha._server.client_login import STRANGER, ClientLogin
from orcha._service.audit_book import MAX_REFUSALS_PER_MINUTE, Named
from orcha.exceptions.store import StoreFull
from support.asking import EVERY, Person, asking
from support.waiting import wait_for


def events(asked, person, **wanted):
    return values.decode(asked.ask(person, ListEvents, 1_000, **wanted).value)["events"]


def submit(asked, person, identity):
    return asked.ask(person, Submit, None, 0, [Item(new_identity(), identity, values.encode({}), None)]).results[0]


@pytest.mark.parametrize("door", ["key", "socket"])
def test_a_submit_by_a_key_names_the_key_and_the_machine_and_is_told_once(door):
    with asking() as asked:
        laptop = Person("submitter", "uid:7")
        laptop.door, laptop.key, laptop.host = door, "ci", "192.0.2.7"
        assert submit(asked, laptop, "mine").verdict == Verdict.ACCEPTED
        (found,) = events(asked, asked.owner, who="ci")
        assert (found["who"], found["door"], found["host"], found["verb"]) == ("uid:7", door, "192.0.2.7", "submit")
        assert len(events(asked, asked.owner, id="mine")) == 1
        assert [each["key"] for each in events(asked, laptop)] == ["ci"]


@pytest.mark.parametrize("door", ["key", "socket"])
def test_a_submit_has_its_door_whatever_its_id_holds_also_when_its_petition_is_forgotten(door):
    with asking() as asked:
        person = Person("submitter", "uid:7")
        person.door = door
        for identity in ("ann@rig", "plain"):
            assert submit(asked, person, identity).verdict == Verdict.ACCEPTED
            assert [each["door"] for each in events(asked, asked.owner, id=identity)] == [door]
        wait_for(lambda: not asked.engine.petitions.live, what="both have ended")
        asked.ask(asked.owner, Select, "rm", ["ann@rig", "plain"])
        wait_for(lambda: not asked.ask(asked.owner, List, EVERY, 9).rows, what="both are forgotten")
        for identity in ("ann@rig", "plain"):
            found = events(asked, asked.owner, id=identity, verb="submit")
            assert [(each["who"], each["door"]) for each in found] == [("uid:7", door)]


def test_a_petition_that_is_asked_for_again_is_told_of_the_client_that_asks_and_its_door():
    with asking() as asked:
        ann, operator = Person("submitter", "uid:7"), Person("operator", "uid:9")
        assert submit(asked, ann, "mine").verdict == Verdict.ACCEPTED
        wait_for(lambda: not asked.engine.petitions.live, what="it has ended")
        operator.door, operator.key = "key", "ci"
        assert asked.ask(operator, Retry, new_identity(), "mine").verdict == Verdict.OK
        again, first = events(asked, asked.owner, id="mine", verb="submit")
        assert [(each["who"], each["door"], each["key"]) for each in (first, again)] == [
            ("uid:7", "socket", ""),
            ("uid:9", "key", "ci"),
        ]


def test_a_submit_by_a_key_is_noted_in_the_transaction_of_its_petition_and_not_where_that_fails(monkeypatch):
    with asking() as asked:
        laptop, kept = Person("submitter", "key:ci"), []
        laptop.door, laptop.key = "key", "ci"
        commit = asked.store.commit

        def full(changes, **how):
            if changes.petitions:
                raise StoreFull("there is no room")
            return commit(changes, **how)

        def noted(changes, **how):
            kept.extend((changes.petitions, list(changes.audit)) for _ in changes.audit)
            return commit(changes, **how)

        monkeypatch.setattr(asked.store, "commit", noted)
        assert submit(asked, laptop, "mine").verdict == Verdict.ACCEPTED
        monkeypatch.setattr(asked.store, "commit", full)
        assert submit(asked, laptop, "lost").verdict == Verdict.BUSY
        assert [entry["ids"] for entry in events(asked, laptop)] == [["mine"]]
        ((petitions, (entry,)),) = kept
        assert [new.seq for new in petitions] == [entry.petition]


def test_of_one_client_so_many_refusals_are_kept_within_a_minute():
    with asking() as asked:
        bob = Person("submitter", "uid:8")
        for number in range(MAX_REFUSALS_PER_MINUTE + 5):
            asked.ask(bob, Cancel, None, f"nobody-{number}")
        kept = events(asked, asked.owner, who="uid:8")
        assert len(kept) == MAX_REFUSALS_PER_MINUTE
        assert kept[0]["reason"].startswith("no petition with the id")


def test_a_deed_on_petitions_of_several_users_names_them_only_where_the_client_sees_all_of_them():
    for visibility, seen in ((Visibility.PRIVATE, []), (Visibility.METADATA, ["anns", "bobs"])):
        ann, bob, operator = Person("submitter", "uid:7"), Person("submitter", "uid:8"), Person("operator", "uid:9")
        with asking(visibility=visibility) as asked:
            for person, name in ((ann, "anns"), (bob, "bobs")):
                item = Item(new_identity(), name, values.encode({"waits": True}), None)
                asked.engine.receive(person, Submit(1, None, 0, [item]))
            wait_for(lambda asked=asked, who=operator: len(asked.ask(who, List, EVERY, 9).rows) == 2)
            asked.ask(operator, Select, "cancel", ["anns", "bobs"])
            (told,) = events(asked, ann, verb="cancel")
            assert (sorted(told["ids"]), told["owners"]) == (seen, ["uid:7"])
            assert len(events(asked, ann, verb="cancel", id="anns")) == 1
            assert len(events(asked, ann, verb="cancel", id="bobs")) == len(seen) / 2
            (told,) = events(asked, operator, verb="cancel", id="bobs")
            assert sorted(told["ids"]) == ["anns", "bobs"]


def test_so_many_new_entries_have_the_oldest_deleted_before_the_time_of_the_next_look():
    with asking(audit_count=5) as asked:
        engine = asked.engine

        def note(number):
            for _ in range(number):
                engine.audit.note(asked.user, Named("drain"))

        engine.post(engine.retention._round)  # the look that is due at the start
        assert events(asked, asked.owner) == []
        engine.post(note, AUDIT_ENTRIES_PER_LOOK - 1)
        engine.post(engine.retention._round)
        wait_for(lambda: len(events(asked, asked.owner)) > 5)
        engine.post(note, 1)
        engine.post(engine.retention._round)
        wait_for(lambda: len(events(asked, asked.owner)) == 5)


def test_logins_are_told_to_admins_alone():
    with asking() as asked:
        refused = ClientLogin(STRANGER, "ci", "key", "192.0.2.7", "a wrong key")
        asked.engine.post(asked.engine.audit.logged_in, ClientLogin("uid:7", "", "socket", ""), 1)
        asked.engine.post(asked.engine.audit.logged_in, refused, 3)
        wait_for(lambda: len(events(asked, asked.owner, verb="login")) == 2, what="both are kept")
        found = sorted(events(asked, asked.owner, verb="login"), key=lambda each: each["number"], reverse=True)
        assert [(each["who"], each["key"], each["door"], each["host"]) for each in found] == [
            (STRANGER, "ci", "key", "192.0.2.7"),
            ("uid:7", "", "socket", ""),
        ]
        assert [(each["outcome"], each["total"], each["reason"]) for each in found] == [
            ("refused", 3, "a wrong key"),
            ("done", 1, ""),
        ]
        assert [each["key"] for each in events(asked, asked.owner, who="ci")] == ["ci"]
        for person in (Person("operator", "uid:9"), asked.user):
            assert events(asked, person) == events(asked, person, verb="login") == []
