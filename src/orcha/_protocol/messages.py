"""The closed table of messages. Each is a msgpack array whose first element is its tag.

Both ends import this module; `docs/wire.md` describes the same table for other languages. Tags and the order of fields
are the protocol: add at the end, never renumber.
One file, since it is one table, whose tags are numbered over all messages.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec

from orcha._protocol import codes

Kind = codes.Kind
Verdict = codes.Verdict

Token = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
"""Names a petition for its client: 16 bytes; the first six are milliseconds since 1970."""
ChannelId = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
"""Names a channel: bytes as a Token's."""
Writer = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
"""Names the writer of values: 8 random bytes, which each process of an attempt chooses."""
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""A number from 0 that a store can keep."""
FinalValue = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""An int that a store can keep."""
Values = Annotated[list[bytes], msgspec.Meta(max_length=10_000)]
"""Values of a Put: their number is bounded, since each costs the service an object, however short."""
SignalNumber = Annotated[int, msgspec.Meta(ge=1, le=64)]
"""A signal of Linux (signal(7))."""
Side = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
"""Rows or columns of a terminal."""


class _Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Base of all messages."""


SecretValues = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=256)], Annotated[bytes, msgspec.Meta(max_length=1 << 20)]],
    msgspec.Meta(max_length=256),
]
"""Values of secrets by name; what a service takes of them is less."""


class Item(NamedTuple):
    """One petition asked for in a Submit."""

    token: Token
    """16 random bytes chosen by the client: the same token is the same petition."""
    id: str | int
    extras: bytes
    """The message's extras, encoded by `values.encode`."""
    channel: ChannelId | None
    """16 bytes: where its values go; None for a channel of its own, chosen by the service."""


# --- from a client ---------------------------------------------------------------------------------------------------


class Submit(_Message, tag=1, frozen=True):
    """Ask for petitions, and follow their channels: in one message, so that no value falls between two.

    Answered by one or more Submitted that together name each position once.
    """

    request: Count
    manager: str | None
    """Plugin name for an endpoint that serves several managers; None where there is one."""
    credit: Count
    """Bytes of values that the client takes on each new channel at once; 0 to not follow the channels."""
    items: list[Item]
    secrets: SecretValues | None = None
    """Of the command that is asked for, by name: then there is one item, whose extras name the same secrets.

    The service keeps them in memory alone, until the petition has ended.
    """


class Cancel(_Message, tag=2, frozen=True):
    """Cancel by token (also before its submit came) or by id. Answered by a Reply when the outcome is decided."""

    request: Count
    token: Token | None
    id: str | None
    why: str = ""
    at_once: bool = False
    """Kill processes at once, without asking them to end first."""


class Follow(_Message, tag=3, frozen=True):
    """Send me the records of this channel from this index on. Answered by Data, Gap, Reset or Gone."""

    channel: ChannelId
    index: Count
    credit: Count


class Unfollow(_Message, tag=4, frozen=True):
    """Send no more of this channel."""

    channel: ChannelId


class Credit(_Message, tag=5, frozen=True):
    """The client has room for this many more bytes of this channel."""

    channel: ChannelId
    size: Count


class Put(_Message, tag=6, frozen=True):
    """Values from an attempt. Answered by a Reply: OK or GONE. The same (writer, number) again changes nothing."""

    request: Count
    channel: ChannelId
    seq: Count
    attempt: Count
    writer: Writer
    number: Count
    """Counts a writer's Puts from 1 without gap."""
    values: Values


class Finish(_Message, tag=7, frozen=True):
    """The final value of an attempt. Answered by a Reply after the value is kept: OK or GONE."""

    request: Count
    channel: ChannelId
    seq: Count
    attempt: Count
    value: FinalValue | None


class List(_Message, tag=8, frozen=True):
    """Which petitions are there? Answered by Rows."""

    request: Count
    states: Count
    """Bit mask, `1 << state`."""
    limit: Count
    before: Count | None = None
    id: str | None = None
    group: str | None = None
    """Only petitions of this group; None for all."""
    array: str | None = None
    """Only the elements of the array of this id; None for all petitions that are no elements."""


class Call(_Message, tag=9, frozen=True):
    """Call a function that the manager registered. Answered by a Reply whose value is the encoded result."""

    request: Count
    name: str
    args: bytes
    kwargs: bytes
    manager: str | None = None
    """As in a Submit."""


class Ping(_Message, tag=10, frozen=True):
    """Are you there? Answered by a Reply."""

    request: Count


class CloseChannel(_Message, tag=11, frozen=True):
    """The creator does not need a channel any more: nothing is sent, and it closes when no live petition names it."""

    channel: ChannelId


