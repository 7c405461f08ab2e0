"""Users and groups of this machine, as people name them: ``alice``, ``1001``, ``@lab``, ``@1100``.

What is written in digits is a number, and nothing is looked up for it.
"""

from __future__ import annotations

from orcha.exceptions import OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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
    number = number_of(word)
    if number is not None:
        return number
    import pwd

    try:
        return pwd.getpwnam(word).pw_uid
    except KeyError:
        return None


def gid_named(word: str) -> int | None:
    """Give the number of a group by name or number, without its sign; None where the machine has no such group."""
    number = number_of(word)
    if number is not None:
        return number
    import grp

    try:
        return grp.getgrnam(word).gr_gid
    except KeyError:
        return None


def number_named(word: str, *, seconds: float = ANSWER_SECONDS) -> int | None:
    """Give the number of a user, or with its sign of a group; None where the machine has neither.

    Raises SilentDirectoryError where the directory of users (sssd, LDAP) has not answered within `seconds`.

    >>> number_named("root"), number_named("@no-such-group"), number_named("@1100")
    (0, None, 1100)
    """
    name = word.removeprefix(GROUP_SIGN)
    number = number_of(name)
    if number is None:
        look = gid_named if name != word else uid_named
        number = _answer(lambda: look(name), word, seconds)
    return number


def is_known(word: str) -> bool:
    """Tell whether the machine has this user or group; a number is always taken.

    Raises SilentDirectoryError as `number_named` does.

    >>> is_known("root"), is_known("@no-such-group")
    (True, False)
    """
    return number_named(word) is not None


def missing(word: str) -> str:
    """Say that the machine does not have a user or a group, and which name may be meant.

    Raises SilentDirectoryError as `number_named` does.

    >>> missing("roto"), missing("@no such group")
    ('this machine has no user roto (did you mean root?)', 'this machine has no group no such group')
    """
    kind, name = ("group", word[1:]) if word.startswith(GROUP_SIGN) else ("user", word)
    near: str | None = _answer(lambda: _nearest(word), word, ANSWER_SECONDS)
    return f"this machine has no {kind} {name}{'' if near is None else f' (did you mean {near}?)'}"


def _nearest(word: str) -> str | None:
    """Give the name of a user, or of a group, that is most like a word; None where no name is like it."""
    from difflib import get_close_matches

    if word.startswith(GROUP_SIGN):
        import grp

        names = [each.gr_name for each in grp.getgrall()]
    else:
        import pwd

        names = [each.pw_name for each in pwd.getpwall()]
    return next(iter(get_close_matches(word.removeprefix(GROUP_SIGN), names, 1)), None)


def _answer(look: Callable[[], Any], word: str, seconds: float) -> Any:
    """Ask the directory of users, and give its answer; raises SilentDirectoryError where none comes in time."""
    from orcha.utils.threads import guarded, ignore_death, start

    found: list[Any] = []
    thread = guarded("orcha-lookup", lambda: found.append(look()), ignore_death)
    start(thread)
    thread.join(seconds)
    if not found:
        raise SilentDirectoryError(
            f"the directory of users has not answered within {seconds:g} s who {word!a:.60} is (getent passwd, getent"
            " group): mend it (systemctl status sssd), or write the number in place of the name"
        )
    return found[0]


def number_of(name: str) -> int | None:
    """Give the number that a name is, without the sign of a group; None for any other name.

    >>> number_of("1001"), number_of("alice")
    (1001, None)
    """
    return int(name) if name.isascii() and name.isdecimal() and len(name) <= len(str(1 << 32)) else None


__all__ = [
    "ANSWER_SECONDS",
    "GROUP_SIGN",
    "SilentDirectoryError",
    "gid_named",
    "is_account",
    "is_known",
    "missing",
    "number_named",
    "number_of",
    "uid_named",
]
