"""The names of users, as people know them, and as they were looked up last (`user_directory.py`)."""

from __future__ import annotations

_UID = "uid:"
_names: dict[str, str] = {}


def user(owner: str) -> str:
    """Give the name of a petition's user; `uid N` for a user without a name, and until the name was looked up.

    >>> user("uid:4711"), user("key:build")
    ('uid 4711', 'key:build')
    """
    known = _names.get(owner)
    if known is not None:
        return known
    number = owner.removeprefix(_UID)
    return owner if number == owner or not number.isdecimal() else f"uid {int(number)}"


def note(owner: str, name: str) -> None:
    """Note the name of a petition's user; empty where the user has none."""
    if name:
        _names[owner] = name
    else:
        _names.pop(owner, None)


__all__ = ["note", "user"]
