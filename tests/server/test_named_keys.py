"""Clients with named keys at a server: who is cut off by what, and that wrong keys are slow and lock nobody out."""

from __future__ import annotations

import asyncio
import os
import pwd
import threading
import time

import pytest

from orcha._protocol.frames import HEADER_BYTES, frame
from orcha._protocol.handshake import NO_ROLES, UNIX, ClientHandshake, Door, NotAdmittedError
from orcha._protocol.keys import Key, hidden_salt, keyring, make_key
from orcha._protocol.messages import Ping, Reply, Verdict
from orcha._protocol.named_keys import make_named_key, named_record, verifier_of
from orcha._server.client_login import STRANGER
from orcha._server.connection import ClientConnection
from orcha._server.connection_table import ConnectionTable
from orcha._server.limits import ConnectionLimits
from orcha.exceptions import AuthenticationError, OrchaConnectionError
from orcha.interfaces.roles import RoleBook
from server.answering import ask

SALTS = bytes(32)
CI, OPS = make_named_key("ci"), make_named_key("ops")


def record(key, role="submitter", **how):
    salt = hidden_salt(SALTS, key.id)
    return named_record(key.id, verifier_of(key, salt), salt, role=role, **how)


def records(*found):
    return {each.id: each for each in found}


@pytest.fixture
def running(answering):
    """Give a server that knows two keys with names."""
    return answering(named_keys=records(record(CI), record(OPS, "admin")), salts=SALTS, limits={"refusal_delay": 0.0})


def use(running, *found):
    """Let in these keys alone, and wait until that holds."""
    is_done = threading.Event()
    running.server.use_keys(records(*found), is_done.set)
    assert is_done.wait(30)


def is_cut_off(link):
    link.sock.settimeout(30)
    try:
        return link.read_frames() == []
    except ConnectionResetError:
        return True


def test_keys_of_different_roles_are_different_clients(running, links):
    for key, role in ((CI, "submitter"), (OPS, "admin")):
        for endpoint in (running.remote, running.endpoint):
            link = links(endpoint, key)
            assert ask(link, Ping(1)) == Reply(1, Verdict.OK)
            peer, _ = running.messages.get(timeout=30)
            assert (peer.identity, peer.role, peer.key) == (f"key:{key.id}", role, key.id)
            assert not peer.is_other


@pytest.mark.parametrize("share", [True, False])
def test_a_server_starts_though_the_directory_of_users_is_silent(answering, links, monkeypatch, share):
    """The names of users in what it says are looked up by who writes that."""
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pytest.fail("it would hang"))
    said = []
    roles = NO_ROLES if share else RoleBook({4711: "viewer"}, {}, "submitter")
    running = answering(share=share, roles=roles, report=lambda what, _: said.append(what))
    assert ask(links(running.endpoint), Ping(1)) == Reply(1, Verdict.OK)
    monkeypatch.undo()
    assert bool([str(each) for each in said]) is share


def test_a_revoked_key_is_cut_off_at_once_and_nobody_else_is(running, links):
    own, ci, again, ops = links(running.endpoint), *(links(running.remote, key) for key in (CI, CI, OPS))
    assert ask(ci, Ping(1)) == Reply(1, Verdict.OK)
    peer, _ = running.messages.get(timeout=30)
    use(running, record(OPS, "admin"))
    assert peer.is_lost, "what it sent before is not done any more, either"
    assert is_cut_off(ci)
    assert is_cut_off(again)
    for link in (own, ops):
        assert ask(link, Ping(1)) == Reply(1, Verdict.OK)
    with pytest.raises(AuthenticationError, match="does not accept the key"):
        links(running.remote, CI)
    use(running, record(CI), record(OPS, "admin"))
    assert ask(links(running.remote, CI), Ping(1)) == Reply(1, Verdict.OK)


def test_a_key_whose_time_is_over_is_cut_off_and_told_so(running, links):
    link = links(running.remote, CI)
    use(running, record(CI, expires=time.time() + 1_000), record(OPS, "admin"))
    assert ask(link, Ping(1)) == Reply(1, Verdict.OK)
    use(running, record(CI, expires=time.time() - 1), record(OPS, "admin"))
    assert is_cut_off(link)
    with pytest.raises(AuthenticationError, match="the time of this key is over"):
        links(running.remote, CI)


