"""The names of users, as people know them."""

from __future__ import annotations

import pwd
from functools import lru_cache

_UID = "uid:"


@lru_cache(256)
def user(owner: str) -> str:
    """Give the name of a petition's user, or `uid N` for a user without a name."""
    number = owner.removeprefix(_UID)
    if number == owner or not number.isdecimal():
        return owner
    try:
        return pwd.getpwuid(int(number)).pw_name
    except (KeyError, OverflowError):
        return f"uid {number}"


__all__ = ["user"]
