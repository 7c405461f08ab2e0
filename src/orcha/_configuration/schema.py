"""What may stand in a configuration file: one structure a table, from which the JSON schema is made, too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from orcha._configuration import kinds
from orcha._configuration.kinds import SettingKind


def _of(kind: SettingKind, about: str) -> Meta:
    return Meta(description=f"{about}: {kind.form}", extra={"kind": kind})


Duration = float | str
_NUMBER_OR_TEXT = int | str
_POLICY = kinds.one_of("truncate", "kill", "rotate")
_LEFT = kinds.one_of("end", "keep")
_INTERRUPT = kinds.one_of("fail", "rerun", "ask")
_STORE = kinds.one_of("sqlite", "memory")
_VISIBILITY = kinds.one_of("private", "metadata", "open")
_OTHERS = kinds.one_of("none", "viewer", "submitter")
_LOG = kinds.one_of("text", "json", "journal")


class _Table(Struct, forbid_unknown_fields=True):
    """A table whose keys are known."""


class ServiceTable(_Table):
    """How the service works."""

    plugins: Annotated[list[str], _of(kinds.NAMES, "plugins that are served, `commands` among them")] | UnsetType = (
        UNSET
    )
    commands: Annotated[int, _of(kinds.whole(1, 999_999_999), "commands that run at once")] | UnsetType = UNSET
    new_groups: (
        Annotated[int | str, _of(kinds.NEW_GROUPS, "slots of a group that a petition names first")] | UnsetType
    ) = UNSET
    fair: Annotated[str, _of(kinds.FAIR, "what counts in whose turn it is")] | UnsetType = UNSET
    detect: Annotated[bool, _of(kinds.FLAG, "have what the machine has as resources")] | UnsetType = UNSET
    store: Annotated[Literal["sqlite", "memory"], _of(_STORE, "where the state is kept")] | UnsetType = UNSET
    hook_deadline: Annotated[Duration, _of(kinds.TIME, "longest call of a manager's code")] | UnsetType = UNSET
    stop_grace: Annotated[Duration, _of(kinds.DURATION, "how long actions go on after a stop")] | UnsetType = UNSET
    abandon_after: (
        Annotated[Duration, _of(kinds.DURATION, "how long a cancelled action's thread goes on")] | UnsetType
    ) = UNSET
    shim_silence: Annotated[Duration, _of(kinds.TIME, "how long a shim may not answer")] | UnsetType = UNSET
    keep_commands: Annotated[bool, _of(kinds.FLAG, "commands outlive a stop of the service")] | UnsetType = UNSET
    keep_input: Annotated[int | str, _of(kinds.SIZE, "input kept for a further attempt")] | UnsetType = UNSET
    log: Annotated[Literal["text", "json", "journal"], _of(_LOG, "how the log on stderr is written")] | UnsetType = (
        UNSET
    )
    log_runs: Annotated[bool, _of(kinds.FLAG, "log when petitions begin and end")] | UnsetType = UNSET


class ListenTable(_Table):
    """Where the default service listens beside its Unix socket."""

    address: Annotated[str, _of(kinds.ADDRESS, "address")] | UnsetType = UNSET
    port: Annotated[int, _of(kinds.PORT, "TCP port, 0 for any free one")] | UnsetType = UNSET
    share: (
        Annotated[bool | list[int | str], _of(kinds.SHARE, "the key lets in others; or who comes in without a key")]
        | UnsetType
    ) = UNSET
    reached_as: Annotated[list[str], _of(kinds.ENDS, "where clients dial a tunnel to it")] | UnsetType = UNSET
    allow_weak_key: Annotated[bool, _of(kinds.FLAG, "a short key may be used with other machines")] | UnsetType = UNSET


class TlsTable(_Table):
    """The certificate of the service's port, where the service is not to make its own."""

    certificate: (
        Annotated[str, _of(kinds.PATH, "certificate, and its chain up to the authority, in PEM")] | UnsetType
    ) = UNSET
    key: Annotated[str, _of(kinds.PATH, "private key of the certificate, in PEM")] | UnsetType = UNSET
    client_ca: (
        Annotated[str, _of(kinds.PATH, "authority of certificates that clients on TCP show, in PEM")] | UnsetType
    ) = UNSET


class RetentionTable(_Table):
    """When ended petitions and their output are forgotten."""

    age: Annotated[Duration, _of(kinds.DURATION, "age at which they are forgotten")] | UnsetType = UNSET
    count: Annotated[int, _of(kinds.COUNT, "how many are kept at most")] | UnsetType = UNSET
    bytes: Annotated[int | str, _of(kinds.SIZE, "bytes of output that are kept at most")] | UnsetType = UNSET
    least: Annotated[Duration, _of(kinds.DURATION, "age below which nothing is forgotten")] | UnsetType = UNSET


class AuditTable(_Table):
    """How long it is kept what clients did and tried (`orcha events`)."""

    keep: Annotated[Duration, _of(kinds.DURATION, "age at which it is forgotten")] | UnsetType = UNSET
    count: Annotated[int, _of(kinds.COUNT, "submits kept at most, and as many of all else")] | UnsetType = UNSET


