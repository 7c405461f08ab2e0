"""Values: what extras and channels carry, to bytes and back. The bytes are described in docs/wire.md.

A value is None, a bool, int, float, str, bytes, datetime, UUID or Path, a list, tuple, set or dict of values, or a
channel. They are encoded once by who writes them, kept and passed on as bytes, and decoded by who reads them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from orcha._protocol import wire_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

register = wire_types.register

_SCALARS = frozenset((type(None), bool, int, float, str, bytes))
_TEXT = frozenset((str,))


def encode(value: Any, path: str = "extras") -> bytes:
    r"""Give the bytes of a value.

    Subclasses of the types that a value may have arrive as those types. An enum's member arrives as its value and a
    dataclass's instance as a dict, unless the class is registered on both sides (`register`).

    Raises TypeError for anything else, ValueError for a lone surrogate and for more than 32 containers inside
    one another; both name the place, which begins with `path`.

    >>> encode({"counter": 3})
    b'\x81\xa7counter\x03'
    """
    codec = _codec or _load_codec()
    kind = type(value)
    if kind in _SCALARS or (
        kind is dict and _TEXT.issuperset(map(type, value)) and _SCALARS.issuperset(map(type, value.values()))
    ):
        try:
            return codec.encode(value)
        except (OverflowError, ValueError):
            pass  # a big int is said in another way; what is wrong is found, with its place, on the long way
    return codec.encode(codec.prepare(value, path))


def decode(data: bytes | memoryview, channel: Callable[[bytes], Any] | None = None) -> Any:
    r"""Give the value back.

    For each channel in it `channel` is called with its id of 16 bytes, and what it gives stands in its place. Raises
    ValueError where these are not the bytes of a value, or hold a channel and `channel` is None.

    >>> decode(b'\x81\xa7counter\x03')
    {'counter': 3}
    """
    codec = _codec or _load_codec()
    return codec.decode(data, channel)


class _Codec(NamedTuple):
    """What stands between values and bytes."""

    encode: Callable[[Any], bytes]
    prepare: Callable[[Any, str], Any]
    decode: Callable[[bytes | memoryview, Callable[[bytes], Any] | None], Any]


_codec: _Codec | None = None


def _load_codec() -> _Codec:
    """Make the codec at its first use: its import costs a client more than the connecting."""
    global _codec  # noqa: PLW0603 - made once, and any thread's is as good as another's
    from orcha._protocol import value_reader, value_writer

    _codec = _Codec(value_writer.pack, value_writer.prepare, value_reader.decode)
    return _codec
