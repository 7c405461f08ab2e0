"""Where a petition is (:class:`State`) and how it ended (:class:`Outcome`)."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where a petition is. These numbers are stored: never renumber them."""

    QUEUED = 1
    """Accepted and waiting; nothing of it has been executed in this attempt."""
    HELD = 2
    """Interrupted under the policy ``ask``: waits for a person's decision."""
    STARTING = 3
    """The intent to start is durable; a Python action may have run."""
    RUNNING = 4
    """A command that is known to run."""
    CANCELLING = 5
    """A cancel or a limit is durable; what it runs is being ended."""
    ENDED = 6
    """It has an outcome, and keeps it."""


class Outcome(IntEnum):
    """How a petition ended. These numbers are stored: never renumber them."""

    SUCCEEDED = 1
    FAILED = 2
    CANCELLED = 3
    TIMED_OUT = 4
    INTERRUPTED = 5
    REJECTED = 6
    BROKEN = 7


class OnInterrupt(IntEnum):
    """What happens to a petition that a crash of the service interrupted."""

    FAIL = 0
    RERUN = 1
    ASK = 2


class IfFails(IntEnum):
    """What becomes of a petition when another one, which must succeed, has ended otherwise. The numbers are kept."""

    CANCEL = 1
    """The petition is cancelled."""
    HOLD = 2
    """The petition is paused until people decide."""
    RUN = 3
    """The petition starts all the same."""
    HELD = 4
    """The petition was paused for that: only people let it start, and no failure counts any more."""


class Overlap(IntEnum):
    """What becomes of a schedule's firing while an earlier one waits or runs. The numbers are kept."""

    SKIP = 1
    """There is no such firing."""
    QUEUE = 2
    """It waits for the end of the earlier one."""
    REPLACE = 3
    """It cancels the earlier one, and starts after the end of that."""


class Missed(IntEnum):
    """What becomes of a schedule's instants that came while nobody could fire them. The numbers are kept."""

    SKIP = 1
    """They are passed over."""
    LAST = 2
    """The last one is made up for."""
    ALL = 3
    """All are made up for, one after the other."""
