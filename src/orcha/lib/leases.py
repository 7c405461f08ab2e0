"""The built-in manager of leases: its messages say what a person takes for a while."""

from __future__ import annotations

from dataclasses import dataclass, field

from orcha.interfaces.built_in import LEASE_MANAGER
from orcha.interfaces.petition import Petition
from orcha.lib.manager import Manager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orcha.interfaces.message import Message
    from orcha.interfaces.petition import ActionCallbackT

MAX_WHY_CHARACTERS = 200
_POLICY_FIELDS = ("needs", "at", "delay", "queue_timeout")
_FIELDS = frozenset((*_POLICY_FIELDS, "for", "why", "while_attached", "priority", "queue"))


@dataclass(eq=False)
class LeasePetition(Petition):
    """A petition whose attempt executes nothing: it holds what it needs until its time is over, or it is given back."""

    why: str = field(default="", kw_only=True, compare=False)
    """What the lease is for, shown to people who wait for the same."""
    while_attached: bool = field(default=False, kw_only=True, compare=False)
    """Whether it ends when no client follows it any more."""


class LeaseManager(Manager):
    """Lends what its messages ask for.

    A message's extras are `needs` as those of a :class:`~orcha.interfaces.Policy`, `for` (seconds; None for no end),
    `why`, `while_attached`, `priority`, `at`, `delay`, `queue_timeout` and `queue`. What is wrong is named in the
    refusal. The lease is a petition: it waits, and its end frees what it has, as any other's does.

    Example::

        client.send(Message("bench", {"needs": {"rig": 1}, "for": 3600, "why": "soldering"}), plugin="leases")

    """

    _stored_as = LEASE_MANAGER

    def convert_to_petition(self, m: Message) -> Petition | None:
        """Make the petition; ValueError or TypeError name what is wrong with the message."""
        return lease_of(m)

    def on_start(self, petition: Petition) -> bool | None:
        """Do nothing more."""
        return super().on_start(petition)

    def on_finish(self, petition: Petition) -> bool | None:
        """Do nothing more."""
        return super().on_finish(petition)


def lease_of(m: Message) -> LeasePetition:
    """Make the petition of a message.

    Raises:
        ValueError, TypeError: the message does not hold what it should.

    """
    from orcha.interfaces.policy import Policy

    extras = m.extras
    unknown = sorted(set(extras) - _FIELDS)
    if unknown:
        raise ValueError(f"a lease has no field {', '.join(map(repr, unknown))}")
    why = extras.get("why") or ""
    if not isinstance(why, str) or len(why) > MAX_WHY_CHARACTERS:
        raise ValueError(f"why is a text of at most {MAX_WHY_CHARACTERS} characters, not {why!r:.80}")
    seconds: Any = extras.get("for")
    given = {name: extras[name] for name in _POLICY_FIELDS if extras.get(name) is not None}
    policy: Policy = Policy(timeout=seconds, expect=seconds, **given)
    if not policy.needs:
        raise ValueError("a lease takes something: name a device or a resource, or the whole machine")
    while_attached = bool(extras.get("while_attached"))
    petition = LeasePetition(
        m.id, extras.get("queue"), _hold, _yes, policy=policy, why=why, while_attached=while_attached
    )
    petition.priority = extras.get("priority") or 0
    return petition


def _hold(callback: ActionCallbackT, petition: Petition) -> None:
    """Stand where other petitions have an action."""


def _yes(_: Petition) -> bool:
    """Allow it: what it needs decides."""
    return True


__all__ = ["LeaseManager", "LeasePetition", "lease_of"]
