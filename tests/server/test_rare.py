"""What happens rarely: accepts that fail, connections that die while they are made, ends from both sides at once."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import sys
import threading

import pytest

from orcha._client.connection import time_left
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import decode_service_message, encode
from orcha._protocol.handshake import TLS
from orcha._protocol.messages import Error, Ping, Reply, Verdict
from orcha._protocol.tls import TlsSession, client_context, server_tls
from orcha._server import accepting, listening
from orcha._server.limits import ConnectionLimits, descriptor_limit
from orcha._server.server import Server, ServerSettings, _make_loop
from orcha.exceptions import ConfigurationError, EndpointInUseError, OrchaConnectionError
from server.answering import ask
from support.waiting import wait_for


class Like:
    """Like another object, but for what is given."""

    def __init__(self, other, **different):
        self.__dict__ = {"_other": other, **different}

    def __getattr__(self, name):
        return getattr(self._other, name)


def on_loop(running, function, *arguments):
    """Call on the loop thread, and give what comes back."""
    results = []
    done = threading.Event()

    def call():
        try:
            results.append(function(*arguments))
        finally:
            done.set()

    running.server._loop.call_soon_threadsafe(call)
    assert done.wait(30)
    return results[0]


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def test_what_goes_wrong_is_logged_unless_the_settings_say_where_to_tell_it(caplog, orcha_home):
    server = Server(ServerSettings(Endpoint("127.0.0.1", 0, str(orcha_home / "e")), key="short"), print, print)
    with caplog.at_level(logging.ERROR, "orcha.wire"):
        server.start()
    server.stop()
    assert "fewer than 16 characters" in caplog.text


@pytest.mark.parametrize(("number", "told"), [(errno.EMFILE, False), (errno.EPROTO, True)])
def test_an_accept_that_fails_lets_the_oldest_stranger_go_and_is_tried_again(answering, number, told):
    running = answering(limits={"handshake_deadline": 600})
    with running.raw() as stranger:
        wait_for(lambda: running.server._table.unauthenticated)
        broken = Like(None, accept=failing(OSError(number, "no")))
        on_loop(running, running.server._acceptor._accept, broken, 2)
        stranger.settimeout(30)
        assert stranger.recv(10) == b""
    assert running.serves()
    assert bool(running.problems) is told
    running.problems.clear()


def test_a_connection_that_went_before_it_was_welcomed_is_closed(answering, links, monkeypatch):
    running = answering()
    with monkeypatch.context() as patch:
        patch.setattr(accepting, "peer_credentials", failing(OSError(errno.ENOTCONN, "gone")))
        with pytest.raises(OrchaConnectionError):
            links(running.endpoint)
    assert running.serves()


def test_a_connection_that_cannot_be_adopted_is_forgotten(answering, links):
    running = answering()
    acceptor, loop = running.server._acceptor, running.server._loop
    acceptor._loop = Like(loop, connect_accepted_socket=failing(OSError(errno.EBADF, "no")))
    with pytest.raises(OrchaConnectionError):
        links(running.endpoint)
    acceptor._loop = loop
    wait_for(lambda: not running.server._table.connections)
    assert running.serves()


def test_where_descriptors_are_short_the_oldest_stranger_makes_room(answering):
    running = answering(limits={"handshake_deadline": 600})
    with running.raw() as oldest:
        wait_for(lambda: running.server._table.unauthenticated)
        running.server._acceptor.first_reserved = 0
        with running.raw() as turned_away:
            turned_away.settimeout(30)
            assert b"ORCHA!" in turned_away.recv(1000)
        oldest.settimeout(30)
        assert oldest.recv(10) == b""


def test_a_stranger_that_yields_before_it_was_adopted_is_closed(answering):
    running = answering(limits={"unauthenticated": 1, "handshake_deadline": 600})
    (listener,) = [sock for sock, kind in running.server._listeners.sockets.items() if kind == TLS]
    gate = threading.Event()
    running.server._loop.call_soon_threadsafe(gate.wait)
    socks = [socket.create_connection(listener.getsockname(), 30) for _ in range(5)]
    gate.set()
    try:
        for sock in socks[:4]:
            assert sock.recv(10) == b""
    finally:
        for sock in socks:
            sock.close()
    assert running.serves()


def test_nothing_is_done_after_a_message_that_ended_the_connection(answering, links):
    running = answering()
    seen = []

    def fail(_, message):
        seen.append(message)
        raise RuntimeError("no")

    running.server._table.on_message = fail
    link = links(running.endpoint)
    link.send(encode(Ping(1)) + encode(Ping(2)))
    while link.read_frames():
        pass
    assert seen == [Ping(1)]
    running.problems.clear()


def test_a_peer_whose_tls_is_broken_is_cut_off_and_the_others_get_theirs(answering, links):
    running = answering()
    link, other = links(running.remote), links(running.remote)
    ask(link, Ping(1))
    broken, _ = running.messages.get(timeout=30)
    ask(other, Ping(1))
    whole, _ = running.messages.get(timeout=30)
    broken.connection._tls = Like(broken.connection._tls, wrap=failing(ssl.SSLError("no")))
    running.server.send([(broken, encode(Ping(2))), (whole, encode(Reply(3, Verdict.OK)))])
    assert other.read_frames()
    assert running.left.get(timeout=30) is broken


def test_a_backlog_that_changes_while_it_is_counted_is_the_last_one_known(answering, links):
    running = answering()
    link = links(running.endpoint)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)
    connection = peer.connection
    transport = connection._transport
    connection._transport = Like(transport, get_write_buffer_size=failing(RuntimeError("mutated")))
    connection._backlog = 42
    assert peer.backlog == 42
    connection._transport = transport


def test_what_the_loop_has_under_way_is_ended_with_it(answering, links):
    running = answering()
    running.server._acceptor.tasks.add(
        on_loop(running, lambda: asyncio.get_event_loop().create_task(asyncio.Event().wait()))
    )
    running.server._loop.call_soon_threadsafe(running.server._begin_stop, 1)
    running.server.stop()
    assert running.server._loop.is_closed()


def test_closing_twice_is_closing_once(answering, links):
    running = answering()
    link = links(running.endpoint)
    assert ask(link, Ping(1)) == Reply(1, Verdict.OK)
    peer, _ = running.messages.get(timeout=30)
    running.server.close_peer(peer)
    running.server.close_peer(peer)
    assert link.read_frames() == []
    assert running.left.get(timeout=30) is peer
    running.server.close_peer(peer)


def test_without_uvloop_asyncio_does(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = _make_loop(None)
    loop.close()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    with pytest.raises(ImportError):
        _make_loop(use_uvloop=True)


def test_limits_leave_descriptors_to_the_rest_of_the_service(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (-1, -1))
    assert descriptor_limit() == 1 << 30
    assert ConnectionLimits().reserved_descriptors == 256
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, 64))
    assert ConnectionLimits().reserved_descriptors == 16


# --- listening -------------------------------------------------------------------------------------------------------


def resolving(monkeypatch, *addresses):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_an_address_that_a_name_has_but_this_machine_has_not_is_passed_over(monkeypatch):
    resolving(monkeypatch, "192.0.2.1", "127.0.0.1")
    (listener,) = listening.bind_tcp(Endpoint("both", 0))
    listener.close()
    resolving(monkeypatch, "192.0.2.1")
    with pytest.raises(ConfigurationError, match="cannot listen"):
        listening.bind_tcp(Endpoint("away", 0))


def test_where_one_of_several_addresses_is_taken_none_is_kept(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.2", 0))
        other.listen()
        resolving(monkeypatch, "127.0.0.1", "127.0.0.2")
        with pytest.raises(EndpointInUseError):
            listening.bind_tcp(Endpoint("both", other.getsockname()[1]))


def test_a_socket_that_cannot_be_bound_is_not_kept_open(tmp_path):
    with pytest.raises(FileNotFoundError):
        listening.listen_unix(str(tmp_path / "no" / "orcha.sock"), others=False)


# --- TLS and time ----------------------------------------------------------------------------------------------------


def test_a_service_without_a_certificate_is_not_believed():
    session = TlsSession(client_context(), server=False)
    session._tls = Like(session._tls, getpeercert=lambda **_: None)
    with pytest.raises(ssl.SSLError, match="no certificate"):
        session.peer_certificate_hash()


def test_an_end_of_tls_is_an_end_for_the_client_too(answering, links):
    running = answering()
    link = links(running.remote)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)

    def end():
        session = peer.connection._tls
        with pytest.raises(ssl.SSLWantReadError):
            session._tls.unwrap()
        peer.connection._transport.write(session.outgoing())

    on_loop(running, end)
    assert link.read_frames() == []


def test_what_tls_has_to_say_by_itself_is_sent_by_who_reads(answering, links):
    link = links(answering().remote)
    link.send(encode(Ping(1)))
    link._tls.wrap(encode(Ping(2)))  # stands for what TLS says, such as its answer to a change of keys
    answers = []
    while len(answers) < 2:
        answers += [decode_service_message(body) for body in link.read_frames()]
    assert answers == [Reply(1, Verdict.OK), Reply(2, Verdict.OK)]


def test_time_that_is_over_is_a_time_out():
    assert time_left(float("inf")) > 0
    with pytest.raises(TimeoutError):
        time_left(0.0)


def test_each_certificate_is_new_and_known_by_its_hash():
    tls = server_tls()
    server, client = TlsSession(tls.context, server=True), TlsSession(client_context(), server=False)
    data = b""
    while not (server.established and client.established):
        client.receive(data)
        server.receive(client.outgoing())
        data = server.outgoing()
    assert client.peer_certificate_hash() == tls.certificate_hash
    server.wrap(b"hello")
    assert client.receive(server.outgoing()) == [b"hello"]


def test_an_error_is_what_one_reads_whose_message_was_wrong(answering, links):
    link = links(answering().endpoint)
    link.send(b"\x00\x00\x00\x01\xc1")
    assert isinstance(decode_service_message(link.read_frames()[0]), Error)
