"""Ports: a client never connects to itself, and a service waits for what a killed one has not let go of yet."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from orcha._client import tcp
from orcha._client.dial import dial
from orcha._protocol.endpoint import Endpoint
from orcha._server import listening
from orcha.exceptions import EndpointInUseError, OrchaConnectionError

IN_A_NET = """
import fcntl, socket, struct, sys
from orcha._client.tcp import connect_tcp

with socket.socket() as sock:  # netdevice(7): have the loopback up
    fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
first, last = sys.argv[1:]
open("/proc/sys/net/ipv4/ip_local_port_range", "w").write(f"{first} {last}")
for _ in range(20):
    try:
        connect_tcp("127.0.0.1", int(first), 5)
    except OSError as error:
        print(type(error).__name__, flush=True)
with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(first)))
    listener.listen()
    with connect_tcp("127.0.0.1", int(first), 5) if first != last else socket.socket():
        print("listens")
"""


@pytest.fixture
def dead_port():
    """Give a port of the ephemeral range on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert tcp.is_ephemeral(port)
    return port


@pytest.mark.parametrize(("last", "error"), [(45001, "OSError"), (45002, "ConnectionRefusedError")])
def test_where_the_kernel_has_no_other_port_to_give_a_client_does_not_reach_itself(last, error):
    namespace = ["unshare", "--net", "--map-root-user"] if os.geteuid() else ["unshare", "--net"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace may be made here")
    command = [*namespace, sys.executable, "-c", IN_A_NET, "45001", str(last)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == [error] * 20 + ["listens"]


def test_a_port_that_would_be_the_clients_own_is_changed(monkeypatch, dead_port):
    class Socket(socket.socket):
        def bind(self, address):
            taken.append(self)
            super().bind(("127.0.0.1", dead_port) if len(taken) == 1 else address)

    taken = []
    monkeypatch.setattr(tcp.socket, "socket", Socket)
    with pytest.raises(ConnectionRefusedError):
        tcp.connect_tcp("127.0.0.1", dead_port, 5)
    assert len(taken) == 2


def test_a_dead_port_of_that_range_is_no_service_and_stays_free(orcha_home, dead_port):
    endpoint = Endpoint("127.0.0.1", dead_port)
    for _ in range(50):
        with pytest.raises(OrchaConnectionError, match="no service answers"):
            dial(endpoint)
    for listener in listening.bind_tcp(endpoint):
        listener.close()


@pytest.fixture
def taken():
    """Give a process that listens, and its port."""
    code = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process, int(process.stdout.readline())
        process.kill()


def test_a_port_that_is_let_go_of_in_a_moment_is_waited_for(monkeypatch, taken):
    process, port = taken
    looks = []

    def look_again(_):
        looks.append(1)
        if len(looks) == 3:
            process.kill()
            process.wait()

    monkeypatch.setattr(listening.time, "sleep", look_again)
    for listener in listening.bind_tcp(Endpoint("127.0.0.1", port)):
        listener.close()
    assert len(looks) == 3


def test_who_keeps_a_port_is_named(taken):
    process, port = taken
    with pytest.raises(EndpointInUseError) as refused:
        listening.bind_tcp(Endpoint("127.0.0.1", port))
    assert refused.value.exit_code == 69
    told = rf"127.0.0.1:{port} is taken by another program \(pid {process.pid}, python.*\): end that first, or choose"
    assert re.match(told, str(refused.value))


def test_a_port_of_a_process_that_hangs_at_its_end_is_given_up_in_time(monkeypatch, taken):
    process, port = taken
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(listening, "is_ending", lambda _: True)
    monkeypatch.setattr(listening.time, "sleep", lambda _: None)
    clock = iter(range(1000))
    monkeypatch.setattr(listening.time, "monotonic", lambda: next(clock))
    with pytest.raises(EndpointInUseError, match=f"pid {process.pid}"):
        listening.bind_tcp(Endpoint("127.0.0.1", port))


@pytest.fixture
def endpoint(orcha_home, dead_port):
    """Give the endpoint of a folder of its own, with a port that is free."""
    return Endpoint("127.0.0.1", dead_port, str(orcha_home / "endpoint"))


def connects(endpoint):
    """Tell whether a client reaches the endpoint's port."""
    try:
        socket.create_connection((endpoint.address, endpoint.port), 5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_client_that_finds_no_unix_socket_yet_does_not_find_the_port_either(monkeypatch, endpoint):
    """Over the port a client has to prove a key, of which the Unix socket's client knows nothing: it would give up."""
    reached = []

    def listen_unix(path, *, others):
        reached.append(connects(endpoint))
        listener = listen(path, others=others)
        reached.append(connects(endpoint))
        return listener

    listen = listening.listen_unix
    monkeypatch.setattr(listening, "listen_unix", listen_unix)
    sockets = listening.ListeningSockets(endpoint, others=False, report=print)
    assert (reached, connects(endpoint)) == ([False, False], True)
    sockets.close()


def test_at_the_end_the_port_is_closed_before_the_unix_socket(monkeypatch, endpoint):
    class Socket(socket.socket):
        def close(self):
            closed.append(self.family)
            super().close()

    closed = []
    monkeypatch.setattr(listening.socket, "socket", Socket)
    sockets = listening.ListeningSockets(endpoint, others=False, report=print)
    sockets.close()
    assert closed == [socket.AF_INET, socket.AF_UNIX]


def test_of_two_that_took_a_port_at_the_same_moment_the_second_is_refused(monkeypatch, endpoint):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((endpoint.address, endpoint.port))

        def listen_unix(path, *, others):
            other.listen()
            return listen(path, others=others)

        listen = listening.listen_unix
        monkeypatch.setattr(listening, "listen_unix", listen_unix)
        with pytest.raises(EndpointInUseError, match=f"127.0.0.1:{endpoint.port} is taken"):
            listening.ListeningSockets(endpoint, others=False, report=print)
    assert not os.path.lexists(endpoint.socket_path)
