"""Facts about an endpoint, the programs that serve it, and the machine."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True, slots=True)
class RunningProgram:
    """A process that was started from a file of Orcha, and the state of that file now."""

    pid: int
    interpreter: str
    """Path of the interpreter that the process runs; empty where it cannot be read."""
    interpreter_is_gone: bool = False
    """Whether that file was removed or replaced since the process started."""
    program: str = ""
    """Path of the program."""
    program_is_other: bool = False
    """Whether the program differs from the program that this Orcha would start."""


@dataclass(frozen=True, slots=True)
class DoctorFacts:
    """The facts; each check of `orcha doctor` is a function of them."""

    folder: str
    """The folder of the endpoint."""
    uid: int
    """The user who runs `orcha doctor`."""
    now: float
    """The time of the machine's clock, in seconds since 1970."""
    version: str
    """Version of the Orcha that looks."""
    found: os.stat_result | None = None
    """The folder; None where there is none."""
    owner_is_known: bool = True
    """Whether the folder's owner is a user of this machine."""
    space: os.statvfs_result | None = None
    """The file system of the folder, or of the folder above it that exists."""
    database_bytes: int = 0
    """What the database takes on the disk, with its log."""
    output_bytes: int = 0
    """What the output takes there."""
    written: float = 0.0
    """When the newest of the files that tell of the state was written, in seconds since 1970."""
    written_name: str = ""
    """Path of that file."""
    dead_socket: str = ""
    """Path of the endpoint's Unix socket, where nobody listens on it; empty else."""
    holder: int | None = None
    """The process that holds the endpoint's lock; None where nobody does, 0 for a process of another namespace."""
    holder_text: str = ""
    """That process in words."""
    holders: tuple[int, ...] = ()
    """All processes that hold a lock file of this path, removed ones too."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Why a start, or a client, would be refused, by the name of the check."""
    nobodys_settings: tuple[str, ...] = ()
    """Quotas and weights of users and groups that this machine does not have."""
    answer: Mapping[str, Any] | None = None
    """The service's own figures (`Stats` of docs/wire.md); None where it did not give them."""
    silence: str = ""
    """Why the service that holds the lock did not answer."""
    service: RunningProgram | None = None
    """The process of the service."""
    supervisors: tuple[RunningProgram, ...] = ()
    """The processes that watch over the commands of the endpoint."""
    plugins: tuple[tuple[str, str], ...] = ()
    """Module and problem of each plugin that cannot be used."""
    limits: frozenset[str] = frozenset()
    """Which limits of a command cgroups can set: for the service that runs, else for a service that is started here."""
    no_login_limits: str | None = None
    """Why commands of users have no limits of their logins; None where they have, and for a service of a user."""
    hidden: str | None = None
    """How /proc hides processes."""
    has_inotify: bool = True
    """Whether one more inotify instance can be had."""
    max_inotify: str = ""
    """How many inotify instances the kernel lets a user have."""
