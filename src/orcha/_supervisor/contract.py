"""The data between the service and what executes commands: a command's specification, its events.

`command_executor` has the verbs.
"""

from __future__ import annotations

from orcha.utils.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

END, KEEP = "end", "keep"
"""What happens to processes that a command leaves behind: they are ended, or they may live on."""
OUTSIDE = "outside"
"""Why a command ended: somebody sent SIGTERM to it and to its shim, as where a machine or a unit of systemd stops."""
BESIDE = "beside"
"""Why a command ended: the command ended beside which it ran."""
TRUNCATE, KILL, ROTATE = "truncate", "kill", "rotate"
"""What happens at the output limit: keep no further output, end the command, or drop the oldest output."""


class CommandSpec(NamedTuple):
    """The specification of one attempt at a command."""

    seq: int
    attempt: int
    channel: bytes
    """Names the files of its output."""
    argv: tuple[str | bytes, ...]
    cwd: str | bytes
    env: Mapping[str, str]
    """The whole environment as text, in which lone surrogates stand for bytes that are no UTF-8 (PEP 383).

    The program is looked for in its PATH.
    """
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
    """Whether the command goes on while its service is away; builds without this field let every command go on."""
    merge: bool = False
    """Whether standard error goes into standard output; builds without this field keep the two streams apart."""
    drain: float = 10.0
    """Seconds after the end of the first process in which processes that hold the output open may go on."""
    leftovers: str = END
    """What happens to the processes that still live after these seconds: `end` or `keep`."""
    warn_signal: int | None = None
    """The signal that every process gets before `timeout` ends the command; builds without this field send none."""
    warn_seconds: float = 0.0
    """Seconds before `timeout` at which that signal is sent; at the start where the timeout is shorter."""
    beside_pid: int | None = None
    """The first process of another command: this one is in its cgroups, and is killed as soon as that process ends.
    Builds without this field do neither."""
    beside_start: float = 0.0
    """When that process was started, in seconds since the system's start."""
    processors: tuple[int, ...] | None = None
    """The processors that the command is bound to; None for the processors of the shim.

    Builds without this field bind no command.
    """
    uid: int | None = None
    """The user as whom the command runs; None for the user of the shim. Only a shim of root's can run it as another.

    Builds without this field find no program in such a specification, and so execute nothing.
    """
    secrets: Mapping[str, bytes] | None = None
    """What the command finds in files of its own, by name; the values travel behind the specification, and never in it.

    Builds without this field find no program in such a specification, and so execute nothing.
    """


class AttemptLimitValues(NamedTuple):
    """What a shim counts and takes anew while a command runs; the fields have the names of the specification's."""

    timeout: float | None = None
    idle_timeout: float | None = None
    cpu_timeout: float | None = None
    warn_signal: int | None = None
    warn_seconds: float = 0.0


class FileSpan(NamedTuple):
    """A piece of the raw file that holds one stream of an attempt's output.

    `<folder>/output/<channel hex>.<seq>.<attempt>.<stream>`. Output that `rotate` dropped is a hole at the beginning
    of the file; the hole ends at `os.lseek(descriptor, 0, os.SEEK_DATA)`.
    """

    offset: int
    length: int


class UnkeptPiece(NamedTuple):
    """A piece of output that is kept nowhere: only attached readers get it."""

    offset: int
    """Position within all unkept output of the attempt, over both streams."""
    length: int
    data: bytes | None
    """None where the bytes are lost."""


class OutputChunk(NamedTuple):
    """A piece of output; numbered from 1 within its attempt, over both streams."""

    number: int
    stream: int
    """1 standard output (or the terminal), 2 standard error."""
    data: bytes | FileSpan | UnkeptPiece


class ResourceUsage(NamedTuple):
    """What all reaped processes of an attempt used."""

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
    """Chunks in order. Once they are kept, acknowledge the last one with :meth:`CommandExecutor.took`."""

    seq: int
    attempt: int
    chunks: list[OutputChunk]


