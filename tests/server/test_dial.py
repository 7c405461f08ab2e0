"""A client finds the service, trusts only what it may, and says in one line why it did not come in."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orcha import properties
from orcha._client import client as client_module
from orcha._client import connection
from orcha._client import dial as dial_module
from orcha._client.dial import dial
from orcha._protocol import frames, handshake
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import decode_service_message, encode, frame
from orcha._protocol.handshake import OK, ServerHello
from orcha._protocol.keys import make_key, parse_key
from orcha._protocol.messages import Ping, Reply, Verdict
from orcha._protocol.tls import client_context, server_tls
from orcha._server import accepting
from orcha._server.server import Server, ServerSettings
from orcha.exceptions import AuthenticationError, ConfigurationError, ManagerShutdownError, OrchaConnectionError
from orcha.interfaces.roles import RoleBook
from server.answering import ask
from support import warm
from support.ports import free_port

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
STRANGER = 12345


@contextlib.contextmanager
def fake(answer, family=socket.AF_INET, address=("127.0.0.1", 0)):
    """Listen, and treat each connection with `answer(socket)`."""
    listener = socket.socket(family)
    listener.bind(address)
    listener.listen()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as sock, contextlib.suppress(OSError):
                    answer(sock)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def at(port, folder="/nonexistent"):
    return Endpoint("127.0.0.1", port, folder)


def test_where_nobody_listens_a_client_is_told_and_no_key_is_made(orcha_home):
    with pytest.raises(OrchaConnectionError, match=r"no service answers on 127\.0\.0\.1"):
        dial(at(free_port()))
    with pytest.raises(ConnectionRefusedError):
        dial(at(free_port()))
    assert list(orcha_home.iterdir()) == []


def test_a_name_that_nobody_knows_is_told(orcha_home):
    with pytest.raises(OrchaConnectionError, match="nobody knows where"):
        dial(Endpoint("no.such.host.invalid", 1))


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"",
        frame(b"hello"),
        frame(b"ORCHA!"),
        b"\0\0",
        (2**63).to_bytes(8, "big"),
    ],
    ids=["http", "ssh", "nothing", "frame", "cut", "half", "2^63"],
)
def test_what_is_no_service_is_told(orcha_home, words):
    with fake(lambda sock: sock.sendall(words)) as (_, port), pytest.raises(OrchaConnectionError):
        dial(at(port))


def test_who_does_not_answer_is_told(orcha_home):
    gate = threading.Event()
    with fake(lambda _: gate.wait()) as (_, port):
        try:
            with pytest.raises(OrchaConnectionError, match="does not answer"):
                dial(at(port), timeout=0.05)
        finally:
            gate.set()


def test_an_echo_is_no_service(orcha_home):
    with fake(lambda sock: sock.sendall(sock.recv(4096))) as (_, port), pytest.raises(OrchaConnectionError):
        dial(at(port))


def test_a_squatter_on_the_port_learns_no_proof(orcha_home):
    """Who took the port while the service was away asks for nothing, or for a proof, and gets nowhere."""
    heard = []
    mine = server_tls().context

    def squat(sock):
        with mine.wrap_socket(sock, server_side=True) as client:
            client.recv(4096)
            client.sendall(frame(ServerHello(OK, 1, 0, bytes(16)).pack()))
            heard.append(client.recv(4096))

    with fake(squat) as (_, port), pytest.raises(AuthenticationError):
        dial(at(port))
    assert heard == [b""]


# --- the Unix socket -------------------------------------------------------------------------------------------------


@pytest.fixture
def as_systemd():
    """Have this process, which listens, bear the name of systemd."""
    name = Path("/proc/self/comm")
    before = name.read_text()
    name.write_text("systemd")
    yield
    name.write_text(before.strip())


AT_ONCE = 1e-6
"""Seconds in which nobody has answered yet."""


def test_a_service_that_systemd_starts_has_more_time_than_a_service_that_is_there(
    answering, links, as_systemd, orcha_home
):
    running = answering()
    links(running.endpoint, timeout=AT_ONCE, start_timeout=60)
    silent = Endpoint("", 0, f"{orcha_home}/silent")
    silent.make_folder()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(silent.socket_path)
        listener.listen()
        with pytest.raises(OrchaConnectionError, match="does not answer: see systemctl --user status"):
            dial(silent, timeout=AT_ONCE, start_timeout=2 * AT_ONCE)


def test_a_client_connects_to_a_service_that_systemd_starts(answering, as_systemd, monkeypatch):
    monkeypatch.setattr(client_module, "DIAL_TIMEOUT_SECONDS", AT_ONCE)
    connecting = client_module.Client(answering().endpoint, None, reconnect=60)
    connecting.connect()
    connecting.close()


def test_a_service_that_systemd_cannot_start_is_told_with_where_to_look(orcha_home, as_systemd):
    endpoint = Endpoint("", 0, f"{orcha_home}/default")
    endpoint.make_folder()
    with (
        fake(lambda _: None, socket.AF_UNIX, endpoint.socket_path),
        pytest.raises(OrchaConnectionError, match=r"does not start.*: see systemctl --user status orcha\.service"),
    ):
        dial(endpoint)


def test_a_silent_socket_is_named_and_not_another_that_was_tried(orcha_home):
    tried = Endpoint("", 0, f"{orcha_home}/default", (f"{orcha_home}/other",))
    silent = Endpoint("", 0, f"{orcha_home}/other")
    silent.make_folder()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(silent.socket_path)
        listener.listen()
        with pytest.raises(OrchaConnectionError, match=f"what listens on {silent.socket_path} does not answer"):
            dial(tried, timeout=AT_ONCE)


def test_a_dead_socket_is_passed_over(answering, links, orcha_home):
    running = answering()
    folder = orcha_home / "dead"
    folder.mkdir(0o700)
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(folder / "orcha.sock"))
    assert links(at(running.server.port, str(folder))).transport == "tls"


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_may_change_is_not_trusted(answering, links, mode):
    running = answering()
    Path(running.endpoint.folder).chmod(mode)
    assert links(running.endpoint).transport == "tls"


@ROOT
def test_a_folder_or_socket_of_another_user_is_not_trusted(answering, links):
    running = answering()
    folder, path = Path(running.endpoint.folder), Path(running.endpoint.socket_path)
    os.chown(folder, STRANGER, STRANGER)
    assert links(running.endpoint).transport == "tls"
    os.chown(folder, 0, 0)
    assert links(running.endpoint).transport == "unix"
    os.chown(path, STRANGER, STRANGER)
    assert links(running.endpoint).transport == "tls"


def test_a_link_in_place_of_folder_or_socket_is_not_trusted(answering, links, orcha_home):
    running = answering()
    (orcha_home / "link").symlink_to(running.endpoint.folder)
    assert links(at(running.server.port, str(orcha_home / "link"))).transport == "tls"
    (orcha_home / "other").mkdir(0o700)
    (orcha_home / "other" / "orcha.sock").symlink_to(running.endpoint.socket_path)
    assert links(at(running.server.port, str(orcha_home / "other"))).transport == "tls"


@pytest.mark.parametrize("uid", [handshake.NOBODY_UID, STRANGER])
def test_a_service_of_another_user_behind_the_socket_is_not_trusted(answering, links, monkeypatch, uid):
    running = answering()
    monkeypatch.setattr(dial_module, "peer_credentials", lambda _: (1, uid, uid))
    assert links(running.endpoint).transport == "tls"


def test_what_is_no_service_behind_the_socket_is_told(orcha_home):
    folder = orcha_home / "e"
    folder.mkdir(0o700)
    endpoint = at(free_port(), str(folder))

    def answer(sock):
        sock.recv(1_000)  # else the kernel drops the answer when the socket is closed with an unread hello
        sock.sendall(b"HTTP/1.1")

    web = fake(answer, socket.AF_UNIX, endpoint.socket_path)
    with web, pytest.raises(OrchaConnectionError, match="no service of Orcha"):
        dial(endpoint)


def reset(sock):
    """Take the first bytes, and reset the connection, as the kernel does for a process that is killed."""
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_after_all(sock):
    """Take all that a client says first, and close."""
    sock.recv(1 << 16)


@pytest.mark.parametrize("end", [reset, close_after_all])
@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tls"])
def test_a_service_that_ends_in_the_midst_of_a_handshake_is_told_as_a_reason_to_try_again(orcha_home, family, end):
    folder = orcha_home / "e"
    folder.mkdir(0o700)
    is_unix = family == socket.AF_UNIX
    with fake(end, family, str(folder / "orcha.sock") if is_unix else ("127.0.0.1", 0)) as address:
        endpoint = at(free_port() if is_unix else address[1], str(folder))
        with pytest.raises(OrchaConnectionError) as raised:
            dial(endpoint)
    assert "no service of Orcha" not in str(raised.value)
    assert str(raised.value).endswith("as a service does that ends at this moment: try again, or give another --port")


def test_a_system_service_is_found_where_ones_own_home_has_none(answering, links, monkeypatch, tmp_path):
    running = answering()
    monkeypatch.delenv("ORCHA_HOME")
    folder = tmp_path / f"127.0.0.1-{running.server.port}"
    folder.symlink_to(running.endpoint.folder)
    monkeypatch.setattr("orcha._protocol.endpoint.SYSTEM_FOLDER", str(tmp_path))
    monkeypatch.setattr(dial_module, "_is_made_by", lambda _, folder, __: folder.startswith(str(tmp_path)))
    assert links(Endpoint("127.0.0.1", running.server.port)).transport == "unix"


# --- other users -----------------------------------------------------------------------------------------------------

AS_USER = """
import os, sys
uid, folder, port, home = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
import encodings.idna, base64, hashlib, hmac, ssl, msgspec, contextlib
from orcha._protocol import frames, keys, messages, scram, tls, values
from orcha._client.dial import dial
from orcha._protocol.endpoint import Endpoint
from orcha.exceptions import OrchaError
frames.encode(messages.Ping(1))
os.environ["ORCHA_HOME"] = home
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
for where in (folder, "/nonexistent"):
    try:
        link = dial(Endpoint("127.0.0.1", port, where), *sys.argv[5:])
    except OrchaError as error:
        print(type(error).__name__)
    else:
        link.send(frames.encode(messages.Ping(1)))
        print(link.transport, frames.decode_service_message(link.read_frames()[0]).verdict)
