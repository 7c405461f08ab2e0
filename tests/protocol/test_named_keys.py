"""A key with a name admits whatever user has it, as long as it is known and its time is not over."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from orcha._protocol.frames import HEADER_BYTES
from orcha._protocol.handshake import (
    TLS,
    UNIX,
    AdmittedClient,
    ClientHandshake,
    ClientHello,
    Credentials,
    Door,
    NotAdmittedError,
    ServerHandshake,
)
from orcha._protocol.keys import Key, capability_id, hidden_salt, keyring, make_key, parse_key
from orcha._protocol.named_keys import make_named_key, name_problem, named_record, verifier_of
from orcha.exceptions import AuthenticationError

ENDPOINT = "127.0.0.1:50000"
OWN, CI = make_key(), make_named_key("ci")
SALTS = bytes(range(32))
RECORD = named_record("ci", verifier_of(CI, hidden_salt(SALTS, "ci")), hidden_salt(SALTS, "ci"), role="viewer")
NOW = 1_000.0


def door(*records, **options):
    made = Door(keyring([OWN], salts=SALTS), salts=SALTS, **options)
    made.clock = lambda: NOW
    made.named = {each.id: each for each in records}
    return made


def converse(at, key, *, uid=None, transport=TLS, before_proof=lambda: None):
    """Let a client prove a key; give whom the service lets in, or raise what ended it."""
    client = ClientHandshake(transport, ENDPOINT, key)
    credentials = None if uid is None or transport == TLS else Credentials(1, uid, uid)
    server = ServerHandshake(at, transport, uid=lambda: uid, credentials=credentials)
    data = client.start()
    for step in range(3):
        if step == 2:
            before_proof()
        try:
            data = client.receive(server.receive(data[HEADER_BYTES:])[HEADER_BYTES:])
        except NotAdmittedError as refused:
            with pytest.raises(AuthenticationError) as said:
                client.receive(refused.answer[HEADER_BYTES:])
            raise said.value from refused
    assert client.done
    return server.admission


def test_a_client_says_which_key_it_has_when_it_begins_to_prove_it():
    client = ClientHandshake(UNIX, ENDPOINT, None, load_key=lambda: CI)
    server = ServerHandshake(door(RECORD), UNIX)
    hello = server.receive(client.start()[HEADER_BYTES:])
    assert server.claimed is None
    server.receive(client.receive(hello[HEADER_BYTES:])[HEADER_BYTES:])
    assert server.claimed == "ci"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ci", None),
        ("A-b_9", None),
        ("x" * 32, None),
        ("continuous-deploy", None),
        ("", "letters"),
        ("x" * 33, "letters"),
        ("a b", "letters"),
        ("a.b", "letters"),
        ("ä", "letters"),
        ("../a", "letters"),
        (capability_id(7, 2), "looks like the id of an attempt"),
        (capability_id(1 << 40, 2), "looks like the id of an attempt"),
    ],
)
def test_names_of_keys(name, problem):
    said = name_problem(name)
    assert (said is None) == (problem is None)
    assert problem is None or problem in said


@pytest.mark.parametrize("uid", [None, 61002, *{os.geteuid(), 0}])
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("transport", [TLS, UNIX])
def test_a_named_key_is_the_same_client_whatever_the_user_and_the_way(uid, share, transport):
    assert converse(door(RECORD, share=share), CI, uid=uid, transport=transport) == AdmittedClient(
        "key:ci", "viewer", key="ci", proved=RECORD
    )


def test_a_key_for_a_user_acts_as_that_user():
    as_alice = replace(RECORD, uid=1001, role="submitter")
    assert converse(door(as_alice), CI) == AdmittedClient("uid:1001", "submitter", key="ci", proved=as_alice)


def test_the_key_of_the_service_stays_what_it_was():
    assert converse(door(RECORD), OWN, uid=os.geteuid()).role == "admin"


@pytest.mark.parametrize(
    ("record", "key", "told"),
    [
        (replace(RECORD, expires=NOW), CI, "the time of this key is over"),
        (replace(RECORD, expires=NOW + 1), CI, None),
        (replace(RECORD, expires=NOW), Key("ci", bytes(32)), "does not accept the key"),
        (RECORD, Key("ci", bytes(32)), "does not accept the key"),
        (RECORD, Key("cj", CI.secret), "does not accept the key"),
    ],
    ids=["expired", "not yet", "expired and wrong", "wrong", "unknown"],
)
def test_only_a_right_proof_is_told_that_the_time_of_a_key_is_over(record, key, told):
    if told is None:
        assert converse(door(record), key).key == "ci"
        return
    with pytest.raises(AuthenticationError, match=told):
        converse(door(record), key)


def test_a_key_that_is_revoked_in_the_middle_of_a_handshake_is_refused():
    at = door(RECORD)

    def revoke():
        at.named = {}

    with pytest.raises(AuthenticationError, match="does not accept the key"):
        converse(at, CI, before_proof=revoke)
    at = door(RECORD)

    def replace_it():
        at.named = {"ci": replace(RECORD, stored_key=bytes(32))}

    with pytest.raises(AuthenticationError, match="does not accept the key"):
        converse(at, CI, before_proof=replace_it)


def first_answer(at, key_id):
    """Give what a service says of an id before any proof: its hello without the instance, salt and iterations."""
    server = ServerHandshake(at, TLS)
    hello = server.receive(ClientHello(1, 1, TLS, key_id, ENDPOINT).pack())
    answer = server.receive(b"p=orcha,,n=" + key_id.encode() + b",r=nonce")[HEADER_BYTES:]
    return hello[HEADER_BYTES:13], answer.split(b",")[1:]


def test_nobody_learns_without_a_key_which_names_there_are():
    """The answers are the same before a key is added, while it is known, when it is revoked, and over restarts."""
    ids = ("ci", "cj", OWN.id, capability_id(3, 1))
    answers = [
        [first_answer(at, each) for each in ids]
        for at in (door(), door(RECORD), door(replace(RECORD, expires=NOW)), door(RECORD))
    ]
    assert all(each == answers[0] for each in answers)
    assert len({salt for _, (salt, _) in answers[0]}) == len(ids)
    assert len({count for _, (_, count) in answers[0]}) == 1


def test_what_a_service_keeps_is_not_the_key_and_the_key_has_its_name():
    kept = repr((RECORD, verifier_of(CI, RECORD.salt)))
    assert CI.password.decode() not in kept
    assert CI.secret not in RECORD.stored_key + RECORD.server_key
    assert parse_key(CI.text) == CI
    assert CI.text.startswith("orcha1.ci.")
