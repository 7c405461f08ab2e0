"""A service, its client, and somebody between them: ``python between.py SETTINGS``, as root; each is another user.

What came of it is printed as JSON: what the client was told, and which messages reached the service.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - nothing can be imported any more once a process is another user
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Never

from orcha._client.dial import dial
from orcha._protocol import frames, handshake
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import FrameReader, encode, frame
from orcha._protocol.handshake import CLIENT_MAGIC, ClientHello
from orcha._protocol.messages import Ping, Reply, Verdict
from orcha._protocol.tls import client_context, server_tls
from orcha._server.server import Server, ServerSettings, _make_loop

CLIENTS, FOREIGN = Ping(1), Ping(666)
"""What the client says when it is in, and what the one between says."""


def become(uid: int) -> None:
    """Be another user from now on."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def _write(writer: int, line: str) -> None:
    os.write(writer, f"{line}\n".encode())


class Child:
    """A process of another user, which says lines and ends when it is told so."""

    def __init__(self, uid: int, act: Callable[[Callable[[str], None]], object]) -> None:
        """Start it; `act` gets what says a line."""
        reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._act(uid, act, writer)
        os.close(writer)
        self._lines = os.fdopen(reader)

    @staticmethod
    def _act(uid: int, act: Callable[[Callable[[str], None]], object], writer: int) -> Never:
        become(uid)
        try:
            act(lambda line: _write(writer, line))
        finally:
            os._exit(0)

    def line(self) -> str:
        """Wait for its next line."""
        return self._lines.readline().strip()

    def end(self) -> list[str]:
        """End it; give what else it said."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return self._lines.read().split()


# --- the service and its client --------------------------------------------------------------------------------------


def serve(say: Callable[[str], None], given: dict[str, Any]) -> None:
    """Serve; say the port, then each message that comes from a client that is in."""
    server: Server

    def receive(peer: Any, message: Any) -> None:
        say(f"{type(message).__name__}({message.request})")
        server.send([(peer, encode(Reply(message.request, Verdict.OK)))])

    endpoint = Endpoint("127.0.0.1", given["port"], f"{given['home']}/service")
    settings = ServerSettings(
        endpoint, key=given["key"], reached_as=frozenset(given["reached_as"]), **given.get("settings", {})
    )
    server = Server(settings, receive, lambda _: None)
    server.start()
    say(str(server.port))
    signal.pause()


def ask(say: Callable[[str], None], given: dict[str, Any], endpoint: Endpoint) -> None:
    """Connect, and say what came of it."""
    try:
        link = dial(endpoint, given["key"], timeout=20)
        link.send(encode(CLIENTS))
        answer = frames.decode_service_message(link.read_frames()[0])
        say(f"in: {answer == Reply(CLIENTS.request, Verdict.OK)}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the test judges it
        say(f"{type(error).__name__}: {error}")


# --- the one between -------------------------------------------------------------------------------------------------


def stand_between(say: Callable[[str], None], given: dict[str, Any], family: int, address: tuple[str, int]) -> None:
    """Listen, and pass on what clients say to the service, by the means that are given."""
    listener = socket.socket(family)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind(address)
    listener.listen()
    say(str(listener.getsockname()[1]))
    while True:
        client, _ = listener.accept()
        with contextlib.suppress(OSError):
            MEANS[given["means"]](client, socket.create_connection(("127.0.0.1", given["port"])))


def pass_on(client: socket.socket, service: socket.socket) -> None:
    """Pass every byte on as it is, and say something too when the client has said enough to be in."""
    said = 0

    def back() -> None:
        with contextlib.suppress(OSError):
            while data := service.recv(65536):
                client.sendall(data)
        client.close()

    thread = threading.Thread(target=back)
    thread.start()
    while data := client.recv(65536):
        service.sendall(data)
        said += len(data)
    service.sendall(encode(FOREIGN))
    service.shutdown(socket.SHUT_WR)
    thread.join()


def open_both(client: socket.socket, service: socket.socket, rewrite: Callable[[bytes], bytes] = bytes) -> None:
    """Speak TLS with both, pass their frames on through `rewrite`, and say something behind each of the client's."""
    inside = TLS.wrap_socket(client, server_side=True)
    outside = client_context().wrap_socket(service)
    exchange(inside, outside, rewrite)


def speak_plainly(client: socket.socket, service: socket.socket) -> None:
    """Speak TLS with the client, and in plain with the service."""
    exchange(TLS.wrap_socket(client, server_side=True), service, bytes)


def lie(client: socket.socket, service: socket.socket) -> None:
    """Speak TLS with both, and tell the service that the client has dialled its address."""

    def rewrite(body: bytes) -> bytes:
        if not body.startswith(CLIENT_MAGIC):
            return body
        host, port = service.getpeername()
        return ClientHello.unpack(body)._replace(endpoint=f"{host}:{port}").pack()

    open_both(client, service, rewrite)


def exchange(client: socket.socket, service: socket.socket, rewrite: Callable[[bytes], bytes]) -> None:
    """Pass frames on one by one; once the handshake has had its four answers, say something of one's own."""
    from_client, from_service = FrameReader(1 << 20), FrameReader(1 << 20)
    while data := client.recv(65536):
        for body in from_client.feed(data):
            service.sendall(frame(rewrite(bytes(body))))
        answer = service.recv(65536)
        if not answer:
            break
        bodies = from_service.feed(answer)
        if any(bytes(body[:2]) == b"v=" for body in bodies):
            service.sendall(encode(FOREIGN))
        client.sendall(answer)
    client.close()
    service.close()


MEANS: dict[str, Callable[[socket.socket, socket.socket], None]] = {
    "every byte as it is": pass_on,
    "TLS of its own": open_both,
    "TLS of its own, and a lie about where": lie,
    "TLS with the client alone": speak_plainly,
}


def main(given: dict[str, Any]) -> None:
    """Act it out: the client dials a place where another one than the service listens."""
    service = Child(given["service"], lambda say: serve(say, given))
    given["port"] = int(service.line())
    third: Child | None = None
    dialled = Endpoint("127.0.0.1", given["port"], "/nonexistent")
    if given["between"] is not None and given["place"] == "another port":
        third = Child(
            given["between"], lambda say: stand_between(say, given, socket.AF_INET, ("127.0.0.1", given["other"]))
        )
        dialled = Endpoint("127.0.0.1", int(third.line()), "/nonexistent")
    elif given["between"] is not None:
        third = Child(given["between"], lambda say: stand_between(say, given, socket.AF_INET6, ("::1", given["port"])))
        third.line()
        dialled = Endpoint("localhost", given["port"], "/nonexistent")
        found = [(socket.AF_INET6, 1, 6, "", ("::1", given["port"], 0, 0))]
        setattr(socket, "getaddrinfo", lambda *_, **__: found)  # noqa: B010 - as where /etc/hosts names ::1 first
    client = Child(given["client"], lambda say: ask(say, given, dialled))
    told = client.line()
    client.end()
    if third is not None:
        third.end()
    print(json.dumps({"told": told, "messages": service.end()}))


if __name__ == "__main__":
    TLS = server_tls().context
    _make_loop(None).close()
    handshake.binding_of(b"", b"", b"")
    main(json.loads(sys.argv[1]))