"""


def as_user(uid, running, tmp_path, *key):
    """Dial as another user over the Unix socket, and over TCP; give a line for each."""
    home = tmp_path / f"home-{uid}"
    home.mkdir(exist_ok=True)
    os.chown(home, uid, uid)
    arguments = [str(uid), running.endpoint.folder, str(running.server.port), str(home), *key]
    done = warm.run(
        [sys.executable, "-c", AS_USER, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def open_world(orcha_home):
    """Let other users through to what tests make, as far as modes of their own allow."""
    orcha_home.chmod(0o711)
    for folder in [*orcha_home.parents]:
        assert folder.stat().st_mode & 0o001, f"{folder} is closed to others"


@pytest.fixture
def home_of_others():
    """Give a folder that other users reach."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="orcha-others-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@ROOT
@pytest.mark.parametrize("uid", [STRANGER, handshake.NOBODY_UID])
def test_another_user_does_not_come_in_without_the_key(answering, open_world, home_of_others, uid):
    running = answering(limits={"refusal_delay": 0.0})
    assert as_user(uid, running, home_of_others) == ["AuthenticationError", "AuthenticationError"]
    Path(running.endpoint.folder).chmod(0o755)
    Path(running.endpoint.socket_path).chmod(0o666)
    assert as_user(uid, running, home_of_others) == ["AuthenticationError", "AuthenticationError"]
    assert running.messages.empty()