class InputTaken(NamedTuple):
    """How much standard input a command has got since its start; also told at each resume."""

    seq: int
    attempt: int
    taken: int
    """Bytes that the command has taken."""
    received: int
    """Bytes that have arrived at the shim, which keeps them until its end; the next byte to write has this offset."""
    ended: bool
    """Whether the end of the input has arrived."""


class CommandEnded(NamedTuple):
    """The first process ended, all output came before this event, and only `survivors` of the attempt still live."""

    seq: int
    attempt: int
    code: int | None
    """The exit code of the first process (the leader); None where a signal ended it."""
    signal: int | None
    why: str | None
    """Why the command was ended from here: the word of a cancel or kill, or timeout, idle, cpu, output, memory."""
    signals: list[tuple[float, int, str]]
    """The signals that were sent: when (seconds since 1970), which and why. The last one before the end worked."""
    usage: ResourceUsage
    last_chunk: int
    """The number of the last chunk; -1 where the shim died before it knew the number."""
    dropped: int
    """Bytes of output that were not kept."""
    survivors: list[int]
    """Pids of processes that SIGKILL did not end within 30 s; SurvivorsGone follows when they have ended."""
    leftovers: tuple[tuple[int, str], ...] = ()
    """Pids and names of the first processes that the leader left behind; they were ended, or with `kept` live on."""
    left: int = 0
    """The number of processes that the leader left behind."""
    kept: bool = False
    placed: int = 0
    """The number of dropped bytes that have a place among the chunks; there each reader is told what it lacks."""


class CommandNotStarted(NamedTuple):
    """The program was not executed."""

    seq: int
    attempt: int
    code: int
    """127 where the program was not found, 126 where it cannot be executed, else 125."""
    reason: str


class SurvivorsGone(NamedTuple):
    """The processes that lived on after the attempt's end or loss have ended."""

    seq: int
    attempt: int


class CommandLost(NamedTuple):
    """The shim is dead. Of the processes that it left only `survivors` still live."""

    seq: int
    attempt: int
    executed: bool
    """Whether the command may have run."""
    ended: CommandEnded | None = None
    """The leader's end, where the shim saw it."""
    failure: str = ""
    """The error in the shim's own code that ended the shim; empty where it was killed."""
    survivors: tuple[int, ...] = ()
    """Pids of processes that cannot be killed; SurvivorsGone follows when they have ended."""


class Silent(NamedTuple):
    """What watches over the attempt has not answered for a while; or it answers again."""

    seq: int
    attempt: int
    is_silent: bool


class CommandStopped(NamedTuple):
    """SIGSTOP was sent to every process of the attempt, as the service had asked to be told."""

    seq: int
    attempt: int


Event: TypeAlias = (
    CommandStarted
    | CommandStopped
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
    """`waiting` (a shim has it, its first process is not known yet), `running`, `ended`, `lost` or `foreign`.

    Of a lost attempt nothing is left but its `survivors`, and no event follows but their SurvivorsGone. A foreign
    attempt goes on under a shim that this build cannot talk to: its CommandLost comes once it has ended or was killed,
    and SurvivorsGone where survivors are named there; a cancel kills it. Of every other attempt all events after the
    resumed chunk follow, once it is resumed.
    """
    shim: str
    pid: int = 0
    start_time: float = 0.0
    boot_id: str = ""
    last_chunk: int = 0
    """The number of the last chunk so far."""
    last_took: int = 0
    """The number of the last chunk that was acknowledged."""
    executed: bool = True
    """For a lost attempt: whether the command may have run."""
    ended: CommandEnded | None = None
    """For a lost attempt: the leader's end, where the shim saw it."""
    same_boot: bool = True
    """False after a reboot: then the attempt is lost, and no process was signalled."""
    failure: str = ""
    """For a lost attempt: the error in the shim's own code that ended the shim."""
    survivors: tuple[int, ...] = ()
    """Pids of its processes that cannot be killed; SurvivorsGone follows when they have ended."""
    is_silent: bool = False
    """Whether its shim has not answered yet: then nobody knows whether it has survivors."""
