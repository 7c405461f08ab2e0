"""Processes of one test, told apart by the value of ORCHA_HOME that they inherited."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def processes_of(home: Path) -> list[int]:
    """Give the pids, zombies left out, that were started with this ORCHA_HOME in their environment."""
    mark = b"ORCHA_HOME=" + os.fsencode(home)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # ended meanwhile, a zombie, or another user's
            continue
    return found


def children() -> set[int]:
    """Give the direct children of this process, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread ended meanwhile
            found.update(map(int, (task / "children").read_text().split()))
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
