"""One connection to the service, on the loop thread: bytes in, messages out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any, cast

from orcha._protocol.frames import (
    MAX_FRAME,
    MAX_FRAME_BEFORE_AUTHENTICATION,
    Body,
    FrameError,
    FrameReader,
    decode_client_message,
    encode,
)
from orcha._protocol.handshake import TLS, TRANSPORTS, HandshakeError, RefusedError, ServerHandshake
from orcha._protocol.messages import Error, Finish, List, Put, Reply, Show, Stats, Verdict
from orcha._protocol.tls import ServerTls, TlsSession
from orcha._server.direct_writer import Shortcut
from orcha._server.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from orcha._protocol.handshake import Credentials, Door
    from orcha._protocol.messages import ClientMessage, ServiceMessage
    from orcha._server.limits import Limits

_LINGER = 1.0
"""Seconds that a last word may take to be taken."""
_QUERIES = frozenset((List, Show, Stats))
"""Messages of a few bytes whose answers are large, and which the service answers at once."""


class Hall:
    """What all connections of a server share, on the loop thread."""

    def __init__(  # noqa: PLR0913 - each by its name, in one place
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        door: Door,
        tls: ServerTls | None,
        limits: Limits,
        on_message: Callable[[Peer, ClientMessage], None],
        on_close: Callable[[Peer], None],
        report: Callable[[str, BaseException | None], None],
        status: Callable[[], int],
        enqueue: Callable[[Iterable[tuple[Peer, bytes | None]]], None],
        on_other: Callable[[Peer], None],
    ) -> None:
        self.loop = loop
        self.door = door
        self.tls = tls
        self.limits = limits
        self.on_message = on_message
        self.on_close = on_close
        self.report = report
        self.status = status
        """Gives what a hello is answered with now."""
        self.enqueue = enqueue
        """Has frames written by the loop, in order; None in place of a frame closes after them."""
        self.on_other = on_other
        """Told of each client of another user that comes in by the key."""
        self.strangers: dict[Connection, None] = {}
        """Connections before authentication, oldest first."""
        self.connections: dict[Connection, int] = {}
        """All connections with their descriptors."""
        self.on_empty: Callable[[], None] | None = None

    def enter(self, connection: Connection, descriptor: int) -> None:
        """Let a connection in as a stranger; where there are too many, the oldest yields."""
        self.connections[connection] = descriptor
        self.strangers[connection] = None
        if len(self.strangers) > self.limits.strangers:
            next(iter(self.strangers)).abort()

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is over."""
        self.strangers.pop(connection, None)
        self.connections.pop(connection, None)
        if not self.connections and self.on_empty is not None:
            self.on_empty()


