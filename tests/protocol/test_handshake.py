"""The handshake lets in who has the key, and nobody for whom a single byte of it was changed."""

from __future__ import annotations

import functools
import itertools
import os

import pytest
import scramp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scramp.core import CbName

from orcha._protocol import handshake, scram
from orcha._protocol.frames import HEADER_BYTES, frame
from orcha._protocol.handshake import (
    BUSY,
    INSTANCE_BYTES,
    NOBODY_UID,
    OK,
    SCRAM_SHA_256,
    STOPPING,
    TLS,
    TRANSPORT,
    UNIX,
    VERSION,
    AdmittedClient,
    ClientHandshake,
    ClientHello,
    Credentials,
    Door,
    HandshakeError,
    NotAdmittedError,
    ServerHello,
    binding_of,
)
from orcha._protocol.keys import PBKDF2_ITERATIONS, Key, capability_id, keyring, make_key, record_of
from orcha.exceptions import AuthenticationError, ManagerShutdownError, OrchaConnectionError, OrchaError
from orcha.interfaces.roles import RoleBook

ServerHandshake = functools.partial(handshake.ServerHandshake, uid=os.geteuid)
"""A service whose kernel knows that a client over TCP is the service's own user."""
KEY = make_key()
SECRET = bytes(range(32))
DOOR = Door(
    keyring([KEY]),
    capability=lambda seq, attempt: SECRET if (seq, attempt) == (7, 2) else None,
    roles=RoleBook({4000: "submitter"}, {5000: "viewer"}),
)
ENDPOINT = "127.0.0.1:50000"
BODIES = 6
"""Bodies of a whole handshake: two hellos, four messages of SCRAM."""


def converse(client, server, tamper=lambda _step, body: body, status=OK):
    """Let both sides talk, each body through `tamper`; give the bodies that were sent."""
    sent = []

    def passed(data):
        sent.append(data[HEADER_BYTES:])
        return tamper(len(sent) - 1, data[HEADER_BYTES:])

    data = client.start()
    while True:
        data = server.receive(passed(data), status)
        data = client.receive(passed(data))
        if client.done:
            return sent


def outcome(tamper, *, key=KEY, transport=TLS, **options):
    """Give (the error that ended it, whether the client was content, whom the server let in)."""
    client = ClientHandshake(transport, ENDPOINT, key)
    server = ServerHandshake(DOOR, transport, **options)
    try:
        converse(client, server, tamper)
    except (OrchaError, HandshakeError, NotAdmittedError) as error:
        return error, client.done, server.admission
    return None, client.done, server.admission


def test_who_has_the_key_comes_in():
    client, server = ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, TLS)
    sent = converse(client, server)
    assert len(sent) == BODIES
    assert server.admission == AdmittedClient(f"uid:{os.geteuid()}", "admin")
    assert client.server == ServerHello(OK, 1, SCRAM_SHA_256, DOOR.instance)
    assert KEY.secret not in b"".join(sent)


def test_who_has_an_attempts_key_comes_in_as_that_attempt():
    error, content, admission = outcome(lambda _, body: body, key=Key(capability_id(7, 2), SECRET))
    assert error is None
    assert content
    assert admission == AdmittedClient("attempt", "attempt", (7, 2))


@pytest.mark.parametrize(
    "key",
    [
        Key(KEY.id, bytes(32)),
        Key("kunknown", KEY.secret),
        Key(capability_id(7, 3), SECRET),
        Key(capability_id(7, 2), KEY.secret),
        Key("", bytes(32)),
    ],
    ids=["wrong secret", "unknown id", "dead attempt", "wrong capability", "no id"],
)
def test_nobody_else_does_and_all_get_the_same_answer(key):
    error, content, admission = outcome(lambda _, body: body, key=key)
    if key.id:
        assert isinstance(error, NotAdmittedError)
        assert error.late
        assert error.answer == frame(b"e=invalid-proof")
    assert error is not None
    assert not content
    assert admission is None