@ROOT
def test_another_user_comes_in_with_the_key(answering, open_world, home_of_others):
    key = make_key()
    running = answering(key=key, share=True)
    assert as_user(STRANGER, running, home_of_others, key.text) == ["tls 0", "tls 0"]
    peers = [running.messages.get(timeout=30)[0] for _ in range(2)]
    assert {(peer.identity, peer.is_other, peer.role) for peer in peers} == {(f"uid:{STRANGER}", True, "submitter")}
    assert [note for note in running.notes if str(STRANGER) in note] == [
        f"uid:{STRANGER} came in with the key: what it asks for runs as root (uid 0)"
    ]  # once, and not for each connection
    Path(running.endpoint.folder).chmod(0o755)
    Path(running.endpoint.socket_path).chmod(0o666)
    assert as_user(STRANGER, running, home_of_others, key.text) == ["unix 0", "tls 0"]


@ROOT
def test_the_key_is_not_enough_for_another_user_where_the_service_is_not_shared(answering, open_world, home_of_others):
    key = make_key()
    running = answering(key=key)
    Path(running.endpoint.folder).chmod(0o755)
    Path(running.endpoint.socket_path).chmod(0o666)
    told = as_user(STRANGER, running, home_of_others, key.text)
    assert told == ["AuthenticationError", "AuthenticationError"]
    assert as_user(0, running, home_of_others, key.text) == ["unix 0", "tls 0"]
    assert {running.messages.get(timeout=30)[0].identity for _ in range(2)} == {"uid:0"}
    assert running.messages.empty()


