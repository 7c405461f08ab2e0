"""Whatever is thrown at the listening socket, the service goes on, and who is in does not notice."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orcha._client.dial import dial
from orcha._protocol.frames import FrameError, FrameReader, encode, frame
from orcha._protocol.handshake import OK, SCRAM_SHA_256, TLS, UNIX, ClientHandshake, ClientHello, ServerHello
from orcha._protocol.keys import make_key
from orcha._protocol.messages import Cancel, Follow, Item, Ping, Put, Reply, Submit, Verdict
from server.answering import Answering, ask

KEY = make_key()
HELLO = ClientHandshake(TLS, "127.0.0.1:1", KEY).start()
"""It is answered that this is not where the service listens."""
SEEDS = [
    b"",
    HELLO,
    ClientHandshake(TLS, "x", KEY).start(),
    ClientHandshake(UNIX, "x", None).start(),
    frame(ServerHello(OK, 1, SCRAM_SHA_256, bytes(16)).pack()),
    frame(ClientHello(0, 255, 255, "k" * 255, "e" * 1000).pack()),
    HELLO + frame(b"p=orcha,,n=k,r=abc") + frame(b"c=biws,r=abc,p=AAAA"),
    HELLO + frame(b"n,,n=k,r=abc"),
    bytes.fromhex("16030100050100000103"),
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    (2**63).to_bytes(8, "big"),
    b"\xff" * 64,
    bytes(64),
]
MESSAGES = [
    encode(Ping(1)),
    encode(Submit(1, None, 10, [Item(bytes(16), "a", b"x" * 40, None)] * 3)),
    encode(Cancel(1, bytes(16), None)),
    encode(Follow(bytes(16), 0, 10)),
    encode(Put(1, bytes(16), 1, 1, bytes(8), 1, [b"x"])),
    frame(b"\x91" * 5000),
    frame(b"\xdd\xff\xff\xff\xff"),
    frame(b"\xc1"),
]


def mutated(chooser, seeds):
    """Give a seed, or some glued together, with some bytes changed, doubled, moved, or cut off."""
    data = bytearray(b"".join(chooser.choices(seeds, k=chooser.randint(1, 3))))
    for _ in range(chooser.choice([0, 1, 1, 2, 5, 20])):
        if not data:
            break
        at, to = sorted(chooser.choices(range(len(data)), k=2))
        act = chooser.randrange(5)
        if act == 0:
            data[at] ^= 1 << chooser.randrange(8)
        elif act == 1:
            data[at] = chooser.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif act == 2:
            del data[at:to]
        elif act == 3:
            data[at:at] = data[at:to]
        else:
            data[at:at] = chooser.randbytes(chooser.randrange(16))
    return bytes(data)


def throw(sock, data, chooser):
    """Send in pieces, perhaps read, perhaps leave without a word."""
    with contextlib.suppress(OSError):
        while data:
            size = chooser.choice([1, 7, 100, len(data)])
            sock.sendall(data[:size])
            data = data[size:]
        if chooser.random() < 0.5:
            sock.shutdown(socket.SHUT_WR)
        if chooser.random() < 0.3:
            sock.settimeout(0.05)
            sock.recv(4096)


@pytest.mark.parametrize("uvloop", [True, False], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("tls", [True, False], ids=["in TLS", "instead of TLS"])
def test_garbage_before_authentication_disturbs_nobody(answering, links, uvloop, tls):
    running = answering(uvloop=uvloop, limits={"refusal_delay": 0.0})
    inside = links(running.remote)
    chooser = random.Random(20240229)
    for number in range(250):
        if number % 5 == 0:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(running.endpoint.socket_path)
        else:
            sock = running.stranger() if tls else running.raw()
        with sock:
            throw(sock, mutated(chooser, SEEDS), chooser)
        if number % 25 == 0:
            assert ask(inside, Ping(number)) == Reply(number, Verdict.OK)
    assert running.serves()


def test_garbage_from_one_who_is_in_disturbs_nobody_else(answering, links):
    running = answering()
    inside = links(running.remote)
    chooser = random.Random(19700101)
    for number in range(250):
        link = dial(running.endpoint, timeout=30)
        throw(link.sock, mutated(chooser, MESSAGES), chooser)
        link.close()
        if number % 25 == 0:
            assert ask(inside, Ping(number)) == Reply(number, Verdict.OK)
    assert running.serves()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    """Give one server, and a client of it, for all examples of a property."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("ORCHA_HOME", str(home))
        running = Answering(home, limits={"refusal_delay": 0.0, "handshake_deadline": 600})
        link = dial(running.endpoint, timeout=30)
    yield running, link
    link.close()
    running.server.stop(5)
    assert not running.problems


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=80).map(frame),
        st.binary(max_size=50).map(lambda tail: HELLO + frame(b"p=orcha,,n=" + tail)),
    ),
    st.booleans(),
)
def test_any_bytes_end_in_an_answer_or_an_end(lasting, data, unix):
    running, link = lasting
    with socket.socket(socket.AF_UNIX) if unix else running.stranger() as sock:
        with contextlib.suppress(OSError):
            if unix:
                sock.connect(running.endpoint.socket_path)
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        sock.settimeout(30)
        came = b""
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            while chunk := sock.recv(4096):
                came += chunk
    with contextlib.suppress(FrameError):
        for body in FrameReader(1 << 16).feed(came):
            assert bytes(body[:6]) == b"ORCHA!" or bytes(body[:2]) in (b"r=", b"e=")
    assert ask(link, Ping(1)) == Reply(1, Verdict.OK)


