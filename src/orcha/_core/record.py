"""One live petition as the engine knows it, and the phases only memory knows."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from orcha._core.state import OnInterrupt, Outcome, State
from orcha.interfaces.built_in import WITHOUT_HOOKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.conditions.condition import Condition
    from orcha._core.devices import Devices
    from orcha._core.reasons import Reason
    from orcha._core.retry import Tries
    from orcha.interfaces.command import Retry
    from orcha.interfaces.petition import Petition

Key = tuple[int | float, int, str]
"""Order of waiting petitions: (priority, sequence, str(id)); the sequence is unique, so ids are never compared."""


class Phase(IntEnum):
    """What is going on with a live petition; none of it outlives the process."""

    CONVERTING = 1
    """Not accepted yet: the manager is making a petition of the message."""
    WAITING = 2
    ON_START = 3
    """The start is durable; the manager's on_start has not come back."""
    ACTION = 4
    """The action has been handed to a thread."""
    FINISHED = 5
    """It has its outcome, or it is decided that it is tried again (it is QUEUED then), but its action has not returned
    or its processes are not gone."""
    RESTING = 6
    """It is to wait again, but not yet: the on_finish of its last attempt is not back, or its time has not come."""


# Looked up once: an attribute of an enumeration costs ten times a global name.
_CONVERTING, _FAIL, _QUEUED = Phase.CONVERTING, OnInterrupt.FAIL, State.QUEUED


class Cancellation:
    """A cancel, a limit or a shutdown that has been decided for a petition."""

    __slots__ = ("code", "due", "outcome", "reason", "requeue", "rests_until")

    def __init__(
        self,
        outcome: Outcome,
        code: int,
        reason: str | None,
        *,
        requeue: State | None = None,
        due: float | None = None,
        rests_until: float | None = None,
    ) -> None:
        """Take how it will end, once it has; or the state to which it goes then, and from when on it waits there.

        That time is given on both clocks.
        """
        self.outcome = outcome
        self.code = code
        self.reason = reason
        self.requeue = requeue
        self.due = due
        self.rests_until = rests_until


