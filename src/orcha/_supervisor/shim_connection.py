"""The service's connection to one shim, and what it knows of that shim."""

from __future__ import annotations

import math
import socket
import time

import msgspec

from orcha._processes.identity import boot_id
from orcha._supervisor.contract import (
    CommandEnded,
    CommandNotStarted,
    CommandOutput,
    CommandStarted,
    CommandStopped,
    FileSpan,
    InputTaken,
    OutputChunk,
    ResourceUsage,
    SurvivorsGone,
    UnkeptPiece,
)
from orcha._supervisor.link import Codec, ShimLink
from orcha._supervisor.output_index import parse
from orcha._supervisor.protocol import VERSIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orcha._supervisor.contract import Event
    from orcha._supervisor.link import Frame, Head

_BOOT_ID = boot_id()
FAST_CODEC = Codec(msgspec.json.Encoder().encode, msgspec.json.Decoder().decode)
"""The service's codec: the same JSON in a sixth of the time."""


class ShimConnection:
    """One connected shim."""

    def __init__(self, name: str, link: ShimLink, epoch: int) -> None:
        """Send the greeting."""
        self.name = name
        self.link = link
        self.key: tuple[int, int] | None = None
        """The shim's attempt: sequence and number."""
        self.handed = 0.0
        """When that attempt was handed over, by the monotonic clock; 0 for an attempt of an earlier service."""
        self.idle_since = 0.0
        """Since when the shim has no attempt, by the monotonic clock."""
        self.is_over = False
        """Whether the end of that attempt was reported."""
        self.survivors = False
        """Whether processes of that attempt that cannot be killed live on after its end."""
        self.is_spent = False
        """Whether the shim takes no other attempt, since of its last attempt processes or secrets outlived its end."""
        self.discarded = False
        """Whether events of that attempt are not delivered."""
        self.refused = False
        self.failure = ""
        """The error in its own code by which the shim ends, as it has reported."""
        self.pings = False
        """Whether the shim answers pings; shims of other builds may not know them."""
        self.stops = False
        """Whether the shim tells when it has stopped a command; shims of other builds may not."""
        self.asked: float | None = time.monotonic()
        """Since when the shim owes an answer; None where it owes none. The greeting is the first question."""
        self.silence = 0.0
        """Seconds in which the shim has owed that answer while the service went on."""
        self.silent_since = 0.0
        """The silence was counted up to this moment; a later question counts from its own moment on."""
        self.ends_by = math.inf
        """When the shim is killed unless it has sent anything before: it was told to end its command."""
        self.rouse_by = math.inf
        """When the shim is continued where it is stopped, unless its attempt is forgotten before."""
        self.is_silent = False
        """Whether people have been told that the shim does not answer."""
        link.send({"t": "hello", "epoch": epoch, "versions": VERSIONS})

    def ask(self, now: float) -> None:
        """Send a ping, unless the shim owes an answer already."""
        if self.pings and self.asked is None:
            self.asked = now
            self.link.send({"t": "ping"})

    def said(self, head: Head) -> None:
        """Take what the shim reports of itself."""
        if head.get("pings"):
            self.pings = True
        if head.get("stops"):
            self.stops = True

    def answered(self) -> bool:
        """Note that the shim owes no answer; return whether people have been told that it did not answer."""
        was_silent, self.is_silent = self.is_silent, False
        self.asked, self.silence, self.ends_by = None, 0.0, math.inf
        return was_silent

    def looked_at_by(self, soon: float) -> float:
        """Return when this shim alone is to be looked at: `soon` where it may have to be killed."""
        return min(self.ends_by, self.rouse_by, soon if self.is_silent or self.ends_by < math.inf else math.inf)

    def free(self) -> None:
        """Note that the shim has no attempt any more."""
        self.key, self.is_over, self.discarded, self.rouse_by = None, False, False, math.inf


def connect(shims: int, name: str) -> ShimLink:
    """Connect to a shim by the name of its socket in the open folder `shims`; raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(f"/proc/self/fd/{shims}/{name}.sock")
    except BaseException:
        connection.close()
        raise
    return ShimLink(connection, FAST_CODEC)


def event_of(frame: Frame, shim: str) -> Event | None:
    """Return the event of a shim's message; None where the message is no event."""
    head = frame.head
    if (of_head := _OF_HEADS.get(head["t"])) is not None:
        return of_head(head)
    match head["t"]:
        case "output" | "spans" | "unkept" as kind:
            return CommandOutput(head["s"], head["a"], _OUTPUT[kind](frame))
        case "started":
            return CommandStarted(head["s"], head["a"], head["pid"], head["at"], _BOOT_ID, shim)
        case "ended":
            return _ended(frame)
    return None


def exited(seq: int, attempt: int, why: str) -> CommandEnded:
    """Return the end of an attempt that no shim had got yet."""
    return CommandEnded(seq, attempt, None, None, why, [], ResourceUsage(), 0, 0, [])


def _spans(frame: Frame) -> list[OutputChunk]:
    entries = enumerate(parse(frame.raw), frame.head["n"])
    return [OutputChunk(number, stream, FileSpan(offset, length)) for number, (stream, offset, length) in entries]


def _chunks(frame: Frame) -> list[OutputChunk]:
    found, offset, number = [], 0, frame.head["n"]
    for stream, length in frame.head["c"]:
        found.append(OutputChunk(number, stream, frame.raw[offset : offset + length]))
        number, offset = number + 1, offset + length
    return found


def _unkept(frame: Frame) -> list[OutputChunk]:
    found, begin = [], 0
    for number, stream, offset, length, is_there in frame.head["c"]:
        data = frame.raw[begin : begin + length] if is_there else None
        begin += length if is_there else 0
        found.append(OutputChunk(number, stream, UnkeptPiece(offset, length, data)))
    return found


_OF_HEADS: dict[str, Callable[[Head], Event]] = {
    "wrote": lambda head: InputTaken(head["s"], head["a"], head["n"], head["got"], head["end"]),
    "stopped": lambda head: CommandStopped(head["s"], head["a"]),
    "not-started": lambda head: CommandNotStarted(head["s"], head["a"], head["code"], head["reason"]),
    "gone": lambda head: SurvivorsGone(head["s"], head["a"]),
}
_OUTPUT = {"output": _chunks, "spans": _spans, "unkept": _unkept}


def _ended(frame: Frame) -> CommandEnded:
    head = frame.head
    signals = [(float(when), int(number), str(why)) for when, number, why in head["signals"]]
    usage = ResourceUsage(*head["usage"])
    return CommandEnded(
        head["s"],
        head["a"],
        head["code"],
        head["signal"],
        head["why"],
        signals,
        usage,
        head["last"],
        head["dropped"],
        head["survivors"],
        tuple((int(pid), str(name)) for pid, name in head.get("leftovers", ())),
        head.get("left", 0),
        head.get("kept", False),
        head.get("placed", 0),
    )