def test_an_unknown_id_gets_the_same_salt_each_time_and_others_get_others():
    def salt_for(key_id):
        server = ServerHandshake(DOOR, TLS)
        server.receive(ClientHello(1, 1, TLS, key_id, ENDPOINT).pack())
        answer = server.receive(b"p=orcha,,n=" + key_id.encode() + b",r=nonce")[HEADER_BYTES:]
        return answer.split(b",")[1:]

    assert salt_for("kone") == salt_for("kone") != salt_for("ktwo")
    assert salt_for("kone")[1] == salt_for(KEY.id)[1] == b"i=%d" % PBKDF2_ITERATIONS


def test_a_door_draws_the_record_of_no_key_and_derives_none(monkeypatch):
    monkeypatch.setattr(scram, "pbkdf2_hmac", pytest.fail)
    one, other = Door({}).stranger, Door({}).stranger
    assert len({*(one.salt, one.stored_key, one.server_key), *(other.salt, other.stored_key, other.server_key)}) == 6
    assert [len(each) for each in (one.salt, one.stored_key, one.server_key)] == [16, 32, 32]


def test_nobody_learns_without_a_key_which_attempts_live():
    """Neither by what an attempt's id is answered while it lives and when it does not, nor from others' ids."""
    alive = True
    door = Door(keyring([KEY]), capability=lambda seq, attempt: SECRET if alive and (seq, attempt) == (7, 2) else None)

    def answer_to(key_id):
        server = ServerHandshake(door, TLS)
        server.receive(ClientHello(1, 1, TLS, key_id, ENDPOINT).pack())
        return server.receive(b"p=orcha,,n=" + key_id.encode() + b",r=nonce")[HEADER_BYTES:].split(b",")[1:]

    ids = [capability_id(7, 2), capability_id(7, 3), capability_id(8, 1), "kunknown"]
    before = [answer_to(each) for each in ids]
    assert [answer_to(each) for each in ids] == before
    assert len({salt for salt, _ in before}) == len(ids)
    alive = False
    assert [answer_to(each) for each in ids] == before


# --- tampering -------------------------------------------------------------------------------------------------------


def lengths():
    return [len(body) for body in converse(ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, TLS))]


def refused(tamper, step, *, transport=TLS, **options):
    error, content, admission = outcome(tamper, transport=transport, **options)
    assert error is not None
    assert not content
    # the service's last message comes after it has let the client in, who then does not trust it
    assert admission is None or step == BODIES - 1
    return error


@pytest.mark.parametrize("step", range(BODIES))
def test_a_flip_of_any_bit_of_any_byte_is_refused(step):
    for at in range(lengths()[step]):
        bit = 1 << at % 8

        def tamper(now, body, at=at, bit=bit):
            if now != step:
                return body
            return body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]

        refused(tamper, step)


@pytest.mark.parametrize("step", range(BODIES))
def test_a_cut_at_any_byte_is_refused(step):
    for at in range(lengths()[step]):
        refused(lambda now, body, at=at: body[:at] if now == step else body, step)


@pytest.mark.parametrize("step", range(BODIES))
def test_a_byte_more_is_refused(step):
    refused(lambda now, body: body + b"x" if now == step else body, step)


def test_every_byte_of_the_binding_counts():
    binding = binding_of(b"client", b"server", bytes(range(32)))
    assert len(binding) == 64
    record = record_of(KEY)
    for at in range(len(binding)):
        other = binding[:at] + bytes([binding[at] ^ 1]) + binding[at + 1 :]
        client = scram.ScramClient(KEY, binding)
        server = scram.ScramServer({KEY.id: record}.get, DOOR.stranger, other)
        with pytest.raises(scram.ScramError):
            server.final(client.final(server.first(client.first())))


def test_the_certificate_counts():
    def handshakes(seen, shown):
        client = ClientHandshake(TLS, ENDPOINT, KEY, certificate_hash=seen)
        return client, ServerHandshake(DOOR, TLS, certificate_hash=shown)

    converse(*handshakes(b"a" * 32, b"a" * 32))
    with pytest.raises(NotAdmittedError):
        converse(*handshakes(b"a" * 32, b"b" * 32))


def test_a_transport_lied_about_is_refused():
    client, server = ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, UNIX)
    with pytest.raises(NotAdmittedError) as refusal:
        converse(client, server)
    assert not refusal.value.late
    assert ServerHello.unpack(refusal.value.answer[HEADER_BYTES:]).status == TRANSPORT
    with pytest.raises(OrchaError, match="something stands between"):
        client.receive(refusal.value.answer[HEADER_BYTES:])


