"""The vocabulary between what decides (core and engine) and what keeps (a store).

One :class:`Changes` is one transaction. All of it is kept, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._core.state import Missed, OnInterrupt, Outcome, Overlap, State
from orcha._core.tuples import new_tuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


ELEMENTS_PER_PART = 256
"""Elements of an array whose ends are kept together: each end writes the ends of all of them again."""
PART_BYTES = 2 * ELEMENTS_PER_PART
"""Bytes of such a part: an element's outcome, and its code."""


class NewPetition(NamedTuple):
    """A petition's row at its acceptance (or, cancelled beforehand, at its end)."""

    seq: int
    token: bytes
    id: str
    id_is_int: bool
    manager: str
    owner: str
    channel: bytes
    state: State
    attempt: int
    priority: int | float
    extras: bytes
    on_interrupt: OnInterrupt
    submitted: float
    outcome: Outcome | None = None
    code: int | None = None
    reason: str | None = None


class Transition(NamedTuple):
    """One petition's step, fenced: it applies only to this attempt in one of these states."""

    seq: int
    from_attempt: int
    from_states: int
    """Bit mask: ``1 << state`` for each state in which the step is allowed."""
    state: State
    attempt: int
    at: float
    """Wall-clock seconds since 1970; stored as `started` on entering STARTING, as `ended` on entering ENDED. A petition
    that is in no attempt (0) has no `started`."""
    outcome: Outcome | None = None
    code: int | None = None
    reason: str | None = None
    hook_pending: bool = False
    slot_held: bool = False
    started: float | None = None
    """Wall-clock time at which the attempt began, where that is not kept yet: it may have been kept ahead of that."""

    def without_slot(self) -> Transition:
        """Give the same step with its slot free."""
        return new_tuple(Transition, (*self[:-2], False, self.started))


class NewDependency(NamedTuple):
    """One petition that a new petition waits for."""

    after: int
    """The sequence number of the petition that is waited for."""
    id: str
    must_succeed: bool
    if_fails: int
    """An :class:`~orcha._core.dependencies.IfFails`; the same for all dependencies of one petition."""


class Schedule(NamedTuple):
    """A message that is asked for again and again, at the instants of a cron expression."""

    name: str
    owner: str
    manager: str
    """Whose petitions its firings are."""
    expression: str
    zone: str | None
    """The name of the zone that the expression is meant in; None for that of the machine."""
    overlap: Overlap
    missed: Missed
    extras: bytes
    """The message's extras, encoded."""
    made: float
    """Wall-clock time at which it was added."""
    fired_until: float
    """The last instant that was fired or passed over."""
    is_paused: bool = False


class NewFiring(NamedTuple):
    """The result of one instant of a schedule."""

    schedule: str
    instant: float
    decided: float
    """Wall-clock time at which that was decided."""
    petition: int | None = None
    """The sequence number of its petition, which is kept with it; None where it has none."""
    id: str | None = None
    note: str | None = None
    """Why it has no petition."""
    fired_until: float | None = None
    """The schedule's from then on; None where the instant is none of the schedule's."""


class NewArray(NamedTuple):
    """What a new array consists of, beside its petition's row."""

    total: int
    """How many elements it has."""
    spec: str
    """What its elements are, and its bounds, as JSON."""
    items: list[bytes]
    """The items of its elements, where they were listed, in packed parts."""


class ArrayStop(NamedTuple):
    """Why no more elements of an array start, and how it ends for that."""

    outcome: Outcome
    code: int
    reason: str | None


class Altered(NamedTuple):
    """What is kept of a petition from now on, since people changed it after it was accepted; all of it replaces."""

    extras: bytes
    priority: int | float
    group: str | None
    needs: Mapping[str, int | str] | None
    expect: float | None
    dependencies: list[NewDependency] | None = None
    """None where the dependencies stay as they are."""


class NewAlteration(NamedTuple):
    """A change of a petition by people, for its history."""

    petition: int
    at: float
    """Wall-clock time."""
    who: str
    what: str
    """A JSON object of each field that changed, with what it was and what it is."""


