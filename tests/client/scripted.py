"""A service in a thread that speaks real frames, without a handshake, and breaks its connections where a test says."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from orcha._protocol import messages, values
from orcha._protocol.endpoint import Endpoint
from orcha._protocol.frames import MAX_FRAME_BYTES, Body, FrameReader, decode_client_message, encode
from orcha._protocol.keys import make_key
from orcha._protocol.messages import ChannelRecord, Kind, Result, Verdict
from orcha._server.server import Peer, Server, ServerSettings
from orcha.exceptions import OrchaConnectionError
from support.ports import free_port


class PlainLink:
    """A connection without a handshake, for clients of a `ScriptedService`."""

    def __init__(self, sock: socket.socket, instance: bytes, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.is_anothers = False
        self.sock = sock
        self.instance = instance
        self._reader = FrameReader(MAX_FRAME_BYTES)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_frames(self) -> list[Body]:
        while (bodies := self.read_some()) is not None:
            if bodies:
                return bodies
        return []

    def read_some(self) -> list[Body] | None:
        data = self.sock.recv(65536)
        return self._reader.feed(data) if data else None

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def abandon(self) -> None:
        self.sock.close()


class Fault(NamedTuple):
    """Where a connection breaks: at the event of this kind, counted from 0 over all connections."""

    kind: str
    """"unread": what came is not done; "unanswered": it is done, its answer lost; "torn": half of a frame is sent."""
    at: int
    crash: bool = False
    """The whole service goes, and returns as another instance."""


class Follower:
    """How far a connection is with a channel."""

    def __init__(self, index: int, credit: int) -> None:
        self.next = index
        self.credit = credit


class Connection:
    """One connection, read by a thread of its own."""

    def __init__(self, service: ScriptedService, sock: socket.socket) -> None:
        self.service = service
        self.sock = sock
        self.followers: dict[bytes, Follower] = {}
        self.thread = threading.Thread(target=self._run, name="scripted", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        reader = FrameReader(MAX_FRAME_BYTES)
        with contextlib.suppress(OSError):
            while data := self.sock.recv(65536):
                for body in reader.feed(data):
                    self._take(decode_client_message(body))
        with self.service.lock:
            if self in self.service.connections:
                self.service.connections.remove(self)
        self.sock.close()

    def _take(self, message: messages.ClientMessage) -> None:
        service = self.service
        with service.lock:
            if service.fault_due("unread"):
                raise ConnectionAbortedError
            service.received.append(message)
            answers = service.answers(self, message)
            if service.fault_due("unanswered"):
                raise ConnectionAbortedError
            for answer in answers:
                self.send(answer)
            service.deliver()

    def send(self, message: messages.ServiceMessage) -> None:
        """Send a message, or half of it."""
        data = encode(message)
        if self.service.fault_due("torn"):
            self.sock.sendall(data[: len(data) // 2])
            self.close()
            raise ConnectionAbortedError
        self.sock.sendall(data)

    def close(self) -> None:
        """End it from this side."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class ScriptedService:
    """What a client needs of a service, kept in memory; `stop` and `start` are its crash and its return.

    Args:
        script: gives the values of an accepted item's channel; its last is the final one. None gives none at all.
        verdict: gives (verdict, reason) of an item that is not accepted, None for one that is.
        chunk: records of a Data message.

    """

    def __init__(
        self,
        script: Callable[[messages.Item], Sequence[Any] | None] = lambda item: [0],
        *,
        verdict: Callable[[messages.Item], tuple[int, str] | None] = lambda item: None,
        chunk: int = 3,
    ) -> None:
        self.script = script
        self.verdict = verdict
        self.chunk = chunk
        self.lock = threading.RLock()
        self.received: list[messages.ClientMessage] = []
        self.tokens: dict[bytes, int] = {}
        self.channel_of: dict[bytes, bytes] = {}
        self.cancelled: list[bytes | str] = []
        self.channels: dict[bytes, list[ChannelRecord]] = {}
        self.writers: dict[bytes, int] = {}
        self.over: set[tuple[int, int]] = set()
        self.functions: dict[str, Callable[..., Any]] = {}
        self.connections: list[Connection | PeerConnection] = []
        self.accepted = 0
        self.fault: Fault | None = None
        self.fault_happened = False
        self.mute = False
        self._verbs: dict[type, Callable[..., Any]] = {
            messages.Submit: self._submit,
            messages.Follow: self._follow,
            messages.Unfollow: self._unfollow,
            messages.CloseChannel: self._unfollow,
            messages.Credit: self._credit,
            messages.Cancel: self._cancel,
            messages.Call: self._call,
            messages.Put: lambda _, message: messages.Reply(message.request, self._put(message)),
            messages.Finish: lambda _, message: messages.Reply(message.request, self._finish(message)),
            messages.Ping: lambda _, message: messages.Reply(message.request, Verdict.OK),
            messages.List: lambda _, message: messages.Rows(
                message.request, [{"seq": n} for n in self.tokens.values()]
            ),
        }
        self._events: dict[str, int] = {}
        self._port = 0
        self._listener: socket.socket | None = None
        self._restarting: threading.Thread | None = None
        self._thread: threading.Thread | None = None
        self.instance = b""
        self.start()

    # --- life ---

    def start(self) -> None:
        """Listen, again on the same port."""
        self.instance = os.urandom(8)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen()
        self._port = listener.getsockname()[1]
        self._listener = listener
        self._thread = threading.Thread(target=self._accept, args=(listener,), name="scripted", daemon=True)
        self._thread.start()

    def stop(self, reason: str | None = None) -> None:
        """Close everything, after a Stopping with this reason where there is one."""
        listener, thread = self._listener, self._thread
        self._listener = None
        if listener is not None and thread is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join()
        self.drop(reason)

    def close(self) -> None:
        """End it for good."""
        if self._restarting is not None:
            self._restarting.join()
        self.stop()

    def drop(self, reason: str | None = None) -> None:
        """Close all connections and go on listening."""
        with self.lock:
            connections = list(self.connections)
            for connection in connections:
                with contextlib.suppress(OSError):
                    if reason is not None:
                        connection.send(messages.Stopping(reason))
                connection.close()
        for connection in connections:
            if isinstance(connection, Connection) and connection.thread is not threading.current_thread():
                connection.thread.join()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self.lock:
                    self.accepted += 1
                    self.connections.append(Connection(self, sock))

    def dial(
        self, endpoint: Endpoint | None = None, key: Any = None, *, timeout: float = 5.0, start_timeout: float = 0.0
    ) -> PlainLink:
        """Connect to it, whatever the endpoint: what a client takes as its `dial`."""
        del key, start_timeout
        try:
            sock = socket.create_connection(("127.0.0.1", self._port), timeout)
        except OSError as error:
            raise OrchaConnectionError(str(error)) from None
        if sock.getsockname() == sock.getpeername():
            sock.close()
            raise OrchaConnectionError("connected to itself")
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return PlainLink(sock, self.instance, endpoint or Endpoint("127.0.0.1", self._port))

    def fault_due(self, kind: str) -> bool:
        """Count an event; tell whether the connection is to break at it."""
        count = self._events.get(kind, 0)
        self._events[kind] = count + 1
        if self.fault is None or (self.fault.kind, self.fault.at) != (kind, count):
            return False
        self.fault_happened = True
        if self.fault.crash:
            self._restarting = threading.Thread(target=self._restart, name="scripted")
            self._restarting.start()
        return True

    def _restart(self) -> None:
        """Crash and return."""
        self.stop()
        self.start()

    # --- what it says ---

    def answers(
        self, connection: Connection | PeerConnection, message: messages.ClientMessage
    ) -> list[messages.ServiceMessage]:
        """Do what a message asks for; give the answers."""
        if self.mute:
            return []
        answer = self._verbs[type(message)](connection, message)
        return answer if isinstance(answer, list) else [answer]

    def _unfollow(self, connection: Connection | PeerConnection, message: Any) -> list[messages.ServiceMessage]:
        connection.followers.pop(message.channel, None)
        return []

    def _credit(
        self, connection: Connection | PeerConnection, message: messages.Credit
    ) -> list[messages.ServiceMessage]:
        if message.channel in connection.followers:
            connection.followers[message.channel].credit += message.size
        return []

    def _cancel(self, connection: Connection | PeerConnection, message: messages.Cancel) -> messages.Reply:
        del connection
        self.cancelled.append(message.token or message.id or "")
        self._end_cancelled(message.token)
        return messages.Reply(message.request, Verdict.OK, values.encode("cancelled"))

    def _call(self, connection: Connection | PeerConnection, message: messages.Call) -> messages.Reply:
        del connection
        result = self.functions[message.name](*values.decode(message.args), **values.decode(message.kwargs))
        return messages.Reply(message.request, Verdict.OK, values.encode(result))

    def _submit(
        self, connection: Connection | PeerConnection, message: messages.Submit
    ) -> list[messages.ServiceMessage]:
        results = []
        for position, item in enumerate(message.items):
            refused = self.verdict(item)
            if refused is not None:
                results.append(Result(position, refused[0], None, refused[1]))
                continue
            channel = item.channel or item.token
            known = item.token in self.tokens
            if not known:
                self.channel_of[item.token] = channel
                self.tokens[item.token] = seq = len(self.tokens) + 1
                self.channels.setdefault(channel, [])
                self.append(channel, seq, self.script(item))
            if message.credit and channel not in connection.followers:
                connection.followers[channel] = Follower(0, message.credit)
            verdict = Verdict.KNOWN if known else Verdict.ACCEPTED
            results.append(Result(position, verdict, None if item.channel else channel))
        return [messages.Submitted(message.request, results)]

    def _follow(
        self, connection: Connection | PeerConnection, message: messages.Follow
    ) -> list[messages.ServiceMessage]:
        records = self.channels.get(message.channel)
        if records is None:
            return [messages.Gone(message.channel, "the service knows no such channel")]
        connection.followers[message.channel] = Follower(min(message.index, len(records)), message.credit)
        if message.index > len(records):
            return [messages.Reset(message.channel, len(records))]
        return []

    def _end_cancelled(self, token: bytes | None) -> None:
        seq = self.tokens.get(token or b"")
        if token is None or seq is None:
            return
        log = self.channels[self.channel_of[token]]
        if not any(record.kind == Kind.FINAL and record.seq == seq for record in log):
            self.append(self.channel_of[token], seq, [130])

    def _put(self, message: messages.Put) -> int:
        last = self.writers.get(message.writer, 0)
        if (message.seq, message.attempt) in self.over:
            return Verdict.GONE
        if message.number > last + 1:
            return Verdict.DENIED
        if message.number == last + 1:
            self.writers[message.writer] = message.number
            log = self.channels.setdefault(message.channel, [])
            log.extend(ChannelRecord(Kind.VALUE, message.seq, payload) for payload in message.values)
        return Verdict.OK

    def _finish(self, message: messages.Finish) -> int:
        if (message.seq, message.attempt) in self.over:
            return Verdict.GONE
        self.over.add((message.seq, message.attempt))
        log = self.channels.setdefault(message.channel, [])
        log.append(ChannelRecord(Kind.FINAL, message.seq, values.encode(message.value)))
        return Verdict.OK

    # --- channels ---

    def append(self, channel: bytes, seq: int, items: Sequence[Any] | None) -> None:
        """Add values to a channel, the last of which is final where it is None or an int."""
        if items is None:
            return
        log = self.channels.setdefault(channel, [])
        for item in items:
            kind = Kind.FINAL if item is None or isinstance(item, int) else Kind.VALUE
            log.append(ChannelRecord(kind, seq, values.encode(item)))

    def put(self, channel: bytes, *items: Any, seq: int = 1) -> None:
        """Add values to a channel and send them to its followers."""
        with self.lock, contextlib.suppress(OSError):
            self.append(channel, seq, items)
            self.deliver()

    def values_of(self, channel: bytes) -> list[Any]:
        """Give what a channel holds."""
        with self.lock:
            return [values.decode(record.payload) for record in self.channels.get(channel, [])]

    def send(self, message: messages.ServiceMessage) -> None:
        """Send a message on every connection."""
        with self.lock:
            for connection in self.connections:
                connection.send(message)

    def deliver(self) -> None:
        """Send followers what they have room for."""
        for connection in list(self.connections):
            for channel, follower in list(connection.followers.items()):
                log = self.channels.get(channel, [])
                while follower.credit > 0 and follower.next < len(log):
                    records = log[follower.next : follower.next + self.chunk]
                    index = follower.next
                    follower.next += len(records)
                    follower.credit -= len(msgspec.msgpack.encode(records))
                    connection.send(messages.Data(channel, index, records))


