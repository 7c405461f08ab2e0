"""The service's end: who comes in is served, in order, and nobody harms another."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from orcha._protocol import frames, keys
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import FrameReader, decode_service_message, encode, frame
from orcha._protocol.handshake import TLS, UNIX, ClientHandshake, ServerHello
from orcha._protocol.keys import Key, capability_id, make_key
from orcha._protocol.messages import CloseChannel, Error, Finish, List, Ping, Put, Reply, Stopping, Submit, Verdict
from orcha._server import accepting
from orcha._server import server as server_module
from orcha._server.server import Server, ServerSettings
from orcha.exceptions import (
    AuthenticationError,
    ConfigurationError,
    EndpointInUseError,
    ManagerShutdownError,
    OrchaConnectionError,
)
from orcha.interfaces.roles import RoleBook
from server.answering import ask
from support.waiting import wait_for

LOOPS = pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
CHANNEL = bytes(16)


def descriptors():
    """Give this process's descriptors and what they are."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists the folder
            found[int(entry.name)] = str(entry.readlink())
    return found


def ended(sock):
    """Read until the other side closes, and tell what came."""
    sock.settimeout(30)
    came = b""
    try:
        while data := sock.recv(65536):
            came += data
    except ConnectionResetError:
        pass
    return came


@LOOPS
def test_a_client_is_served_over_every_transport(answering, links, uvloop):
    running = answering(uvloop=uvloop)
    for endpoint, transport in ((running.endpoint, "unix"), (running.remote, "tls")):
        link = links(endpoint)
        assert link.transport == transport
        assert link.version == 1
        assert ask(link, Ping(5)) == Reply(5, Verdict.OK)
        peer, message = running.messages.get(timeout=30)
        assert (peer.transport, peer.role, message) == (transport, "admin", Ping(5))
        assert peer.identity == f"uid:{os.geteuid()}"
        assert f"{peer!r}" == f"<Peer {peer.id} {peer.identity} over {transport}>"
        link.close()
        assert running.left.get(timeout=30) is peer
        assert peer.backlog == 0


def keys_file():
    return f"{os.environ['ORCHA_HOME']}/key"


@LOOPS
def test_large_messages_go_both_ways_whole(answering, links, uvloop):
    running = answering(uvloop=uvloop)
    link = links(running.remote)
    values = [os.urandom(1 << 20) for _ in range(7)]
    assert ask(link, Put(1, CHANNEL, 1, 1, bytes(8), 1, values)) == Reply(1, Verdict.OK)
    peer, message = running.messages.get(timeout=30)
    assert message.values == values
    running.server.send([(peer, encode(Reply(2, Verdict.OK, b"".join(values))))])
    (body,) = link.read_frames()
    assert decode_service_message(body).value == b"".join(values)


@LOOPS
def test_many_messages_from_many_clients_each_come_once_and_in_order(answering, links, uvloop):
    running = answering(uvloop=uvloop)
    clients = [links(running.endpoint) for _ in range(5)]
    for link in clients:
        link.send(b"".join(encode(Ping(number)) for number in range(500)))
    for link in clients:
        answers = []
        while len(answers) < 500:
            answers += [decode_service_message(body).request for body in link.read_frames()]
        assert answers == list(range(500))


@pytest.fixture
def held_loop(answering, links, monkeypatch):
    """Give a server whose loop is held, a client of it, its peer, and the wake-ups asked for meanwhile."""
    running = answering()
    link = links(running.endpoint)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)
    gate = threading.Event()
    loop = running.server._loop
    real = loop.call_soon_threadsafe
    real(gate.wait)
    wakes = []

    class Loop:
        def __getattr__(self, name):
            return getattr(loop, name)

        def call_soon_threadsafe(self, *arguments):
            wakes.append(1)
            return real(*arguments)

    monkeypatch.setattr(running.server._writer, "_loop", Loop())
    yield running.server, link, peer, wakes, gate
    gate.set()


def replies(link, count):
    answers = []
    while len(answers) < count:
        answers += [decode_service_message(body) for body in link.read_frames()]
    return answers


def test_frames_leave_without_the_loop_while_nothing_waits_before_them(held_loop):
    server, link, peer, wakes, _ = held_loop
    for number in range(20):
        server.send([(peer, encode(Reply(number, 0))), (peer, encode(Reply(number, 1)))])
    assert replies(link, 40) == [Reply(number, verdict) for number in range(20) for verdict in (0, 1)]
    assert not wakes


