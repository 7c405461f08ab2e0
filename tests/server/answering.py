"""A server of the wire in this process, which answers every request."""

from __future__ import annotations

import queue
import socket
from pathlib import Path
from typing import Any

from orcha._client.connection import ServiceConnection
from orcha._client.dial import dial
from orcha._protocol import frames
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.messages import ClientMessage, Ping, Reply, ServiceMessage, Verdict
from orcha._protocol.tls import client_context
from orcha._server.server import ConnectionLimits, Peer, Server, ServerSettings


class Answering:
    """A server that keeps what it is told, and answers every request with OK."""

    def __init__(self, home: Path, **settings: Any) -> None:
        """Start it on a free port of loopback, below `home`."""
        address = settings.pop("address", "127.0.0.1")
        self.problems: list[str] = []
        self.notes: list[str] = []
        """What people should know, and is no problem."""
        self.messages: queue.SimpleQueue[tuple[Peer, ClientMessage]] = queue.SimpleQueue()
        self.left: queue.SimpleQueue[Peer] = queue.SimpleQueue()
        limits = ConnectionLimits(**settings.pop("limits", {}))
        endpoint = Endpoint(address, 0, str(home / "endpoint"))
        settings.setdefault("report", self._report)
        self.server = Server(ServerSettings(endpoint, limits=limits, **settings), self.receive, self.left.put)
        self.server.start()
        self.endpoint = Endpoint(address, self.server.port, endpoint.folder)
        """Reached over the Unix socket."""
        self.remote = Endpoint(address, self.server.port, str(home / "nowhere"))
        """Reached over TCP."""

    def _report(self, what: object, error: BaseException | None) -> None:
        if error is None:
            self.notes.append(str(what))
        else:
            self.problems.append(f"{what}: {error!r}")

    def receive(self, peer: Peer, message: ClientMessage) -> None:
        """Keep and answer."""
        self.messages.put((peer, message))
        if hasattr(message, "request"):
            self.server.send([(peer, frames.encode(Reply(message.request, Verdict.OK)))])

    def raw(self) -> socket.socket:
        """Connect over TCP and say nothing."""
        return socket.create_connection(("127.0.0.1", self.server.port), 30)

    def stranger(self) -> socket.socket:
        """Connect over TCP, speak TLS, and say nothing more."""
        return client_context().wrap_socket(self.raw())

    def serves(self) -> bool:
        """Tell whether a client comes in and is answered."""
        link = dial(self.endpoint, timeout=30)
        try:
            return ask(link, Ping(1)) == Reply(1, Verdict.OK)
        finally:
            link.close()


def ask(link: ServiceConnection, message: ClientMessage) -> ServiceMessage:
    """Send a message and give the next one that comes."""
    link.send(frames.encode(message))
    (body,) = link.read_frames()
    return frames.decode_service_message(body)
