"""What the service and the supervisor's side agree on: one attempt's specification, its events, and the verbs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeAlias

END, KEEP = "end", "keep"
"""What becomes of processes that a command leaves behind: they are ended, or let go."""
TRUNCATE, KILL, ROTATE = "truncate", "kill", "rotate"
"""What happens at the output limit: drop what comes after, end the command, or drop the oldest."""


class CommandSpec(NamedTuple):
    """One attempt at a command, as it is to be started."""

    seq: int
    attempt: int
    channel: bytes
    """Names the files of its output."""
    argv: tuple[str | bytes, ...]
    cwd: str | bytes
    env: Mapping[str, str | bytes] | Mapping[str | bytes, str | bytes]
    """The whole environment; PATH within it is where the program is looked for."""
    umask: int | None = None
    stdin: str = "null"
    """`null` or `pipe`."""
    tty: tuple[int, int] | None = None
    """Rows and columns of its terminal; None for pipes."""
    stop_signal: int = 2
    """The first signal of a cancel, to the leader's process group."""
    grace: float = 5.0
    """Seconds from the first signal to SIGKILL; SIGTERM goes to every process after half of it."""
    timeout: float | None = None
    """Seconds of wall time."""
    idle_timeout: float | None = None
    """Seconds without output."""
    cpu_timeout: float | None = None
    """Seconds of processor time of all its processes."""
    memory: int | None = None
    """Bytes, by cgroup."""
    pids: int | None = None
    """Processes and threads at once, by cgroup."""
    cpu_share: int | None = None
    """Percent of one processor, by cgroup: 150 is one and a half."""
    output_limit: int = 1 << 30
    output_policy: str = TRUNCATE
    outlives: bool = True
    """Whether it goes on while its service is away; builds that do not know this let it."""
    merge: bool = False
    """Whether its standard error is its standard output; builds that do not know this keep them apart."""
    drain: float = 10.0
    """Seconds after its first process's end in which what holds its output open may go on."""
    leftovers: str = END
    """What becomes of the processes that live then."""


class FileSpan(NamedTuple):
    """A piece of an attempt's raw output file of its stream.

    `<folder>/output/<channel hex>.<seq>.<attempt>.<stream>`. What `rotate` dropped is a hole at the file's beginning,
    which ends at `os.lseek(descriptor, 0, os.SEEK_DATA)`.
    """

    offset: int
    length: int


class UnkeptPiece(NamedTuple):
    """A piece of output that is kept nowhere: it is for those who read along."""

    offset: int
    """Within all output of the attempt that is not kept, over both streams."""
    length: int
    data: bytes | None
    """None where it is lost."""


class OutputChunk(NamedTuple):
    """A piece of output; numbered from 1 within its attempt, over both streams."""

    number: int
    stream: int
    """1 standard output (or the terminal), 2 standard error."""
    data: bytes | FileSpan | UnkeptPiece


class ResourceUsage(NamedTuple):
    """What an attempt used, over all its processes that were waited for."""

    user: float = 0.0
    """Seconds."""
    system: float = 0.0
    """Seconds."""
    peak: int = 0
    """Bytes: the largest resident set of one process, or with a memory limit the peak of all."""
    read: int = 0
    """Bytes from disks."""
    written: int = 0
    """Bytes to disks."""
    wall: float = 0.0
    """Seconds from the start to the leader's end."""


class CommandStarted(NamedTuple):
    """The command's first process runs."""

    seq: int
    attempt: int
    pid: int
    start_time: float
    """Seconds since the system's start."""
    boot_id: str
    shim: str


class CommandOutput(NamedTuple):
    """Chunks in order; acknowledge the last with :meth:`Commands.took` once it is kept."""

    seq: int
    attempt: int
    chunks: list[OutputChunk]


class InputTaken(NamedTuple):
    """How much of its standard input a command has, since its start; told at each resume too."""

    seq: int
    attempt: int
    taken: int
    """Bytes that the command has taken."""
    received: int
    """Bytes that have arrived where nothing but its own end takes them away; the next to write has this offset."""
    ended: bool
    """Whether its end has arrived."""


class CommandEnded(NamedTuple):
    """The leader ended, all its output came before this, and nothing of the attempt is left but `survivors`."""

    seq: int
    attempt: int
    code: int | None
    """The leader's exit code; None when a signal ended it."""
    signal: int | None
    why: str | None
    """Why it was ended from here: the word given with a cancel or kill, or timeout, idle, cpu, output, memory."""
    signals: list[tuple[float, int, str]]
    """When (seconds since 1970), which signal and why; the last one before the end is the one that worked."""
    usage: ResourceUsage
    last_chunk: int
    """The number of the last chunk; -1 where a dead shim did not live to know it."""
    dropped: int
    """Bytes of output that were not kept."""
    survivors: list[int]
    """Pids that not even SIGKILL ended within 30 s; Gone follows when they have ended."""
    leftovers: tuple[tuple[int, str], ...] = ()
    """Pids and names of the first ones that the leader left and that were ended, or with `kept` let go."""
    left: int = 0
    """How many these were."""
    kept: bool = False
    placed: int = 0
    """How many of the dropped bytes have their place among the chunks: there each reader is told what it lacks."""


class CommandNotStarted(NamedTuple):
    """The program was not executed."""

    seq: int
    attempt: int
    code: int
    """127 not found, 126 found and not executable, 125 everything else."""
    reason: str


class SurvivorsGone(NamedTuple):
    """What lived on after an end, or a loss, has ended."""

    seq: int
    attempt: int


