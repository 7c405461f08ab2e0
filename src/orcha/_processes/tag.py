"""The mark that every process of an attempt carries, wherever it goes.

RLIMIT_LOCKS is a resource limit that Linux has ignored since 2.4 and still keeps for each process (getrlimit(2)).
Children inherit it through fork, exec, setsid and `env -i`, everybody may read it in /proc/PID/limits, and setting it
takes no privilege. So it serves as a tag: 30 random bits for this start of the service (the nonce), then 32 bits for
the start of the attempt within it (the ordinal; 0 is the service itself and its helpers).

What can lose it: a process that sets it on purpose, and a login through pam_limits.
"""

from __future__ import annotations

import os
import sys
from typing import TypeVar

from orcha._processes.identity import read_stat
from orcha._processes.system import call_under_limit, read_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

try:
    import resource

    _HAS_LIMITS = hasattr(resource, "prlimit")
except ImportError:  # pragma: no cover - not a POSIX system
    _HAS_LIMITS = False

T = TypeVar("T")

RLIMIT_LOCKS = 10  # <asm-generic/resource.h>; the resource module has no name for it
ORDINAL_BITS = 32
NONCE_BITS = 30


def new_nonce() -> int:
    """Draw the 30 random bits of a start of the service; never 0."""
    return int.from_bytes(os.urandom(4), "big") % ((1 << NONCE_BITS) - 1) + 1


def tag_of(nonce: int, ordinal: int) -> int:
    """Give the tag of one attempt, or with ordinal 0 of the service; ValueError out of range."""
    if not 0 < nonce < 1 << NONCE_BITS or not 0 <= ordinal < 1 << ORDINAL_BITS:
        raise ValueError(f"no tag has the nonce {nonce} and the ordinal {ordinal}")
    return nonce << ORDINAL_BITS | ordinal


def ordinal_of(tag: int) -> int:
    """Give the ordinal within a tag."""
    return tag & ((1 << ORDINAL_BITS) - 1)


def exactly(tag: int) -> range:
    """Give what matches the tag of one attempt alone."""
    return range(tag, tag + 1)


def all_of(nonce: int) -> range:
    """Give what matches every tag of a start of the service, its helpers included."""
    return range(nonce << ORDINAL_BITS, (nonce + 1) << ORDINAL_BITS)


def attempts_of(nonce: int) -> range:
    """Give what matches the tags of all attempts of a start of the service, without itself and its helpers."""
    return range((nonce << ORDINAL_BITS) + 1, (nonce + 1) << ORDINAL_BITS)


def tag_self(tag: int) -> bool:
    """Put this process under a tag; its later children inherit it. False where the system refuses."""
    return _set(0, tag)


def start_under(tag: int, start: Callable[[], T]) -> T:
    """Start a process that carries a tag from its first instruction on.

    `start` must be of C and keep the interpreter's lock: see :func:`orcha._processes.system.call_under_limit`.
    """
    return call_under_limit(RLIMIT_LOCKS, tag, start)


def tag_process(pid: int, tag: int) -> bool:
    """Put another process under a tag. False when it is gone, another user's, or the system refuses.

    Raises ValueError for this process and for pids up to 1: no attempt owns those.
    """
    if pid <= 1 or pid == os.getpid():
        raise ValueError(f"pid {pid} is no process that an attempt started")
    return _set(pid, tag)


def untag(pid: int) -> bool:
    """Take the tag off another process; its later children carry none. False where that cannot be."""
    return _set(pid, None)


def tag_tree(pid: int, tag: int, spare: Collection[int] = ()) -> list[int]:
    """Put a process and its current descendants under a tag; give the pids that carry it now.

    A process is tagged before its children are listed, so that none it starts meanwhile is missed. Descendants that
    carry the tag of another attempt, or of another service, keep it, as do those in `spare`. Raises ValueError as
    :func:`tag_process` does.
    """
    tagged = []
    if pid not in spare and tag_process(pid, tag):
        tagged.append(pid)
        waiting = children_of(pid)
        while waiting:
            child = waiting.pop()
            if child not in spare and (read_tag(child) == tag or _retag(child, tag)):
                tagged.append(child)
                waiting += children_of(child)
    return tagged


def tag_children(thread: int, tag: int, spare: Collection[int] = ()) -> list[int]:
    """Tag what one thread of this process has started and what descends from that; give the pids that carry it now.

    For processes of which nobody said a word. Those that carry a tag of their own, and the dead, are passed by.
    """
    tagged = []
    for child in children_of_thread(os.getpid(), thread):
        stat = read_stat(child)
        if child in spare or stat is None or stat.is_dead:
            continue
        if read_tag(child) == tag or _is_free(child, tag):
            tagged += tag_tree(child, tag, spare)
    return tagged


def read_tag(pid: int) -> int:
    """Read the tag a process carries; 0 when it carries none or is gone.

    Always an int: a range answers for those at once, and for anything else only after counting through itself.

    One system call that does not let go of the interpreter's lock: a look at every process costs 0.6 us each, and a
    busy thread does not make it slower. Another user's process is read from /proc/PID/limits (9 us).
    """
    if not _HAS_LIMITS:
        return 0
    try:
        value = resource.prlimit(pid, RLIMIT_LOCKS)[0]
    except PermissionError:
        return _read_limits(pid)
    except OSError:
        return 0
    return value if 0 < value < 1 << (NONCE_BITS + ORDINAL_BITS) else 0


def supported() -> bool:
    """Say whether this system carries tags, and has the pidfds to act on them."""
    if not _HAS_LIMITS or not sys.platform.startswith("linux"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
        soft, hard = resource.prlimit(0, RLIMIT_LOCKS)
        probe = tag_of((1 << NONCE_BITS) - 1, 0)
        if hard != resource.RLIM_INFINITY and hard < probe:
            return False
        resource.prlimit(0, RLIMIT_LOCKS, (soft, hard))
    except (AttributeError, OSError, ValueError):
        return False
    return True


def children_of(pid: int) -> list[int]:
    """List the current children of a process, whichever of its threads started them."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - pathlib starts slowly
    except OSError:
        return []
    return [child for thread in threads for child in children_of_thread(pid, int(thread))]


def children_of_thread(pid: int, thread: int) -> list[int]:
    """List the current children that one thread started (needs CONFIG_PROC_CHILDREN, which distributions set)."""
    try:
        text = read_small(f"/proc/{pid}/task/{thread}/children")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def _set(pid: int, tag: int | None) -> bool:
    """Put a process under a tag, or with None under no tag; False where the system refuses."""
    if not _HAS_LIMITS:
        return False
    try:
        hard = resource.prlimit(pid, RLIMIT_LOCKS)[1]
        resource.prlimit(pid, RLIMIT_LOCKS, (hard if tag is None else tag, hard))
    except (OSError, ValueError):
        return False
    return True


def _is_free(pid: int, tag: int) -> bool:
    """Whether a process carries no tag, or that of the service itself."""
    found = read_tag(pid)
    return found in {0, tag - ordinal_of(tag)}


def _retag(pid: int, tag: int) -> bool:
    return _is_free(pid, tag) and _set(pid, tag)


def _read_limits(pid: int) -> int:
    try:
        text = read_small(f"/proc/{pid}/limits")
    except OSError:
        return 0
    at = text.find(b"Max file locks")
    word = text[at + 14 : at + 60].split(None, 1)[:1] if at >= 0 else []
    return int(word[0]) if word and word[0].isdigit() else 0
