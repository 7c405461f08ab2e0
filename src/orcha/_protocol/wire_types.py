"""What writer and reader of values agree on: codes of msgpack extensions, and classes whose instances may arrive."""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    C = TypeVar("C", bound=type[object])

MAX_DEPTH = 32
"""How many lists, tuples, sets, dicts and instances may be nested in one another."""


class Code:
    """Codes of msgpack extensions. They are stored: never renumber."""

    BIG_INT = 1
    """Two's complement, most significant byte first."""
    TUPLE = 2
    """msgpack array."""
    SET = 3
    """msgpack array."""
    DATETIME = 4
    """ISO 8601 as text, with an offset unless naive."""
    UUID = 5
    """16 bytes."""
    PATH = 6
    """Bytes as the file system has them."""
    CHANNEL = 7
    """16 bytes."""
    INSTANCE = 8
    """msgpack array of the class's name and its value."""
    PAIRS = 9
    """msgpack array of keys and values in turn: a dict that has keys other than None, bool, int, float, str, bytes."""


_classes: dict[str, type] = {}
_names: dict[type, str] = {}


def register(cls: C) -> C:
    """Let instances of this dataclass or enum arrive as instances wherever the same class is registered.

    The wire names a class by `module:qualname`. The reader never imports a module because its name arrived: where the
    class is not registered, a dataclass's instance arrives as a dict and an enum's member as its value. Works as a
    decorator.

    Raises TypeError for any other class.
    """
    if not (hasattr(cls, "__dataclass_fields__") or issubclass(cls, Enum)):
        raise TypeError(f"{cls!r} is neither a dataclass nor an enum")
    name = f"{cls.__module__}:{cls.__qualname__}"
    _classes[name] = cls
    _names[cls] = name
    return cls


def class_named(name: str) -> type | None:
    """Give the class registered under this name."""
    return _classes.get(name)


def name_of(cls: type) -> str | None:
    """Give the name under which exactly this class is registered."""
    return _names.get(cls)
