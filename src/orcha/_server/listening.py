"""The sockets that a service listens on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time

from orcha._protocol.endpoint import with_short_path
from orcha._server import occupied
from orcha.exceptions import ConfigurationError, EndpointInUseError
from orcha.utils.holding import PATIENCE, is_ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.endpoint import Endpoint

_QUEUE = 1024
_SETTLED = 1.0
"""Seconds after which a process that lives and has the port is not taken for one that is being ended."""
_LOOK_AGAIN = 0.05
"""Seconds between two tries."""
_NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
"""This machine does not have that address."""


def listen_tcp(endpoint: Endpoint) -> list[socket.socket]:
    """Listen on every address that the endpoint's name stands for.

    Raises ConfigurationError for an address that this machine does not have; EndpointInUseError where another listens
    there.
    """
    addresses = _resolve(endpoint)
    listeners: list[socket.socket] = []
    port, missing = endpoint.port, None
    try:
        for family, address in addresses:
            try:
                listeners.append(_listen_patiently(family, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error  # such as ::1 for localhost on a machine without IPv6
            else:
                port = listeners[0].getsockname()[1]
        if not listeners and missing is not None:
            raise missing
    except OSError as error:
        for listener in listeners:
            listener.close()
        if error.errno == errno.EADDRINUSE:
            raise EndpointInUseError(
                f"{endpoint.name} is taken by {occupied.described(endpoint.port)}: end that first, or choose another"
                " --port before the command"
            ) from None
        raise ConfigurationError(
            f"cannot listen on {endpoint.name}: {error.strerror}: give an address of this machine"
        ) from None
    return listeners


def _resolve(endpoint: Endpoint) -> list[tuple[int, tuple[str, int]]]:
    try:
        found = socket.getaddrinfo(
            endpoint.address, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except socket.gaierror as error:
        raise ConfigurationError(
            f"nobody knows where {endpoint.address} is ({error.strerror}): give another address"
        ) from None
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))  # type: ignore[misc]


def _listen_patiently(family: int, address: tuple[str, int]) -> socket.socket:
    """Listen, and wait for what a killed service has not let go of yet; raise OSError where somebody goes on to live.

    A child that the service forked a moment before it was killed looks like a stranger until it has closed the port, or
    has been ended with the service: so whoever lives is given a moment too.
    """
    start = time.monotonic()
    while True:
        try:
            return _listen(family, address)
        except OSError as error:
            waited = time.monotonic() - start
            if error.errno != errno.EADDRINUSE or waited > PATIENCE:
                raise
            if waited > _SETTLED and not all(is_ending(pid) for pid in occupied.holders(address[1])):
                raise
        time.sleep(_LOOK_AGAIN)


def _listen(family: int, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_QUEUE)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def listen_unix(path: str, *, others: bool) -> socket.socket:
    """Listen on a Unix socket, in place of one that an earlier service left; `others` lets other users try.

    Whoever calls it holds the endpoint's lock. Raises ConfigurationError where something else has that name.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigurationError(
                f"{path} is in the way: it is no socket. Remove it, or set ORCHA_HOME to another folder"
            )
        os.unlink(path)  # noqa: PTH108
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with_short_path(path, listener.bind)
        os.chmod(path, 0o666 if others else 0o600)  # noqa: PTH101 - the folder keeps others out in between
        listener.listen(_QUEUE)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
