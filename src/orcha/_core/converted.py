"""What the manager's code made of a message, as data that nobody changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from orcha._core.record import starts_after
from orcha._core.state import OnInterrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orcha._core.conditions.condition import Condition
    from orcha._core.devices import Devices
    from orcha._core.reasons import Reason
    from orcha._core.record import Key, Phase, Record
    from orcha.interfaces.command import Retry
    from orcha.interfaces.petition import Petition


@dataclass(slots=True, eq=False)
class Converted:
    """What a conversion found out about one petition.

    The hook thread makes it and changes nothing of the record. The condition is asked in the same visit, so asking
    reads it here; the engine enters it into the record when it takes the result of the conversion. It is no named
    tuple, since asking reads a field of it some thirty times.
    """

    record: Record
    is_new: bool
    """Whether the message has just come; a petition that is made again from a kept message keeps its priority."""
    seq: int
    key: str
    manager: str
    owner: str
    petition: Petition
    is_command: bool
    priority: int | float
    retry: Retry | None = None
    on_interrupt: OnInterrupt = OnInterrupt.FAIL
    timeout: float | None = None
    queue_timeout: float | None = None
    expect: float | None = None
    group: str | None = None
    needs: Mapping[str, int | str] | None = None
    once: str | None = None
    after: Mapping[str, bool] | None = None
    at: float | None = None
    delay: float | None = None
    when: Condition | None = None
    preemptible: str | None = None
    has_policy: bool = False
    """Whether the petition says any of this itself; else the record says the same already."""
    is_plain: bool = False
    """Whether nothing of what it declares can block it: see the record's field of that name."""

    @property
    def place(self) -> Key:
        """Its place in the order of the waiting."""
        return (self.priority, self.seq, self.key)

    @property
    def starts_after(self) -> float:
        """The wall-clock time from which on it waits for its turn."""
        return starts_after(self.record.submitted, self.at, self.delay)

    @property
    def phase(self) -> Phase:
        """What is going on with the petition."""
        return self.record.phase

    @property
    def devices(self) -> Devices | None:
        """The devices that it has already: none."""
        return None

    @property
    def why(self) -> Reason | None:
        """Why it did not start when that was decided last."""
        return self.record.why


def declares_nothing(
    group: str | None,
    needs: Mapping[str, int | str] | None,
    once: str | None,
    after: Mapping[str, bool] | None,
    at: float | None,
    delay: float | None,
    when: Condition | None,
) -> bool:
    """Tell whether a petition that declares this is a plain one: only its own condition can block it."""
    names_no_time = at is None and delay is None
    return names_no_time and group is None and once is None and when is None and not needs and not after


Candidate: TypeAlias = "Record | Converted"
"""A petition that may be asked: its record has its object, or this very visit has made the object."""


def known_seconds(candidate: Candidate) -> float | None:
    """Give how long a petition is said to take: what is expected, else its limit; None where neither is known."""
    return candidate.timeout if candidate.expect is None else candidate.expect


__all__ = ["Candidate", "Converted", "declares_nothing", "known_seconds"]
