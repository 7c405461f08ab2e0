"""What a store does, as a protocol class; one conformance suite runs over each implementation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from orcha._core.changes import ArrayStop, AuditEntry, Changes, Schedule
from orcha._core.state import IfFails, OnInterrupt, Outcome, State

MAX_ALTERATIONS = 20
"""Changes of one petition that are remembered."""


class Row(NamedTuple):
    """Everything kept of one petition."""

    seq: int
    token: bytes
    id: str
    id_is_int: bool
    manager: str
    owner: str
    channel: bytes
    state: State
    attempt: int
    epoch: int
    """The start of the service in which the row was accepted or took its last transition; 0 before `begin`."""
    priority: int | float
    extras: bytes
    on_interrupt: OnInterrupt
    submitted: float
    started: float | None
    ended: float | None
    outcome: Outcome | None
    code: int | None
    reason: str | None
    hook_pending: bool
    slot_held: bool
    """Whether something of an ended petition still lives, and holds the petition's slot."""


class Waiting(NamedTuple):
    """What the queue needs of a petition far from its head."""

    priority: int | float
    seq: int
    id: str
    owner: str


class Incarnation(NamedTuple):
    """One start of the service: what a later start needs to find its leftovers."""

    epoch: int
    nonce: int
    boot_id: str
    uid: int
    started: float
    pid: int = 0
    """The service's own; 0 where an older build did not note it."""
    tasks: int = 0
    """How many processes and threads had been started on the machine before; 0 for unknown."""


class StoredChannel(NamedTuple):
    """A channel as kept."""

    id: bytes
    owner: str
    own: bool
    next: int
    """Index of the next record: one more than the last record kept in the store."""
    size: int
    """Bytes of records kept in the store."""


class AttemptRow(NamedTuple):
    """What is kept of a petition's attempts; as :class:`~orcha._core.changes.AttemptStep`, with nothing left out."""

    seq: int
    attempt: int
    pid: int | None
    start_time: float | None
    boot_id: str | None
    shim: str | None
    last_chunk: int
    due: float | None
    retries: int
    losses: int
    history: str | None
    is_command: bool


class KeptDependency(NamedTuple):
    """One petition that another one waits for, or waited for."""

    petition: int
    """The sequence number of the petition that waits."""
    after: int
    """The sequence number of the petition that is waited for."""
    id: str
    """The id of that petition."""
    must_succeed: bool
    if_fails: IfFails
    outcome: Outcome | None
    """How the other petition ended; None where it has not ended, or was forgotten."""
    has_ended: bool
    """Whether the other petition has ended, or was forgotten."""


class KeptAlteration(NamedTuple):
    """What a client changed of a petition after the petition was accepted."""

    at: float
    who: str
    what: str
    """A JSON object: for each changed field the value before and the value after."""


class KeptFiring(NamedTuple):
    """What became of one instant of a schedule."""

    instant: float
    decided: float
    petition: int | None
    id: str | None
    note: str | None
    state: State | None
    """Where its petition is; None where it has none, or where that is forgotten."""
    outcome: Outcome | None
    """How its petition ended; that stays known when the petition is forgotten."""
    code: int | None
    ended: float | None


class ArrayRow(NamedTuple):
    """What is kept of an array beside its petition's row."""

    petition: int
    """The sequence number of the array's own petition."""
    total: int
    spec: str
    stop: ArrayStop | None
    """Why no more of its elements start; None where they do."""


class Element(NamedTuple):
    """Of which array a petition is an element, and where it stands in that."""

    petition: int
    array: int
    position: int


class EventFilter(NamedTuple):
    """Which of the things that clients did and tried are wanted."""

    since: float = 0.0
    """None from before that, in seconds since 1970."""
    before: float = math.inf
    """None from then on."""
    who: str | None = None
    """The identity of a client, or the name of a key; None for any."""
    verb: str | None = None
    id: str | None = None
    """Something that it was done to."""
    seen_by: str | None = None
    """Only what this client did, and what was done to petitions of this client; None for everything."""
    limit: int = 100
    without: str | None = None
    """A verb that is not wanted."""


