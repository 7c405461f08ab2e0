"""The tag that every process of an attempt carries.

RLIMIT_LOCKS is a resource limit that Linux has ignored since 2.4 and still keeps for each process (getrlimit(2)).
Children inherit it through fork, exec, setsid and `env -i`, every user may read it in /proc/PID/limits, and setting it
takes no privilege. So its value serves as a tag: 30 random bits for this start of the service (the nonce), then 32 bits
for the attempt within that start (the ordinal; 0 is the service itself and its helpers).

A process loses its tag only where it sets this limit on purpose, or by a login through pam_limits.
"""

from __future__ import annotations

import os
import sys

from orcha._processes.identity import read_stat
from orcha._processes.system import call_under_limit, read_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

try:
    import resource

    _HAS_LIMITS = hasattr(resource, "prlimit")
except ImportError:  # pragma: no cover - not a POSIX system
    _HAS_LIMITS = False

RLIMIT_LOCKS = 10  # <asm-generic/resource.h>; the resource module has no name for it
ORDINAL_BITS = 32
NONCE_BITS = 30


def new_nonce() -> int:
    """Draw the 30 random bits of a start of the service; never 0."""
    return int.from_bytes(os.urandom(4), "big") % ((1 << NONCE_BITS) - 1) + 1


def tag_of(nonce: int, ordinal: int) -> int:
    """Return the tag of one attempt, or with ordinal 0 of the service; ValueError out of range."""
    if not 0 < nonce < 1 << NONCE_BITS or not 0 <= ordinal < 1 << ORDINAL_BITS:
        raise ValueError(f"no tag has the nonce {nonce} and the ordinal {ordinal}")
    return nonce << ORDINAL_BITS | ordinal


def ordinal_of(tag: int) -> int:
    """Return the ordinal within a tag."""
    return tag & ((1 << ORDINAL_BITS) - 1)


def ordinal_of_attempt(seq: int, attempt: int) -> int:
    """Return the ordinal of a petition's attempt, never 0.

    A later start of the service knows by it whose a process is. Ordinals come round after 268 million petitions.
    """
    return (seq * 16 + attempt % 16) % ((1 << ORDINAL_BITS) - 1) + 1


def exactly(tag: int) -> range:
    """Return the range that matches the tag of one attempt alone."""
    return range(tag, tag + 1)


def all_of(nonce: int) -> range:
    """Return the range that matches every tag of a start of the service, also of its helpers."""
    return range(nonce << ORDINAL_BITS, (nonce + 1) << ORDINAL_BITS)


def attempts_of(nonce: int) -> range:
    """Return the range that matches the tags of all attempts of a start of the service, and not of its helpers."""
    return range((nonce << ORDINAL_BITS) + 1, (nonce + 1) << ORDINAL_BITS)


def tag_self(tag: int) -> bool:
    """Put this process under a tag, which its later children inherit; False where the system refuses."""
    return _set(0, tag)


def start_under(tag: int, start: Callable[[], T]) -> T:
    """Start a process that carries a tag from its first instruction on.

    `start` must be of C and keep the interpreter's lock: see :func:`orcha._processes.system.call_under_limit`.
    """
    return call_under_limit(RLIMIT_LOCKS, tag, start)


def tag_process(pid: int, tag: int) -> bool:
    """Put another process under a tag; False where it has ended, is another user's, or the system refuses.

    Raises ValueError for this process and for pids up to 1, which no attempt owns.
    """
    if pid <= 1 or pid == os.getpid():
        raise ValueError(f"pid {pid} is no process that an attempt started")
    return _set(pid, tag)


def untag(pid: int) -> bool:
    """Remove the tag from another process; its later children carry none. False where the system refuses."""
    return _set(pid, None)


def tag_tree(pid: int, tag: int, spare: Collection[int] = ()) -> list[int]:
    """Put a process and its current descendants under a tag; return the pids that carry it now.

    A process is tagged before its children are listed, so that no child that it starts meanwhile is missed. Descendants
    with the tag of another attempt or service keep that tag, as do processes in `spare`. Raises ValueError as
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
    """Put the children of one thread, and their descendants, under a tag; return the pids that carry it now.

    Meant for processes that nobody has named. Dead processes, and processes with a tag of their own, are left out.
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
    """Return the tag of a process; 0 where it carries none or has ended.

    The result is always an int, since a range answers `in` at once only for those.

    This is one system call that keeps the interpreter's lock: it costs 0.6 us for a process, also beside a busy thread.
    The tag of another user's process is read from /proc/PID/limits (9 us).
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


def bearers(pids: Iterable[int], match: range) -> Iterator[int]:
    """Yield the pids among these whose processes carry a tag that matches, as :func:`read_tag` tells it of each.

    Nearly all of many pids have another tag, or none: for these it takes two thirds of the time.
    """
    if not _HAS_LIMITS:
        return
    limits, least, end = resource.prlimit, match.start, match.stop
    for pid in pids:
        try:
            value = limits(pid, RLIMIT_LOCKS)[0]
        except ProcessLookupError:
            continue
        except OSError:
            value = read_tag(pid)
        if least <= value < end:
            yield pid


def supported() -> bool:
    """Return whether this system supports tags and pidfds."""
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
    """Return the current children of all threads of a process."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - pathlib starts slowly
    except OSError:
        return []
    return [child for thread in threads for child in children_of_thread(pid, int(thread))]


def children_of_thread(pid: int, thread: int) -> list[int]:
    """Return the current children of one thread (needs CONFIG_PROC_CHILDREN, which distributions set)."""
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
    """Return whether a process carries no tag, or the tag of the service itself."""
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
