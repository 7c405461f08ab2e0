"""One end of a connection between the service and a shim, or the supervisor; no call waits for the other end.

What travels are frames. A frame has two lengths (u32, big-endian: of the rest of the frame, and of the head), then a
head in JSON, then raw bytes. The head is an object; its key `t` names the message.
"""

from __future__ import annotations

import json
import os
import socket
import struct

from orcha.utils.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

MAX_FRAME_BYTES = 16 << 20
Head: TypeAlias = "dict[str, Any]"

_RECEIVE_BYTES = 1 << 16
_LENGTHS = struct.Struct("!II")
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode
_CREDENTIALS = struct.Struct("iII")


class ProtocolError(Exception):
    """The other side does not speak this protocol."""


class Frame(NamedTuple):
    """One message."""

    head: Head
    raw: bytes


class Codec(NamedTuple):
    """Encodes and decodes heads; decoding raises ValueError where the bytes are no head.

    A codec that knows no lone surrogates, which stand for the bytes of an argument that is no UTF-8, raises
    UnicodeEncodeError or ValueError there: then the standard library's codec is asked.
    """

    encode: Callable[[Head], bytes]
    decode: Callable[[bytes], Any]


STANDARD_CODEC = Codec(lambda head: _encode(head).encode("ascii"), lambda text: _decode(text.decode("utf-8")))
"""The codec of the standard library, which a shim uses."""


def encode(head: Head, raw: bytes = b"", codec: Codec = STANDARD_CODEC) -> bytes:
    """Make the bytes of one message."""
    try:
        text = codec.encode(head)
    except UnicodeEncodeError:
        text = STANDARD_CODEC.encode(head)
    return b"".join((_LENGTHS.pack(len(text) + len(raw), len(text)), text, raw))


class Decoder:
    """Makes messages of arriving bytes, however they are cut."""

    def __init__(self, codec: Codec = STANDARD_CODEC) -> None:
        """Begin at the start of a message."""
        self._buffer = bytearray()
        self._decode = codec.decode

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes, and yield the messages that are complete; raises ProtocolError."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 8:
            length, head = _LENGTHS.unpack_from(buffer)
            if length > MAX_FRAME_BYTES or head > length:
                raise ProtocolError(f"a frame of {length} bytes with a head of {head}")
            if len(buffer) < 8 + length:
                return
            frame = Frame(self._head(bytes(buffer[8 : 8 + head])), bytes(buffer[8 + head : 8 + length]))
            del buffer[: 8 + length]
            yield frame

    def _head(self, text: bytes) -> Head:
        try:
            head = self._decode(text)
        except ValueError:
            head = _head_with_surrogates(text)
        if not isinstance(head, dict) or not isinstance(head.get("t"), str):
            raise ProtocolError("a head that is no object with a `t`")
        return head


def _head_with_surrogates(text: bytes) -> Any:
    try:
        return STANDARD_CODEC.decode(text)
    except ValueError as error:
        raise ProtocolError(f"a head that is no JSON: {error}") from error


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