class DefaultsTable(_Table):
    """What holds for a command that says nothing about it."""

    timeout: Annotated[Duration, _of(kinds.TIME, "how long an attempt may run")] | UnsetType = UNSET
    queue_timeout: Annotated[Duration, _of(kinds.TIME, "how long it may wait")] | UnsetType = UNSET
    idle_timeout: Annotated[Duration, _of(kinds.TIME, "how long it may write nothing")] | UnsetType = UNSET
    cpu_timeout: Annotated[Duration, _of(kinds.TIME, "processor time it may use")] | UnsetType = UNSET
    grace: Annotated[Duration, _of(kinds.DURATION, "time from its stop signal to SIGKILL")] | UnsetType = UNSET
    drain: Annotated[Duration, _of(kinds.DURATION, "how long what it leaves may go on writing")] | UnsetType = UNSET
    output_limit: Annotated[int | str, _of(kinds.SIZE, "output that is kept")] | UnsetType = UNSET
    output_policy: (
        Annotated[Literal["truncate", "kill", "rotate"], _of(_POLICY, "what happens beyond output_limit")] | UnsetType
    ) = UNSET
    leftovers: Annotated[Literal["end", "keep"], _of(_LEFT, "what becomes of what it leaves behind")] | UnsetType = (
        UNSET
    )
    on_interrupt: (
        Annotated[Literal["fail", "rerun", "ask"], _of(_INTERRUPT, "what follows when a crash interrupted it")]
        | UnsetType
    ) = UNSET
    memory: Annotated[int | str, _of(kinds.SIZE, "memory of all its processes")] | UnsetType = UNSET
    pids: Annotated[int, _of(kinds.LIMIT, "how many processes it may have")] | UnsetType = UNSET
    cpu_share: Annotated[int, _of(kinds.LIMIT, "percent of one processor")] | UnsetType = UNSET


_Accounts = list[int | str]


class RolesTable(_Table):
    """Which users may do what; the service's own user and root are admins in any case."""

    viewer: Annotated[_Accounts, _of(kinds.ACCOUNTS, "look, and change nothing")] | UnsetType = UNSET
    submitter: Annotated[_Accounts, _of(kinds.ACCOUNTS, "ask for petitions, and change their own")] | UnsetType = UNSET
    operator: Annotated[_Accounts, _of(kinds.ACCOUNTS, "change the petitions of all")] | UnsetType = UNSET
    admin: Annotated[_Accounts, _of(kinds.ACCOUNTS, "change the service")] | UnsetType = UNSET
    others: (
        Annotated[Literal["none", "viewer", "submitter"], _of(_OTHERS, "role of every other local user")] | UnsetType
    ) = UNSET
    visibility: (
        Annotated[Literal["private", "metadata", "open"], _of(_VISIBILITY, "what they see of petitions of others")]
        | UnsetType
    ) = UNSET


class GroupTable(_Table):
    """A group of petitions, and what holds for them."""

    slots: Annotated[int | str, _of(kinds.SLOTS, "how many run at once")] | UnsetType = UNSET
    per_user: Annotated[int, _of(kinds.COUNT, "how many of one owner run at once")] | UnsetType = UNSET
    default_timeout: (
        Annotated[Duration, _of(kinds.TIME, "how long a petition runs that says nothing about it")] | UnsetType
    ) = UNSET
    longest: Annotated[Duration, _of(kinds.TIME, "how long any petition may run")] | UnsetType = UNSET
    rate: Annotated[str, _of(kinds.RATE, "how many start within a time")] | UnsetType = UNSET
    when: Annotated[str, _of(kinds.CONDITION, "what has to hold when a petition starts")] | UnsetType = UNSET
    age: Annotated[Duration, _of(kinds.AGE, "in how long a waiting petition gains one priority")] | UnsetType = UNSET


class QuotaTable(_Table):
    """What somebody's petitions may have together."""

    queued: Annotated[int | str, _of(kinds.MOST, "how many wait; elements of arrays count")] | UnsetType = UNSET
    running: Annotated[int | str, _of(kinds.MOST, "how many run at once")] | UnsetType = UNSET
    slots: Annotated[int | str, _of(kinds.MOST, "how many commands run at once")] | UnsetType = UNSET
    output: Annotated[int | str, _of(kinds.MOST_BYTES, "bytes of output that are kept")] | UnsetType = UNSET
    resources: (
        Annotated[dict[str, int | str], Meta(description="How much of each resource they hold at once")] | UnsetType
    ) = UNSET


class QuotasTable(_Table):
    """What the petitions of users may have together."""

    default: Annotated[QuotaTable, Meta(description="Of each user of whom nothing else is said")] | UnsetType = UNSET
    user: Annotated[dict[str, QuotaTable], Meta(description="Of a user")] | UnsetType = UNSET
    members: Annotated[dict[str, QuotaTable], Meta(description="Of each member of a Unix group")] | UnsetType = UNSET
    group: Annotated[dict[str, QuotaTable], Meta(description="Of all members of a Unix group together")] | UnsetType = (
        UNSET
    )


Stock = int | str | list[int | str | dict[str, int | float | str]]


class Configuration(_Table):
    """The configuration of an Orcha service."""

    service: ServiceTable | UnsetType = UNSET
    listen: ListenTable | UnsetType = UNSET
    tls: TlsTable | UnsetType = UNSET
    retention: RetentionTable | UnsetType = UNSET
    audit: AuditTable | UnsetType = UNSET
    defaults: DefaultsTable | UnsetType = UNSET
    resources: (
        Annotated[dict[str, Stock], Meta(description="How much there is of each resource, or a list of its devices")]
        | UnsetType
    ) = UNSET
    groups: dict[str, GroupTable] | UnsetType = UNSET
    roles: RolesTable | UnsetType = UNSET
    quota: QuotasTable | UnsetType = UNSET
    weights: (
        Annotated[dict[str, int], Meta(description="Weight of a user, or of all members of a Unix group with an @")]
        | UnsetType
    ) = UNSET


def json_schema() -> dict[str, Any]:
    """Give the JSON schema of a configuration file."""
    import msgspec

    return msgspec.json.schema(Configuration)


__all__ = [
    "Configuration",
    "GroupTable",
    "QuotaTable",
    "QuotasTable",
    "RolesTable",
    "Stock",
    "json_schema",
]
