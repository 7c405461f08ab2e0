"""Frames between the service and a shim, and between the service and the supervisor.

A frame is two lengths (u32, big-endian: of all that follows them, and of the head), a head in JSON, then raw bytes. The
head is an object; its key `t` names the message.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple, TypeAlias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orcha._supervisor.contract import Spec

VERSIONS = (1, 1)
"""The oldest and the newest version of the protocol that this build speaks."""
LARGEST_FRAME = 16 << 20

Head: TypeAlias = dict[str, Any]

_MOST = 1 << 62
_NUMBERS = {
    "umask": 0o777,
    "stop_signal": 64,
    "grace": _MOST,
    "timeout": _MOST,
    "idle_timeout": _MOST,
    "cpu_timeout": _MOST,
    "memory": _MOST,
    "pids": _MOST,
    "cpu_share": _MOST,
    "output_limit": _MOST,
}
"""What of a specification is a number, and the largest."""
_NEVER_NONE = frozenset({"stop_signal", "grace", "output_limit", "output_policy", "outlives"})

_LENGTHS = struct.Struct("!II")
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode


class ProtocolError(Exception):
    """The other side does not speak this protocol."""


class Frame(NamedTuple):
    """One message."""

    head: Head
    raw: bytes


class Codec(NamedTuple):
    """What makes a head's bytes, and a head of bytes (ValueError for what is none)."""

    encode: Callable[[Head], bytes]
    decode: Callable[[bytes], Any]


STANDARD = Codec(lambda head: _encode(head).encode("ascii"), lambda text: _decode(text.decode("utf-8")))
"""The standard library's, which is all that a shim has."""


def encode(head: Head, raw: bytes = b"", codec: Codec = STANDARD) -> bytes:
    """Make the bytes of one message."""
    text = codec.encode(head)
    return b"".join((_LENGTHS.pack(len(text) + len(raw), len(text)), text, raw))


class Decoder:
    """Makes messages of what arrives, however it is cut."""

    def __init__(self, codec: Codec = STANDARD) -> None:
        """Start between two messages."""
        self._buffer = bytearray()
        self._decode = codec.decode

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes, give the messages that are complete; raises ProtocolError."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 8:
            length, head = _LENGTHS.unpack_from(buffer)
            if length > LARGEST_FRAME or head > length:
                raise ProtocolError(f"a frame of {length} bytes with a head of {head}")
            if len(buffer) < 8 + length:
                return
            frame = Frame(self._head(bytes(buffer[8 : 8 + head])), bytes(buffer[8 + head : 8 + length]))
            del buffer[: 8 + length]
            yield frame

    def _head(self, text: bytes) -> Head:
        try:
            head = self._decode(text)
        except ValueError as error:
            raise ProtocolError(f"a head that is no JSON: {error}") from error
        if not isinstance(head, dict) or not isinstance(head.get("t"), str):
            raise ProtocolError("a head that is no object with a `t`")
        return head


def common_version(theirs: object) -> int:
    """Give the newest version that both sides speak; raises ProtocolError when there is none."""
    if isinstance(theirs, list | tuple) and len(theirs) == 2:
        newest, oldest = min(VERSIONS[1], theirs[1]), max(VERSIONS[0], theirs[0])
        if newest >= oldest:
            return int(newest)
    raise ProtocolError(f"it speaks the versions {theirs}, this one {VERSIONS}")


def pack_spec(spec: Spec) -> Head:
    """Make a specification's object; arguments that are no UTF-8 travel as surrogates."""
    found = spec._asdict()
    found["channel"] = spec.channel.hex()
    found["argv"] = [one if isinstance(one, str) else one.decode("utf-8", "surrogateescape") for one in spec.argv]
    return found


def unpack_spec(found: Head) -> Spec:
    """Give the specification of such an object; what a newer service added is left out. Raises ValueError."""
    from orcha._supervisor.contract import Spec

    for name, most in _NUMBERS.items():
        value = found.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= most):
            raise ValueError(f"{name} is {value!r}")
    known = {name: found[name] for name in Spec._fields if name in found}
    known["channel"] = bytes.fromhex(known["channel"])
    known["argv"] = tuple(known["argv"])
    known["tty"] = tuple(known["tty"]) if known.get("tty") else None
    known = {name: value for name, value in known.items() if value is not None or name not in _NEVER_NONE}
    return Spec(**known)