def test_what_finds_no_room_is_written_by_the_loop_woken_once_and_in_order(held_loop):
    server, link, peer, wakes, gate = held_loop
    value = bytes(256 * 1024)
    for number in range(40):
        server.send([(peer, encode(Reply(number, 0, value))), (peer, encode(Reply(number, 1)))])
    assert len(wakes) == 1
    gate.set()
    expected = [reply for number in range(40) for reply in (Reply(number, 0, value), Reply(number, 1))]
    assert replies(link, 80) == expected
    server.send([(peer, encode(Reply(41, 0)))])
    assert replies(link, 1) == [Reply(41, 0)]


def test_one_who_takes_nothing_is_cut_off_while_the_loop_has_not_written_it_yet(answering, links):
    """What waits for the loop counts like what waits for the client: neither grows beyond what one may let lie."""
    running = answering(limits={"max_backlog": 1 << 20, "pause_backlog": 1 << 18})
    link, other = links(running.endpoint), links(running.endpoint)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)
    gate = threading.Event()
    running.server._loop.call_soon_threadsafe(gate.wait)
    try:
        for number in range(100):
            running.server.send([(peer, encode(Reply(number, 0, bytes(1 << 17))))])
        assert peer.is_lost
        assert peer.backlog < 2 << 20
    finally:
        gate.set()
    assert running.left.get(timeout=30) is peer
    assert ask(other, Ping(2)) == Reply(2, Verdict.OK)


def test_each_start_of_a_service_is_another_instance(answering, links):
    first, second = answering(), None
    link = links(first.endpoint)
    first.server.stop()
    second = answering()
    assert links(second.endpoint).instance != link.instance


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_refused_on_every_transport_and_the_others_stay(answering, links):
    running = answering(limits={"refusal_delay": 0.05})
    link = links(running.endpoint)
    for endpoint in (running.endpoint, running.remote):
        with pytest.raises(AuthenticationError):
            links(endpoint, make_key())
    assert ask(link, Ping(1)) == Reply(1, Verdict.OK)


def test_a_wrong_proof_is_answered_after_the_delay_and_at_the_deadline_at_the_latest(answering, links):
    assert server_module.ConnectionLimits().refusal_delay == 1.0
    running = answering(limits={"refusal_delay": 601, "handshake_deadline": 600})
    running.server._table.loop = timers = _Timers(running.server._loop)

    def reach_the_deadline():
        wait_for(lambda: timers.calls.keys() >= {600, 601}, what="the wait of a wrong proof for its answer")
        timers.loop.call_soon_threadsafe(timers.calls[600])

    with ThreadPoolExecutor(1) as helper:
        reaching = helper.submit(reach_the_deadline)
        with pytest.raises(AuthenticationError):
            links(running.remote, make_key())
        reaching.result()


class _Timers:
    """A loop that tells what it is to call later."""

    def __init__(self, loop):
        self.loop = loop
        self.calls = {}

    def __getattr__(self, name):
        return getattr(self.loop, name)

    def call_later(self, delay, call, *arguments):
        self.calls[delay] = partial(call, *arguments)
        return self.loop.call_later(delay, call, *arguments)


def test_the_same_key_as_text_is_enough(answering, links):
    running = answering(key="a text that both sides know")
    link = links(running.remote, b"a text that both sides know")
    assert ask(link, Ping(1)) == Reply(1, Verdict.OK)
    peer, _ = running.messages.get(timeout=30)
    assert peer.transport == "tls"


def test_a_weak_key_is_warned_about(orcha_home):
    said = []
    settings = ServerSettings(
        Endpoint("127.0.0.1", 0, str(orcha_home / "e")), key="short", report=lambda what, error: said.append(what)
    )
    server = Server(settings, print, print)
    server.start()
    server.stop()
    assert "fewer than 16 characters" in said[0]


