"""How a client connects over TCP, and never with itself.

The kernel gives a connecting socket any free port of the ephemeral range. Where no program listens on the port that the
client dials, the kernel may choose that very port: TCP then connects the socket with itself (simultaneous open, RFC
9293, 3.5), and a service that wants to listen there finds the port taken. So the socket gets another port first.
"""

from __future__ import annotations

import socket

_RANGE = "/proc/sys/net/ipv4/ip_local_port_range"


def connect_tcp(address: str, port: int, timeout: float) -> socket.socket:
    """Connect to the first address of a name that answers; `timeout` is in seconds, for each address.

    Raises OSError where no address answers.
    """
    failure: OSError | None = None
    for family, kind, protocol, _, place in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            if is_ephemeral(port):
                sock = _with_other_port(sock, port)
            sock.settimeout(timeout)
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError(f"{address} stands for no address")


def is_ephemeral(port: int) -> bool:
    """Tell whether the kernel may choose this port for a socket: ip(7), ip_local_port_range."""
    try:
        with open(_RANGE, "rb") as file:  # noqa: PTH123 - pathlib costs a client 5 ms
            first, last = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return True
    return first <= port <= last


def _with_other_port(sock: socket.socket, unwanted: int) -> socket.socket:
    """Give this socket, or another one, bound to a port other than the unwanted one; OSError without a free port.

    The kernel chooses the port. It cannot choose the unwanted port twice, while the first socket has that port.
    """
    sock.bind(("", 0))
    if sock.getsockname()[1] == unwanted:
        other = socket.socket(sock.family, sock.type, sock.proto)
        try:
            with sock:
                other.bind(("", 0))
        except BaseException:
            other.close()
            raise
        sock = other
    # a connection that has just ended, for a minute in TIME-WAIT, keeps no service out of that port
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock
