"""The two ends of a connection: their names, and which user of this machine has the other end."""

from __future__ import annotations

import errno
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

GONE_SECONDS = 45
"""Seconds without traffic after which a machine at the other end of TCP counts as gone without a word."""
_PROBES = 3
_CREDENTIALS = struct.Struct("3I")
"""struct ucred: pid, uid, gid."""
_TCP_INFO = struct.Struct("=3xB20xI28xI168xI")
"""struct tcp_info of linux/tcp.h: tcpi_probes, tcpi_unacked, tcpi_last_ack_recv, tcpi_snd_wnd."""
_MAX_PAUSE_SECONDS = 120
"""After which Linux sends or asks again: TCP_RTO_MAX."""
_SO_PEERGROUPS = 59
"""asm-generic/socket.h; the socket module does not name it."""
_FEW_GROUPS_BYTES = 32 * 4
_MAX_GROUPS_BYTES = 65_536 * 4
"""A process has at most 65,536 groups (NGROUPS_MAX)."""
_LOCAL, _REMOTE, _UID, _INODE = 1, 2, 7, 9
"""Columns of /proc/net/tcp and tcp6: proc(5)."""
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"
"""What stands before an IPv4 address in an IPv6 socket's table: RFC 4291, 2.5.5.2."""


def prepare_tcp(sock: socket.socket, gone_seconds: int = GONE_SECONDS) -> None:
    """Have small messages go at once, and a machine noticed that is gone without a word: tcp(7).

    The kernel asks the other kernel while nothing goes either way, so a program that does not read is no machine that
    is gone. For bytes that are on the way there are `give_up_sending` and `is_gone`.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        seconds = max(1, gone_seconds // _PROBES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES - 1)


def give_up_sending(sock: socket.socket, gone_seconds: int = GONE_SECONDS) -> None:
    """Have a client's kernel give up bytes that stay unacknowledged for too long: tcp(7), TCP_USER_TIMEOUT.

    Else it tries for some 15 minutes. It also gives up a service that takes nothing from this client for that time
    while the client has more to send than the kernels hold: the client connects again then.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, gone_seconds * 1000)


def is_gone(sock: socket.socket, seconds: float) -> bool:
    """Tell whether the other kernel has acknowledged nothing for `seconds`, though bytes are on the way to it.

    A kernel that lives acknowledges also where its program does not read. Then it has no room, says so, and is asked
    from time to time whether it has some by now (RFC 9293, 3.8.6.1): it is gone when it has left two of these questions
    unanswered, however long the pause between them was.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        questions, unacknowledged, milliseconds, room = _TCP_INFO.unpack(info)
    except (OSError, struct.error):  # it is closed, or the kernel tells less
        return False
    is_sending = unacknowledged > 0 and room > 0
    wait = seconds if is_sending else max(seconds, 2 * _MAX_PAUSE_SECONDS)
    return bool(unacknowledged or questions) and bool(milliseconds >= wait * 1000)


def peer_credentials(sock: socket.socket) -> tuple[int, int, int]:
    """Give pid, uid and gid of the process that made the other end of a Unix socket: unix(7), SO_PEERCRED."""
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, gid


def is_systemds(sock: socket.socket) -> bool:
    """Tell whether systemd listens on the Unix socket at the other end, and starts the service for its first client.

    The kernel names the process that called listen(2), also once systemd has handed the socket to the service.
    """
    pid = peer_credentials(sock)[0]
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
            return file.read() == b"systemd\n"
    except OSError:  # a /proc that hides other users' processes, or one of another pid namespace
        return pid == 1


def service_pid(sock: socket.socket, told: int) -> int | None:
    """Give the pid by which this process sees the service at the other end of a Unix socket; None where it sees none.

    The service has `told` its pid, which is its number in its own pid namespace (pid_namespaces(7)): here the same
    number may be another process's. The kernel names the process that listens by its number here: that is the service,
    or systemd, which listens for a service in its own namespace.
    """
    pid = peer_credentials(sock)[0]
    if not is_systemds(sock):
        return pid or None
    return told if told != pid and _is_of_this_namespace(pid) else None


def _is_of_this_namespace(pid: int) -> bool:
    """Tell whether a process that is seen here is no process of a pid namespace below: proc_pid_status(5), NSpid."""
    if pid == 1:
        return True
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
            numbers = next((line.split()[1:] for line in file if line.startswith(b"NSpid:")), [])
    except OSError:
        return False
    return len(numbers) == 1


def peer_groups(sock: socket.socket) -> tuple[int, ...]:
    """Give the supplementary groups of that process: unix(7), SO_PEERGROUPS; none where the kernel does not tell."""
    size = _FEW_GROUPS_BYTES
    while size <= _MAX_GROUPS_BYTES:
        try:
            found = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, size)
        except OSError as error:
            if error.errno != errno.ERANGE:
                return ()
            size *= 32
        else:
            return struct.unpack(f"{len(found) // 4}I", found)
    return ()


def name_of(address: Any) -> str:
    """Give the name of a TCP end, from `getsockname` or `getpeername`: ``127.0.0.1:50000``, ``[::1]:50000``.

    The kernels of both ends agree on the name: an interface's name, which each machine chooses itself, is left out.
    """
    host = _host(address)
    return f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"


def owner_of_peer(sock: socket.socket) -> int | None:
    """Give the uid of the process at the other end of a TCP connection; None on another machine, or where unknown.

    The kernel keeps with each socket the effective user of the process that made the socket by connect(2) or accept(2):
    /proc/net/tcp, proc(5). A socket that no process has accepted yet, or that every process has closed, has no owner:
    the kernel shows it as root's, without an inode.

    Raises:
        OSError: the connection has ended.

    """
    return find_owner(sock.getpeername(), sock.getsockname())


def find_owner(local: Any, remote: Any) -> int | None:
    """Give the uid of the process with the end `local` of the connection to `remote`, as `owner_of_peer` does."""
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
    """Give the IP address without an interface; an IPv4 address in its own form, also from an IPv6 socket."""
    host = str(address[0]).partition("%")[0]
    plain = host.lower().removeprefix("::ffff:")
    return plain if "." in plain else host


def _texts(address: Any) -> Iterator[bytes]:
    """Give an end in the form of the kernel's tables: words of four bytes in this machine's order, then the port."""
    host = _host(address)
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    for each in (packed, _MAPPED_PREFIX + packed) if len(packed) == 4 else (packed,):
        words = (int.from_bytes(each[at : at + 4], sys.byteorder) for at in range(0, len(each), 4))
        yield b"".join(b"%08X" % word for word in words) + b":%04X" % address[1]
