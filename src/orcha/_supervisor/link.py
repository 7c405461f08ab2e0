"""One end of a connection between the service and a shim; no call waits for the other end."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator

from orcha._supervisor.protocol import STANDARD_CODEC, Codec, Decoder, Frame, Head, encode

_RECEIVE_BYTES = 1 << 16
_CREDENTIALS = struct.Struct("iII")


def peer_may(connection: socket.socket) -> bool:
    """Return whether the process at the other end is this user's or root's (unix(7))."""
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(content)[1]
    return uid in {0, os.getuid()}


class ShimLink:
    """A connected socket, with the bytes that wait to be sent."""

    def __init__(self, connection: socket.socket, codec: Codec = STANDARD_CODEC) -> None:
        """Take a connected socket, and the codec for the heads of messages."""
        connection.setblocking(False)
        self.descriptor = connection.fileno()
        self.is_open = True
        self.watch: Callable[..., None] | None = None
        """Called with the link and `writing` when the link begins or ceases to wait for room in the socket."""
        self._socket = connection
        self._codec = codec
        self._decoder = Decoder(codec)
        self._waiting = bytearray()
        self._held = b""

    @property
    def holds(self) -> bool:
        """Whether a message is held back."""
        return bool(self._held)

    def hold(self, head: Head, raw: bytes = b"") -> None:
        """Send a message together with the next one, or at :meth:`release`, so that the receiver wakes once."""
        self._held += encode(head, raw, self._codec)

    def release(self) -> None:
        """Send the messages that were held back."""
        data, self._held = self._held, b""
        self._send(data)

    def send(self, head: Head, raw: bytes = b"") -> None:
        """Send a message as far as the socket has room; :meth:`flush` sends the rest."""
        data, self._held = self._held + encode(head, raw, self._codec), b""
        self._send(data)

    def _send(self, data: bytes) -> None:
        if self._waiting:
            self._waiting += data
            return
        done = self._push(data)
        if done < len(data) and self.is_open:
            self._waiting += memoryview(data)[done:]
            if self.watch is not None:
                self.watch(self, writing=True)

    def flush(self) -> None:
        """Send waiting bytes; called when the socket has room."""
        del self._waiting[: self._push(self._waiting)]
        if not self._waiting and self.watch is not None:
            self.watch(self, writing=False)

    def receive(self) -> Iterator[Frame]:
        """Yield the messages that have arrived; `is_open` is False after the last one. Raises ProtocolError."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.is_open = False
            return
        yield from self._decoder.feed(data)

    def close(self) -> None:
        """Close the socket."""
        self.is_open = False
        self._socket.close()

    def _push(self, data: bytes | bytearray) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # the reader sees the end
            return 0
