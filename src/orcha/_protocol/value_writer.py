"""From values to bytes: what msgpack has no type for becomes an extension."""

from __future__ import annotations

import os
import sys
from enum import Enum
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from orcha._protocol.wire_types import MAX_DEPTH, Code, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Handler = Callable[[Any, int], Any]

pack = msgspec.msgpack.Encoder().encode

_SCALARS = frozenset((type(None), bool, int, float, str, bytes))
"""Types that msgpack has itself, and that are hashable: they need no preparation, and are keys as they are."""
_TEXT = frozenset((str,))
_ID_BYTES = 16
_MAX_SHOWN_CHARACTERS = 60
"""Length of a value's text in an error."""


def encode(value: Any, path: str = "extras") -> bytes:
    r"""Give the bytes of a value.

    Subclasses of the types that a value may have arrive as those types. An enum's member arrives as its value and a
    dataclass's instance as a dict, unless the class is registered on both sides (`register`).

    Raises TypeError for a value of any other type, ValueError for a lone surrogate and for more than 32 nested
    containers; both errors name the place of the value, which begins with `path`.

    >>> encode({"counter": 3})
    b'\x81\xa7counter\x03'
    """
    kind = type(value)
    if kind in _SCALARS or (
        kind is dict and _TEXT.issuperset(map(type, value)) and _SCALARS.issuperset(map(type, value.values()))
    ):
        try:
            return pack(value)
        except (OverflowError, ValueError):
            pass  # an int beyond 64 bits becomes an extension, and for an invalid value the place has to be found
    return pack(prepare(value, path))


class _UnsendableError(Exception):
    """A value cannot be sent. On its way out of the nested containers each container adds the place inside it."""

    def __init__(self, kind: type[TypeError | ValueError], what: str) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.places: list[str] = []

    def add(self, place: str) -> _UnsendableError:
        """Add the place in the next container outwards."""
        self.places.append(place)
        return self


def prepare(value: Any, path: str) -> Any:
    """Give a value that msgpack can encode; raises TypeError and ValueError as `encode` does."""
    try:
        return _prepare(value, MAX_DEPTH)
    except _UnsendableError as error:
        path += _cut("".join(reversed(error.places)))
        raise error.kind(f"{path} {error.what}") from None


def _prepare(value: Any, left: int) -> Any:
    """Prepare a value in which `left` more containers may be nested."""
    handler = _HANDLERS.get(type(value))
    return _prepare_other(value, left) if handler is None else handler(value, left)


def _prepare_key(value: Any, left: int) -> Any:
    """Prepare a dict's key, or a member of a set: the reader needs a hashable value."""
    if isinstance(value, tuple):
        return _tuple(value, left, _prepare_key)
    if isinstance(value, Enum) and name_of(type(value)) is None:
        return _prepare_key(value.value, left)
    if isinstance(value, (list, set, dict)) or (_is_dataclass(value) and name_of(type(value)) is None):
        raise _UnsendableError(TypeError, f"is a {_name(value)}, which arrives as nothing that can be hashed")
    return _prepare(value, left)


def _same(value: Any, _left: int) -> Any:
    return value


def _text(value: str, _left: int) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _UnsendableError(ValueError, f"holds a lone surrogate, which is no text: {_short(value)}") from None
    return value