def test_a_client_that_dialled_another_address_or_port_is_refused_before_any_proof():
    for reached_as in ({"127.0.0.1:50001"}, {"127.0.0.2:50000"}, {"[::1]:50000"}, set()):
        client, server = ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, TLS, reached_as=reached_as)
        with pytest.raises(NotAdmittedError) as refusal:
            converse(client, server)
        assert not refusal.value.late
        with pytest.raises(AuthenticationError, match="passes connections on"):
            client.receive(refusal.value.answer[HEADER_BYTES:])
    client, server = ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, TLS, reached_as={ENDPOINT})
    converse(client, server)
    assert server.admission is not None


def test_a_transport_lied_about_on_both_ways_is_refused():
    client, server = ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, UNIX)

    def tamper(step, body):
        if step == 0:
            return ClientHello.unpack(body)._replace(transport=UNIX).pack()
        return body

    with pytest.raises(NotAdmittedError):
        converse(client, server, tamper)
    assert server.admission is None


def test_a_replayed_conversation_is_refused():
    sent = converse(ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, TLS))
    server = ServerHandshake(DOOR, TLS)
    server.receive(sent[0])
    server.receive(sent[2])
    with pytest.raises(NotAdmittedError):
        server.receive(sent[4])
    assert server.admission is None


def test_a_replayed_server_is_refused():
    sent = converse(ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, TLS))
    client = ClientHandshake(TLS, ENDPOINT, KEY)
    client.receive(sent[1])
    with pytest.raises(AuthenticationError, match="nonce"):
        client.receive(sent[3])


def test_a_proof_from_another_conversation_is_refused():
    first, second = ServerHandshake(DOOR, TLS), ServerHandshake(DOOR, TLS)
    client = ClientHandshake(TLS, ENDPOINT, KEY)
    client.receive(first.receive(client.start()[HEADER_BYTES:])[HEADER_BYTES:])
    other = ClientHandshake(TLS, ENDPOINT, KEY)
    first_message = other.receive(second.receive(other.start()[HEADER_BYTES:])[HEADER_BYTES:])
    proof = other.receive(second.receive(first_message[HEADER_BYTES:])[HEADER_BYTES:])
    first.receive(first_message[HEADER_BYTES:])
    with pytest.raises(NotAdmittedError):
        first.receive(proof[HEADER_BYTES:])


def test_swapped_roles_are_refused():
    client = ClientHandshake(TLS, ENDPOINT, KEY)
    with pytest.raises(OrchaConnectionError):
        client.receive(client.start()[HEADER_BYTES:])
    with pytest.raises(HandshakeError):
        ServerHandshake(DOOR, TLS).receive(ServerHello(OK, 1, 1, bytes(16)).pack())
    client = ClientHandshake(TLS, ENDPOINT, KEY)
    first = client.receive(ServerHello(OK, 1, SCRAM_SHA_256, bytes(16)).pack())
    with pytest.raises(AuthenticationError):
        client.receive(first[HEADER_BYTES:])
    client = ClientHandshake(TLS, ENDPOINT, KEY)
    server = ServerHandshake(DOOR, TLS)
    challenge = server.receive(
        client.receive(server.receive(client.start()[HEADER_BYTES:])[HEADER_BYTES:])[HEADER_BYTES:]
    )
    with pytest.raises(NotAdmittedError):
        server.receive(challenge[HEADER_BYTES:])
    proof = client.receive(challenge[HEADER_BYTES:])
    with pytest.raises(AuthenticationError):
        client.receive(proof[HEADER_BYTES:])


def test_a_service_that_asks_for_no_proof_over_tcp_is_not_believed():
    for transport, key in ((TLS, KEY), (UNIX, KEY), (TLS, None)):
        client = ClientHandshake(transport, ENDPOINT, key)
        with pytest.raises(AuthenticationError):
            client.receive(ServerHello(OK, 1, 0, bytes(16)).pack())
        assert not client.done