def test_an_attempt_may_put_and_finish_its_own_and_nothing_else(answering, links):
    secret = os.urandom(32)
    running = answering(capability=lambda *attempt: secret if attempt == (7, 2) else None)
    link = links(running.endpoint, Key(capability_id(7, 2), secret))
    put = Put(1, CHANNEL, 7, 2, bytes(8), 1, [b"x"])
    assert ask(link, put) == Reply(1, Verdict.OK)
    assert ask(link, Finish(2, CHANNEL, 7, 2, None)) == Reply(2, Verdict.OK)
    for other in (
        Put(3, CHANNEL, 7, 1, bytes(8), 1, []),
        Put(3, CHANNEL, 8, 2, bytes(8), 1, []),
        Finish(3, CHANNEL, 7, 3, 0),
        Submit(3, None, 0, []),
        List(3, 255, 10),
        Ping(3),
    ):
        answer = ask(link, other)
        assert (answer.request, answer.verdict) == (3, Verdict.DENIED)
    peer, message = running.messages.get(timeout=30)
    assert (peer.identity, peer.role, peer.attempt, message) == ("attempt", "attempt", (7, 2), put)
    assert running.messages.get(timeout=30)[1] == Finish(2, CHANNEL, 7, 2, None)
    assert running.messages.empty()
    assert isinstance(ask(link, CloseChannel(CHANNEL)), Error)
    assert link.read_frames() == []


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_malformed_message_is_answered_with_an_error_and_the_end(answering, links):
    running = answering()
    bystander = links(running.endpoint)
    for garbage in (frame(b"\xc1"), frame(b"\x91\x63"), b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"):
        link = links(running.remote)
        link.send(encode(Ping(1)) + garbage)
        answers = []
        while bodies := link.read_frames():
            answers += [decode_service_message(body) for body in bodies]
        assert isinstance(answers[-1], Error)
        assert isinstance(running.left.get(timeout=30), server_module.Peer)
    assert ask(bystander, Ping(2)) == Reply(2, Verdict.OK)


def test_what_fails_at_a_message_ends_that_client_only(answering, links, orcha_home):
    running = answering()
    bystander = links(running.endpoint)

    def fail(peer, message):
        if message == Ping(13):
            raise RuntimeError("thirteen")
        running.receive(peer, message)

    running.server._table.on_message = fail
    link = links(running.endpoint)
    assert isinstance(ask(link, Ping(13)), Error)
    assert link.read_frames() == []
    assert ask(bystander, Ping(14)) == Reply(14, Verdict.OK)
    assert "thirteen" in running.problems.pop()


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        (2**63).to_bytes(8, "big"),
        b"\x16\x03\x01\x00\x05hello",
        b"SSH-2.0-x\r\n",
        frame(b"ORCHA!" + bytes(30)),
        frame(b"ORCHA?"),
        frame(b"x"),
        (64 * 1024 + 1).to_bytes(4, "big"),
    ],
    ids=["http", "2^63", "tls", "ssh", "server's hello", "cut hello", "x", "64 KiB + 1"],
)
def test_what_is_no_client_is_cut_off(answering, first):
    running = answering(limits={"handshake_deadline": 600})
    with running.raw() as sock:
        sock.sendall(first + bytes(5))  # as much as the head of a record of TLS, at least
        assert b"ORCHA" not in ended(sock)  # TLS says in an alert what it thinks of it
    with running.stranger() as sock:
        sock.sendall(first)
        assert ended(sock) == b""
    assert running.serves()


def test_connections_of_one_user_or_of_the_port_keep_no_other_user_out(answering, monkeypatch):
    running = answering(limits={"unauthenticated": 4, "handshake_deadline": 600})
    users = iter([(1, os.getuid(), 1), *[(1, 7777, 1)] * 12])
    real = accepting.peer_credentials
    monkeypatch.setattr(accepting, "peer_credentials", lambda sock: next(users, None) or real(sock))
    path = running.endpoint.socket_path
    with contextlib.ExitStack() as stack:

        def silent(address: object) -> socket.socket:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX if address == path else socket.AF_INET))
            sock.connect(address)
            return sock

        first = silent(path)  # the oldest of all
        port = [silent(("127.0.0.1", running.server.port)) for _ in range(12)]
        theirs = [silent(path) for _ in range(12)]
        for sock in [*port[:9], *theirs[:9]]:
            assert ended(sock) == b""
        first.settimeout(30)
        first.sendall(ClientHandshake(UNIX, running.endpoint.socket_path, None).start())
        assert ServerHello.unpack(first.recv(1000)[4:]).instance