def test_a_client_whose_user_no_kernel_knows_counts_as_another(answering, links, monkeypatch):
    key = make_key()
    for found in (None, handshake.NOBODY_UID):
        monkeypatch.setattr(accepting, "find_owner", lambda *_, found=found: found)
        running = answering(key=key)
        with pytest.raises(AuthenticationError, match="started without --share"):
            links(running.remote, key)
        running.server.stop()
        running = answering(key=key, share=True)
        assert ask(links(running.remote, key), Ping(1)) == Reply(1, Verdict.OK)
        peer, _ = running.messages.get(timeout=30)
        assert (peer.identity, peer.is_other) == (f"key:{key.id}", True)
        running.server.stop()


@ROOT
def test_another_user_with_a_role_comes_in_by_the_socket_as_that(answering, open_world, home_of_others):
    running = answering(
        roles=RoleBook({STRANGER: "submitter", handshake.NOBODY_UID: "submitter"}), limits={"refusal_delay": 0.0}
    )
    Path(running.endpoint.folder).chmod(0o755)
    assert as_user(STRANGER, running, home_of_others) == ["unix 0", "AuthenticationError"]
    peer, _ = running.messages.get(timeout=30)
    assert (peer.identity, peer.role) == (f"uid:{STRANGER}", "submitter")
    assert as_user(handshake.NOBODY_UID, running, home_of_others)[0] == "AuthenticationError"


@ROOT
def test_root_does_not_take_another_users_service_for_its_own(orcha_home, links):
    """Root reaches a user's service with its key only: the folder is neither root's nor the service its own."""
    running = Server(ServerSettings(Endpoint("127.0.0.1", 0, str(orcha_home / "e"))), print, print)
    running.start()
    try:
        os.chown(orcha_home / "e", STRANGER, STRANGER)
        os.chown(orcha_home / "e" / "orcha.sock", STRANGER, STRANGER)
        assert links(at(running.port, str(orcha_home / "e"))).transport == "tls"
    finally:
        running.stop()


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_weak_key_goes_to_no_other_machine(orcha_home, monkeypatch):
    heard = []

    def listen(sock):
        heard.append(sock.recv(4096))

    with fake(listen) as (_, port):
        monkeypatch.setattr(Endpoint, "is_loopback", False)
        with pytest.raises(ConfigurationError, match="allow-weak-key"):
            dial(at(port), "short")
        with pytest.raises(OrchaConnectionError):
            dial(at(port), "short", allow_weak_key=True)
        monkeypatch.setattr(properties, "allow_weak_key", True)
        with pytest.raises(OrchaConnectionError):
            dial(at(port), "short")
    assert heard[0] == b""
    assert heard[1][:1] == heard[2][:1] == b"\x16"  # TLS: nothing is said in plain over TCP


