"""Processes of one test, told apart by the value of ORCHA_HOME that they inherited."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def each_process(name: str) -> Iterator[tuple[int, bytes]]:
    """Give the pid of each other process, and what its file of this name in /proc holds.

    A process that ends meanwhile, and another user's where that may not be read, is left out; the file of a zombie may
    be empty. Written with `os` alone: tests look again and again, and pathlib made a look take 8 ms instead of 1.
    """
    own = str(os.getpid())
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if not entry.isdecimal() or entry == own:
            continue
        try:
            descriptor = os.open(f"/proc/{entry}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            yield int(entry), b"".join(iter(lambda: os.read(descriptor, 1 << 17), b""))  # noqa: B023 - read at once
        except OSError:
            continue
        finally:
            os.close(descriptor)


def processes_of(home: Path) -> list[int]:
    """Give the pids, zombies left out, that were started with this ORCHA_HOME in their environment."""
    mark = b"ORCHA_HOME=" + os.fsencode(home)
    return [pid for pid, text in each_process("environ") if mark in text and mark in text.split(b"\0")]


def children() -> set[int]:
    """Give the direct children of this process, zombies included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # there is none, as after most tests; each file of /proc costs twenty times as much
        return set()
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):  # noqa: PTH208
        with (
            contextlib.suppress(OSError),  # the thread ended meanwhile
            open(f"/proc/self/task/{task}/children", "rb", buffering=0) as file,  # noqa: PTH123
        ):
            found.update(map(int, file.read().split()))
    return found


def command_line(pid: int) -> str:
    """Give what a process was started with, for messages."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(ended)"


def kill_all(pids: list[int]) -> None:
    """Kill these processes."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