def test_a_key_with_another_secret_cuts_off_the_clients_of_the_old_one(running, links):
    link, other = links(running.remote, CI), links(running.remote, OPS)
    use(running, record(CI, "viewer"), record(OPS, "admin"))
    assert ask(link, Ping(1)) == Reply(1, Verdict.OK), "another role alone cuts off nobody"
    use(running, record(make_named_key("ci")), record(OPS, "admin"))
    assert is_cut_off(link)
    assert ask(other, Ping(1)) == Reply(1, Verdict.OK)


def test_one_key_leaves_room_for_others(answering, links):
    running = answering(named_keys=records(record(CI), record(OPS)), salts=SALTS, limits={"peers_of_one_user": 2})
    held = [links(running.remote, CI) for _ in range(2)]
    with pytest.raises(OrchaConnectionError, match="as many connections as one user may have"):
        links(running.remote, CI)
    assert ask(links(running.remote, OPS), Ping(1)) == Reply(1, Verdict.OK)
    held[0].close()
    running.left.get(timeout=30)
    assert ask(links(running.remote, CI), Ping(1)) == Reply(1, Verdict.OK)


# --- wrong keys, with a clock of the test ----------------------------------------------------------------------------


class Clock:
    """A loop that is nothing but a clock."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def call_later(self, seconds, call, *arguments):
        due = [self.now + seconds, call, arguments]
        self.calls.append(due)
        return type("Handle", (), {"cancel": lambda _: due.__setitem__(1, None)})()

    def pass_time(self, seconds):
        self.now += seconds
        for due in [each for each in self.calls if each[0] <= self.now]:
            self.calls.remove(due)
            if due[1] is not None:
                due[1](*due[2])


class Wire(asyncio.Transport):
    """What a connection writes."""

    def __init__(self):
        self.written, self.is_closed = b"", False

    def write(self, data):
        self.written += bytes(data)

    def close(self):
        self.is_closed = True

    abort = close

    def get_write_buffer_size(self):
        return 0

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def pause_reading(self):
        pass

    def take(self):
        written, self.written = self.written, b""
        return written


@pytest.mark.parametrize("wrong", [Key("ci", bytes(32)), Key("unknown", bytes(32)), Key("kown", bytes(32))])
def test_a_wrong_key_waits_and_right_ones_come_in_meanwhile(wrong):
    """Each wrong proof costs its client a second, however many there are; no address and no name is locked."""
    clock, own = Clock(), Key("kown", os.urandom(32))
    door = Door(keyring([own], salts=SALTS), salts=SALTS)
    door.named = records(record(CI))
    admitted, logins = [], []
    table = ConnectionTable(
        loop=clock,
        door=door,
        tls=None,
        limits=ConnectionLimits(),
        on_message=None,
        on_close=None,
        report=None,
        writer=None,
        on_key=admitted.append,
        on_login=logins.append,
    )

    def client(key):
        connection, wire = ClientConnection(table, UNIX, uid=os.geteuid), Wire()
        connection.connection_made(wire)
        table.enter(connection, -1)
        handshake = ClientHandshake(UNIX, "", key)
        data = handshake.start()
        for _ in range(2):
            connection.data_received(data)
            data = handshake.receive(wire.take()[HEADER_BYTES:])
        connection.data_received(data)
        return connection, wire

    losers = [client(wrong) for _ in range(50)]
    for key in (own, CI):
        connection, wire = client(key)
        assert wire.take()[HEADER_BYTES:].startswith(b"v=")
        assert connection.peer is not None
    assert admitted == ["ci"]
    known, me = "ci" if wrong.id == "ci" else "", f"uid:{os.geteuid()}"
    refused = [each for each in logins if each.reason]
    assert {(each.who, each.key) for each in refused} == {(STRANGER, known)}
    assert len(refused) == 50
    assert [(each.who, each.key) for each in logins if not each.reason] == [(me, ""), ("key:ci", "ci")]
    clock.pass_time(0.99)
    assert not any(wire.written or wire.is_closed for _, wire in losers)
    clock.pass_time(0.02)
    assert all(wire.written == frame(b"e=invalid-proof") and wire.is_closed for _, wire in losers)
    assert all(connection.peer is None for connection, _ in losers)


def test_a_key_is_not_told_apart_from_no_key_by_a_proof_that_was_refused():
    door = Door(keyring([make_key()], salts=SALTS), salts=SALTS)
    door.named = records(record(CI))
    with pytest.raises(NotAdmittedError) as refused:
        door.admit_key(record(OPS), os.geteuid)
    assert (refused.value.answer, refused.value.late) == (frame(b"e=invalid-proof"), True)