class Show(_Message, tag=12, frozen=True):
    """Tell everything about one petition, by its sequence number or its id: the live one of an id, else the newest.

    Answered by a Reply whose value is a map with the keys of a row and some more, as `docs/wire.md` names them.
    """

    request: Count
    id: str | None
    seq: Count | None = None


class Priority(_Message, tag=13, frozen=True):
    """Give a waiting petition another priority. Answered by a Reply when the priority is kept."""

    request: Count
    id: str | None
    seq: Count | None
    priority: int | float


class Pause(_Message, tag=14, frozen=True):
    """Stop one petition's processes, or start nothing of a group, or nothing at all where none of the three is named.

    Answered by a Reply when the pause is kept. A pause outlives restarts of the service.
    """

    request: Count
    id: str | None = None
    seq: Count | None = None
    group: str | None = None


class Resume(_Message, tag=15, frozen=True):
    """Undo the Pause of the same fields. Answered by a Reply when that is kept."""

    request: Count
    id: str | None = None
    seq: Count | None = None
    group: str | None = None


class Remove(_Message, tag=16, frozen=True):
    """Forget an ended petition now. Answered by a Reply when that is kept."""

    request: Count
    id: str | None
    seq: Count | None = None


class Retry(_Message, tag=17, frozen=True):
    """Ask for an ended petition once more: a new petition with the same id, extras, manager and owner.

    Answered by a Reply when the new petition is kept; its value is a map of the petition's seq, id and channel. The
    same token is the same new petition, however often it is sent.
    """

    request: Count
    token: Token
    id: str | None
    seq: Count | None = None
    failed: bool = False
    """Of an array only the elements that ended without success, also while the array has not ended."""
    secrets: SecretValues | None = None
    """As in a Submit."""


class Stats(_Message, tag=18, frozen=True):
    """Count. Answered by a Reply whose value is a map, as `docs/wire.md` names its keys."""

    request: Count


class Stdin(_Message, tag=19, frozen=True):
    """Bytes for the standard input of a running command.

    Answered by a Reply when there is room for more. Its value is how many bytes the command's standard input got so
    far: where that is not offset + len(data), the client goes on from that offset.
    """

    request: Count
    seq: Count
    attempt: Count
    offset: Count
    """Bytes of its standard input before these."""
    data: bytes
    end: bool = False
    """Nothing comes after these."""


class Resize(_Message, tag=20, frozen=True):
    """The terminal of a running command has another size. Answered by a Reply."""

    request: Count
    seq: Count
    attempt: Count
    rows: Side
    columns: Side


class Stop(_Message, tag=21, frozen=True):
    """Stop the service in good order. Answered by a Reply when the stop has begun."""

    request: Count
    keep_commands: bool = False
    """Leave commands running: the next start of the service goes on with them."""
    now: bool = False
    """Give actions no time to come to their ends, and leave no commands unless they are to be kept."""
    end_commands: bool = False
    """End commands. With neither this nor `keep_commands` nor `now` the service's own setting decides."""


class Signal(_Message, tag=22, frozen=True):
    """Send a signal to the processes of a running command. Answered by a Reply when the signal is on its way."""

    request: Count
    id: str | None
    seq: Count | None
    signal: SignalNumber


class AddSchedule(_Message, tag=23, frozen=True):
    """Ask for petitions again and again, at the instants of a cron expression.

    Answered by a Reply when that is kept; its value is a map with the keys of ListSchedules. The same schedule again
    changes nothing.
    """

    request: Count
    name: str
    expression: str
    extras: bytes
    """Of the message, encoded by `values.encode`."""
    manager: str | None = None
    """As in a Submit."""
    zone: str | None = None
    """The zone that the expression is meant in, as `Europe/Berlin`; None for that of the service's machine."""
    overlap: str = "skip"
    """What becomes of a firing while an earlier one waits or runs: `skip`, `queue` or `replace`."""
    missed: str = "skip"
    """What is made up for of the instants that came while the service was away: `skip`, `last` or `all`."""


class ListSchedules(_Message, tag=24, frozen=True):
    """Which schedules are there? Answered by a Reply whose value is a map, as `docs/wire.md` names its keys.

    With a name only that one, with its last firings.
    """

    request: Count
    name: str | None = None


class ChangeSchedule(_Message, tag=25, frozen=True):
    """Pause, resume, remove or set a schedule. Answered by a Reply when that is kept; after `set` with its map."""

    request: Count
    name: str
    change: str
    arguments: bytes | None = None
    """Of `set`, an encoded map, as `docs/wire.md` names its keys."""