class NewChannel(NamedTuple):
    """A channel that the first submit naming it creates."""

    id: bytes
    owner: str
    own: bool
    """True where it belongs to one petition and closes with its final value."""


class AttemptStep(NamedTuple):
    """What is kept of a petition's attempts beside the petition's row; a step replaces the one before.

    A command has a step from its start on, an action only where its petition is tried again.
    """

    seq: int
    attempt: int
    """The petition's current attempt: all fields but retries, losses and history are about this one."""
    pid: int | None = None
    """A command's first process, with what identifies that: when it was started, since which start of the system."""
    start_time: float | None = None
    boot_id: str | None = None
    shim: str | None = None
    last_chunk: int = 0
    """Number of the last chunk of output that is kept."""
    due: float | None = None
    """Wall-clock time of the next attempt, while the petition waits for that."""
    retries: int | None = None
    """How often it was tried again because it had failed; None for what is kept."""
    losses: int | None = None
    """How many attempts in a row were lost before they were executed; None for what is kept."""
    history: str | None = None
    """A JSON list of what is known of ended attempts; None for what is kept."""
    is_command: bool = True
    """Whether the attempt is a command, and not an action of the service."""

    def begun(self, pid: int, start_time: float, boot_id: str, shim: str) -> AttemptStep:
        """Give the step of the same attempt once the first process of its command runs."""
        return new_tuple(AttemptStep, (*self[:2], pid, start_time, boot_id, shim, *self[6:]))

    def over(self, history: str, *, retries: int | None, due: float | None) -> AttemptStep:
        """Give the step of the same attempt once its command has ended; no attempt is lost then."""
        return new_tuple(AttemptStep, (*self[:7], due, retries, 0, history, self.is_command))


class Append(NamedTuple):
    """Consecutive records of one channel, encoded; `first` is the index of the first."""

    channel: bytes
    first: int
    count: int  # type: ignore[assignment]  # a tuple's own count() is of no use here
    data: bytes


class AuditEntry(NamedTuple):
    """What a client did or tried."""

    at: float
    """In seconds since 1970."""
    who: str
    """The identity of the client."""
    key: str
    """The name of the key by which it came in; empty where it has none."""
    door: str
    """The way by which it came in: `socket`, `key` or `attempt`; empty where that is not known any more."""
    host: str
    """The address of its machine; empty for this one."""
    verb: str
    ids: tuple[str, ...]
    """The first of what it was done to."""
    total: int
    """To how many it was done."""
    owners: tuple[str, ...]
    """Whose petitions these were."""
    why: str
    """What the client said about it."""
    outcome: str
    """`done`, `refused` or `failed`."""
    reason: str
    """Why it was not done."""
    petition: int | None = None
    """The petition that a submit made."""


class AuditBounds(NamedTuple):
    """How much is kept of what clients did."""

    since: float
    """Nothing from before that, in seconds since 1970."""
    most: int
    """How many submits are given at most, and how many other entries; there the user with the most loses the oldest."""


