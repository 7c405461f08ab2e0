"""Users and groups of this machine, as people name them: ``alice``, ``1001``, ``@lab``, ``@1100``."""

from __future__ import annotations

GROUP_SIGN = "@"


def is_account(word: str) -> bool:
    """Tell whether a word is written as a user or a group.

    >>> is_account("alice"), is_account("@lab"), is_account("@"), is_account("a b")
    (True, True, False, False)
    """
    name = word.removeprefix(GROUP_SIGN)
    return bool(name) and name.isprintable() and not any(each.isspace() or each in ":,@/" for each in name)


def uid_named(word: str) -> int | None:
    """Give the number of a user by name or number; None where the machine has no user of this name.

    >>> uid_named("root"), uid_named("4711"), uid_named("no such user")
    (0, 4711, None)
    """
    import pwd

    try:
        return pwd.getpwnam(word).pw_uid
    except KeyError:
        return _number(word)


def gid_named(word: str) -> int | None:
    """Give the number of a group by name or number, without its sign; None where the machine has no such group."""
    import grp

    try:
        return grp.getgrnam(word).gr_gid
    except KeyError:
        return _number(word)


def is_known(word: str) -> bool:
    """Tell whether the machine has this user or group; a number is always taken.

    >>> is_known("root"), is_known("@no-such-group")
    (True, False)
    """
    found = gid_named(word[1:]) if word.startswith(GROUP_SIGN) else uid_named(word)
    return found is not None


def _number(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= len(str(1 << 32)) else None


__all__ = ["GROUP_SIGN", "gid_named", "is_account", "is_known", "uid_named"]