def test_who_says_nothing_is_cut_off_at_the_deadline(answering):
    running = answering(limits={"handshake_deadline": 0.05})
    with running.raw() as silent, socket.socket(socket.AF_UNIX) as slow:
        slow.connect(running.endpoint.socket_path)
        with contextlib.suppress(BrokenPipeError):  # on a loaded machine it has been cut off already
            slow.sendall(ClientHandshake(UNIX, "x", None).start()[:7])
        assert ended(silent) == b""
        assert ended(slow) == b""


@LOOPS
def test_beyond_256_strangers_the_oldest_yields_and_a_client_comes_in(answering, links, uvloop):
    running = answering(uvloop=uvloop, limits={"handshake_deadline": 600, "reserved_descriptors": 16})
    inside = links(running.remote)
    strangers = [running.raw() for _ in range(266)]
    try:
        for sock in strangers[:10]:
            assert ended(sock) == b""
        assert running.serves()
        with running.stranger() as one_more:
            one_more.sendall(ClientHandshake(TLS, f"127.0.0.1:{running.server.port}", make_key()).start())
            assert ServerHello.unpack(one_more.recv(1000)[4:]).instance == inside.instance
        assert ask(inside, Ping(1)) == Reply(1, Verdict.OK)
    finally:
        for sock in strangers:
            sock.close()


def test_beyond_the_most_peers_a_client_hears_that_there_is_no_room(answering, links):
    running = answering(limits={"peers": 2})
    first = links(running.endpoint)
    links(running.endpoint)
    with pytest.raises(OrchaConnectionError, match="no room"):
        links(running.endpoint)
    first.close()
    running.left.get(timeout=30)
    wait_for(running.serves)


def test_one_user_leaves_room_for_others(answering, links, monkeypatch):
    me = os.geteuid()
    running = answering(roles=RoleBook(others="submitter"), limits={"peers_of_one_user": 2})
    monkeypatch.setattr(running.server._table.door, "_uid", me + 1)  # this process is somebody else's
    if not me:
        monkeypatch.setattr(accepting, "peer_credentials", lambda _: (os.getpid(), 4711, 4711))
    first = links(running.endpoint)
    links(running.endpoint)
    with pytest.raises(OrchaConnectionError, match="no room"):
        links(running.endpoint)
    first.close()
    running.left.get(timeout=30)
    wait_for(lambda: links(running.endpoint))
    with pytest.raises(OrchaConnectionError, match="no room"):
        links(running.endpoint)
    monkeypatch.undo()
    for _ in range(5):  # an owner is none of them
        links(running.endpoint)


def test_descriptors_are_left_for_the_rest_of_the_service(answering, links):
    running = answering()
    with socket.socket() as probe:
        running.server._acceptor.first_reserved = probe.fileno() + 6
    held = [links(running.endpoint)]
    with pytest.raises(OrchaConnectionError):
        held.extend(links(running.endpoint) for _ in range(20))
    assert ask(held[0], Ping(1)) == Reply(1, Verdict.OK)
    for link in held:
        link.close()

    def comes_in():
        try:
            return running.serves()
        except OrchaConnectionError:
            return False

    wait_for(comes_in)


@LOOPS
def test_running_out_of_descriptors_ends_nothing(answering, links, uvloop):
    running = answering(uvloop=uvloop)
    inside = links(running.remote)
    waiting = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failed = threading.Event()
    (listener,) = [sock for sock, kind in running.server._listeners.sockets.items() if kind == TLS]
    rest = running.server._acceptor._rest
    running.server._acceptor._rest = lambda: (failed.set(), rest())
    with waiting:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()), hard))
        try:
            used: list[int] = []
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                used.extend(os.dup(0) for _ in range(10_000))
            waiting.connect(listener.getsockname())
            assert failed.wait(30)
            inside.send(encode(Ping(1)))
            inside.read_frames()
        finally:
            for descriptor in used:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_for(running.serves)


def test_one_who_does_not_read_is_read_no_more_and_then_cut_off(answering, links):
    running = answering(limits={"pause_backlog": 64 * 1024, "max_backlog": 4 * 1024 * 1024})
    link, bystander = links(running.remote), links(running.endpoint)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)
    data = encode(Reply(1, 0, bytes(1 << 20)))

    def cut_off():
        running.server.send([(peer, data)])
        return not running.left.empty()

    wait_for(cut_off)
    assert running.left.get() is peer
    assert peer.backlog == 0
    assert ask(bystander, Ping(2)) == Reply(2, Verdict.OK)


