"""A machine at the other end of TCP that is gone without a word: the kernel of this machine notices, and says so."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from orcha._protocol import socket_ends
from orcha._protocol.messages import Ping
from server.answering import ask
from support.waiting import wait_for

IN_A_NET = """
import fcntl, pathlib, socket, struct, sys, termios
from orcha._client import dial
from orcha._protocol import socket_ends
from orcha._protocol.codec import encode
from orcha._protocol.messages import Ping, Reply, Verdict
from orcha._server.gone_clients import GoneClients
from server.answering import Answering, ask
from support.waiting import wait_for

UP, DOWN = 0x41, 0x40

def loopback(flags):  # netdevice(7)
    with socket.socket() as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", flags))

def unacknowledged(sock):  # tcp(7): SIOCOUTQ
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]

for waits in (socket_ends.prepare_tcp, socket_ends.give_up_sending, GoneClients.__init__):
    waits.__defaults__ = (3,)
loopback(UP)
running = Answering(pathlib.Path(sys.argv[1]))
link = dial.dial(running.remote, timeout=30)
ask(link, Ping(1))
peer, _ = running.messages.get(timeout=30)
print("connected", flush=True)
(connection,) = running.server._table.connections
ends = link.sock, connection._transport.get_extra_info("socket")
wait_for(lambda: not any(map(unacknowledged, ends)))  # else a kernel would go on sending that
loopback(DOWN)
if sys.argv[2] == "busy":
    link.send(encode(Ping(2)))
    running.server.send([(peer, encode(Reply(3, Verdict.OK)))])
    wait_for(lambda: all(map(unacknowledged, ends)))
link.sock.settimeout(60)
try:
    print("read", link.read_frames(), flush=True)
except OSError as error:
    print(type(error).__name__, error.errno is not None, flush=True)
assert running.left.get(timeout=60) is peer
print("left", flush=True)
loopback(UP)
link.close()
running.server.stop(5)
"""


@pytest.mark.slow
@pytest.mark.parametrize("traffic", ["idle", "busy"])
def test_both_ends_notice_that_the_network_between_them_is_gone(tmp_path, traffic):
    """Also with bytes on the way, which a kernel would else send again for some 15 minutes."""
    namespace = ["unshare", "--net", "--map-root-user"] if os.geteuid() else ["unshare", "--net"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace may be made here")
    tmp_path.chmod(0o700)
    command = [*namespace, sys.executable, "-c", IN_A_NET, str(tmp_path), traffic]
    environment = os.environ | {"PYTHONPATH": "tests", "ORCHA_HOME": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    connected, noticed, left = ended.stdout.splitlines()
    assert (connected, left) == ("connected", "left")
    assert noticed in {"TimeoutError True", "OSError True"}


def test_that_takes_as_long_as_the_documents_say(answering, links):
    running = answering()
    link = links(running.remote)
    ask(link, Ping(1))
    (connection,) = running.server._table.connections
    ends = (link.sock, connection._transport.get_extra_info("socket"))
    for end in ends:
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle, between, probes = (end.getsockopt(socket.IPPROTO_TCP, each) for each in options)
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert idle + between * probes == socket_ends.GONE_SECONDS == 45
    given_up = [end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) for end in ends]
    assert given_up == [45_000, 0], "a service does not give up a client that reads nothing"


def room(sock):
    """Give how many bytes the other kernel has room for."""
    return socket_ends._TCP_INFO.unpack(
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, socket_ends._TCP_INFO.size)
    )[-1]


def test_a_client_that_reads_nothing_is_not_gone():
    """Its kernel acknowledges, and says that it has no room."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        end, _ = listener.accept()
        with end:
            end.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while end.send(bytes(1 << 20)):
                    pass
            wait_for(lambda: not room(end), what="its kernel has no room")
            assert not socket_ends.is_gone(end, 0.0)
        assert not socket_ends.is_gone(end, 0.0), "it is closed"
