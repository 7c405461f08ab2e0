"""What the kernel says of the two ends of a TCP connection."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from orcha._protocol.endpoint import Endpoint
from orcha._protocol.socket_ends import find_owner, name_of, owner_of_peer, service_pid
from orcha._service.lifecycle.settings import from_environment
from orcha.exceptions import ConfigurationError
from support.waiting import DEADLINE, wait_for

STRANGER = 61002


@contextlib.contextmanager
def connected(family, address, dial_as=None):
    """Give both ends of a connection."""
    with socket.socket(family) as listener, socket.socket(dial_as or family) as client:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        client.connect(("::ffff:127.0.0.1" if dial_as else address, port))
        server, _ = listener.accept()
        with server:
            yield client, server


def families():
    yield pytest.param(socket.AF_INET, "127.0.0.1", None, id="IPv4")
    yield pytest.param(socket.AF_INET, "127.200.3.4", None, id="IPv4 elsewhere on loopback")
    with socket.socket(socket.AF_INET6) as probe, contextlib.suppress(OSError):
        probe.bind(("::1", 0))
        yield pytest.param(socket.AF_INET6, "::1", None, id="IPv6")
        yield pytest.param(socket.AF_INET, "127.0.0.1", socket.AF_INET6, id="IPv4 by a socket of IPv6")


@pytest.mark.parametrize(("family", "address", "dial_as"), list(families()))
def test_each_end_knows_who_has_the_other_one(family, address, dial_as):
    with connected(family, address, dial_as) as (client, server):
        assert owner_of_peer(client) == owner_of_peer(server) == os.geteuid()
        assert find_owner(("192.0.2.7", 1), server.getsockname()) is None  # another machine's


def test_an_end_that_nobody_has_accepted_or_that_all_have_closed_is_nobodys():
    """The kernel shows such an end as root's, which must not pass for root."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = socket.create_connection(listener.getsockname())
        assert owner_of_peer(client) is None
        server, _ = listener.accept()
        with server:
            assert owner_of_peer(client) == os.geteuid()
            client.close()
            assert owner_of_peer(server) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_end_is_known():
    code = f"""
import encodings.idna, os, socket, sys
os.setuid({STRANGER})
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sys.stdin.read()
"""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        with subprocess.Popen([sys.executable, "-c", code, port], stdin=subprocess.PIPE) as other:
            listener.settimeout(DEADLINE)
            with listener.accept()[0] as server:
                assert owner_of_peer(server) == STRANGER
            other.stdin.close()


def test_where_there_is_no_other_end_any_more_it_is_an_error():
    with connected(socket.AF_INET, "127.0.0.1") as (client, server):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

        def has_gone():
            try:
                return owner_of_peer(server) is not None
            except OSError:
                return True

        wait_for(has_gone, what="the reset")
        with pytest.raises(OSError):
            owner_of_peer(server)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("127.0.0.1", 5), "127.0.0.1:5"),
        (("::1", 5, 0, 0), "[::1]:5"),
        (("fe80::1%eth0", 5, 0, 2), "[fe80::1]:5"),
        (("::ffff:127.0.0.1", 5, 0, 0), "127.0.0.1:5"),
    ],
)
def test_an_end_has_one_name(address, name):
    assert name_of(address) == name


def settings_of(monkeypatch, text):
    monkeypatch.setenv("ORCHA_REACHED_AS", text)
    return from_environment(Endpoint("127.0.0.1", 1), key=None, look_ahead=None, on_hook_timeout="replace").reached_as


def test_ends_of_tunnels_are_read_from_the_environment(monkeypatch):
    found = settings_of(monkeypatch, "127.0.0.1:50001, [0:0::7]:5,2001:db8::1:80,")
    assert found == {"127.0.0.1:50001", "[::7]:5", "[2001:db8::1]:80"}
    assert settings_of(monkeypatch, "") == set()


@pytest.mark.parametrize("text", ["50001", "localhost:5", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "1.2.3.4:x"])
def test_what_is_no_end_of_a_tunnel_is_told(monkeypatch, text):
    with pytest.raises(ConfigurationError, match="ORCHA_REACHED_AS holds"):
        settings_of(monkeypatch, text)


# --- the process of a service ----------------------------------------------------------------------------------------

LISTENS = """
import os, socket, sys
with open("/proc/self/comm", "w") as name:
    name.write(sys.argv[2])
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""
DIALS = """
import socket, sys
from orcha._protocol.socket_ends import service_pid
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    print(service_pid(sock, 1))
"""


def apart():
    """Give the words that start a command in a pid namespace of its own."""
    words = ["unshare", "--pid", "--fork", "--kill-child", *(["--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user makes no pid namespace here")
    return words


@contextlib.contextmanager
def listening(path, name, *before):
    """Give a connection to a process of this name, and the number that the process has in its own pid namespace."""
    command = [*before, sys.executable, "-c", LISTENS, path, name]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        socket.socket(socket.AF_UNIX) as sock,
    ):
        told = int(process.stdout.readline())
        sock.connect(path)
        yield sock, told, process
        process.stdin.close()
        process.wait(DEADLINE)


def test_the_process_that_listens_is_the_service_whatever_number_it_tells(tmp_path):
    with listening(f"{tmp_path}/sock", "python") as (sock, told, process):
        assert service_pid(sock, told) == service_pid(sock, os.getpid()) == told == process.pid


def test_a_service_for_which_systemd_listens_is_where_systemd_is(tmp_path):
    with listening(f"{tmp_path}/sock", "systemd") as (sock, told, _):
        assert service_pid(sock, os.getpid()) == os.getpid()
        assert service_pid(sock, told) is None  # that is systemd itself


def test_the_number_that_a_service_has_in_a_namespace_below_is_not_taken_for_one_here(tmp_path):
    before = apart()
    with listening(f"{tmp_path}/sock", "python", *before) as (sock, told, process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        assert (told, service_pid(sock, told)) == (1, int(children))
    with listening(f"{tmp_path}/another", "systemd", *before) as (sock, told, _):
        assert service_pid(sock, os.getpid()) is None


def test_a_service_outside_of_a_namespace_has_no_number_in_it(tmp_path):
    before = apart()
    with listening(f"{tmp_path}/sock", "python"):
        done = subprocess.run(
            [*before, sys.executable, "-c", DIALS, f"{tmp_path}/sock"], capture_output=True, text=True, check=True
        )
    assert done.stdout == "None\n"
