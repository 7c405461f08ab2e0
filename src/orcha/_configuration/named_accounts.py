"""Users and groups that configuration files name, and that this machine does not have.

At a role such a name is a fault, since the user would have the role of all others, which may be a stronger one. A quota
or a weight for such a name is noted, and holds: the user may be made later, and until then nobody is limited by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha._configuration.configured import QUOTA, ROLES_TABLE, WEIGHTS
from orcha._configuration.reading import Fault, dotted
from orcha.utils.accounts import GROUP_SIGN, SilentDirectoryError, is_account, is_known, missing, number_of

if TYPE_CHECKING:
    from orcha._configuration.configured import Configured

_IDENTITIES = ("uid:", "key:")
"""What stands before the identity of a user without a name, as `orcha who` shows it."""


def faults_of_accounts(configured: Configured) -> list[Fault]:
    """Give a fault for each user and group with a role that this machine does not have."""
    faults = []
    named = {(ROLES_TABLE, role): words for role, words in configured.roles.items()}
    named["listen", "share"] = configured.value("listen", "share", False)
    for keys, words in named.items():
        for word in words if isinstance(words, tuple) else ():
            if not is_known(word):
                given = configured.given[keys]
                text = f"{dotted(keys)}: {missing(word)}: mend the name, or give its number"
                faults.append(Fault(given.file, *given.place, text))
    return faults


def notes_on_accounts(configured: Configured) -> tuple[Fault, ...]:
    """Give a note for each quota and each weight that is nobody's, in the order in which they stand in the files.

    Where the directory of users is silent, nothing is said of the names that it was not asked about.
    """
    notes = []
    try:
        for keys, given in configured.given.items():
            word, lack = _named(keys), "has no weight"
            if keys[0] == QUOTA:
                lack = "limits nobody"
            if word is not None and (why := _why_nobody(keys, word)) is not None:
                notes.append(Fault(given.file, *given.place, f"{dotted(keys)} {lack}: {why}"))
    except SilentDirectoryError:
        pass
    return tuple(notes)


def _named(keys: tuple[str, ...]) -> str | None:
    """Give the user, or with its sign the group, whom a quota or a weight is for; None for other settings."""
    if keys[0] == WEIGHTS and len(keys) == 2:
        return keys[1]
    if keys[0] == QUOTA and len(keys) == 3 and keys[1] != "default":
        return keys[2] if keys[1] == "user" else f"{GROUP_SIGN}{keys[2].removeprefix(GROUP_SIGN)}"
    return None


def _why_nobody(keys: tuple[str, ...], word: str) -> str | None:
    """Say why nobody is meant by a word, and the cure; None where somebody is."""
    name = word.removeprefix(GROUP_SIGN)
    is_group = name != word
    if is_group and keys[:2] == (QUOTA, "user"):
        return f"it is for users: write quota.members.{name} for each member, or quota.group.{name} for all together"
    if not is_group and word.startswith(_IDENTITIES):
        return None
    if number_of(name) is not None:
        return "a group has its name here: write that" if is_group else f'a number is written "uid:{word}" here'
    if is_account(word) and is_known(word):
        return None
    if keys[0] == WEIGHTS and not is_group and is_account(word) and is_known(GROUP_SIGN + word):
        return f'this machine has no user {word}, and a group: write "{GROUP_SIGN}{word}" for the group'
    return f"{missing(word)}: mend the name, or make that {'group' if is_group else 'user'}"


__all__ = ["faults_of_accounts", "notes_on_accounts"]
