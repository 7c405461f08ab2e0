"""Frames divide a stream of bytes into messages.

A frame is its body's length as four bytes, most significant first, then the body. Before authentication a body is a
part of the handshake (`handshake.py`), afterwards one message (`messages.py`) as msgpack.
"""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._protocol.messages import ClientMessage, ServiceMessage

Body = bytes | memoryview
"""A frame's body; a memoryview lends the bytes that were fed to the reader."""

HEADER_BYTES = 4
"""Bytes of a frame's header."""
MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Bytes of a frame's body after authentication."""
MAX_FRAME_BYTES_BEFORE_AUTHENTICATION = 64 * 1024
"""Bytes of a frame's body before it."""


class FrameError(ValueError):
    """Bytes are no frame or no message of this protocol, or a message does not fit: close the connection."""


def frame(body: Body) -> bytes:
    r"""Put the header before a body.

    >>> frame(b"abc")
    b'\x00\x00\x00\x03abc'
    """
    return b"".join((len(body).to_bytes(HEADER_BYTES, "big"), body))


def encode(message: ClientMessage | ServiceMessage) -> bytes:
    """Give the whole frame of a message.

    Raises FrameError where the frame is longer than MAX_FRAME_BYTES, or the message holds a value that msgpack has no
    form for (an int beyond 64 bits, a lone surrogate).
    """
    codec = _codec or _load_codec()
    try:
        body = codec.encode(message)
    except (OverflowError, ValueError) as error:
        raise FrameError(f"{type(message).__name__} cannot be sent: {error}") from None
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"{type(message).__name__} of {len(body)} bytes is longer than a frame's {MAX_FRAME_BYTES}")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def decode_client_message(body: Body) -> ClientMessage:
    """Read a client's message; raises FrameError for other bytes."""
    codec = _codec or _load_codec()
    try:
        return codec.decode_client(body)
    except codec.errors as error:
        raise FrameError(f"no message of a client: {error}") from None


def decode_service_message(body: Body) -> ServiceMessage:
    """Read a service's message; raises FrameError for other bytes."""
    codec = _codec or _load_codec()
    try:
        return codec.decode_service(body)
    except codec.errors as error:
        raise FrameError(f"no message of a service: {error}") from None


class _Codec(NamedTuple):
    """Turns messages into bodies and back."""

    encode: Callable[[ClientMessage | ServiceMessage], bytes]
    decode_client: Callable[[Body], ClientMessage]
    decode_service: Callable[[Body], ServiceMessage]
    errors: tuple[type[Exception], ...]


_codec: _Codec | None = None


def _load_codec() -> _Codec:
    """Have the codec at its first use; of several threads one makes it, and the others wait for the import."""
    global _codec  # noqa: PLW0603 - set once, and by whichever thread to the same functions
    from orcha._protocol import codec

    _codec = _Codec(codec.encode, codec.decode_client, codec.decode_service, codec.ERRORS)
    return _codec


class FrameReader:
    """Divides the bytes of one direction of a connection into the bodies of its frames.

    Holds at most one unfinished frame: `limit` bytes and the bytes of one `feed`. The limit may be raised at any time.

    Example::

        reader = FrameReader(MAX_FRAME_BYTES)
        for body in reader.feed(sock.recv(65536)):
            message = decode_service_message(body)
    """

    __slots__ = ("_kept", "_need", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept = bytearray()
        self._need = HEADER_BYTES

    @property
    def kept(self) -> int:
        """Bytes held of an incomplete frame."""
        return len(self._kept)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Body]:
        """Take the next bytes; give the bodies that are complete now.

        A body may be a view of `data`, so do not change `data` while it is in use. Raises FrameError for a frame of no
        bytes or of more than `limit`, as soon as the length is known; do not use the reader after that.
        """
        kept = self._kept
        if kept:
            kept += data
            if len(kept) < self._need:
                return []
            data = bytes(kept)
            self._kept = kept = bytearray()
        bodies: list[Body] = []
        view = memoryview(data)
        at, end = 0, len(data)
        while end - at >= HEADER_BYTES:
            length = int.from_bytes(view[at : at + HEADER_BYTES], "big")
            if not 0 < length <= self.limit:
                raise FrameError(f"a frame of {length} bytes, where 1 to {self.limit} are allowed")
            stop = at + HEADER_BYTES + length
            if stop > end:
                self._need = stop - at
                break
            bodies.append(view[at + HEADER_BYTES : stop])
            at = stop
        else:
            self._need = HEADER_BYTES
        if at < end:
            kept += view[at:]
        return bodies
