"""What a client sends."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_ID_BYTES = 1024
"""UTF-8 bytes an id may have."""


@dataclass(frozen=True)
class Message:
    """A request for a petition, made by a client and given to ``Manager.convert_to_petition``.

    Two messages are equal where ``str(id)`` is equal, whatever else they hold.

    Example::

        Message("m1", {"queue": manager.manager.Queue(), "counter": 3})
    """

    id: int | str
    """Chosen by the client: any int, or any text up to 1 KiB of UTF-8. Free again once its petition has ended."""
    extras: dict[str, Any] = field(compare=False)
    """What the petition is made of: None, bool, int, float, str, bytes, datetime, UUID, Path, channels, and lists,
    tuples, sets and dicts of them."""

    def __eq__(self, other: object) -> bool:
        """Compare by the id's text."""
        return str(self.id) == str(other.id) if isinstance(other, Message) else NotImplemented

    def __hash__(self) -> int:
        """Hash by the id's text."""
        return hash(str(self.id))


def check_id(id: object) -> int | str:
    """Give `id` back where a message may bear it.

    Raises:
        TypeError: it is neither an int nor a str (a bool is not taken for an int here).
        ValueError: its text is longer than 1 KiB of UTF-8, or holds a lone surrogate.

    """
    if isinstance(id, bool) or not isinstance(id, (int, str)):
        error = f"a message's id is an int or a str, not {type(id).__name__}"
        raise TypeError(error)
    try:
        size = len(str(id).encode())
    except UnicodeEncodeError:
        error = f"a message's id is text that UTF-8 can hold; {id!r} has a lone surrogate"
        raise ValueError(error) from None
    if size > MAX_ID_BYTES:
        error = f"a message's id has at most {MAX_ID_BYTES} bytes; this one has {size}"
        raise ValueError(error)
    return id


__all__ = ["MAX_ID_BYTES", "Message", "check_id"]
