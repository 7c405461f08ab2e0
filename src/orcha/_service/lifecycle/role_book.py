"""The roles of this machine's users, as the configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orcha.exceptions import ConfigurationError
from orcha.interfaces.roles import ROLES, SUBMITTER, RoleBook
from orcha.utils.accounts import GROUP_SIGN, missing, number_named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orcha._configuration.configured import Configured

_NONE = "none"


def role_book(configured: Configured, *, is_system: bool, shared_with: Iterable[str] = ()) -> RoleBook:
    """Give the roles of all users beside the service's own and root.

    Args:
        configured: what the files say.
        is_system: whether this is the machine's service, where every local user is a submitter.
        shared_with: users and groups who are submitters, unless the files give them a role themselves.

    Raises:
        ConfigurationError: the machine has no such user or group.
        SilentDirectoryError: the directory of users does not say whom a name means. No role may hold then: a user
            whose name is not known would get the role of a group, or of all others, which may be a stronger one.

    """
    said = configured.roles
    uids: dict[int, str] = {}
    gids: dict[int, str] = {}
    for role, words in (*((role, said.get(role, ())) for role in ROLES), (SUBMITTER, shared_with)):
        for word in words:
            if word.startswith(GROUP_SIGN):
                gids.setdefault(_number(word), role)
            else:
                uids.setdefault(_number(word), role)
    others = said.get("others", SUBMITTER if is_system else _NONE)
    return RoleBook(uids, gids, "" if others == _NONE else others)


def _number(word: str) -> int:
    found = number_named(word)
    if found is None:
        raise ConfigurationError(f"{missing(word)}: mend the name, or give its number")
    return found


__all__ = ["role_book"]
