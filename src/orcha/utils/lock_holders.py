"""Who holds the lock of a file (fcntl(2)), and whether that process is about to end.

A process that was killed lets go of its locks and ports a moment later than kill(2) returns, under load much later:
a service that starts meanwhile waits for it. A process that lives on is named at once.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time  # noqa: TID251 - it waits for another process

_LOCK = "hhqqi"
"""struct flock: type, whence, start, length, process."""
_EXITING = 0x4  # PF_EXITING of <linux/sched.h>
_KILLED = 1 << 8  # SIGKILL in a mask of pending signals
_MAX_NAME_CHARACTERS = 60
EXIT_WAIT_SECONDS = 5.0
"""Seconds that a process which is about to end is waited for."""
EXIT_LOOK_SECONDS = 0.01
"""Seconds between two looks."""


def holder(descriptor: int) -> int | None:
    """Give the process that holds the lock of an open file; None where nobody does, 0 for one of another namespace."""
    asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, process = struct.unpack_from(_LOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else max(int(process), 0)


def take(descriptor: int, patience: float = EXIT_WAIT_SECONDS) -> int | None:
    """Take the lock of an open file, and give None; give the process that holds it where that goes on to live.

    Raises OSError where locks cannot be had there at all.
    """
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            process = holder(descriptor)
        else:
            return None
        if process is not None and (not is_ending(process) or time.monotonic() > until):
            return process
        time.sleep(EXIT_LOOK_SECONDS)


def lasting_holder(descriptor: int, patience: float = EXIT_WAIT_SECONDS) -> int | None:
    """Give the process that holds the lock of an open file, None where nobody does or who did has ended meanwhile."""
    until = time.monotonic() + patience
    while (process := holder(descriptor)) is not None and is_ending(process) and time.monotonic() <= until:
        time.sleep(EXIT_LOOK_SECONDS)
    return process


def is_ending(process: int) -> bool:
    """Tell whether a process was killed, or has ended and not let go of everything yet; True where none is seen.

    proc(5): the flags of /proc/PID/stat and the pending signals of /proc/PID/status.
    """
    try:
        with open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123 - pathlib starts slowly
            fields = file.read().rpartition(b")")[2].split()
        with open(f"/proc/{process}/status", "rb") as file:  # noqa: PTH123
            masks = [line.split()[1] for line in file if line.startswith((b"SigPnd:", b"ShdPnd:"))]
    except OSError:
        return True
    exiting = fields[0] in {b"Z", b"X", b"x"} or int(fields[6]) & _EXITING
    return bool(exiting) or any(int(mask, 16) & _KILLED for mask in masks)


def described(process: int | None) -> str:
    """Give a process's number and program, for messages: `pid 17, serve.py`. Arguments may be secret: none is told."""
    if not process:
        return "in another container"
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:  # noqa: PTH123
            words = [os.fsdecode(word) for word in file.read().split(b"\0")]
    except OSError:
        words = [""]
    program = _program(words)
    program = "".join(sign if sign.isprintable() else "?" for sign in program)[:_MAX_NAME_CHARACTERS]
    return f"pid {process}, {program}" if program else f"pid {process}"


def _program(words: list[str]) -> str:
    """Give the name of a program; for an interpreter of Python, the name of the program that it runs."""
    program = os.path.basename(words[0])  # noqa: PTH119
    if not program.startswith("python"):
        return program
    rest = iter(words[1:])
    for word in rest:
        if word == "-c":
            break
        if word == "-m":
            return f"{program} -m {next(rest, '')}"
        if word in {"-W", "-X"}:
            next(rest, "")
        elif word and not word.startswith("-"):
            return os.path.basename(word)  # noqa: PTH119
    return program
