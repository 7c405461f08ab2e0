"""From bytes to values. Nothing in the bytes names code to run: instances of unknown classes arrive as dicts."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from orcha._protocol.wire_types import MAX_DEPTH, Code, class_named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    MakeChannel = Callable[[bytes], Any]

_TEXT = frozenset((str,))
_ID_BYTES = 16


class _Box:
    """An extension that holds values and is not opened yet: only the walk over the whole value knows its depth."""

    __slots__ = ("body", "code")

    def __init__(self, code: int, body: memoryview) -> None:
        self.code = code
        self.body = body


_NESTED = frozenset((list, dict, tuple, _Box))
_BOXED = frozenset((Code.TUPLE, Code.SET, Code.CHANNEL, Code.INSTANCE, Code.PAIRS))


def decode(data: bytes | memoryview, channel: MakeChannel | None = None) -> Any:
    r"""Give the value of these bytes.

    For each channel in the value `channel` is called with the channel's id of 16 bytes; the returned object stands in
    the channel's place. Raises ValueError where these are not the bytes of a value, or where the value holds a channel
    and `channel` is None.

    >>> decode(b'\x81\xa7counter\x03')
    {'counter': 3}
    """
    value = _unpack(data)
    kind = type(value)
    if kind not in _NESTED or (kind is dict and _TEXT.issuperset(map(type, value)) and _is_flat(value, channel)):
        return value
    return _Walk(channel).restore(value, MAX_DEPTH)


def _is_flat(extras: dict[str, Any], channel: MakeChannel | None) -> bool:
    """Tell whether a dict holds nothing that is nested twice; channels directly in the dict are made on the way."""
    for key, value in extras.items():
        kind = type(value)
        if kind not in _NESTED:
            continue
        if kind is list:
            inner = value
        elif kind is dict and _TEXT.issuperset(map(type, value)):
            inner = value.values()
        elif kind is _Box and value.code == Code.CHANNEL and channel is not None and len(value.body) == _ID_BYTES:
            extras[key] = channel(bytes(value.body))
            continue
        else:
            return False
        if not _NESTED.isdisjoint(map(type, inner)):
            return False
    return True


def _unpack(data: bytes | memoryview) -> Any:
    try:
        return _decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"no value: {error}") from None


def _extension(code: int, body: memoryview) -> Any:
    """Make the value of an extension; an extension that holds values itself becomes a box."""
    if code in _BOXED:
        return _Box(code, body)
    data = bytes(body)
    if code == Code.BIG_INT:
        return int.from_bytes(data, "big", signed=True)
    if code == Code.DATETIME:
        from datetime import datetime

        return datetime.fromisoformat(data.decode("ascii"))
    if code == Code.UUID:
        from uuid import UUID

        return UUID(bytes=data)
    if code == Code.PATH:
        import os
        from pathlib import Path

        return Path(os.fsdecode(data))
    raise ValueError(f"no value: unknown extension {code}")


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode


class _Walk:
    """Opens the boxes of one value, and limits how deep they are nested."""

    __slots__ = ("_channel",)

    def __init__(self, channel: MakeChannel | None) -> None:
        self._channel = channel

    def restore(self, value: Any, left: int, *, key: bool = False) -> Any:
        """Give the value with its boxes opened; `left` more containers may be nested in the value."""
        kind = type(value)
        if kind not in _NESTED:
            return value
        if kind is _Box and value.code == Code.CHANNEL:
            return self._make_channel(value.body)
        if kind is _Box and value.code == Code.INSTANCE:
            return self._instance(value.body, left, key=key)
        if not left:
            raise ValueError(f"no value: more than {MAX_DEPTH} containers inside one another")
        if kind is _Box:
            return self._open(value, left - 1, key=key)
        if key or kind is tuple:
            raise ValueError("no value: a list or dict as a key or a member of a set")
        if kind is list:
            return self._list(value, left - 1)
        return self._dict(value, left - 1)

    def _list(self, value: list[Any], left: int) -> list[Any]:
        if _NESTED.isdisjoint(map(type, value)):
            return value
        return [self.restore(item, left) for item in value]

    def _dict(self, value: dict[Any, Any], left: int) -> dict[Any, Any]:
        if not _TEXT.issuperset(map(type, value)) and not _NESTED.isdisjoint(map(type, value)):
            raise ValueError("no value: a key that only pairs can have")
        if _NESTED.isdisjoint(map(type, value.values())):
            return value
        return {key: self.restore(item, left) for key, item in value.items()}

    def _open(self, box: _Box, left: int, *, key: bool) -> Any:
        items = _unpack(box.body)
        if type(items) is not list:
            raise ValueError("no value: an extension without its list")
        if box.code == Code.TUPLE:
            return tuple([self.restore(item, left, key=key) for item in items])
        if box.code == Code.PAIRS:
            return self._pairs(items, left, key=key)
        members = [self.restore(item, left, key=True) for item in items]
        try:
            return frozenset(members) if key else set(members)
        except TypeError as error:
            raise ValueError(f"no value: {error}") from None

    def _pairs(self, items: list[Any], left: int, *, key: bool) -> dict[Any, Any]:
        if key or len(items) % 2:
            raise ValueError("no value: a dict as a key, or a key without its value")
        restored = [self.restore(item, left, key=i % 2 == 0) for i, item in enumerate(items)]
        try:
            return dict(zip(restored[::2], restored[1::2], strict=True))
        except TypeError as error:
            raise ValueError(f"no value: {error}") from None

    def _make_channel(self, body: memoryview) -> Any:
        if self._channel is None:
            raise ValueError("no value: it holds a channel, which only a petition or its client can have")
        if len(body) != _ID_BYTES:
            raise ValueError(f"no value: a channel's id of {len(body)} bytes")
        return self._channel(bytes(body))

    def _instance(self, body: memoryview, left: int, *, key: bool) -> Any:
        parts = _unpack(body)
        if type(parts) is not list or len(parts) != 2 or type(parts[0]) is not str:
            raise ValueError("no value: an instance without its class or content")
        cls = class_named(parts[0])
        content = self.restore(parts[1], left, key=key and (cls is None or issubclass(cls, Enum)))
        if cls is None:
            return content
        try:
            return _make_instance(cls, content)
        except Exception as error:
            raise ValueError(f"no {parts[0]}: {error}") from error


def _make_instance(cls: Any, content: Any) -> Any:
    """Build an instance of a registered class by calling the class, so that the class's own checks hold."""
    if issubclass(cls, Enum):
        return cls(content)
    import dataclasses

    if type(content) is not dict:
        raise TypeError("its fields are missing")
    fields = [field for field in dataclasses.fields(cls) if field.name in content]
    instance = cls(**{field.name: content[field.name] for field in fields if field.init})
    for field in fields:
        if not field.init:
            object.__setattr__(instance, field.name, content[field.name])
    return instance
