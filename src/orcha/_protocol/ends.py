"""The two ends of a TCP connection: their names, and which user of this machine has the other one."""

from __future__ import annotations

import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9
"""Columns of /proc/net/tcp and tcp6: proc(5)."""
_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address has before it where a socket of IPv6 names it: RFC 4291, 2.5.5.2."""


def name_of(address: Any) -> str:
    """Give the name of one end, from `getsockname` or `getpeername`: ``127.0.0.1:50000``, ``[::1]:50000``.

    It is what both ends' kernels say, without the name of an interface, which is each machine's own.
    """
    host = _host(address)
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def owner_of_peer(sock: socket.socket) -> int | None:
    """Give the uid of the process at the other end; None where that is not on this machine, or cannot be known.

    The kernel keeps it with each socket (/proc/net/tcp, proc(5)): the effective user of the process that made it by
    connect(2) or accept(2). A socket that no process has accepted yet, or that all have closed, is nobody's: the kernel
    shows it as root's, without an inode.

    Raises:
        OSError: there is no other end any more.

    """
    return find_owner(sock.getpeername(), sock.getsockname())


def find_owner(local: Any, remote: Any) -> int | None:
    """Give the uid of the process that has the end `local` of the connection to `remote`, as `owner_of_peer` does."""
    wanted = {(mine, other) for mine, other in zip(_texts(local), _texts(remote), strict=False)}
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/self/net/{name}", "rb") as table:  # noqa: PTH123 - pathlib costs a client 5 ms
                for line in table:
                    columns = line.split(None, _INODE + 1)
                    if (columns[_LOCAL], columns[_REMOTE]) in wanted and columns[_INODE] != b"0":
                        return int(columns[_UID])
        except OSError:  # a machine without IPv6, or a /proc that hides it
            continue
    return None


def _host(address: Any) -> str:
    """Give the IP address alone; one of IPv4 as that, whatever socket names it."""
    host = str(address[0]).partition("%")[0]
    plain = host.lower().removeprefix("::ffff:")
    return plain if "." in plain else host


def _texts(address: Any) -> Iterator[bytes]:
    """Give an end as the tables write it: each four bytes as one number of this machine's, then the port."""
    host = _host(address)
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    for each in (packed, _MAPPED + packed) if len(packed) == 4 else (packed,):
        words = (int.from_bytes(each[at : at + 4], sys.byteorder) for at in range(0, len(each), 4))
        yield b"".join(b"%08X" % word for word in words) + b":%04X" % address[1]
