"""Users of this machine, for people."""

from __future__ import annotations


def described(uid: int) -> str:
    """Give a user's name and number: ``alice (uid 1001)``; the number alone where it has no name here.

    >>> described(0)
    'root (uid 0)'
    """
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


__all__ = ["described"]