def _int(value: int, _left: int) -> Any:
    if -(1 << 63) <= value < 1 << 64:
        return value
    return Ext(Code.BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _enter(left: int) -> int:
    """Enter a container; give how many more containers may be nested in it."""
    if not left:
        raise _UnsendableError(ValueError, f"has more than {MAX_DEPTH} containers inside one another")
    return left - 1


def _list(value: Iterable[Any], left: int, prepare_item: Handler = _prepare) -> list[Any]:
    left = _enter(left)
    items: list[Any] = []
    try:
        for item in value:
            items.append(prepare_item(item, left))  # noqa: PERF401 - its length is the place of a value that cannot be sent
    except _UnsendableError as error:
        raise error.add(f"[{len(items)}]") from None
    return items


def _tuple(value: tuple[Any, ...], left: int, prepare_item: Handler = _prepare) -> Any:
    return Ext(Code.TUPLE, pack(_list(value, left, prepare_item)))


def _set(value: Iterable[Any], left: int) -> Any:
    left = _enter(left)
    members = []
    for member in value:
        try:
            members.append(_prepare_key(member, left))
        except _UnsendableError as error:
            raise error.add(f"{{{_short(member)}}}") from None
    return Ext(Code.SET, pack(members))


def _dict(value: dict[Any, Any], left: int) -> Any:
    left = _enter(left)
    keys: list[Any] = list(value)
    if not (_TEXT.issuperset(map(type, keys)) and all(map(str.isascii, keys))):
        keys = [_key(key, left) for key in keys]
    items = []
    for key, item in value.items():
        try:
            items.append(_prepare(item, left))
        except _UnsendableError as error:
            raise error.add(f"[{_short(key)}]") from None
    if _SCALARS.issuperset(map(type, keys)):
        return dict(zip(keys, items, strict=True))
    return Ext(Code.PAIRS, pack([part for pair in zip(keys, items, strict=True) for part in pair]))


def _key(key: Any, left: int) -> Any:
    try:
        return _prepare_key(key, left)
    except _UnsendableError as error:
        raise error.add(f".key({_short(key)})") from None


def _prepare_other(value: Any, left: int) -> Any:
    """Prepare a value whose exact type the format does not have, but which can arrive as a type that the format has."""
    channel = getattr(value, "__orcha_channel__", None)
    if type(channel) is bytes and len(channel) == _ID_BYTES:
        return Ext(Code.CHANNEL, channel)
    if (name := name_of(type(value))) is not None:
        content = _prepare(value.value, left) if isinstance(value, Enum) else _fields(value, left)
        return Ext(Code.INSTANCE, pack([name, content]))
    if isinstance(value, Enum):
        return _prepare(value.value, left)
    if _is_dataclass(value):
        return _fields(value, left)
    for base, exact in _BASES:
        if isinstance(value, base):
            return _prepare(exact(value), left)
    if (extension := _library_type(value)) is not None:
        return extension
    raise _UnsendableError(TypeError, f"is a {_name(value)}, which cannot be sent: {_short(value)}")


def _library_type(value: Any) -> Ext | None:
    """Encode a datetime, UUID or path. A module that was not imported cannot have made the value."""
    datetime, uuid, pathlib = (sys.modules.get(name) for name in ("datetime", "uuid", "pathlib"))
    if datetime is not None and isinstance(value, datetime.datetime):
        return Ext(Code.DATETIME, datetime.datetime.isoformat(value).encode())
    if uuid is not None and isinstance(value, uuid.UUID):
        return Ext(Code.UUID, value.bytes)
    if pathlib is not None and isinstance(value, pathlib.PurePath):
        return Ext(Code.PATH, os.fsencode(value))
    return None


def _is_dataclass(value: Any) -> bool:
    return hasattr(type(value), "__dataclass_fields__")


def _fields(value: Any, left: int) -> dict[str, Any]:
    import dataclasses

    left = _enter(left)
    content = {}
    for field in dataclasses.fields(value):
        try:
            content[field.name] = _prepare(getattr(value, field.name), left)
        except _UnsendableError as error:
            raise error.add(f".{field.name}") from None
    return content


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _short(value: Any) -> str:
    """Show a value in an error: whole if it is short, and with no more than its type if it cannot be shown."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a repr that raises must not hide what is wrong
        text = f"<{_name(value)}>"
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else text[: _MAX_SHOWN_CHARACTERS - 3] + "..."


_HANDLERS: dict[type, Handler] = {
    type(None): _same,
    bool: _same,
    float: _same,
    bytes: _same,
    str: _text,
    int: _int,
    list: _list,
    tuple: _tuple,
    set: _set,
    frozenset: _set,
    dict: _dict,
}
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__index__),
    (float, float.__float__),
    (bytes, b"".__add__),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (list, lambda value: list(list.__iter__(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
    (dict, lambda value: dict(dict.items(value))),
)
