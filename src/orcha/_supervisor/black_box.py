"""The black box of a shim: a small file that says what it last did, and that outlives it.

It is written with one pwrite(2) a step, without fsync: it has to survive the shim's death, not the machine's, since
after a reboot nothing in it means anything.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple
from zlib import crc32

from orcha.utils.private import open_file

IDLE, TAKEN, STARTED, ENDED, DONE, NOT_STARTED = range(6)
"""Nothing; an attempt may run from now on; it runs; its leader's end is known; nothing of it is left; exec failed."""

_MAGIC = b"OBX1"
_HEAD = struct.Struct("!4sI")
_BODY = struct.Struct("!BIIQ36sI16sQI16sIdiQQQd24s")


class BlackBox(NamedTuple):
    """What a shim wrote down."""

    phase: int = IDLE
    nonce: int = 0
    """With the ordinal, the tag of all its processes."""
    ordinal: int = 0
    epoch: int = 0
    """The newest service that it talked to."""
    boot_id: str = ""
    pid: int = 0
    """The shim's own."""
    start_ticks: str = ""
    """The shim's own start time, in clock ticks since boot."""
    seq: int = 0
    attempt: int = 0
    channel: bytes = b""
    leader: int = 0
    started: float = 0.0
    """When the leader was started, in seconds since the system's start, as /proc tells it: no clock that is set."""
    status: int = 0
    """The leader's wait status; an exit code where it was not started."""
    last_chunk: int = 0
    last_took: int = 0
    dropped: int = 0
    ended: float = 0.0
    why: str = ""


def write(descriptor: int, box: BlackBox) -> None:
    """Replace what the box says."""
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
    """Read a box; None where there is none that can be read, or none that was written whole."""
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
    """Tell whether a box was made, and nothing was ever written into it."""
    try:
        return os.stat(path).st_size == 0
    except OSError:
        return False


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("utf-8", "ignore")
