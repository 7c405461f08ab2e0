"""A batch of calls for the hook thread, and the result of each."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from orcha._core.converted import Converted

if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._core.asking_round import Round
    from orcha._core.converted import Candidate
    from orcha._core.selection import Cost
    from orcha._server.server import Peer


class Hook(IntEnum):
    """The calls of a visit, in the order in which they are made."""

    ON_FINISH = 1
    ON_START = 2
    CALL = 3
    CONVERT = 4
    CONDITION = 5


# Looked up once: an attribute of an enumeration costs ten times a global name.
CALL, CONDITION, CONVERT, ON_FINISH, ON_START = (
    Hook.CALL,
    Hook.CONDITION,
    Hook.CONVERT,
    Hook.ON_FINISH,
    Hook.ON_START,
)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The call of a function that the manager registered; a client waits for what it returns."""

    peer: Peer
    request: int
    """The number under which the client waits for the answer."""
    name: str
    args: bytes
    kwargs: bytes


@dataclass(frozen=True, slots=True)
class PermissionCall(FunctionCall):
    """The question to a manager whether a client may do something to a petition."""

    asks: Callable[[], object]
    """Asks the manager; every answer but False, None and the like allows it."""
    then: Callable[[str | None], None]
    """Told on the engine's thread why it is denied; None where it is allowed."""


# Plain tuples, taken apart where they are read: there are three of each for every petition, and a field of a named
# tuple costs ten times an item that is unpacked.
HookCall: TypeAlias = "tuple[Hook, Any, bool]"
"""One call to make: about a petition (its record), or with CALL of a function (its `FunctionCall`); and True where a
message is converted that was converted before and is kept."""
HookResult: TypeAlias = "tuple[Hook, Any, str | None, Any]"
"""The result of a call: the petition's record or the `FunctionCall`, an error in words (None for none), and the value
that the call gave. What a function returned is encoded."""


class Visit:
    """A batch of calls, a round of asking after them, and their results so far."""

    __slots__ = (
        "abandoned",
        "awaited",
        "calls",
        "choosing",
        "current",
        "firsts_cost",
        "lock",
        "others_cost",
        "over",
        "results",
        "round",
        "since",
        "started",
    )

    def __init__(self, calls: list[HookCall], asked: Round, *, only_starts: bool = False) -> None:
        """Take the calls, which may be `only_starts`, then the round of the petitions that are to be asked."""
        self.calls = calls
        self.round = asked
        self.firsts_cost: Cost | None = None
        """The cost of asking petitions by time alone: the first petitions, and the others."""
        self.others_cost: Cost | None = None
        self.results: list[HookResult] = []
        self.current: HookCall | Candidate | None = None
        """The call in flight; for a condition the petition that is asked about."""
        self.since = 0.0
        """When the call in flight began, on the monotonic clock."""
        self.choosing = False
        """Whether the calls have been made."""
        self.abandoned = False
        self.awaited = not only_starts or bool(asked.waiting or asked.sample)
        """Whether the engine is woken at the end of the visit; of starts that went well it learns at its next event."""
        self.started = False
        """Whether the visit started an action."""
        self.over = False
        self.lock = threading.Lock()

    def abandon(self, overdue: float, now: float) -> HookCall | None:
        """Give the thread up if the call in flight began more than `overdue` seconds ago; give that call."""
        with self.lock:
            if self.current is None or now - self.since < overdue:
                return None
            self.abandoned = True
            current = self.current
            if isinstance(current, tuple):
                return current
            return CONDITION, current.record if isinstance(current, Converted) else current, False

    def is_overdue(self, seconds: float, now: float) -> bool:
        """Tell whether the call in flight began more than `seconds` ago; it may come back at any time."""
        return self.current is not None and now - self.since >= seconds

    def left(self) -> list[HookCall]:
        """Give the calls that come after the one in flight."""
        return [] if self.choosing else self.calls[len(self.results) + 1 :]
