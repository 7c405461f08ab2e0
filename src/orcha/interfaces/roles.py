"""The roles of a service's clients: what a client may do, by name.

    viewer < submitter < operator < admin

A role may do everything that a role before it may do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

VIEWER = "viewer"
"""A client that looks, and changes nothing."""
SUBMITTER = "submitter"
"""A client that asks for petitions, and changes its own ones."""
OPERATOR = "operator"
"""A client that also changes the petitions of other users, and has petitions wait."""
ADMIN = "admin"
"""A client that also changes the service: its configuration, its end, its keys."""
ROLES = (VIEWER, SUBMITTER, OPERATOR, ADMIN)
"""All roles of people and programs, the weakest first."""
ATTEMPT = "attempt"
"""The role of a process of an attempt: it sends what the attempt puts. Nobody is given this role."""
_RANKS = {role: rank for rank, role in enumerate(ROLES)}
_OLDER_WORDS = {"owner": ADMIN, "user": SUBMITTER}
"""How builds before these names called a role."""


def role_of(word: str) -> str | None:
    """Give the role that a word names; None where it names none.

    Words of older builds are understood, too.

    >>> role_of("operator"), role_of("owner"), role_of("user"), role_of("king"), role_of("attempt")
    ('operator', 'admin', 'submitter', None, None)
    """
    role = _OLDER_WORDS.get(word, word)
    return role if role in ROLES else None


def is_at_least(role: str, least: str) -> bool:
    """Tell whether a role may do everything that the role `least` may do; any other word may do nothing.

    Raises KeyError where `least` is no role.

    >>> is_at_least("admin", "operator"), is_at_least("viewer", "operator"), is_at_least("attempt", "viewer")
    (True, False, False)
    """
    return _RANKS.get(role, -1) >= _RANKS[least]


_NOBODY: Mapping[int, str] = MappingProxyType({})


class RoleBook(NamedTuple):
    """The roles of the users of a machine, beside the service's own user and root, who are admins."""

    uids: Mapping[int, str] = _NOBODY
    """The roles of users."""
    gids: Mapping[int, str] = _NOBODY
    """The roles of groups."""
    others: str = ""
    """The role of every other user; empty where the service does not let others in."""

    @property
    def lets_in_others(self) -> bool:
        """Whether any user beside the service's own and root may come in."""
        return bool(self.uids or self.gids or self.others)

    def role_for(self, uid: int, gids: Iterable[int]) -> str:
        """Give the role of a user; empty for none.

        What is said of a user counts more than what is said of the user's groups, and that counts more than what is
        said of all. Of several groups the strongest role counts.

        >>> book = RoleBook({1001: "viewer"}, {100: "submitter", 200: "operator"}, "viewer")
        >>> book.role_for(1001, [200]), book.role_for(1002, [100, 200]), book.role_for(1003, [])
        ('viewer', 'operator', 'viewer')
        """
        if (own := self.uids.get(uid)) is not None:
            return own
        found = [self.gids[gid] for gid in gids if gid in self.gids]
        return max(found, key=_RANKS.__getitem__) if found else self.others


__all__ = ["ADMIN", "ATTEMPT", "OPERATOR", "ROLES", "SUBMITTER", "VIEWER", "RoleBook", "is_at_least", "role_of"]