def peak():
    """Bytes of memory this process had at most."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_announced_lengths_and_depths_cost_no_memory(answering, links):
    running = answering()
    link = links(running.remote)
    ask(link, Ping(1))
    before = peak()
    for first in (b"\xff\xff\xff\xff", (2**63).to_bytes(8, "big"), (8 << 20).to_bytes(4, "big")):
        with running.stranger() as sock:
            sock.sendall(first)
            sock.settimeout(30)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(100) == b""
    for bomb in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 100_000, b"\xc6\xff\xff\xff\xff"):
        inside = links(running.endpoint)
        inside.send(frame(bomb))
        while inside.read_frames():
            pass
    assert ask(link, Ping(2)) == Reply(2, Verdict.OK)
    assert peak() - before < 8 << 20


def test_slow_strangers_in_great_number_keep_nobody_out(answering, links):
    running = answering(limits={"handshake_deadline": 600, "unauthenticated": 64})
    inside = links(running.remote)
    strangers = []
    try:
        for number in range(400):
            sock = running.raw()
            strangers.append(sock)
            with contextlib.suppress(OSError):
                sock.sendall(HELLO[: number % 20])
            if number % 50 == 0:
                assert ask(inside, Ping(number)) == Reply(number, Verdict.OK)
                assert running.serves()
    finally:
        for sock in strangers:
            sock.close()


def test_guessing_keys_in_great_number_keeps_nobody_out(answering, links):
    """Wrong proofs wait, each in its place; who has the key, and who needs none, comes in meanwhile."""
    running = answering(limits={"refusal_delay": 600, "handshake_deadline": 600, "unauthenticated": 32})
    guessers = []
    try:
        for _ in range(40):
            sock = running.stranger()
            guessers.append(sock)
            client, reader = ClientHandshake(TLS, f"127.0.0.1:{running.server.port}", make_key()), FrameReader(1 << 16)
            sock.sendall(client.start())
            sent = 0
            while sent < 2:
                for body in reader.feed(sock.recv(4096)):
                    sock.sendall(client.receive(body))
                    sent += 1
        assert links(running.endpoint).transport == "unix"
        assert links(running.remote).transport == "tls"
    finally:
        for sock in guessers:
            sock.close()