def test_a_key_file_that_cannot_be_read_is_told_and_not_who_listens(answering, monkeypatch):
    remote = answering().remote
    monkeypatch.setenv("ORCHA_HOME", "/dev/null")
    with pytest.raises(ConfigurationError, match="the key file /dev/null/key cannot be read"):
        dial(remote)


def test_an_empty_key_is_refused(answering):
    with pytest.raises(ValueError, match="empty"):
        dial(answering().remote, "")


def test_a_key_that_is_named_is_proved_on_the_socket_too(answering, links):
    running = answering(limits={"refusal_delay": 0.0})
    with pytest.raises(AuthenticationError):
        links(running.endpoint, "some other text as a key")
    assert parse_key("some other text as a key").id.startswith("t")


# --- TLS -------------------------------------------------------------------------------------------------------------


def test_who_stands_between_with_another_certificate_gets_nowhere(answering, orcha_home):
    """Passes every byte on, both ways, but has to speak TLS with a certificate of its own."""
    running = answering(limits={"refusal_delay": 0.0})
    mine = server_tls()

    def between(sock):
        with mine.context.wrap_socket(sock, server_side=True) as client:
            inner = socket.create_connection(("127.0.0.1", running.server.port))
            with client_context().wrap_socket(inner) as service:
                while data := client.recv(65536):
                    service.sendall(data)
                    client.sendall(service.recv(65536))

    with fake(between) as (_, port), pytest.raises(AuthenticationError):
        dial(at(port))
    assert running.messages.empty()


def test_two_starts_have_two_certificates():
    assert server_tls().certificate_hash != server_tls().certificate_hash


def test_older_versions_of_tls_are_refused(answering):
    running = answering()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with running.raw() as sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock)


def test_no_tickets_are_given(answering, links):
    running = answering()
    link = links(running.remote)
    ask(link, Ping(1))
    assert link._tls._tls.session.has_ticket is False


def test_an_orderly_end_of_tls_is_an_end(answering, links):
    running = answering()
    link = links(running.remote)
    ask(link, Ping(1))
    with contextlib.suppress(ssl.SSLWantReadError):
        link._tls._tls.unwrap()
    link.sock.sendall(link._tls.outgoing())
    peer, _ = running.messages.get(timeout=30)
    assert running.left.get(timeout=30) is peer


