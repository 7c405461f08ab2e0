"""A batch of calls for the hook thread, and what came of them."""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from orcha._core.choose import Answer
    from orcha._core.reasons import Reason
    from orcha._core.record import Record


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


class Call(NamedTuple):
    """One call to make."""

    hook: Hook
    record: Record
    extra: Any = None


class Result(NamedTuple):
    """What came of one call."""

    hook: Hook
    record: Record
    error: str | None
    """What went wrong, for people; None where nothing did."""
    answer: Answer | None = None
    """What a condition said."""
    value: Any = None
    why: Reason | None = None
    """Why the petition may not start, where the answer is no."""


class Visit:
    """A batch of calls, and what came of each so far."""

    __slots__ = (
        "abandoned",
        "again",
        "awaited",
        "calls",
        "choosing",
        "current",
        "lock",
        "look_ahead",
        "new",
        "noes",
        "opaque",
        "others_took",
        "over",
        "polls",
        "results",
        "sample",
        "sampled",
        "shut",
        "since",
        "started",
        "took",
        "version",
        "waiting",
    )

    def __init__(self, calls: list[Call], waiting: list[Record], sample: list[Record], look_ahead: int | None) -> None:
        """Take the calls, then the waiting petitions to ask in order, then some further ones to sample."""
        self.calls = calls
        self.waiting = waiting
        self.sample = sample
        self.look_ahead = look_ahead
        self.polls = False
        """Whether time alone has those that wait asked."""
        self.took: tuple[int, float, float] = (0, 0.0, 0.0)
        """Then, how many of the first ones were asked, and the seconds of a processor, and of time, that took."""
        self.others_took: tuple[int, float, float] = (0, 0.0, 0.0)
        """The same of the sample."""
        self.sampled = 0
        """How many of the sample were asked."""
        self.opaque = False
        """Whether a plugin's condition said no, of which nobody knows what it depends on."""
        self.version = 0
        """Of the machine, when the visit was handed over."""
        self.new: list[Record] = []
        self.results: list[Result] = []
        self.noes = 0
        self.again = 0
        """How often those that said no were asked again, since something ended meanwhile."""
        self.shut: dict[str, Reason] = {}
        """Managers of which nothing may start now, with the reason."""
        self.current: Call | Record | None = None
        """The call in flight; for a condition the petition that is asked about."""
        self.since = 0.0
        self.choosing = False
        self.abandoned = False
        self.awaited = bool(waiting or sample or any(call.hook is not ON_START for call in calls))
        """The engine is to be woken when it is over; of starts that went well it learns at its next event."""
        self.started = False
        """Whether an action was started in it."""
        self.over = False
        self.lock = threading.Lock()

    @property
    def is_shut(self) -> bool:
        """Whether nobody of those that wait may start, and nobody else is to be asked."""
        shut = self.shut
        return (
            bool(shut and self.waiting)
            and not self.new
            and self.look_ahead is None
            and all(record.manager in shut for record in self.waiting)
        )

    def abandon(self, overdue: float, now: float) -> Call | None:
        """Give the thread up if the call in flight began more than `overdue` seconds ago; give that call."""
        with self.lock:
            if self.current is None or now - self.since < overdue:
                return None
            self.abandoned = True
            current = self.current
            return current if isinstance(current, Call) else Call(CONDITION, current)

    def left(self) -> list[Call]:
        """Give the calls that come after the one in flight."""
        return [] if self.choosing else self.calls[len(self.results) + 1 :]