@pytest.mark.parametrize("count", [b"0", b"1", b"4095", b"1000001", b"9" * 30, b"-1", b"x", b"", b"4096 "])
def test_a_service_that_asks_for_another_amount_of_work_is_not_believed(count):
    client = scram.ScramClient(KEY, b"b" * 32, nonce=b"abc")
    with pytest.raises(scram.ScramError):
        client.final(b"r=abcdef,s=AAAA,i=" + count)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"r=abc,s=AAAA,i=4096",
        b"r=xyz,s=AAAA,i=4096",
        b"r=abcd,s=A!AA,i=4096",
        b"r=abcd,i=4096,s=AAAA",
        b"m=x,r=abcd,s=AAAA,i=4096",
        b"r=abcd,s=AB==,i=4096",
    ],
)
def test_a_challenge_that_is_not_well_formed_is_refused(message):
    with pytest.raises(scram.ScramError):
        scram.ScramClient(KEY, b"b" * 32, nonce=b"abc").final(message)


@pytest.mark.parametrize(
    "message",
    [
        b"n,,n=a,r=b",
        b"y,,n=a,r=b",
        b"p=tls-unique,,n=a,r=b",
        b"p=orcha,,n=a",
        b"p=orcha,,r=b,n=a",
        b"p=orcha,,n=a,r=\x00",
        b"p=orcha,,n=a,r=\xff",
    ],
)
def test_a_first_message_that_is_not_well_formed_ends_the_handshake(message):
    server = ServerHandshake(DOOR, TLS)
    server.receive(ClientHello(1, 1, TLS, KEY.id, ENDPOINT).pack())
    with pytest.raises(HandshakeError):
        server.receive(message)


# --- the kernel's word -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "gid", "admission"),
    [
        (0, 0, AdmittedClient("uid:0", "admin")),
        (4000, 1, AdmittedClient("uid:4000", "submitter")),
        (4001, 5000, AdmittedClient("uid:4001", "viewer")),
        (4001, 1, None),
        (NOBODY_UID, 5000, None),
    ],
)
def test_users_are_admitted_by_uid_and_gid_alone(uid, gid, admission):
    assert DOOR.admit_user(Credentials(1, uid, gid)) == admission


def test_the_services_own_user_is_its_owner_unless_it_is_nobody(monkeypatch):
    for uid, admission in ((4321, AdmittedClient("uid:4321", "admin")), (NOBODY_UID, None)):
        monkeypatch.setattr(handshake.os, "geteuid", lambda uid=uid: uid)
        assert Door({}).admit_user(Credentials(1, uid, uid)) == admission
    assert Door({}).admit_user(None) is None


def test_on_a_unix_socket_two_hellos_are_enough_for_the_owner():
    client = ClientHandshake(UNIX, ENDPOINT, None)
    server = ServerHandshake(DOOR, UNIX, credentials=Credentials(1, 0, 0))
    assert len(converse(client, server)) == 2
    assert server.admission == AdmittedClient("uid:0", "admin")


def test_a_key_that_is_named_has_to_be_proved_also_by_the_owner():
    def handshakes(key):
        return ClientHandshake(UNIX, ENDPOINT, key), ServerHandshake(DOOR, UNIX, credentials=Credentials(1, 0, 0))

    client, server = handshakes(KEY)
    assert len(converse(client, server)) == BODIES
    assert server.admission == AdmittedClient(f"uid:{os.geteuid()}", "admin")
    client, server = handshakes(Key(KEY.id, bytes(32)))
    with pytest.raises(NotAdmittedError):
        converse(client, server)


def test_another_user_loads_the_key_when_it_is_asked_for():
    client = ClientHandshake(UNIX, ENDPOINT, None, load_key=lambda: KEY)
    server = ServerHandshake(DOOR, UNIX, credentials=Credentials(1, 4001, 1))
    converse(client, server)
    assert server.admission == AdmittedClient(f"uid:{os.geteuid()}", "admin")
    client = ClientHandshake(UNIX, ENDPOINT, None)
    with pytest.raises(AuthenticationError, match="asks for a key"):
        converse(client, ServerHandshake(DOOR, UNIX, credentials=Credentials(1, 4001, 1)))


# --- hellos ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (BUSY, OrchaConnectionError, "no room"),
        (STOPPING, ManagerShutdownError, "stopping"),
        (VERSION, OrchaError, "version"),
        (99, OrchaConnectionError, "status"),
    ],
)
def test_a_client_says_why_it_did_not_come_in(status, error, text):
    client = ClientHandshake(UNIX, ENDPOINT, None)
    with pytest.raises(error, match=text):
        client.receive(ServerHello(status, 1, 0, bytes(16)).pack())