def test_one_who_reads_again_is_served_again(answering, links):
    running = answering(limits={"pause_backlog": 64 * 1024, "max_backlog": 1 << 30})
    link = links(running.remote)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)
    data = encode(Reply(1, 0, bytes(1 << 20)))
    for _ in range(30):
        running.server.send([(peer, data)])
    wait_for(lambda: peer.backlog > 64 * 1024)
    link.send(encode(Ping(2)))
    got = 0
    while got < 31:
        got += len(link.read_frames())
    wait_for(lambda: peer.backlog == 0)


def test_closing_a_peer_sends_first_what_was_queued(answering, links):
    running = answering()
    link = links(running.endpoint)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)
    running.server.send([(peer, encode(Stopping("bye")))])
    running.server.close_peer(peer)
    running.server.send([(peer, encode(Stopping("never")))])
    assert [decode_service_message(body) for body in link.read_frames()] == [Stopping("bye")]
    assert link.read_frames() == []
    assert running.left.get(timeout=30) is peer


# --- start and stop --------------------------------------------------------------------------------------------------


def test_a_service_that_does_not_accept_says_that_it_stops_and_keeps_who_is_in(answering, links):
    running = answering()
    inside = links(running.endpoint)
    running.server.pause_accepting()
    for endpoint in (running.endpoint, running.remote):
        with pytest.raises(ManagerShutdownError):
            links(endpoint)
    assert ask(inside, Ping(1)) == Reply(1, Verdict.OK)
    running.server.resume_accepting()
    assert running.serves()


@LOOPS
def test_stop_sends_what_is_queued_closes_everything_and_can_be_called_again(answering, links, uvloop):
    running = answering(uvloop=uvloop)
    link = links(running.remote)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)
    running.server.send([(peer, encode(Reply(2, 0, bytes(1 << 22))))])
    reader = threading.Thread(target=running.server.stop, args=(30,))
    reader.start()
    (body,) = link.read_frames()
    assert len(decode_service_message(body).value) == 1 << 22
    assert link.read_frames() == []
    reader.join()
    assert running.left.get(timeout=30) is peer
    running.server.stop()
    running.server.send([(peer, b"into nothing")])
    assert not Path(running.endpoint.socket_path).exists()
    with pytest.raises(OrchaConnectionError, match="no service answers"):
        links(running.endpoint)


@LOOPS
def test_stop_does_not_wait_for_who_does_not_read(answering, links, uvloop):
    running = answering(uvloop=uvloop)
    link = links(running.remote)
    ask(link, Ping(1))
    peer, _ = running.messages.get(timeout=30)
    running.server.send([(peer, encode(Reply(2, 0, bytes(1 << 22)))) for _ in range(10)])
    running.server.stop(0.1)
    assert running.left.get(timeout=30) is peer


