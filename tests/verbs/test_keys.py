"""Keys with names: who may add them, what is refused, and what is kept."""

from __future__ import annotations

import math
import os
import pwd
import threading

import pytest

from orcha._protocol.messages import ListKeys, SetKey, Stats, Verdict
from orcha._protocol.named_keys import make_named_key, verifier_of
from orcha._service.verbs import keys
from support.asking import asking
from support.clocks import DAY, WallClock
from support.waiting import wait_for

VERIFIER = bytes(range(64))
NOON = "2026-06-01T12:00:00"


def add(asked, name="ci", person=None, **how):
    how = {"verifier": VERIFIER, "role": "submitter"} | how
    return asked.ask(person or asked.owner, SetKey, name, **how)


def known(asked, name=None):
    return asked.value(asked.ask(asked.owner, ListKeys, name))


def test_a_key_is_known_over_restarts_until_it_is_revoked(tmp_path, monkeypatch):
    clock = WallClock(monkeypatch)
    clock.show(NOON)
    with asking(tmp_path) as asked:
        first = known(asked, "ci")
        assert (first["keys"], first["iterations"]) == ([], 4096)
        key = make_named_key("ci")
        assert add(asked, verifier=verifier_of(key, first["salt"]), seconds=90 * DAY).verdict == Verdict.OK
        assert add(asked, "ops", role="admin").verdict == Verdict.OK
    with asking(tmp_path) as asked:
        found = known(asked, "ci")
        assert found["salt"] == first["salt"] != known(asked, "cj")["salt"]
        ci, ops = found["keys"]
        assert (ci["name"], ci["role"], ci["added_by"], ci["used"]) == ("ci", "submitter", "uid:0", None)
        assert ci["expires"] == ci["added"] + 90 * DAY
        assert not {"verifier", "salt", "stored_key"} & ci.keys()
        assert (ops["name"], ops["role"], ops["expires"], ops["expired"]) == ("ops", "admin", None, False)
        record = asked.engine.keys.records["ci"]
        assert record.stored_key + record.server_key == verifier_of(key, first["salt"])
        clock.set_by += 90 * DAY
        assert [each["expired"] for each in known(asked)["keys"]] == [True, False]
        assert asked.ask(asked.owner, SetKey, "ci").verdict == Verdict.OK
        assert asked.ask(asked.owner, SetKey, "ci").verdict == Verdict.UNKNOWN
    with asking(tmp_path) as asked:
        assert [each["name"] for each in known(asked)["keys"]] == ["ops"]


def test_a_new_key_of_an_old_name_owns_nothing_of_the_old_key(tmp_path):
    owners = []

    def added(asked, **how):
        assert add(asked, **how).verdict == Verdict.OK
        owners.append(known(asked)["keys"][0]["owner"])
        assert asked.engine.keys.records["ci"].owner == owners[-1]

    with asking(tmp_path) as asked:
        added(asked)
        assert asked.ask(asked.owner, SetKey, "ci").verdict == Verdict.OK
        added(asked)
    with asking(tmp_path) as asked:
        assert known(asked)["keys"][0]["owner"] == owners[-1]
        assert asked.ask(asked.owner, SetKey, "ci").verdict == Verdict.OK
        added(asked)
    assert owners == ["key:ci", "key:ci.2", "key:ci.3"]


def test_a_renewed_key_keeps_its_petitions_its_role_and_how_long_it_is_taken(monkeypatch):
    clock = WallClock(monkeypatch)
    clock.show(NOON)
    with asking() as asked:
        missing = add(asked, renews=True)
        assert (missing.verdict, missing.reason) == (Verdict.REFUSED, "there is no key 'ci': orcha key ls")
        assert add(asked, role="operator", seconds=90 * DAY).verdict == Verdict.OK
        clock.set_by += 80 * DAY
        assert add(asked, role="", verifier=VERIFIER[::-1], renews=True).verdict == Verdict.OK
        (key,) = known(asked)["keys"]
        assert (key["owner"], key["role"], key["expires"] - key["added"]) == ("key:ci", "operator", 90 * DAY)
        record = asked.engine.keys.records["ci"]
        assert record.stored_key + record.server_key == VERIFIER[::-1]
        assert add(asked, role="", renews=True, seconds=DAY).verdict == Verdict.OK
        (key,) = known(asked)["keys"]
        assert key["expires"] - key["added"] == DAY
        assert "orcha key renew ci" in add(asked).reason


def test_the_last_use_is_known_at_once_and_kept_now_and_then(tmp_path, monkeypatch):
    clock = WallClock(monkeypatch)
    clock.show(NOON)
    uses = []
    for seconds in (0.0, 30.0, 90.0):
        with asking(tmp_path) as asked:
            add(asked)
            before = known(asked)["keys"][0]["used"]
            clock.set_by += seconds
            asked.engine.post(asked.engine.keys.note_use, "ci")
            asked.engine.post(asked.engine.keys.note_use, "unknown")
            uses.append((before, known(asked)["keys"][0]["used"]))
    (never, first), (kept, second), (kept_again, third) = uses
    assert never is None
    assert first == kept == kept_again  # 30 s are not worth a transaction
    assert 30 <= second - first < 60 < third - second