class FireSchedule(_Message, tag=26, frozen=True):
    """Ask for a petition of a schedule now. Answered as a Retry; the same token is the same petition."""

    request: Count
    token: Token
    name: str


class ListResources(_Message, tag=27, frozen=True):
    """What there is of each resource, and who has what of it. Answered by a Reply."""

    request: Count


class SetResource(_Message, tag=28, frozen=True):
    """Have other amounts of resources, or other devices. Answered by a Reply."""

    request: Count
    resources: str
    """As ``orcha serve --resource`` takes it; ``NAME=forget`` for nothing of it any more."""


class DrainResource(_Message, tag=29, frozen=True):
    """Have nothing placed on a device or a resource, or have things placed there again. Answered by a Reply."""

    request: Count
    name: str
    """A resource, or a device as ``NAME:DEVICE``."""
    drained: bool
    why: str = ""
    """Shown to people whose petitions wait for the resource."""


Words = Annotated[list[str], msgspec.Meta(max_length=10_000)]


class Select(_Message, tag=30, frozen=True):
    """Do a verb to all petitions that meet a selector, in one transaction; or tell which these are.

    Answered by a Reply whose value is a map, as `docs/wire.md` names its keys, when all is kept and what is cancelled
    has ended.
    """

    request: Count
    verb: str | None = None
    """`cancel`, `pause`, `resume`, `priority`, `set`, `signal`, `rm` or `retry`; None to tell which there are."""
    ids: Words = []
    """Ids with wildcards; one has to fit. None for any id."""
    group: str | None = None
    label: str | None = None
    owner: str | None = None
    states: Words = []
    """States and outcomes; one has to be the petition's. None for the states that the verb is about."""
    arguments: bytes | None = None
    """Of the verb, an encoded map."""
    dry_run: bool = False
    before: Count | None = None
    """Only petitions with a lower sequence number: where an answer said that there are more."""
    array: str | None = None
    """Only elements of the array of this id; of arrays that ids name (`train.*`) elements are looked for, too."""


class SetGroup(_Message, tag=31, frozen=True):
    """Set how many petitions of a group run at once, and the group's other rules. Answered by a Reply."""

    request: Count
    group: str
    slots: Count | None
    """None for any number."""
    rules: bytes | None = None
    """An encoded map of the rules that change, as `docs/wire.md` names its keys; None for none."""
    keeps_slots: bool = False
    """Whether the slots stay as they are, whatever `slots` says."""


class Set(_Message, tag=32, frozen=True):
    """Change a waiting command, or what can be changed of a running command. Answered by a Reply when that is kept."""

    request: Count
    id: str | None
    seq: Count | None
    arguments: bytes
    """An encoded map of fields to their new values, as `docs/wire.md` names them."""


class ChangeLease(_Message, tag=42, frozen=True):
    """Give a lease back, or have it last longer. Answered by a Reply whose value is a map, as `docs/wire.md` says."""

    request: Count
    name: str
    """The lease's id; or what it has: a resource, or a device as ``NAME:DEVICE`` or ``NAME=DEVICE``."""
    seconds: float | None = None
    """By how much it lasts longer; None to give it back."""


# --- from the service ------------------------------------------------------------------------------------------------


class Result(NamedTuple):
    """What became of one position of a Submit."""

    position: int
    verdict: int
    channel: bytes | None = None
    """Where the item named no channel, the one for its values; or that of the petition whose id is `reason`."""
    reason: str | None = None


class Submitted(_Message, tag=33, frozen=True):
    """Answer to (part of) a Submit."""

    request: int
    results: list[Result]
    notes: list[str] = []
    """What people are told beside the results."""


class Reply(_Message, tag=34, frozen=True):
    """Answer to a request: a Verdict, an encoded value or None, and a reason where it is not OK."""

    request: int
    verdict: int
    value: bytes | None = None
    reason: str | None = None


class ChannelRecord(NamedTuple):
    """One record of a channel; its index is its place."""

    kind: int
    seq: int
    """The petition it comes from."""
    payload: bytes
    """Encoded by `values.encode`."""


class Data(_Message, tag=35, frozen=True):
    """Consecutive records of a channel; this is the index of the first."""

    channel: bytes
    index: int
    records: list[ChannelRecord]


class Gap(_Message, tag=36, frozen=True):
    """The records asked for are not kept any more: go on at `first`."""

    channel: bytes
    first: int


class Reset(_Message, tag=37, frozen=True):
    """The channel is shorter than the client says (a power cut): go on at `end`."""

    channel: bytes
    end: int


class Gone(_Message, tag=38, frozen=True):
    """The service knows no such channel (any more)."""

    channel: bytes
    reason: str