class Connection(asyncio.Protocol):
    """A client's connection, from its first byte on."""

    def __init__(
        self,
        hall: Hall,
        transport_kind: int,
        *,
        sock: socket.socket | None = None,
        credentials: Credentials | None = None,
        reached_as: Container[str] | None = None,
        uid: Callable[[], int | None] | None = None,
    ) -> None:
        self.shortcut = Shortcut(sock)
        self.peer: Peer | None = None
        self._hall = hall
        self._kind = transport_kind
        self._credentials = credentials
        self._reached_as = reached_as
        self._uid = uid
        self._reader = FrameReader(MAX_FRAME_BEFORE_AUTHENTICATION)
        self._tls = self._session()
        self._handshake: ServerHandshake | None = None
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._deaf = False
        self._has_asked = False
        """A query was handed on, and nothing was sent since."""
        self._held: list[Body] = []
        """Messages that wait until the query before them is answered."""
        self._takes_nothing = False
        """The client has let much lie: it is read no more until it takes that."""
        self._backlog = 0
        self.is_lost = False
        """It has let too much lie, and is being cut off."""
        self._deadline = hall.loop.call_later(hall.limits.handshake_deadline, self.abort)

    def _session(self) -> TlsSession | None:
        if self._kind != TLS:
            return None
        assert self._hall.tls is not None
        return TlsSession(self._hall.tls.context, server=True)

    # --- what the loop calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        if self._closed:
            self._transport.abort()
            return
        high = self._hall.limits.pause_backlog
        self._transport.set_write_buffer_limits(high=high, low=high // 4)

    def data_received(self, data: bytes) -> None:
        """Take bytes, act on the messages that are complete now."""
        if self._deaf:
            return
        if self._tls is None:
            self._act(self._receive, data)
        else:
            self._act(self._receive_tls, data)

    def _receive_tls(self, data: bytes) -> None:
        assert self._tls is not None
        for part in self._decrypt(self._tls, data):
            self._receive(part)

    def _act(self, act: Callable[[Any], None], what: Any) -> None:
        """Act on what came; where that is wrong, end the connection."""
        try:
            act(what)
        except FrameError as error:
            self._fail(str(error))
        except (HandshakeError, ssl.SSLError):
            self.abort()
        except RefusedError as refused:
            self._refuse(refused)

    def pause_writing(self) -> None:
        """Read no more of a client that does not take what it is sent."""
        self._takes_nothing = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._takes_nothing = False
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """Be over."""
        self._closed = True
        self._held = []
        self.shortcut.close()
        self._deadline.cancel()
        self._hall.leave(self)
        if self.peer is not None:
            self._hall.on_close(self.peer)

    # --- reading ----------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        bodies = self._reader.feed(data)
        if self._held:
            self._held += bodies
        else:
            self._take(bodies)

    def _take(self, bodies: list[Body]) -> None:
        """Hand messages on; a query, and the messages after it, wait until the query before it is answered.

        Otherwise some kilobytes of queries would cost the service as many large answers at once, and everybody else the
        time to make them.
        """
        for position, body in enumerate(bodies):
            if self._closed or self._deaf:
                return
            if self.peer is None:
                self._step(body)
                continue
            message = decode_client_message(body)
            if type(message) in _QUERIES:
                if self._has_asked or self._takes_nothing or self.backlog > self._hall.limits.pause_backlog:
                    self._held = bodies[position:]
                    self._pause_reading()
                    if not self._has_asked:  # also where another thread has answered before it could see `_held`
                        self._hall.loop.call_soon(self._read_on)
                    return
                self._has_asked = True
            if self.peer.attempt is not None and not self._permits(self.peer.attempt, message):
                continue
            try:
                self._hall.on_message(self.peer, message)
            except Exception as error:  # noqa: BLE001 - what fails for one client must not end the service for all
                self._hall.report(f"{type(message).__name__} of {self.peer!r} failed", error)
                self._fail("the service failed at this message")

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._closed:
            self._transport.pause_reading()

    def _read_on(self) -> None:
        """Hand on what was held, then read, unless a query is unanswered or the client takes nothing."""
        if self._transport is None or self._closed or self._takes_nothing:
            return
        if self._held and not self._has_asked:
            held, self._held = self._held, []
            self._act(self._take, held)
        if not self._held and not self._closed:
            self._transport.resume_reading()

    def _decrypt(self, tls: TlsSession, data: bytes) -> list[bytes]:
        try:
            said = tls.receive(data)
        finally:
            if outgoing := tls.outgoing():
                self._put(outgoing)
        if tls.ended:
            self.close()
        return said

    def _step(self, body: Body) -> None:
        """Take one step of the handshake."""
        hall = self._hall
        if self._handshake is None:
            self._handshake = ServerHandshake(
                hall.door,
                self._kind,
                credentials=self._credentials,
                certificate_hash=hall.tls.certificate_hash if hall.tls is not None and self._kind == TLS else b"",
                reached_as=self._reached_as,
                uid=self._uid,
            )
        answer = self._handshake.receive(body, hall.status())
        admission = self._handshake.admission
        if admission is not None and self._tls is None:
            self.shortcut.open()
        self.write(answer)
        if admission is not None:
            self._deadline.cancel()
            self._reader.limit = MAX_FRAME
            hall.strangers.pop(self, None)
            self.peer = Peer(self, admission, TRANSPORTS[self._kind])
            if admission.is_other:
                hall.on_other(self.peer)
            self._handshake = None

    def _permits(self, attempt: tuple[int, int], message: ClientMessage) -> bool:
        """Tell whether an attempt may say this; where it may not, it is told so."""
        if type(message) in (Put, Finish) and (message.seq, message.attempt) == attempt:  # type: ignore[union-attr]
            return True
        request = getattr(message, "request", None)
        if request is None:
            self._fail("an attempt may only put and finish")
        else:
            self._say(Reply(request, Verdict.DENIED, None, "an attempt may only put and finish its own"))
        return False

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send frames, unless the connection is over; ends that of one who has let too much lie."""
        if self._closed:
            return
        if self._tls is not None:
            try:
                self._tls.wrap(data)
            except ssl.SSLError:  # it has ended TLS, though not yet the connection
                self.abort()
                return
            data = self._tls.outgoing()
        self._put(data)

    def send(self, data: bytes) -> None:
        """Send frames to an authenticated client, from any thread; cut off one who has let too much lie."""
        if (self._backlog or self.shortcut.waiting) and self.backlog > self._hall.limits.max_backlog:
            if not self.is_lost:
                self.is_lost = True
                self._hall.loop.call_soon_threadsafe(self.abort)
            return
        self.shortcut.send(data, self._hand_over)
        if self._has_asked:
            self._has_asked = False
            if self._held:  # the loop thread looks in the opposite order
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._hall.loop.call_soon_threadsafe(self._read_on)

    def _hand_over(self, data: bytes) -> None:
        assert self.peer is not None
        self._hall.enqueue(((self.peer, data),))

    def _say(self, message: ServiceMessage) -> None:
        """Send a message of the loop thread's own, behind what is on its way."""
        self.send(encode(message))

    def _put(self, data: bytes) -> None:
        assert self._transport is not None
        self.shortcut.pause()
        self._transport.write(data)
        self._backlog = self._transport.get_write_buffer_size()
        if not self._backlog:
            self.shortcut.resume()
        if self._backlog > self._hall.limits.max_backlog:
            self.abort()

    @property
    def backlog(self) -> int:
        """Bytes that wait to be taken by the other side, or for the loop to write them; from any thread."""
        if self._transport is None or self._closed:
            return 0
        try:
            written = self._transport.get_write_buffer_size()
        except RuntimeError:  # the loop thread changed the buffer while it was counted
            written = self._backlog
        return written + self.shortcut.waiting

    # --- ending -----------------------------------------------------------------------------------------------------

    def _fail(self, reason: str) -> None:
        """Say what was wrong with what came, and close."""
        if self.peer is None:
            self.abort()
        else:
            self._deaf = True
            self._say(Error(reason))
            self.shortcut.retire()
            self._hall.enqueue(((self.peer, None),))

    def _refuse(self, refused: RefusedError) -> None:
        assert self._transport is not None
        if not refused.late:
            self._answer(refused.answer)
            return
        self._transport.pause_reading()
        self._hall.loop.call_later(self._hall.limits.refusal_delay, self._answer, refused.answer)

    def _answer(self, data: bytes) -> None:
        self.write(data)
        self.close()

    def close(self, linger: float = _LINGER) -> None:
        """Close when what was sent has been taken, or after `linger` seconds."""
        if self._closed:
            return
        self._closed = True
        self._deadline.cancel()
        if self._transport is not None:
            self._transport.close()
            self._deadline = self._hall.loop.call_later(linger, self._transport.abort)

    def abort(self) -> None:
        """Close now."""
        self._closed = True
        self._deadline.cancel()
        self._hall.strangers.pop(self, None)
        if self._transport is not None:
            self._transport.abort()