def test_a_service_without_room_or_that_stops_says_so():
    for status in (BUSY, STOPPING):
        with pytest.raises(NotAdmittedError) as refusal:
            converse(ClientHandshake(TLS, ENDPOINT, KEY), ServerHandshake(DOOR, TLS), status=status)
        assert ServerHello.unpack(refusal.value.answer[HEADER_BYTES:]).status == status


@pytest.mark.parametrize(
    ("lowest", "highest", "status"), [(1, 1, OK), (1, 9, OK), (2, 9, VERSION), (0, 0, VERSION), (5, 1, VERSION)]
)
def test_the_highest_version_in_common_is_spoken(lowest, highest, status):
    server = ServerHandshake(DOOR, TLS)
    hello = ClientHello(lowest, highest, TLS, "", ENDPOINT).pack()
    if status == OK:
        answer = server.receive(hello)
    else:
        with pytest.raises(NotAdmittedError) as refusal:
            server.receive(hello)
        answer = refusal.value.answer
    assert ServerHello.unpack(answer[HEADER_BYTES:])[:2] == (status, 1)


def test_a_version_or_proof_that_the_client_does_not_speak_is_refused():
    for version, method, error in ((2, 1, OrchaError), (0, 1, OrchaError), (1, 2, OrchaConnectionError)):
        with pytest.raises(error):
            ClientHandshake(TLS, ENDPOINT, KEY).receive(ServerHello(OK, version, method, bytes(16)).pack())


@given(
    st.builds(
        ClientHello,
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(0, 255),
        st.text(st.characters(codec="ascii"), max_size=255),
        st.text(st.characters(codec="utf-8"), max_size=200),
    ),
    st.binary(max_size=5),
)
def test_a_hello_comes_out_as_it_went_in_whatever_later_versions_add(hello, more):
    assert ClientHello.unpack(hello.pack() + more) == hello


@given(st.builds(ServerHello, *[st.integers(0, 255)] * 3, st.binary(min_size=INSTANCE_BYTES, max_size=INSTANCE_BYTES)))
def test_a_servers_hello_comes_out_as_it_went_in(hello):
    assert ServerHello.unpack(hello.pack()) == hello


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"ORCHA?\x01\x01\x02" + tail),
        min_size=1,
        max_size=4,
    )
)
def test_a_server_takes_any_garbage_for_what_it_is(bodies):
    server = ServerHandshake(DOOR, TLS)
    try:
        for body in bodies:
            server.receive(body)
    except (HandshakeError, NotAdmittedError):
        pass
    assert server.admission is None


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3), st.booleans())
def test_a_client_takes_any_garbage_for_what_it_is(bodies, after_hello):
    client = ClientHandshake(TLS, ENDPOINT, KEY)
    if after_hello:
        client.receive(ServerHello(OK, 1, SCRAM_SHA_256, bytes(16)).pack())
    try:
        for body in bodies:
            client.receive(body)
    except OrchaError:
        pass
    assert not client.done


# --- another implementation ------------------------------------------------------------------------------------------


@pytest.fixture
def oracle(monkeypatch):
    """Give scramp's mechanism, told that our type of channel binding exists."""
    monkeypatch.setattr(CbName, "SUPPORTED_TYPES", CbName.SUPPORTED_TYPES | {"orcha"})
    return scramp.ScramMechanism("SCRAM-SHA-256-PLUS")


BINDING = ("orcha", bytes(range(64)))


def test_another_implementations_client_comes_in(oracle):
    theirs = scramp.ScramClient(["SCRAM-SHA-256-PLUS"], KEY.id, KEY.password.decode(), channel_binding=BINDING)
    ours = scram.ScramServer(keyring([KEY]).get, DOOR.stranger, BINDING[1])
    theirs.set_server_first(ours.first(theirs.get_client_first().encode()).decode())
    theirs.set_server_final(ours.final(theirs.get_client_final().encode()).decode())
    assert ours.record.id == KEY.id


