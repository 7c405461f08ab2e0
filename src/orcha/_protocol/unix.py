"""Unix sockets: who is at the other end, and paths longer than an address can be."""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_PATH = 107
_CREDENTIALS = struct.Struct("3I")


def with_short_path(path: str, use: Callable[[str], object]) -> None:
    """Use a Unix socket's path, by way of its folder's descriptor where it is longer than an address can be."""
    if len(os.fsencode(path)) <= _MAX_PATH:
        use(path)
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        use(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)


def peer_credentials(sock: socket.socket) -> tuple[int, int, int]:
    """Give pid, uid and gid of the process that made the other end of a Unix socket: unix(7), SO_PEERCRED."""
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, gid
