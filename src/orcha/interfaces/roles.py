"""The roles of a service's clients: what a client may do, by name.

    viewer < submitter < operator < admin

A role may do everything that a role before it may do.
"""

from __future__ import annotations

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


__all__ = ["ADMIN", "ATTEMPT", "OPERATOR", "ROLES", "SUBMITTER", "VIEWER", "is_at_least", "role_of"]