class PeerConnection:
    """A connection that came in by the real door."""

    def __init__(self, server: Server, peer: Peer) -> None:
        self.server = server
        self.peer = peer
        self.followers: dict[bytes, Follower] = {}

    def send(self, message: messages.ServiceMessage) -> None:
        self.server.send([(self.peer, encode(message))])

    def close(self) -> None:
        self.server.close_peer(self.peer)


class ServedService(ScriptedService):
    """The same behind the real server: for the real `dial`, hence for other processes."""

    def __init__(self, folder: str, capability: bytes = b"", **kwargs: Any) -> None:
        self.endpoint = Endpoint("127.0.0.1", free_port(), folder)
        self.capability = capability
        self.peers: dict[int, PeerConnection] = {}
        self.identities: list[str] = []
        super().__init__(**kwargs)

    def start(self) -> None:
        settings = ServerSettings(self.endpoint, make_key(), capability=lambda seq, attempt: self.capability or None)
        self.server = Server(settings, self._on_message, self._on_close)
        self.server.start()

    def stop(self, reason: str | None = None) -> None:
        del reason
        self.server.stop(0.5)

    def _on_message(self, peer: Peer, message: messages.ClientMessage) -> None:
        with self.lock:
            connection = self.peers.get(peer.id)
            if connection is None:
                self.identities.append(peer.identity)
                connection = self.peers[peer.id] = PeerConnection(self.server, peer)
                self.connections.append(connection)
            self.received.append(message)
            answers = self.answers(connection, message)
            if self.fault_due("unanswered"):
                connection.close()
                return
            for answer in answers:
                connection.send(answer)
            self.deliver()

    def _on_close(self, peer: Peer) -> None:
        with self.lock:
            connection = self.peers.pop(peer.id, None)
            if connection is not None:
                self.connections.remove(connection)
