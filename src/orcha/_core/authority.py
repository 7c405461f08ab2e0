"""The roles of clients, whose petitions each may touch, and as which user a command runs."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from orcha.interfaces.roles import ADMIN, ATTEMPT, OPERATOR, ROLES, SUBMITTER, VIEWER, is_at_least, role_of

_UID = "uid:"
_MAY_ACT_FOR_ALL = frozenset(role for role in ROLES if is_at_least(role, OPERATOR))
_MAY_ACT = frozenset(role for role in ROLES if is_at_least(role, SUBMITTER))


class Actor(Protocol):
    """A client that asks for something."""

    @property
    def role(self) -> str:
        """What the client may do."""

    @property
    def identity(self) -> str:
        """Whose petitions are the client's own."""


def may_act_for(client: Actor, owner: str) -> bool:
    """Tell whether a client may change what belongs to `owner`.

    A submitter may change its own things; operators and admins may change everything.

    >>> from types import SimpleNamespace
    >>> ann = SimpleNamespace(role="submitter", identity="uid:7")
    >>> ops = SimpleNamespace(role="operator", identity="uid:9")
    >>> may_act_for(ann, "uid:7"), may_act_for(ann, "uid:8"), may_act_for(ops, "uid:8")
    (True, False, True)
    """
    return may_act_for_all(client) or (client.identity == owner and client.role in _MAY_ACT)


def may_act_as(client: Actor, owner: str) -> bool:
    """Tell whether a client may have something run in a petition of `owner`, as the user as whom the petition runs.

    A submitter may in its own petitions; only admins may in the petitions of others.
    """
    return client.role == ADMIN or (client.identity == owner and client.role in _MAY_ACT)


def may_act_for_all(client: Actor) -> bool:
    """Tell whether a client may change the petitions of all users."""
    return client.role in _MAY_ACT_FOR_ALL


@lru_cache(1024)
def uid_of(owner: str) -> int | None:
    """Give the number of the user who owns a petition; None where no kernel knows the user.

    >>> uid_of("uid:1001"), uid_of("key:abc")
    (1001, None)
    """
    number = owner.removeprefix(_UID)
    return int(number) if number != owner and number.isascii() and number.isdecimal() else None


class CannotRunAsError(Exception):
    """No user is known as whom the command could run; the text says why."""


def runs_as(owner: str, *, as_submitter: bool, service: int) -> int | None:
    """Give the user as whom a command runs; None for the user of the service.

    Only a service of root can run commands as other users; `service` is the user of the service. `as_submitter` says
    whether the command is to run as the user who asked for it: the built-in manager's commands do, and commands of
    plugins only by their policy.

    Raises CannotRunAsError where a command of a service of root was asked for by nobody that the kernel knows.

    >>> runs_as("uid:1001", as_submitter=True, service=0), runs_as("uid:1001", as_submitter=True, service=1000)
    (1001, None)
    >>> runs_as("uid:1001", as_submitter=False, service=0), runs_as("uid:0", as_submitter=True, service=0)
    (None, None)
    """
    if service or not as_submitter:
        return None
    uid = uid_of(owner)
    if uid is None:
        raise CannotRunAsError(
            f"it was asked for by {owner}, who is no user of this machine: orcha key add --as has a key act as one"
        )
    return uid or None


__all__ = [
    "ADMIN",
    "ATTEMPT",
    "OPERATOR",
    "ROLES",
    "SUBMITTER",
    "VIEWER",
    "Actor",
    "CannotRunAsError",
    "is_at_least",
    "may_act_as",
    "may_act_for",
    "may_act_for_all",
    "role_of",
    "runs_as",
    "uid_of",
]
