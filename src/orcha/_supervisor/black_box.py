"""The black box of a shim: a small file that says what the shim did last, and that outlives the shim.

Each step writes the file with one pwrite(2), without fsync: the file has to survive the shim's death but no power cut,
since its content means nothing after a reboot.
"""

from __future__ import annotations

import os
import struct
from zlib import crc32

from orcha.utils.named_tuple import NamedTuple
from orcha.utils.private import open_file

IDLE, TAKEN, STARTED, ENDED, DONE, NOT_STARTED = range(6)
"""No attempt; it may run from now on; it runs; its leader has ended; all its processes have ended; exec failed."""

_MAGIC = b"OBX1"
_HEAD = struct.Struct("!4sI")
_BODY = struct.Struct("!BIIQ36sI16sQI16sIdiQQQd24s")


class BlackBox(NamedTuple):
    """The content of a black box."""

    phase: int = IDLE
    nonce: int = 0
    """Together with the ordinal: the tag of the shim and its descendants."""
    ordinal: int = 0
    epoch: int = 0
    """The newest start of the service that the shim talked to."""
    boot_id: str = ""
    pid: int = 0
    """The shim's own pid."""
    start_ticks: str = ""
    """The shim's own start time, in clock ticks since boot."""
    seq: int = 0
    attempt: int = 0
    channel: bytes = b""
    leader: int = 0
    started: float = 0.0
    """When the leader was started, in seconds since the system's start, as in /proc: nobody sets that clock."""
    status: int = 0
    """The leader's wait status; an exit code where the command was not started."""
    last_chunk: int = 0
    last_took: int = 0
    dropped: int = 0
    ended: float = 0.0
    why: str = ""


def write(descriptor: int, box: BlackBox) -> None:
    """Replace the content of a black box."""
    body = _BODY.pack(
        *box[:4],
        box.boot_id.encode("ascii", "replace"),
        box.pid,
        box.start_ticks.encode("ascii"),
        *box[7:17],
        box.why.encode("utf-8", "replace")[:24],
    )
    os.pwrite(descriptor, _HEAD.pack(_MAGIC, crc32(body)) + body, 0)


def read(path: str) -> BlackBox | None:
    """Read a black box; None where it cannot be read, or was not written whole."""
    try:
        descriptor = open_file(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        content = os.read(descriptor, _HEAD.size + _BODY.size)
    finally:
        os.close(descriptor)
    if len(content) != _HEAD.size + _BODY.size or content[:4] != _MAGIC:
        return None
    body = content[_HEAD.size :]
    if crc32(body) != _HEAD.unpack_from(content)[1]:
        return None
    fields = list(_BODY.unpack(body))
    fields[4], fields[6] = _text(fields[4]), _text(fields[6])
    fields[17] = _text(fields[17])
    return BlackBox(*fields)


def is_blank(path: str) -> bool:
    """Return whether a black box was created and never written."""
    try:
        return os.stat(path).st_size == 0
    except OSError:
        return False


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("utf-8", "ignore")