class Record:
    """One live petition. Transitions alone change it, on the engine's thread."""

    __slots__ = (
        "after",
        "asked",
        "at",
        "attempt",
        "cancellation",
        "channel",
        "code",
        "command",
        "delay",
        "devices",
        "due",
        "expect",
        "extras",
        "group",
        "hook_owed",
        "id",
        "is_plain",
        "key",
        "manager",
        "may_be_outlived",
        "may_start",
        "needs",
        "on_interrupt",
        "once",
        "outcome",
        "owner",
        "petition",
        "phase",
        "preemptible",
        "priority",
        "processes_gone",
        "queue_timeout",
        "reason",
        "rests_until",
        "retry",
        "returned",
        "run",
        "seq",
        "since",
        "started",
        "state",
        "submitted",
        "survivors",
        "timeout",
        "token",
        "tries",
        "unaged",
        "waiters",
        "when",
        "why",
    )

    def __init__(  # noqa: PLR0915 - one statement a field
        self,
        seq: int,
        token: bytes,
        id: str | int,  # noqa: A002 - the word of the public interface
        manager: str,
        owner: str,
        channel: bytes,
        extras: bytes | None,
        submitted: float,
    ) -> None:
        """Take what came with the message; the rest is decided later."""
        self.seq = seq
        self.token = token
        self.id = id
        self.key = str(id)
        self.manager = manager
        self.owner = owner
        self.channel = channel
        self.extras = extras
        self.submitted = submitted
        self.priority: int | float = 0
        """Its place among the waiting: lower is earlier."""
        self.unaged: int | float | None = None
        """The priority that it was given, where it has gained by waiting; None where `priority` is that."""
        self.command = False
        """Whether it is a command: executed by processes that outlive the service, not by a thread."""
        self.due: float | None = None
        """Wall-clock time of its next attempt, as it is kept and told."""
        self.rests_until: float | None = None
        """The same on the monotonic clock, which nobody sets: before that it does not wait again. None where people
        named a time of the clock on the wall, which is looked at then."""
        self.state = _QUEUED
        self.phase = _CONVERTING
        self.attempt = 0
        self.on_interrupt = _FAIL
        self.started: float | None = None
        self.outcome: Outcome | None = None
        self.code: int | None = None
        self.reason: str | None = None
        self.why: Reason | None = None
        """Why it did not start when that was decided last."""
        self.since: float | None = None
        """Wall-clock time since which it waits for a reason of this kind; None where that is not known."""
        self.asked: float | None = None
        """Monotonic time at which its condition was asked last; None where it was not, or what is declared holds it."""
        self.petition: Petition | None = None
        self.is_plain = False
        """Whether it is known to declare no group, needs, key, time, dependency or condition in text: then nothing of
        this can block it, and nobody looks at each of these."""
        self.group: str | None = None
        self.needs: Mapping[str, int | str] | None = None
        """The amount of each resource that the petition holds while it runs; None where it needs nothing."""
        self.devices: Devices | None = None
        """The devices that its attempt has, of resources that are devices; None where it has none."""
        self.once: str | None = None
        self.after: Mapping[str, bool] | None = None
        """The ids of the petitions that it waits for, and whether each must succeed; None where it names none."""
        self.at: float | None = None
        """Wall-clock time before which it does not start, which a person named."""
        self.delay: float | None = None
        """Seconds after its acceptance before which it does not start."""
        self.when: Condition | None = None
        """Its condition in text; None where it has none."""
        self.timeout: float | None = None
        self.queue_timeout: float | None = None
        self.expect: float | None = None
        """Seconds that an attempt will probably take, as who asked for it said."""
        self.preemptible: str | None = None
        """How it gives its place to a more urgent petition, `pause` or `requeue`; None where it does not."""
        self.retry: Retry | None = None
        """When it is tried again; None for never."""
        self.tries: Tries | None = None
        """What decides that about the attempt that runs, which is an action."""
        self.cancellation: Cancellation | None = None
        self.may_start = True
        self.returned = False
        self.processes_gone = True
        self.run: Any = None
        self.waiters: list[Any] = []
        self.survivors: tuple[int, ...] = ()
        """Processes of its attempt that cannot be killed: as long as they live it keeps id, slot and what it needs."""
        self.may_be_outlived = False
        """Whether nobody knows yet if such processes outlive its end: its shim has told nothing to this service."""
        self.hook_owed = False
        """Whether its on_finish is called when these processes have ended."""

    @property
    def is_outlived(self) -> bool:
        """Whether it keeps its place, since processes of its attempt live, or may live, that nothing can kill."""
        return bool(self.survivors) or self.may_be_outlived

    @property
    def has_hooks(self) -> bool:
        """Whether its hooks are called: those of commands and leases of built-in managers do nothing."""
        return not self.command or self.manager not in WITHOUT_HOOKS

    @property
    def starts_after(self) -> float:
        """The wall-clock time from which on it waits for its turn."""
        return starts_after(self.submitted, self.at, self.delay)

    @property
    def given_priority(self) -> int | float:
        """The priority that it was given, whatever it has gained by waiting."""
        return self.priority if self.unaged is None else self.unaged

    @property
    def place(self) -> Key:
        """Its place in the order of the waiting."""
        return (self.priority, self.seq, self.key)

    def __repr__(self) -> str:
        """Name it for logs: never its extras, which may hold secrets."""
        return f"<petition {self.key!r} seq={self.seq} attempt={self.attempt} {self.state.name} {self.phase.name}>"


def starts_after(submitted: float, at: float | None, delay: float | None) -> float:
    """Give the wall-clock time from which on a petition waits for its turn, by what it names of its start."""
    return submitted + (delay or 0.0) if at is None else max(at, submitted)