class _Made:
    """A field that is made when it is first asked for; from then on the object has it in its `__dict__`."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, _: type | None = None) -> Any:
        value = instance.__dict__[self._name] = self._make()
        return value


def _made(make: Callable[[], Any]) -> Any:
    return _Made(make)


class Changes:
    """One transaction's worth of changes; at most one transition a petition.

    What few transactions have is made when it is first asked for, since a new one is made for each transaction.
    """

    __slots__ = (
        *("petitions", "transitions", "channels", "appends", "attempts", "flags", "tombstones", "deleted", "slots"),
        "__dict__",
    )

    petitions: list[NewPetition]
    transitions: dict[int, Transition]
    channels: list[NewChannel]
    appends: list[Append]
    attempts: dict[int, AttemptStep]
    """By seq; kept after the transitions, and fenced: the petition must be in this attempt then."""
    flags: dict[int, tuple[bool, bool]]
    """seq of an ended petition -> (hook_pending, slot_held)"""
    tombstones: list[tuple[bytes, float]]
    """(token, wall-clock time until which it is kept): a submit of that token is cancelled on arrival."""
    deleted: list[int]
    """seqs of ended petitions to forget; channels no row names any more go with them."""
    groups: dict[int, str] = _made(dict)
    """The group of each new petition that is in one, by seq."""
    needs: dict[int, Mapping[str, int | str]] = _made(dict)
    """The needs of each new petition that has any (an amount of each resource), by seq."""
    devices: dict[tuple[int, int], Mapping[str, tuple[str, ...]]] = _made(dict)
    """The devices that attempts have got, by resource; by seq and attempt."""
    once: dict[int, str] = _made(dict)
    """The key of each new petition that has one (only one petition of a key waits or runs at a time), by seq."""
    expected: dict[int, float] = _made(dict)
    """Seconds that an attempt of each new petition will probably take, where that was said, by seq."""
    dependencies: dict[int, list[NewDependency]] = _made(dict)
    """What each new petition waits for that names others, by seq."""
    arrays: dict[int, NewArray] = _made(dict)
    """What each new petition that is an array consists of, by seq."""
    elements: dict[int, tuple[int, int]] = _made(dict)
    """The array (its seq) and the position in it of each new petition that is an element of one, by seq."""
    array_ends: dict[tuple[int, int], bytes] = _made(dict)
    """How elements of arrays have ended, by (seq of the array, number of the part): they replace what is kept."""
    array_stops: dict[int, ArrayStop] = _made(dict)
    """Arrays that start no more elements, by seq."""
    held_for: list[int] = _made(list)
    """seqs of petitions that are paused since a dependency failed: from then on no failure counts."""
    priorities: dict[int, int | float] = _made(dict)
    """New priorities of waiting petitions, by seq; a petition that does not wait keeps its priority."""
    altered: dict[int, Altered] = _made(dict)
    """What people changed of petitions that have not ended, by seq."""
    alterations: list[NewAlteration] = _made(list)
    """Who changed that, and what it was before."""
    pauses: dict[str, bool] = _made(dict)
    """What is paused (True) or goes on (False): `all`, `group:<name>` or `petition:<seq>`."""
    schedules: dict[str, Schedule | None] = _made(dict)
    """Schedules that are new or changed, by name; None for a schedule that is forgotten, with its firings."""
    firings: list[NewFiring] = _made(list)
    """Results of schedules' instants, kept after the schedules. A result of an unknown schedule is not kept."""
    decided: dict[tuple[str, str], str | None] = _made(dict)
    """Decisions of people while the service ran, as text, by kind and name; None takes a decision back."""
    audit: list[AuditEntry] = _made(list)
    """What clients did and tried."""
    audit_left: AuditBounds | None = _made(lambda: None)
    """What may be left of that; None for all."""
    slots: Mapping[str, int | None] | None
    """All groups that there are now, and how many of each may run at once (None: any number); None for as before."""

    def __init__(self, **given: Any) -> None:
        """Begin with what is given, by the names of the fields."""
        self.petitions = []
        self.transitions = {}
        self.channels = []
        self.appends = []
        self.attempts = {}
        self.flags = {}
        self.tombstones = []
        self.deleted = []
        self.slots = None
        for name, value in given.items():
            setattr(self, name, value)

    def __eq__(self, other: object) -> bool:
        """Tell whether both have the same to keep."""
        return self._filled() == other._filled() if isinstance(other, Changes) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        """Give what there is to keep."""
        return f"Changes({', '.join(f'{name}={value!r}' for name, value in self._filled().items())})"

    def _filled(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in self.__slots__ if name != "__dict__"} | self.__dict__
        return {name: value for name, value in found.items() if value or (name == "slots" and value is not None)}

    def __bool__(self) -> bool:
        """Tell whether there is anything to keep."""
        return bool(
            self.petitions
            or self.transitions
            or self.appends
            or self.attempts
            or self.flags
            or self.channels
            or self.tombstones
            or self.deleted
            or self.slots is not None
            or (self.__dict__ and any(self.__dict__.values()))
        )

    @property
    def declares(self) -> bool:
        """Whether there is anything that petitions declare, that people decide, or of arrays and schedules."""
        return self.slots is not None or (bool(self.__dict__) and any(self.__dict__.values()))
