"""A client's connection to the service: bytes to frames and back, with TLS where the connection needs that."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from orcha._protocol.frames import MAX_FRAME_BYTES, MAX_FRAME_BYTES_BEFORE_AUTHENTICATION, Body, FrameReader
from orcha._protocol.handshake import TRANSPORTS, ClientHandshake, ServerHello

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.relay_greeting import FarSide
    from orcha._protocol.tls import TlsSession

RECEIVE_BYTES = 256 * 1024
"""Of one recv(2)."""
CLOSED_ERRORS = (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)
"""Errors of a connection that the other end has closed."""


class ServiceConnection:
    """An authenticated connection. One thread may send while another reads; several may send."""

    far: FarSide | None = None
    """What is known of the login through which the service is reached."""

    def __init__(self, sock: socket.socket, transport: int, endpoint: Endpoint, tls: TlsSession | None = None) -> None:
        self.sock = sock
        self.endpoint = endpoint
        """Where the service was found."""
        self.transport = TRANSPORTS[transport]
        """unix, tcp, tls or ssh."""
        self.server: ServerHello | None = None
        self._tls = tls
        self._reader = FrameReader(MAX_FRAME_BYTES_BEFORE_AUTHENTICATION)
        self._early: list[Body] = []
        self._sending = threading.Lock()
        self._tls_lock = threading.Lock()

    @property
    def is_anothers(self) -> bool:
        """Whether the service is another user's, as far as the kernel knows, or on another machine."""
        if self._tls is None:
            return self.endpoint.owner is not None
        from orcha._protocol.socket_ends import owner_of_peer

        try:
            return owner_of_peer(self.sock) != os.geteuid()
        except OSError:  # the connection has just ended: the next one is asked
            return False

    @property
    def instance(self) -> bytes:
        """Which start of the service this is; a service that was started anew has another one."""
        return self._hello.instance

    @property
    def version(self) -> int:
        """The version of the protocol that both ends speak."""
        return self._hello.version

    @property
    def _hello(self) -> ServerHello:
        if self.server is None:
            raise RuntimeError("the handshake is not over")
        return self.server

    def fileno(self) -> int:
        """Give the socket's descriptor."""
        return self.sock.fileno()

    def send(self, data: bytes) -> None:
        """Send all bytes; raises OSError where that is not possible."""
        with self._sending:
            if self._tls is not None:
                with self._tls_lock:
                    self._tls.wrap(data)
                    data = self._tls.outgoing()
            self.sock.sendall(data)

    def read_frames(self) -> list[Body]:
        """Wait for frames and give their bodies, at least one; an empty list at the end of the connection.

        Raises OSError where the connection breaks, FrameError for bytes that are no frame. Where the socket has a
        time-out, TimeoutError loses nothing.
        """
        if self._early:
            bodies, self._early = self._early, []
            return bodies
        while (complete := self.read_some()) is not None:
            if complete:
                return complete
        return []

    def read_some(self) -> list[Body] | None:
        """Read once, and give the bodies of the frames that are complete; None at the end of the connection.

        Raises the errors of :meth:`read_frames`.
        """
        data = self.sock.recv(RECEIVE_BYTES)
        if not data:
            return None
        if self._tls is None:
            return self._reader.feed(data)
        bodies = [body for part in self._receive_tls(self._tls, data) for body in self._reader.feed(part)]
        return bodies if bodies or not self._tls.ended else None

    def close(self) -> None:
        """Close the connection, and wake a thread that reads from it."""
        with contextlib.suppress(OSError):  # one of the two ends has closed it already
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def abandon(self) -> None:
        """Close this process's copy of the socket: for a forked child, whose parent goes on using the connection."""
        self.sock.close()

    def handshake(self, handshake: ClientHandshake, timeout: float, *, start_timeout: float = 0.0) -> None:
        """Carry out a handshake: the service has `timeout` seconds for each answer, for the first one `start_timeout`.

        The larger of the two counts for the first answer. A service that has answered is there, so the time before
        that answer is no part of the silence after it. Raises the handshake's errors, ConnectionError where the
        connection ends, and TimeoutError.
        """
        self._say(handshake.start())
        deadline = time.monotonic() + max(timeout, start_timeout)
        while not handshake.done:
            self.sock.settimeout(time_left(deadline))
            bodies = self.read_some()
            if bodies is None:
                raise ConnectionAbortedError
            if not bodies:
                continue
            while bodies and not handshake.done:
                if data := handshake.receive(bodies.pop(0)):
                    self._say(data)
            self._early = bodies
            deadline = time.monotonic() + timeout
        self._reader.limit = MAX_FRAME_BYTES
        self.server = handshake.server
        self.sock.settimeout(None)

    def _say(self, data: bytes) -> None:
        """Send a part of the handshake; where the service has closed already, its last answer is still to be read."""
        with contextlib.suppress(*CLOSED_ERRORS):
            self.send(data)

    def _receive_tls(self, tls: TlsSession, data: bytes) -> list[bytes]:
        with self._tls_lock:
            said = tls.receive(data)
        if self._sending.acquire(blocking=False):  # else the thread that sends takes along the records of TLS itself
            try:
                with self._tls_lock:
                    data = tls.outgoing()
                if data:
                    self.sock.sendall(data)
            finally:
                self._sending.release()
        return said


def time_left(deadline: float) -> float:
    """Give the seconds until a time of the monotonic clock; raises TimeoutError where it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