def test_our_client_comes_in_at_another_implementation(oracle):
    salt, stored, server_key, count = oracle.make_auth_info(KEY.password.decode(), iteration_count=PBKDF2_ITERATIONS)
    theirs = oracle.make_server(lambda _: (salt, stored, server_key, count), channel_binding=BINDING)
    ours = scram.ScramClient(KEY, BINDING[1])
    theirs.set_client_first(ours.first().decode())
    theirs.set_client_final(ours.final(theirs.get_server_first().encode()).decode())
    ours.verify(theirs.get_server_final().encode())


@pytest.mark.parametrize(("name", "data"), [("orcha", bytes(64)), ("tls-unique", BINDING[1])])
def test_another_implementation_refuses_another_binding(oracle, name, data):
    auth = oracle.make_auth_info(KEY.password.decode(), iteration_count=PBKDF2_ITERATIONS)
    theirs = oracle.make_server(lambda _: auth, channel_binding=(name, data))
    ours = scram.ScramClient(KEY, BINDING[1])

    def talk():
        theirs.set_client_first(ours.first().decode())
        theirs.set_client_final(ours.final(theirs.get_server_first().encode()).decode())

    with pytest.raises(scramp.ScramException):
        talk()


def test_what_is_kept_of_a_key_is_what_another_implementation_keeps(oracle):
    record = record_of(KEY, salt=b"0123456789abcdef")
    _, stored, server_key, _ = oracle.make_auth_info(
        KEY.password.decode(), iteration_count=PBKDF2_ITERATIONS, salt=record.salt
    )
    assert (bytes(stored), bytes(server_key)) == (record.stored_key, record.server_key)


def test_the_example_of_rfc_7677_comes_out():
    """RFC 7677, 3, whose messages are those of a client without channel binding."""
    client_key, server_key = scram.keys_of(b"pencil", scram._from_base64(b"W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=" + nonce
    stored = scram.sha256(client_key).digest()
    proof = scram._xor(client_key, scram.digest(stored, message, "sha256"))
    assert scram._base64(proof) == b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert scram._base64(scram.digest(server_key, message, "sha256")) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_names_of_transports_are_complete():
    assert sorted(handshake.TRANSPORTS) == [UNIX, TLS]
    assert len(set(itertools.chain(handshake.TRANSPORTS.values()))) == 2


# --- other users -----------------------------------------------------------------------------------------------------


def comes_in(share, uid, key=KEY):
    """Give the answer that ended it, and whom a service lets in, of a client whose user the kernel gives."""
    door = Door(keyring([KEY]), capability=DOOR._capability, share=share)
    client, server = ClientHandshake(TLS, ENDPOINT, key), ServerHandshake(door, TLS, uid=lambda: uid)
    try:
        converse(client, server)
    except NotAdmittedError as refusal:
        return refusal.answer[HEADER_BYTES:], server.admission
    return None, server.admission


@pytest.mark.parametrize("uid", [61002, NOBODY_UID, None])
def test_the_key_of_a_service_that_is_not_shared_is_not_enough_for_another_user(uid):
    assert comes_in(share=False, uid=uid) == (b"e=not-shared", None)
    assert comes_in(share=False, uid=uid, key=Key(KEY.id, bytes(32))) == (b"e=invalid-proof", None)
    identity = f"uid:{uid}" if uid == 61002 else f"key:{KEY.id}"
    role = "admin" if os.geteuid() else "submitter"
    assert comes_in(share=True, uid=uid) == (None, AdmittedClient(identity, role, is_other=True))
    client = ClientHandshake(TLS, ENDPOINT, KEY)
    server = ServerHandshake(Door(keyring([KEY])), TLS, uid=lambda: uid)
    with pytest.raises(NotAdmittedError) as refusal:
        converse(client, server)
    with pytest.raises(AuthenticationError, match="started without --share"):
        client.receive(refusal.value.answer[HEADER_BYTES:])


@pytest.mark.parametrize("share", [False, True])
def test_the_services_own_user_and_root_come_in_as_they_do_by_the_socket(share):
    for uid in (os.geteuid(), 0):
        assert comes_in(share, uid) == (None, AdmittedClient(f"uid:{uid}", "admin"))


@pytest.mark.parametrize("share", [False, True])
def test_what_an_attempt_may_do_is_no_matter_of_users(share):
    attempt = AdmittedClient("attempt", "attempt", (7, 2))
    assert comes_in(share, 61002, Key(capability_id(7, 2), SECRET)) == (None, attempt)
