"""Which processes have a TCP port, for the error of a service that cannot have it: proc(5)."""

from __future__ import annotations

import contextlib
import os

from orcha.utils import lock_holders

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = b"0A"
"""TCP_LISTEN of <net/tcp_states.h>: the state of a socket that listens."""


def holders(port: int) -> list[int]:
    """Give the processes with a socket at a port, listeners first; the kernel may hide other users' processes."""
    inodes = _sockets(port)
    found: dict[int, bool] = {}
    for process in filter(str.isdecimal, os.listdir("/proc")) if inodes else ():  # noqa: PTH208
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            for name in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
                link = os.readlink(f"/proc/{process}/fd/{name}")  # noqa: PTH115
                if link in inodes:
                    found[int(process)] = found.get(int(process), False) or inodes[link]
    return sorted(found, key=lambda process: (not found[process], process))


def described(port: int) -> str:
    """Say which program has a port, as well as that can be known."""
    processes = holders(port)
    if processes:
        return f"another program ({lock_holders.described(processes[0])})"
    if _sockets(port):
        return "another user's program"
    return "a connection that has just ended, for up to a minute, or by a program that cannot be seen from here"


def _sockets(port: int) -> dict[str, bool]:
    """Give the sockets at a port, as /proc/PID/fd names them, and whether each listens."""
    found = {}
    ending = b":%04X" % port
    for table in _TABLES:
        with contextlib.suppress(OSError), open(table, "rb") as file:  # noqa: PTH123
            for line in file:
                fields = line.split()
                if len(fields) > 9 and fields[1].endswith(ending) and fields[9] != b"0":
                    found[f"socket:[{fields[9].decode()}]"] = fields[3] == _LISTENS
    return found
