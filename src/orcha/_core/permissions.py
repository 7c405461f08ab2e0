"""Who may do what: one table of deeds and roles, and the decision that follows from it.

Whatever the table does not allow is refused. `docs/roles.md` shows the table.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import NamedTuple

from orcha.interfaces.roles import ADMIN, ATTEMPT, OPERATOR, ROLES, SUBMITTER, VIEWER, is_at_least


class Deed(StrEnum):
    """What a message of a client is about."""

    GREET = "greet"
    LOOK = "look"
    READ = "read"
    COUNT = "count"
    SUBMIT = "submit"
    CALL = "call"
    CHANGE = "change"
    ACT_AS = "act as"
    REPORT = "report"
    HOLD = "hold"
    CONFIGURE = "configure"
    SERVE = "act as the service"


class Whose(StrEnum):
    """Whose petition a message is about."""

    OWN = "own"
    OTHERS = "others"


class Entrance(StrEnum):
    """The way by which a client came in."""

    SOCKET = "socket"
    """The Unix socket: the kernel says which user the client is."""
    KEY = "key"
    """A TCP port: the client has proved a key."""
    CERTIFICATE = "certificate"
    """A TCP port: an authority vouches for the client's certificate, and the certificate proves a key."""
    ATTEMPT = "attempt"
    """The key of a living attempt, which its processes have."""


class Visibility(StrEnum):
    """What clients who are neither operators nor admins see of the petitions of others."""

    PRIVATE = "private"
    METADATA = "metadata"
    OPEN = "open"


class Sight(StrEnum):
    """How much of a petition a client sees."""

    NOTHING = "nothing"
    METADATA = "metadata"
    ALL = "all"


class DeedRule(NamedTuple):
    """Which role a deed takes."""

    what: str
    """The deed in words, as in "to ...": of one's own petitions, or of no petition."""
    own: str | None
    """The weakest role that may do it to its own petitions, or where the message is about no petition; None: nobody."""
    others: str | None = None
    """The weakest role that may do it to the petitions of others; None where the message is about no petition."""
    by_attempts: bool = False
    """Whether the processes of an attempt may do it, to their own petition."""
    sees: Sight | None = None
    """A deed that only looks is also allowed where the visibility lets the client see that much of a petition."""


TABLE: dict[Deed, DeedRule] = {
    Deed.GREET: DeedRule("ask whether the service is there", VIEWER),
    Deed.LOOK: DeedRule("look at petitions", VIEWER, OPERATOR, sees=Sight.METADATA),
    Deed.READ: DeedRule("read the output of petitions", VIEWER, OPERATOR, sees=Sight.ALL),
    Deed.COUNT: DeedRule("see the statistics of the service", OPERATOR),
    Deed.SUBMIT: DeedRule("ask for petitions", SUBMITTER),
    Deed.CALL: DeedRule("call a function of a plugin", SUBMITTER),
    Deed.CHANGE: DeedRule("change petitions", SUBMITTER, OPERATOR),
    Deed.ACT_AS: DeedRule("have something run in a petition", SUBMITTER, ADMIN),
    Deed.REPORT: DeedRule("send the values and the end of an attempt", SUBMITTER, ADMIN, by_attempts=True),
    Deed.HOLD: DeedRule("have the petitions of all users wait", OPERATOR),
    Deed.CONFIGURE: DeedRule("change the service", ADMIN),
    Deed.SERVE: DeedRule("call what acts as the service", ADMIN),
}
"""Of each deed the roles that may do it. ACT_AS is more than a change: it has code run as another user."""
_SIGHTS = {Visibility.PRIVATE: Sight.NOTHING, Visibility.METADATA: Sight.METADATA, Visibility.OPEN: Sight.ALL}
_RANKS = {sight: rank for rank, sight in enumerate((Sight.NOTHING, Sight.METADATA, Sight.ALL))}
HOW_TO_GET = "an admin of the service gives roles, in [roles] of its configuration"


def sight(role: str, whose: Whose, visibility: Visibility) -> Sight:
    """Give how much a client of a role sees of a petition.

    >>> sight("submitter", Whose.OTHERS, Visibility.METADATA).value
    'metadata'
    >>> sight("viewer", Whose.OWN, Visibility.PRIVATE).value
    'all'
    """
    if not is_at_least(role, VIEWER):
        return Sight.NOTHING
    return Sight.ALL if whose is Whose.OWN or is_at_least(role, OPERATOR) else _SIGHTS[visibility]


def may(deed: Deed, role: str, whose: Whose, door: Entrance, visibility: Visibility = Visibility.PRIVATE) -> bool:
    """Tell whether a client that came in by a door, with a role, may do a deed.

    >>> [may(Deed.CHANGE, "submitter", whose, Entrance.SOCKET) for whose in Whose]
    [True, False]
    >>> may(Deed.REPORT, "attempt", Whose.OWN, Entrance.ATTEMPT), may(Deed.LOOK, "attempt", Whose.OWN, Entrance.ATTEMPT)
    (True, False)
    """
    rule = TABLE[deed]
    if door is Entrance.ATTEMPT or role == ATTEMPT:
        return rule.by_attempts and door is Entrance.ATTEMPT and role == ATTEMPT and whose is Whose.OWN
    least = rule.own if whose is Whose.OWN else rule.others
    if least is not None and is_at_least(role, least):
        return True
    return rule.sees is not None and _RANKS[sight(role, whose, visibility)] >= _RANKS[rule.sees]


ALLOWED = frozenset(
    (deed, role, door)
    for deed, role, door in product(Deed, (*ROLES, ATTEMPT), Entrance)
    if may(deed, role, Whose.OWN, door, Visibility.PRIVATE)
)
"""What may be done at least to one's own petitions: a message about anything else is refused before its verb runs."""


def refusal(deed: Deed, role: str, whose: Whose = Whose.OWN) -> str:
    """Give why a client may not do a deed: the role that it has, the role that it takes, and who gives it.

    >>> refusal(Deed.CONFIGURE, "operator").partition(":")[0]
    'only an admin may change the service, and you are an operator here'
    >>> refusal(Deed.LOOK, "attempt")
    'an attempt may only send its values and its end'
    """
    if role == ATTEMPT:
        return "an attempt may only send its values and its end"
    rule = TABLE[deed]
    least = rule.own if whose is Whose.OWN else rule.others
    what = rule.what if whose is Whose.OWN else f"{rule.what} of others"
    mine = f"you are {_with_article(role)} here" if role in ROLES else "you have no role here"
    if least is None:
        return f"nobody may {what}"
    return f"only {_with_article(least)} may {what}, and {mine}: {HOW_TO_GET}"


def _with_article(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"


__all__ = [
    "ALLOWED",
    "HOW_TO_GET",
    "TABLE",
    "Deed",
    "DeedRule",
    "Entrance",
    "Sight",
    "Visibility",
    "Whose",
    "may",
    "refusal",
    "sight",
]