def test_tls_without_memory_files_uses_a_temporary_one(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    assert len(server_tls().certificate_hash) == 32


def test_several_threads_send_while_one_reads(answering, links):
    running = answering()
    for endpoint in (running.endpoint, running.remote):
        link = links(endpoint)

        def send(start, link=link):
            for number in range(start, start + 100):
                link.send(encode(Ping(number)))

        threads = [threading.Thread(target=send, args=(start,)) for start in (0, 100, 200)]
        for thread in threads:
            thread.start()
        answers = []
        while len(answers) < 300:
            answers += [decode_service_message(body).request for body in link.read_frames()]
        for thread in threads:
            thread.join()
        assert sorted(answers) == list(range(300))


# --- a link ----------------------------------------------------------------------------------------------------------


def test_closing_ends_what_another_thread_reads(answering, links):
    link = links(answering().remote)
    ended = []

    def read():
        try:
            ended.append(link.read_frames())
        except OSError:  # it was closed before it was read
            ended.append([])

    thread = threading.Thread(target=read)
    thread.start()
    link.close()
    thread.join()
    link.close()
    assert ended == [[]]


def test_a_time_out_loses_nothing(answering, links):
    running = answering()
    link = links(running.endpoint)
    assert ask(link, Ping(1)) == Reply(1, Verdict.OK)
    peer, _ = running.messages.get(timeout=30)
    link.sock.settimeout(0.01)
    data = encode(Reply(2, 0, bytes(1000)))
    running.server.send([(peer, data[:500])])
    for _ in range(2):
        with pytest.raises(TimeoutError):
            link.read_frames()
    link.sock.settimeout(30)
    running.server.send([(peer, data[500:])])
    assert decode_service_message(link.read_frames()[0]) == Reply(2, 0, bytes(1000))


def test_a_forked_childs_copy_can_be_closed_without_ending_the_parents(answering, links):
    link = links(answering().endpoint)
    copy = connection.ServiceConnection(link.sock.dup(), handshake.UNIX, link.endpoint)
    with pytest.raises(RuntimeError):
        assert copy.instance
    copy.abandon()
    assert ask(link, Ping(1)) == Reply(1, Verdict.OK)


def test_words_that_come_with_the_end_of_the_handshake_are_not_lost(orcha_home):
    folder = orcha_home / "e"
    folder.mkdir(0o700)
    endpoint = at(1, str(folder))

    def serve(sock):
        sock.recv(4096)
        sock.sendall(frame(ServerHello(OK, 1, 0, bytes(16)).pack()) + encode(Reply(1, 0)))

    with fake(serve, socket.AF_UNIX, endpoint.socket_path):
        link = dial(endpoint)
        assert decode_service_message(link.read_frames()[0]) == Reply(1, 0)
        assert link.read_frames() == []
        link.close()


# --- what it costs ---------------------------------------------------------------------------------------------------

HEAVY = ("msgspec", "ssl", "hashlib", "hmac", "asyncio", "cryptography", "pathlib", "logging", "uuid", "base64")


def test_a_client_on_the_unix_socket_imports_nothing_heavy_before_its_first_message(answering):
    running = answering()
    code = (
        "import sys; from orcha._client import client; from orcha._client.dial import dial; "
        "from orcha._protocol.endpoint import Endpoint; "
        f"link = dial(Endpoint('127.0.0.1', {running.server.port}, {running.endpoint.folder!r})); "
        f"print(link.transport, [name for name in {HEAVY!r} if name in sys.modules]); link.close()"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(frames.__file__).parents[2])},
    )
    assert done.stdout.strip() == "unix []"


# --- how long the service may take -----------------------------------------------------------------------------------


class _Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


class _Handshake:
    """A handshake of three answers, each of which comes four seconds after the one before."""

    done = False
    server = ServerHello(OK, 1, 0, b"")

    def __init__(self, clock):
        self.clock = clock
        self.answers = 0

    def start(self):
        return frame(b"hello")

    def receive(self, body):
        self.clock.now += 4.0
        self.answers += 1
        self.done = self.answers == 3
        assert bytes(body) == b"answer"
        return b""


@pytest.fixture
def dialled(monkeypatch):
    """Give a client's connection, the service's end of it, and the clock of the client."""
    clock = _Clock()
    monkeypatch.setattr(connection, "time", clock)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield connection.ServiceConnection(ours, handshake.UNIX, Endpoint("", 0, "/nowhere")), theirs, clock


def test_each_answer_of_the_service_has_time_of_its_own(dialled):
    link, service, clock = dialled
    asked = _Handshake(clock)
    received = asked.receive

    def receive(body):
        service.sendall(frame(b"answer"))
        return received(body)

    asked.receive = receive
    service.sendall(frame(b"answer"))
    link.handshake(asked, 5.0)
    assert (asked.done, clock.now) == (True, 112.0)


def test_a_service_that_falls_silent_is_waited_for_as_long_as_for_its_first_answer(dialled):
    link, _, clock = dialled
    asked = _Handshake(clock)
    parts = iter([[b"answer"], [], []])  # an answer, then bytes of the next one

    def read_some():
        clock.now += 3.0
        return next(parts)

    link.read_some = read_some
    with pytest.raises(TimeoutError):
        link.handshake(asked, 5.0)
    assert asked.answers == 1


def test_what_the_service_said_before_it_closed_is_told(dialled):
    link, service, _ = dialled
    service.sendall(frame(ServerHello(handshake.STOPPING, 1, 0, bytes(16)).pack()))
    service.close()
    with pytest.raises(ManagerShutdownError):
        link.handshake(handshake.ClientHandshake(handshake.UNIX, "x", None), 5.0)
