"""How the server reads, writes and closes one connection: bytes to messages and back, on the loop thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any, cast

from orcha._protocol.frames import (
    MAX_FRAME_BYTES,
    MAX_FRAME_BYTES_BEFORE_AUTHENTICATION,
    Body,
    FrameError,
    FrameReader,
    decode_client_message,
    encode,
    frame,
)
from orcha._protocol.handshake import TLS, TRANSPORTS, HandshakeError, NotAdmittedError, ServerHandshake
from orcha._protocol.messages import Error, Finish, List, Put, Reply, Show, Stats, Verdict
from orcha._protocol.scram import NO_ROOM
from orcha._protocol.socket_ends import is_gone
from orcha._protocol.tls import TlsSession
from orcha._server.client_login import CERTIFICATE
from orcha._server.direct_writer import DirectWriter
from orcha._server.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from orcha._protocol.client_certificates import ClientCertificate
    from orcha._protocol.handshake import Credentials
    from orcha._protocol.messages import ClientMessage, ServiceMessage
    from orcha._server.connection_table import ConnectionTable

_LINGER_SECONDS = 1.0
"""How long the client may take to take the last frames."""
_CLOCK_SECONDS = 60.0
"""Seconds between looks at a time by the wall clock, since that clock may be set."""
_QUERIES = frozenset((List, Show, Stats))
"""Messages of a few bytes whose answers are large, and which the service answers at once."""


class ClientConnection(asyncio.Protocol):
    """A client's connection, from its first byte on."""

    def __init__(
        self,
        table: ConnectionTable,
        transport_kind: int,
        *,
        sock: socket.socket | None = None,
        credentials: Credentials | None = None,
        reached_as: Container[str] | None = None,
        uid: Callable[[], int | None] | None = None,
    ) -> None:
        self.direct = DirectWriter(sock)
        self.peer: Peer | None = None
        self._table = table
        self._kind = transport_kind
        self.credentials = credentials
        self._reached_as = reached_as
        self._uid = uid
        self._reader = FrameReader(MAX_FRAME_BYTES_BEFORE_AUTHENTICATION)
        assert transport_kind != TLS or table.tls is not None
        self._server_tls = table.tls if transport_kind == TLS else None
        """The certificate that this client is shown: another one may take its place while the handshake goes on."""
        self._tls = None if self._server_tls is None else TlsSession(self._server_tls.context, server=True)
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
        self._refusal: bytes | None = None
        """The answer to a wrong proof, which waits for its time."""
        self._deadline = table.loop.call_later(table.limits.handshake_deadline, self._end_handshake)

    @property
    def host(self) -> str:
        """The address of the client's machine, where it came over TCP; else empty."""
        if self._kind != TLS or self._transport is None:
            return ""
        found = self._transport.get_extra_info("peername")
        return str(found[0]) if found else ""

    @property
    def authority_counts(self) -> bool:
        """Whether the authority that vouched for the client's certificate is the one that counts now."""
        tls, now = self._server_tls, self._table.tls
        return tls is not None and now is not None and tls.client_ca == now.client_ca

    def is_gone(self, seconds: float) -> bool:
        """Tell whether the client's machine was sent something, and has acknowledged nothing for `seconds`."""
        if self._kind != TLS or self._transport is None:
            return False
        return is_gone(self._transport.get_extra_info("socket"), seconds)

    # --- what the loop calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        self._transport = cast("asyncio.Transport", transport)
        if self._closed:
            self._transport.abort()
            return
        high = self._table.limits.pause_backlog
        self._transport.set_write_buffer_limits(high=high, low=high // 4)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and act on the messages that are complete now."""
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
        """Act on bytes or messages; end the connection where they are wrong."""
        try:
            act(what)
        except FrameError as error:
            self._fail(str(error))
        except ssl.SSLError as error:
            self._note_tls(error)
            self.abort()
        except HandshakeError:
            self.abort()
        except NotAdmittedError as refused:
            self._refuse(refused)

    def pause_writing(self) -> None:
        """Read no more from a client that does not read its answers."""
        self._takes_nothing = True
        self._pause_reading()

    def resume_writing(self) -> None:
        """Read on."""
        self._takes_nothing = False
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        """End: the transport is closed."""
        self._closed = True
        self._held = []
        self.direct.close()
        self._deadline.cancel()
        self._table.leave(self)
        if self.peer is not None:
            self._table.on_close(self.peer)

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
                if self._has_asked or self._takes_nothing or self.backlog > self._table.limits.pause_backlog:
                    self._held = bodies[position:]
                    self._pause_reading()
                    if not self._has_asked:  # also where another thread has answered before it could see `_held`
                        self._table.loop.call_soon(self._read_on)
                    return
                self._has_asked = True
            if self.peer.attempt is not None and not self._permits(self.peer.attempt, message):
                continue
            try:
                self._table.on_message(self.peer, message)
            except Exception as error:  # noqa: BLE001 - what fails for one client must not end the service for all
                self._table.report(f"{type(message).__name__} of {self.peer!r} failed", error)
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
        table = self._table
        if self._handshake is None:
            self._handshake = ServerHandshake(
                table.door,
                self._kind,
                credentials=self.credentials,
                certificate_hash=b"" if self._server_tls is None else self._server_tls.certificate_hash,
                reached_as=self._reached_as,
                uid=self._uid,
                certificate=self._client_certificate,
            )
        answer = self._handshake.receive(body, table.status(self._handshake.user))
        admission = self._handshake.admission
        if admission is not None and table.is_full_of(admission.identity):
            raise self._handshake.refuse_for_room("as many connections as one user may have", frame(NO_ROOM))
        if admission is not None and self._tls is None:
            self.direct.open()
        self.write(answer)
        if admission is not None:
            self._deadline.cancel()
            self._reader.limit = MAX_FRAME_BYTES
            self.peer = Peer(self, admission, TRANSPORTS[self._kind])
            table.authenticated(self, self.peer)
            self._handshake = None

    def _client_certificate(self) -> ClientCertificate | None:
        """Give the certificate that the client has shown, and for which the authority of the service vouches."""
        shown = None if self._tls is None else self._tls.verified_certificate()
        if shown is None:
            return None
        if not self.authority_counts:
            raise HandshakeError("a certificate that another authority has to vouch for by now")
        from orcha._protocol.client_certificates import read_certificate

        try:
            return read_certificate(shown)
        except ValueError:
            raise HandshakeError("a client's certificate that cannot be read") from None

    def _permits(self, attempt: tuple[int, int], message: ClientMessage) -> bool:
        """Tell whether an attempt may send this message; else tell the attempt that it may not."""
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
        """Write frames, on the loop thread; cut off a client that has let too much lie."""
        if self._closed:
            return
        if self._tls is not None:
            try:
                self._tls.wrap(data)
            except ssl.SSLError:  # the client has ended TLS, though not yet the connection
                self.abort()
                return
            data = self._tls.outgoing()
        self._put(data)

    def send(self, data: bytes) -> None:
        """Send frames to an authenticated client, from any thread; cut off a client that has let too much lie."""
        if (self._backlog or self.direct.waiting) and self.backlog > self._table.limits.max_backlog:
            self._cut_off()
            return
        self.direct.send(data, self._hand_over)
        if self._has_asked:
            self._has_asked = False
            if self._held:  # the loop thread looks in the opposite order
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._table.loop.call_soon_threadsafe(self._read_on)

    def _hand_over(self, data: bytes) -> None:
        assert self.peer is not None
        self._table.writer.write(self.peer, data)

    def _cut_off(self) -> None:
        assert self.peer is not None
        if not self.peer.is_lost:
            self.peer.is_lost = True
            self._table.loop.call_soon_threadsafe(self.abort)

    def close_after_writing(self) -> None:
        """Close when everything that was sent has been written; from any thread."""
        assert self.peer is not None
        self.direct.retire()
        self._table.writer.close(self.peer)

    def _say(self, message: ServiceMessage) -> None:
        """Send a message that the loop thread made, behind the frames on their way."""
        self.send(encode(message))

    def _put(self, data: bytes) -> None:
        assert self._transport is not None
        self.direct.pause()
        self._transport.write(data)
        self._backlog = self._transport.get_write_buffer_size()
        if not self._backlog:
            self.direct.resume()
        if self._backlog > self._table.limits.max_backlog:
            self.abort()

    @property
    def backlog(self) -> int:
        """Bytes that the client has not taken, or that the loop has not written; from any thread."""
        if self._transport is None or self._closed:
            return 0
        try:
            written = self._transport.get_write_buffer_size()
        except RuntimeError:  # the loop thread changed the buffer while it was counted
            written = self._backlog
        return written + self.direct.waiting

    # --- ending -----------------------------------------------------------------------------------------------------

    def _fail(self, reason: str) -> None:
        """Tell the client what was wrong with its bytes, and close."""
        if self.peer is None:
            self.abort()
        else:
            self._deaf = True
            self._say(Error(reason))
            self.close_after_writing()

    def turn_out(self, reason: str) -> None:
        """Tell an authenticated client why its connection ends, and close; on the loop thread."""
        self._fail(reason)

    def _refuse(self, refused: NotAdmittedError) -> None:
        assert self._transport is not None
        handshake = self._handshake
        if handshake is not None and handshake.has_certificate:
            self._table.note_refused(self, refused.key, str(refused), CERTIFICATE)
        elif handshake is not None and (handshake.claimed is not None or handshake.admission):
            self._table.note_refused(self, handshake.claimed or "", str(refused))
        if not refused.late:
            self._answer(refused.answer)
            return
        self._transport.pause_reading()
        self._refusal = refused.answer
        self._table.loop.call_later(self._table.limits.refusal_delay, self._answer, refused.answer)

    def _end_handshake(self) -> None:
        """End the connection of a client that took too long; a client that has sent a wrong proof is told so."""
        if self._refusal is None:
            self.abort()
        else:
            self._answer(self._refusal)

    def _note_tls(self, error: ssl.SSLError) -> None:
        """Note that a client was refused since its certificate is not what the service asks for."""
        reason = getattr(error, "verify_message", "") if error.reason == "CERTIFICATE_VERIFY_FAILED" else ""
        if reason:
            self._table.note_refused(self, "", f"its certificate is not taken: {reason}", CERTIFICATE)

    def end_at(self, end: float) -> None:
        """Close at a time on the wall clock, from which on the client's certificate is not valid any more."""
        left = end - self._table.door.clock()
        if left <= 0:
            assert self.peer is not None
            self.peer.is_lost = True
            self.abort()
        else:
            self._deadline = self._table.loop.call_later(min(left, _CLOCK_SECONDS), self.end_at, end)

    def _answer(self, data: bytes) -> None:
        self.write(data)
        self.close()

    def close(self, linger: float = _LINGER_SECONDS) -> None:
        """Close when the client has taken what was sent, or after `linger` seconds; on the loop thread."""
        if self._closed:
            return
        self._closed = True
        self._deadline.cancel()
        if self._transport is not None:
            self._transport.close()
            self._deadline = self._table.loop.call_later(linger, self._transport.abort)

    def abort(self) -> None:
        """Close now; on the loop thread."""
        self._closed = True
        self._deadline.cancel()
        self._table.unauthenticated.discard(self)
        if self._transport is not None:
            self._transport.abort()