def test_clients_of_a_revoked_key_are_cut_off_before_the_answer():
    order = []
    with asking() as asked:
        add(asked)

        def let_in(records, then):
            order.append(sorted(records))
            then()

        asked.engine.keys.let_in = let_in
        add(asked, "ops")
        asked.ask(asked.owner, SetKey, "ci")
        assert order == [["ci", "ops"], ["ops"]]
        asked.engine.keys.let_in = lambda _records, _then: None
        asked.owner.heard.clear()
        asked.engine.receive(asked.owner, SetKey(99, "ops"))
        assert known(asked)["keys"] == []
        assert not [each for each in asked.owner.heard if each.request == 99]


def test_owners_alone_may():
    with asking() as asked:
        for person in (asked.user, asked.attempt):
            assert add(asked, person=person).verdict == Verdict.DENIED
            assert asked.ask(person, SetKey, "ci").verdict == Verdict.DENIED
            assert asked.ask(person, ListKeys).verdict == Verdict.DENIED


def test_a_key_for_a_user_about_whom_nobody_answers_is_to_be_tried_again(monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(keys, "_uid_of", lambda _: let_go.wait() and 1001)
    with asking() as asked:
        asked.engine.lookups._seconds = 0.01
        said = add(asked, user="alice")
        assert said.verdict == Verdict.BUSY
        assert said.reason.startswith("TimeoutError: the directory of users has not answered within 0.01 s: try again")
        assert known(asked)["keys"] == []
        let_go.set()
        asked.engine.lookups._seconds = 60.0
        assert add(asked, user="alice").verdict == Verdict.OK
        wait_for(lambda: not [each for each in threading.enumerate() if each.name == "orcha-lookup"])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"name": "a b"}, "a key has a name of"),
        ({"name": "known"}, "there is a key known already: orcha key renew known"),
        ({"role": "owner"}, "'owner' is no role: give one of viewer, submitter, operator, admin"),
        ({"role": ""}, "is no role"),
        ({"verifier": bytes(63)}, "a verifier has 64 bytes, and not 63"),
        ({"verifier": b""}, "a verifier has 64 bytes, and not 0"),
        ({"certificate": "dns:a.example"}, "a key is proved by a secret or by a certificate"),
        ({"verifier": None, "certificate": "a.example"}, "'a.example' is no name of a certificate"),
        ({"verifier": None, "certificate": "dns:b\u00fccher.example"}, "is not ASCII"),
        ({"verifier": None, "certificate": "dns:"}, "is no name of a certificate"),
        ({"verifier": None, "certificate": "cn: a"}, "no blank at an end"),
        ({"verifier": None, "certificate": "dns:*.example"}, "has a *"),
        ({"verifier": None, "certificate": "cn:" + "a" * 300}, "has up to 256 characters"),
        ({"seconds": 0.0}, "give a time above zero"),
        ({"seconds": math.inf}, "give a time above zero"),
        ({"seconds": math.nan}, "give a time above zero"),
        ({"user": "no-such-user"}, "no user of this machine" if not os.geteuid() else "only a service of root"),
    ],
)
def test_what_is_no_key_is_refused(how, reason):
    with asking() as asked:
        add(asked, "known")
        said = add(asked, **how)
        assert said.verdict == Verdict.REFUSED
        assert reason in said.reason
        assert len(known(asked)["keys"]) == 1


def test_a_key_of_a_certificate_is_known_over_restarts_and_no_other_key_is_of_it(tmp_path):
    of_build = {"verifier": None, "certificate": "dns:Build.example"}
    with asking(tmp_path) as asked:
        assert add(asked, "build", **of_build).verdict == Verdict.OK
        said = add(asked, "other", verifier=None, certificate="dns:build.EXAMPLE")
        assert (said.verdict, "the key build is of this certificate already" in said.reason) == (Verdict.REFUSED, True)
        assert asked.value(asked.ask(asked.owner, Stats))["unproved_keys"] == ["build"]
    with asking(tmp_path) as asked:
        record = asked.engine.keys.records["build"]
        assert (record.certificate, record.stored_key, record.server_key) == ("dns:build.example", b"", b"")
        assert known(asked)["keys"][0]["certificate"] == "dns:build.example"
        assert add(asked, "build", role="", renews=True, **of_build).verdict == Verdict.OK
        assert add(asked, "build", role="", renews=True).verdict == Verdict.OK
        record = asked.engine.keys.records["build"]
        assert (record.certificate, record.stored_key + record.server_key) == ("", VERIFIER)
        assert add(asked, "other", **of_build).verdict == Verdict.OK
        assert asked.ask(asked.owner, SetKey, "other").verdict == Verdict.OK


def test_there_are_no_more_keys_than_that(monkeypatch):
    monkeypatch.setattr(keys, "MAX_KEYS", 2)
    with asking() as asked:
        assert [add(asked, name).verdict for name in "abc"] == [Verdict.OK, Verdict.OK, Verdict.REFUSED]


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ("alice", 1001),
        ("1001", 1001),
        ("1002", "no user of this machine"),
        ("9" * 40, "no user of this machine"),
        ("bob", "no user of this machine"),
        ("root", "no commands as root"),
        ("0", "no commands as root"),
        ("nobody", "no commands as root or as nobody"),
    ],
)
def test_as_whom_a_key_may_act(monkeypatch, user, found):
    users = {"alice": 1001, "root": 0, "nobody": 65534}
    entries = {name: pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/sh")) for name, uid in users.items()}
    by_uid = {each.pw_uid: each for each in entries.values()}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", entries.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", by_uid.__getitem__)
    if isinstance(found, int):
        assert keys._uid_of(user) == found
        return
    with pytest.raises(keys._NotAddedError, match=found):
        keys._uid_of(user)
    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    with pytest.raises(keys._NotAddedError, match="only a service of root"):
        keys._uid_of(user)