class CommandLost(NamedTuple):
    """The shim is dead; what it left is swept already, but for `survivors`."""

    seq: int
    attempt: int
    executed: bool
    """Whether the command may have run."""
    ended: CommandEnded | None = None
    """The leader's end, where the shim saw it."""
    failure: str = ""
    """The error of ours that ended the shim; empty where it was killed."""
    survivors: tuple[int, ...] = ()
    """Processes that cannot be killed; Gone follows when they have ended."""


class Silent(NamedTuple):
    """What watches over the attempt has not answered for a while; or it answers again."""

    seq: int
    attempt: int
    is_silent: bool


Event: TypeAlias = (
    CommandStarted
    | CommandOutput
    | InputTaken
    | CommandEnded
    | CommandNotStarted
    | CommandLost
    | SurvivorsGone
    | Silent
)

WAITING, RUNNING, ENDED, LOST, FOREIGN = "waiting", "running", "ended", "lost", "foreign"


class FoundAttempt(NamedTuple):
    """An attempt that outlived an earlier start of the service."""

    seq: int
    attempt: int
    channel: bytes
    phase: str
    """`waiting` (taken, its first process is not known yet), `running`, `ended`, `lost` or `apart`.

    Of one that is lost nothing is left, and no event follows; one that is apart goes on under a shim that this build
    cannot talk to: nothing but its Lost follows, once it has ended or was killed; a cancel kills it. Of the others all
    events after the resumed chunk follow.
    """
    shim: str
    pid: int = 0
    start_time: float = 0.0
    boot_id: str = ""
    last_chunk: int = 0
    """The number of the last chunk so far."""
    last_took: int = 0
    """The number of the last one acknowledged."""
    executed: bool = True
    """Of one that is lost: whether the command may have run."""
    ended: CommandEnded | None = None
    """Of one that is lost: the leader's end, where the shim saw it."""
    same_boot: bool = True
    """False after a reboot: it is lost, and nothing was signalled."""
    failure: str = ""
    """Of one that is lost: the error of ours that ended its shim."""
    survivors: tuple[int, ...] = ()
    """Its processes that cannot be killed; Gone follows when they have ended."""


class CommandExecutor(Protocol):
    """All attempts at commands of one endpoint.

    Callable from any thread; nothing here waits for a command or a shim. Events of one attempt arrive in order, on the
    reader thread. Verbs about an attempt that is not known here do nothing.
    """

    def adopt(self) -> list[FoundAttempt]:
        """Find what an earlier service left, before the first start; what dead shims left is swept by then.

        No event comes before :meth:`recovered` or the first verb about one of them.
        """
        ...

    def may_have_run(self, seq: int, attempt: int, *, epoch: int) -> bool:
        """Tell whether an attempt that is not among the adopted may have been executed; before :meth:`recovered`.

        `epoch` is the start of the service whose intent it was. False needs proof: a shim that was never told, or that
        is known not to have taken it.
        """
        ...

    def recovered(self) -> None:
        """Note that what was made of the adopted is kept; events may come from now on."""
        ...

    def resume(self, seq: int, attempt: int, *, after_chunk: int) -> None:
        """Let the events of an adopted attempt flow, its output from the chunk after this one on."""
        ...

    def discard(self, seq: int, attempt: int) -> None:
        """Kill and forget an attempt that the store does not know; no event follows."""
        ...

    def start(self, spec: CommandSpec) -> None:
        """Start an attempt, at once or when a shim is there. Started, NotStarted or Lost follows."""
        ...

    def cancel(self, seq: int, attempt: int, why: str) -> None:
        """Climb the ladder: stop signal, SIGTERM, SIGKILL. Doing it again changes nothing."""
        ...

    def kill(self, seq: int, attempt: int, why: str) -> None:
        """Go to the end of the ladder at once."""
        ...

    def signal(self, seq: int, attempt: int, signal: int) -> None:
        """Send a signal to every process of the attempt, as SIGSTOP and SIGCONT to pause and resume it."""
        ...

    def write(self, seq: int, attempt: int, offset: int, data: bytes) -> None:
        """Write to its standard input or terminal what is `offset` bytes from its beginning.

        What has arrived already is not written twice, and nothing where bytes are missing before it. Wrote follows.
        """
        ...

    def close_stdin(self, seq: int, attempt: int, offset: int) -> None:
        """Close its standard input once all of `offset` bytes are written; a terminal gets an end-of-file character."""
        ...

    def resize(self, seq: int, attempt: int, rows: int, columns: int) -> None:
        """Give its terminal another size."""
        ...

    def took(self, seq: int, attempt: int, chunk: int) -> None:
        """Acknowledge the chunks up to this one: they are kept elsewhere."""
        ...

    def read(self, seq: int, attempt: int, *, anybody: bool) -> None:
        """Tell whether anybody reads along: what is not kept is dropped at once where nobody does."""
        ...

    def forget(self, seq: int, attempt: int) -> None:
        """Acknowledge the end, or the loss: the shim is free again, and hears of it at :meth:`settle` at the latest."""
        ...

    def prepare(self) -> None:
        """Have what executes commands started before the first comes; a line says so where that cannot be."""
        ...

    def more(self) -> list[Event]:
        """Give the events that have come since.

        Only on the thread, and while, it tells of others.
        """
        ...

    def settle(self) -> None:
        """Send what was held back so that it could go with something else."""
        ...

    def descriptors(self) -> list[int]:
        """Give what a forked child of the service must not keep; takes no lock."""
        ...

    def close(self, *, keep: bool) -> None:
        """Let go of everything; with `keep` the commands run on and are found by :meth:`adopt`."""
        ...