class Rows(_Message, tag=39, frozen=True):
    """Answer to List: one map a petition, as `docs/wire.md` names the keys."""

    request: int
    rows: list[dict[str, str | int | float | bool | None]]
    paused: list[str] = []
    """`all` where everything is paused, `group:<name>` of each paused group that the client may know of."""
    other_build: str | None = None
    """A line about another build in the place of the service's own files; None where they are what runs."""
    drained: str | None = None
    """A line about it where the service is drained, so that nothing starts; else None."""
    configuration: str | None = None
    """A line about it where a configuration file is wrong, so that an earlier one is in force; else None."""


class Stopping(_Message, tag=40, frozen=True):
    """The service stops in good order; queued petitions stay: reconnect to go on."""

    reason: str


class Error(_Message, tag=41, frozen=True):
    """The connection is closed after this: the reason says what was wrong with the client's bytes."""

    reason: str


class DrainService(_Message, tag=43, frozen=True):
    """Have nothing more started, and let what runs come to its end; or have petitions started again.

    Answered by a Reply when that is kept. It outlives restarts of the service.
    """

    request: Count
    drained: bool
    why: str = ""
    """Shown to everyone who waits."""
    seconds: float | None = None
    """Seconds after which petitions are started again by themselves; None for never."""


class SetKey(_Message, tag=50, frozen=True):
    """Let in a key by a name, or let it in no more; answered by a Reply when that is kept and no client has it."""

    request: Count
    name: str
    verifier: bytes | None = None
    """StoredKey and ServerKey of SCRAM, 32 bytes each, with the salt and the iterations that ListKeys gives for this
    name; None for a key that a certificate proves, and, without a certificate, to let the key in no more."""
    role: str = ""
    seconds: float | None = None
    """Seconds after which the key is not taken any more; None for never."""
    user: str | None = None
    """The user of the service's machine as whom clients with the key act; None for nobody there."""
    renews: bool = False
    """Whether the key takes the place of the key of this name, and has its petitions, its role and its user; where no
    `seconds` are given, it is taken for as long as that key was."""
    certificate: str | None = None
    """The name of the certificate that proves the key, in place of a verifier: `dns:`, `uri:`, `email:` or `cn:` and
    what the certificate has there, or `SHA256:` and the fingerprint of its public key."""


class ListKeys(_Message, tag=51, frozen=True):
    """Which keys with names there are; answered by a Reply whose value is a map, as `docs/wire.md` says."""

    request: Count
    name: str | None = None
    """The answer also has what a verifier for a key of this name is made with."""


class ListEvents(_Message, tag=47, frozen=True):
    """What did clients do, and try? Answered by a Reply whose value is a map, as `docs/wire.md` says."""

    request: Count
    limit: Count
    since: float = 0.0
    """None from before that, in seconds since 1970."""
    before: float | None = None
    """None from then on."""
    who: str | None = None
    """A user of the service's machine, the identity of a client, or the name of a key; None for any."""
    verb: str | None = None
    id: str | None = None


class Who(_Message, tag=46, frozen=True):
    """What does each user have of the service? Answered by a Reply whose value is a map, as `docs/wire.md` says."""

    request: Count


class Reload(_Message, tag=52, frozen=True):
    """Have the configuration files read again; answered by a Reply whose value tells what came of it."""

    request: Count


class Unset(_Message, tag=53, frozen=True):
    """Have the configuration hold again for a group or a resource that people have set; answered by a Reply."""

    request: Count
    kind: Literal["group", "resource"]
    name: str


class GiveSecrets(_Message, tag=54, frozen=True):
    """Give a petition that has not ended its secrets again, or others in their place; answered by a Reply.

    The attempts that begin from then on have them. The service keeps them in memory alone.
    """

    request: Count
    id: str | None
    seq: Count | None
    secrets: SecretValues
    token: Token | None = None
    """Names the petition in the place of `id` and `seq`."""


_First = Submit | Cancel | Follow | Unfollow | Credit | Put | Finish | List | Call | Ping | CloseChannel
_Plans = Select | AddSchedule | ListSchedules | ChangeSchedule | FireSchedule
_Verbs = Show | Set | Priority | Pause | Resume | Remove | Retry | Stats | Stdin | Resize | Stop | Signal
_Resources = ListResources | SetResource | DrainResource | SetGroup | ChangeLease
_Service = DrainService | Reload | Unset | SetKey | ListKeys | Who | GiveSecrets | ListEvents
ClientMessage = _First | _Verbs | _Plans | _Resources | _Service
ServiceMessage = Submitted | Reply | Data | Gap | Reset | Gone | Rows | Stopping | Error