@LOOPS
def test_a_socket_that_cannot_be_removed_stays_and_the_stop_ends(answering, links, monkeypatch, uvloop):
    running = answering(uvloop=uvloop)
    path, unlink = running.endpoint.socket_path, os.unlink

    def refuse(name, **options):
        if name == path:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)
        unlink(name, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    running.server.stop(30)
    assert not running.server._thread.is_alive()
    assert running.notes == [f"the socket {path} stays behind: Read-only file system"]
    with pytest.raises(OrchaConnectionError, match="no service answers"):
        links(running.endpoint)


def test_a_loop_that_does_not_end_is_told_and_left_behind(answering, monkeypatch):
    monkeypatch.setattr(server_module, "_LOOP_END_SECONDS", 0.01)
    running = answering()
    held = threading.Event()
    running.server.call_soon(held.wait)
    running.server.stop(0.0)
    assert running.notes == ["the thread orcha-loop has not ended within 0.51 seconds: it is left behind"]
    held.set()
    running.server._thread.join()


def test_stop_before_start_does_nothing(orcha_home):
    server = Server(ServerSettings(Endpoint("127.0.0.1", 0)), print, print)
    assert server.filenos() == []
    server.stop()


def test_a_port_in_use_is_told_and_nothing_is_left_open(answering, orcha_home):
    running = answering()
    before = descriptors()
    second = Server(ServerSettings(Endpoint("127.0.0.1", running.server.port, str(orcha_home / "b"))), print, print)
    with pytest.raises(EndpointInUseError, match=str(running.server.port)):
        second.start()
    assert descriptors() == before


@pytest.mark.parametrize("address", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_told(orcha_home, address):
    server = Server(ServerSettings(Endpoint(address, 0)), print, print)
    with pytest.raises(ConfigurationError, match=address):
        server.start()


def test_a_weak_key_is_refused_before_an_address_that_others_can_reach_is_bound(orcha_home, monkeypatch):
    monkeypatch.setattr(socket.socket, "bind", lambda *_: pytest.fail("bound"))
    with pytest.raises(ConfigurationError, match="allow-weak-key"):
        Server(ServerSettings(Endpoint("0.0.0.0", 0), key="short"), print, print).start()


def test_what_is_in_the_way_of_the_socket_is_told_and_an_old_socket_is_replaced(answering, orcha_home):
    folder = orcha_home / "endpoint"
    folder.mkdir(0o700)
    (folder / "orcha.sock").touch()
    with pytest.raises(ConfigurationError, match="in the way"):
        answering()
    (folder / "orcha.sock").unlink()
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(folder / "orcha.sock"))
    assert answering().serves()


def test_a_service_removes_its_own_socket_only(answering, orcha_home):
    running = answering()
    path = orcha_home / "endpoint" / "orcha.sock"
    path.rename(path.with_name("mine"))
    path.touch()
    running.server.stop()
    assert path.exists()


def test_a_socket_may_lie_deeper_than_an_address_can_say(orcha_home, links):
    deep = orcha_home / ("d" * 100) / ("e" * 100)
    server = Server(ServerSettings(Endpoint("127.0.0.1", 0, str(deep))), print, print)
    server.start()
    try:
        assert links(Endpoint("127.0.0.1", server.port, str(deep))).transport == "unix"
    finally:
        server.stop()


def test_localhost_is_served_on_every_address_it_has(orcha_home, links):
    server = Server(ServerSettings(Endpoint("localhost", 0, str(orcha_home / "e"))), print, print)
    server.start()
    try:
        assert links(Endpoint("localhost", server.port, str(orcha_home / "n"))).transport == "tls"
    finally:
        server.stop()


@LOOPS
def test_its_descriptors_are_known_and_close_on_exec(answering, links, uvloop):
    before = descriptors()
    running = answering(uvloop=uvloop)
    link = links(running.endpoint)
    ask(link, Ping(1))
    known = set(running.server.filenos())
    kinds = {number: what for number, what in descriptors().items() if number not in {*before, link.fileno()}}
    assert known == {number for number, what in kinds.items() if "socket" in what or "eventpoll" in what}
    assert link.fileno() not in known
    assert not any(os.get_inheritable(descriptor) for descriptor in known)


def test_nobody_is_served_in_plain_over_tcp(answering):
    running = answering()
    key = keys.load_key(keys_file())
    with running.raw() as sock:
        sock.sendall(ClientHandshake(TLS, f"127.0.0.1:{running.server.port}", key).start())
        assert b"ORCHA!" not in ended(sock)
    assert running.messages.empty()


def test_the_loop_reports_what_fails_in_it(answering):
    running = answering()
    running.server._loop.call_soon_threadsafe(int, "no number")
    wait_for(lambda: running.problems)
    assert "no number" in running.problems.pop()


def test_frames_of_one_feed_that_follow_the_handshake_are_served(answering):
    """A client may say its first words together with its hello, where the kernel's word about it is enough."""
    running = answering()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(running.endpoint.socket_path)
        sock.sendall(ClientHandshake(1, "x", None).start() + encode(Ping(9)))
        reader, bodies = FrameReader(frames.MAX_FRAME_BYTES), []
        while len(bodies) < 2:
            bodies += reader.feed(sock.recv(4096))
    assert decode_service_message(bodies[1]) == Reply(9, Verdict.OK)


def test_the_key_file_is_made_where_there_is_none(answering, orcha_home):
    answering()
    assert keys.load_key(str(orcha_home / "key")).id.startswith("k")
