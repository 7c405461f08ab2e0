"""Users and groups of this machine, as people name them: ``alice``, ``1001``, ``@lab``, ``@1100``.

What is written in digits is a number, and nothing is looked up for it.
"""

from __future__ import annotations

from orcha.exceptions import OrchaError

GROUP_SIGN = "@"
ANSWER_SECONDS = 10.0
"""Seconds for which the directory of users is waited for."""


class SilentDirectoryError(OrchaError):
    """The directory of users does not answer: nobody knows whom a name means. Exit code 1."""


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
    number = _number(word)
    if number is not None:
        return number
    import pwd

    try:
        return pwd.getpwnam(word).pw_uid
    except KeyError:
        return None


def gid_named(word: str) -> int | None:
    """Give the number of a group by name or number, without its sign; None where the machine has no such group."""
    number = _number(word)
    if number is not None:
        return number
    import grp

    try:
        return grp.getgrnam(word).gr_gid
    except KeyError:
        return None


def number_named(word: str, *, seconds: float = ANSWER_SECONDS) -> int | None:
    """Give the number of a user, or with its sign of a group; None where the machine has neither.

    Raises SilentDirectoryError where the directory of users (sssd, LDAP) has not answered within so many seconds.

    >>> number_named("root"), number_named("@no-such-group"), number_named("@1100")
    (0, None, 1100)
    """
    from orcha.utils.threads import guarded, ignore_death, start

    name = word.removeprefix(GROUP_SIGN)
    number = _number(name)
    if number is not None:
        return number
    found: list[int | None] = []
    look = gid_named if name != word else uid_named
    thread = guarded("orcha-lookup", lambda: found.append(look(name)), ignore_death)
    start(thread)
    thread.join(seconds)
    if not found:
        raise SilentDirectoryError(
            f"the directory of users has not answered within {seconds:g} s who {word!a:.60} is (getent passwd, getent"
            " group): mend it (systemctl status sssd), or write the number in place of the name"
        )
    return found[0]


def is_known(word: str) -> bool:
    """Tell whether the machine has this user or group; a number is always taken.

    Raises SilentDirectoryError as `number_named` does.

    >>> is_known("root"), is_known("@no-such-group")
    (True, False)
    """
    return number_named(word) is not None


def _number(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= len(str(1 << 32)) else None


__all__ = [
    "ANSWER_SECONDS",
    "GROUP_SIGN",
    "SilentDirectoryError",
    "gid_named",
    "is_account",
    "is_known",
    "number_named",
    "uid_named",
]
