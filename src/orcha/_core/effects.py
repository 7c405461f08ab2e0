"""What the engine is to do once the changes of a batch are kept."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from orcha._core.record import Record


class Do(IntEnum):
    """The kinds of effects."""

    ACCEPT = 1
    """Tell the client that submitted the petition that it is kept."""
    REFUSE = 2
    """Tell the client that submitted the petition that it is not kept; `detail` is (verdict of the refusal, reason)."""
    KNOWN = 3
    """Tell the client that submitted the petition again that it is there already."""
    ON_START = 4
    """Call the manager's on_start, then the action."""
    ON_FINISH = 5
    """Call the manager's on_finish: the slot is free, nothing of the attempt lives."""
    END_PROCESSES = 6
    """INT, TERM, KILL to what lives of the attempt, then report."""
    SWEEP = 7
    """KILL what the action left behind, then report."""
    ANSWER = 8
    """Tell the client that cancelled how the petition ended; `detail` is the waiter."""
    STAND_STILL = 9
    """Stop every process of the command, then note that it stands still."""
    GO_ON = 10
    """Let the processes of the command go on."""


class Effect(NamedTuple):
    """One thing to do for one petition."""

    do: Do
    record: Record
    detail: Any = None


class Final(NamedTuple):
    """A petition's last records on its channel: a line for people, where there is one, then its final value."""

    record: Record
    line: str | None
    value: int | None