class Store(Protocol):
    """A store. Only one thread calls it, except `page`, which any thread may call.

    Every method may raise StoreBroken, after which the store must only be closed, and `commit` may raise StoreFull,
    after which nothing of that commit is kept and a smaller one may succeed. Nor is anything kept of a commit that
    raises anything else than StoreBroken.
    """

    durable: bool

    def begin(
        self, *, nonce: int, boot_id: str, uid: int, now: float, pid: int = 0, tasks: int = 0
    ) -> tuple[Incarnation, Sequence[Incarnation]]:
        """Record a new start of the service (fsynced); give it and all earlier ones still recorded."""
        ...

    def forget_incarnations(self, epochs: Iterable[int]) -> None:
        """Drop the records of earlier starts whose leftovers have been swept; the last start stays."""
        ...

    def next_seq(self) -> int:
        """Give the lowest sequence number never used so far, also by rows deleted since."""
        ...

    def commit(self, changes: Changes, *, durable: bool = True) -> Sequence[bytes]:
        """Keep all of `changes` or none; with `durable` it is fsynced on return, else it survives a crash of processes.

        Gives the ids of the channels that went with `changes.deleted`: no row names them any more, and their files can
        be deleted. Accepted as STARTING a petition has `started`, as ENDED it has `ended` equal to `submitted`.
        New petitions come before steps, steps before flags, so one commit may hold all three of one petition.

        Raises:
            FencedError: a transition matched no row, flags or a deletion met a petition that has not ended.
            TokenKnown: a new petition's token belongs to another.
            ChannelKnown: a new channel is there already.
            ValueError: the changes contradict each other or what is kept (a seq or record that is there
                already, a channel that is not), or hold what no store can keep: an integer beyond 64 bits, a priority
                that is not a number.
            StoreFull: there is no room on the disk, even with the reserve given up.
        """
        ...

    @property
    def has_reserve(self) -> bool:
        """Whether room is set aside for ends; without a reserve only what is indispensable should be kept."""
        ...

    def space(self) -> bool:
        """Tell whether there is room for new petitions; true again as soon as the disk has room again."""
        ...

    def tokens(self, tokens: Sequence[bytes]) -> dict[bytes, Row]:
        """Give the rows of the known tokens among these."""
        ...

    def tombstones(self, tokens: Sequence[bytes], now: float) -> set[bytes]:
        """Give the tokens among these that were cancelled before their submit came."""
        ...

    def rows(self, seqs: Sequence[int]) -> list[Row]:
        """Give these rows, in the order asked, without the missing rows."""
        ...

    def all_tombstones(self, now: float) -> dict[bytes, float]:
        """Give all tombstones still in force, with the time until which each is kept."""
        ...

    def waiting(self, manager: str) -> Iterator[Waiting]:
        """Give this manager's QUEUED petitions as they are when the first is asked for, by (priority, seq)."""
        ...

    def unfinished(self, manager: str) -> list[Row]:
        """Give this manager's rows in HELD to CANCELLING, and its others with hook_pending or slot_held."""
        ...

    def attempts(self, seqs: Sequence[int]) -> dict[int, AttemptRow]:
        """Give what is kept of these petitions' attempts, by seq: of all commands, and of actions that are retried."""
        ...

    def resting(self) -> list[AttemptRow]:
        """Give what is kept of petitions that wait for the time of their next attempt, the earliest first."""
        ...

    def channel(self, channel: bytes) -> StoredChannel | None:
        """Give a channel, None for an unknown one."""
        ...

    def events(self, wanted: EventFilter) -> list[tuple[AuditEntry, int]]:
        """Give what clients did and tried, the newest first, each with a number that no other has; from any thread.

        The number changes when the petition of a submit is forgotten.
        """
        ...

    def channel_owners(self, channels: Sequence[bytes]) -> dict[bytes, str]:
        """Give the owners of the known channels among these."""
        ...

    def records(self, channel: bytes, index: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Give (first, count, data) of the appends holding `index` and later ones, in order, about `limit` bytes.

        At least one, if there is any; a first one beyond `index` means that what lies between is kept elsewhere.
        """
        ...

    def page(
        self,
        *,
        states: int,
        limit: int,
        before: int | None = None,
        id: str | None = None,  # noqa: A002 - the word of the wire
        group: str | None = None,
        owner: str | None = None,
        array: int | None = None,
        apart: bool = False,
    ) -> list[Row]:
        """Give up to `limit` rows in the states of the bit mask, highest seq first, below `before`; from any thread.

        With `id`, or else `array` (its seq), or else `group`, only those; with `owner` only what is theirs. With
        neither `id` nor `array` no elements of arrays. Where rows are large there may be fewer than `limit`; there is
        at least one where there is any. With `apart` no page that is read otherwise has to wait for this one.

        Raises:
            TimeoutError: it was not done in a few seconds.
        """
        ...

    def groups(self, seqs: Sequence[int]) -> dict[int, str]:
        """Give the groups of these petitions, for each petition that is in a group."""
        ...

    def expected(self, seqs: Sequence[int]) -> dict[int, float]:
        """Give how many seconds an attempt of each of these petitions will probably take, where that was said."""
        ...

    def needs(self, seqs: Sequence[int]) -> dict[int, dict[str, int | str]]:
        """Give the needs of these petitions (an amount of each resource), for each petition that has any."""
        ...

    def devices(self, seqs: Sequence[int]) -> dict[int, dict[int, dict[str, tuple[str, ...]]]]:
        """Give the devices that attempts of these petitions got, by seq, attempt and resource."""
        ...

    def once(self) -> list[tuple[int, str, str, str]]:
        """Give seq, manager, owner and key of petitions with a key that live or hold their slot, the oldest first."""
        ...

    def dependencies_of_live(self) -> list[KeptDependency]:
        """Give the dependencies of petitions that are QUEUED or HELD, in the order of these."""
        ...

    def dependencies(self, seqs: Sequence[int]) -> list[KeptDependency]:
        """Give the dependencies of these petitions."""
        ...

    def dependents(self, seq: int, limit: int) -> list[KeptDependency]:
        """Give up to `limit` dependencies of petitions, the oldest first, that name this petition."""
        ...

    def alterations(self, seq: int) -> list[KeptAlteration]:
        """Give what people changed of a petition, the oldest change first; the last twenty are kept."""
        ...

    def schedules(self) -> list[Schedule]:
        """Give all schedules, by name."""
        ...

    def firings(self, schedule: str, limit: int) -> list[KeptFiring]:
        """Give the last firings of a schedule, the latest instant first.

        A hundred of each schedule are kept, and each earlier one whose petition has not ended.
        """
        ...

    def live_firings(self, schedule: str) -> list[KeptFiring]:
        """Give the firings of a schedule whose petitions have not ended, the latest instant first."""
        ...

    def has_firing(self, schedule: str, instant: float) -> bool:
        """Tell whether it is known what became of an instant of a schedule."""
        ...

    def live_arrays(self) -> list[ArrayRow]:
        """Give the arrays that have not ended, the oldest first."""
        ...

    def arrays(self, seqs: Sequence[int]) -> dict[int, ArrayRow]:
        """Give what these petitions consist of, for each petition that is an array."""
        ...

    def array_ends(self, seq: int) -> bytes:
        """Give how the elements of an array ended, two bytes an element; parts in which none ended are missing or 0."""
        ...

    def array_items(self, seq: int, part: int) -> bytes | None:
        """Give a packed part of an array's items; None where there is none."""
        ...

    def live_elements(self) -> list[Element]:
        """Give the elements of arrays that are petitions and have not ended, the oldest first."""
        ...

    def elements(self, seqs: Sequence[int]) -> dict[int, Element]:
        """Give the array of each of these petitions that is an element."""
        ...

    def pauses(self) -> set[str]:
        """Give what is paused, by the names of `Changes.pauses`."""
        ...

    def decided(self, kind: str) -> dict[str, str]:
        """Give what people decided of things of one kind, by their names."""
        ...

    def slots(self) -> dict[str, int | None]:
        """Give the groups there are, with how many of each may run at once; None for any number."""
        ...

    def ended(self) -> int:
        """Count the petitions that have ended."""
        ...

    def prunable(self, *, older_than: float, keep: int, younger_than: float, limit: int) -> list[tuple[int, bytes]]:
        """Give (seq, channel) of ended rows to forget, oldest end first.

        A row is to be forgotten where its petition ended before `older_than`, or is older than the newest `keep`; but
        not where the petition ended or was submitted after `younger_than`, nor with hook_pending or slot_held.
        """
        ...

    def close(self) -> None:
        """Close; safe to call twice."""
        ...

    def forget_in_child(self) -> None:
        """Drop everything without closing it, in a forked child, which must never use the store."""
        ...
