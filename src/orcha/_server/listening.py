"""The sockets that a service listens on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time

from orcha._protocol.endpoint import make_public_folder, with_short_path
from orcha._protocol.handshake import TLS, UNIX
from orcha._server import port_holders
from orcha.exceptions import ConfigurationError, EndpointInUseError
from orcha.utils.lock_holders import EXIT_WAIT_SECONDS, is_ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orcha._protocol.endpoint import Endpoint

_ACCEPT_BACKLOG_CONNECTIONS = 1024
"""Of listen(2): connections that nobody has accepted yet."""
_SETTLED_SECONDS = 1.0
"""How long a process that is being ended may still have the port; a process that lives longer is not being ended."""
_RETRY_SECONDS = 0.05
"""Between two tries."""
_NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
"""Errors of bind(2) for an address that this machine does not have."""


class ListeningSockets:
    """The listening sockets of one server."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        others: bool,
        report: Callable[[str, BaseException | None], None],
        passed: Iterable[socket.socket] = (),
        shared: str = "",
    ) -> None:
        """Listen on the endpoint's Unix socket, and on TCP where the endpoint has a port; take the `passed` sockets.

        Where one of these is at the path of the endpoint's Unix socket, that one stays, also after the end.

        `shared` is the path of one more Unix socket, in a folder that everybody may enter; empty for none.

        The port is taken first, so that a port that is not free changes nothing, and answers last: a client that finds
        no Unix socket tries the port, where its key may count for nothing although the Unix socket needs no key.

        Raises the errors of `bind_tcp` and `listen_unix`; nothing is left open then.
        """
        self._path = endpoint.socket_path
        self._report = report
        self._made: dict[str, int] = {}
        """The inodes of the Unix sockets that were made here, by path."""
        self.sockets: dict[socket.socket, int] = {}
        """The listening sockets, and the transport of the connections of each."""
        self.port = endpoint.port
        """The TCP port; the chosen one where 0 was asked for."""
        self.sockets.update(dict.fromkeys(passed, UNIX))
        is_there = any(_is_at(listener, self._path) for listener in self.sockets)
        try:
            bound = bind_tcp(endpoint) if endpoint.has_port else []
            for listener in bound:  # they are the first in the order in which all are closed, as they answer last
                self.sockets[listener] = TLS
                self.port = listener.getsockname()[1]
            endpoint.make_folder()
            if not is_there:
                self._add_unix(self._path, others=others)
            if shared:
                make_public_folder(os.path.dirname(shared))  # noqa: PTH120
                self._add_unix(shared, others=True)
            for listener in bound:
                _listen_tcp(listener, endpoint)
        except BaseException:
            self.close()
            raise

    def _add_unix(self, path: str, *, others: bool) -> None:
        self.sockets[listen_unix(path, others=others)] = UNIX
        self._made[path] = os.stat(path).st_ino  # noqa: PTH116

    def let_in_others(self, *, allowed: bool) -> None:
        """Have all users be able to connect to the Unix sockets that were made here, or the service's own alone."""
        with contextlib.suppress(OSError):  # the socket has gone, or the disk is read-only: nobody comes in then
            for path, inode in self._made.items():
                if os.lstat(path).st_ino == inode:
                    os.chmod(path, 0o666 if allowed else 0o600)  # noqa: PTH101

    def close(self) -> None:
        """Listen no more, and remove the Unix socket unless another service has made one in its place."""
        for listener in self.sockets:
            listener.close()
        self.sockets = {}
        made, self._made = self._made, {}
        for path, inode in made.items():
            try:
                if os.lstat(path).st_ino == inode:
                    os.unlink(path)  # noqa: PTH108
            except FileNotFoundError:
                pass
            except OSError as error:  # the disk may be read-only by now; nobody listens there all the same
                self._report(f"the socket {path} stays behind: {error.strerror}", None)


def _is_at(listener: socket.socket, path: str) -> bool:
    """Tell whether a listening Unix socket is reached by this path."""
    name = listener.getsockname()
    try:
        return isinstance(name, str) and bool(name) and os.path.samefile(name, path)  # noqa: PTH121
    except OSError:  # one of them is not there
        return False


def bind_tcp(endpoint: Endpoint) -> list[socket.socket]:
    """Take the port on every address that the endpoint's name stands for; nobody listens there yet.

    Raises ConfigurationError for an address that this machine does not have; EndpointInUseError where another listens
    there.
    """
    addresses = _resolve(endpoint)
    bound: list[socket.socket] = []
    port, missing = endpoint.port, None
    try:
        for family, address in addresses:
            try:
                bound.append(_bind_patiently(family, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error  # such as ::1 for localhost on a machine without IPv6
            else:
                port = bound[0].getsockname()[1]
        if not bound and missing is not None:
            raise missing
    except OSError as error:
        for taken in bound:
            taken.close()
        if error.errno == errno.EADDRINUSE:
            raise EndpointInUseError(_taken(endpoint)) from None
        raise ConfigurationError(
            f"cannot listen on {endpoint.name}: {error.strerror}: give an address of this machine"
        ) from None
    return bound


def _listen_tcp(bound: socket.socket, endpoint: Endpoint) -> None:
    """Listen on a port that was taken; raises EndpointInUseError where another took it as well, and listened first."""
    try:
        bound.listen(_ACCEPT_BACKLOG_CONNECTIONS)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise EndpointInUseError(_taken(endpoint)) from None


def refuse_taken(endpoint: Endpoint) -> None:
    """Raise EndpointInUseError where another program listens on the endpoint's port; listens nowhere itself.

    Raises ConfigurationError where nobody knows the endpoint's address.
    """
    for family, address in _resolve(endpoint):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise EndpointInUseError(_taken(endpoint)) from None


def _taken(endpoint: Endpoint) -> str:
    return (
        f"{endpoint.name} is taken by {port_holders.described(endpoint.port)}: end that first, or choose"
        " another --port before the command"
    )


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


def _bind_patiently(family: int, address: tuple[str, int]) -> socket.socket:
    """Take a port, and wait while a killed service still has the port; raise OSError where its holder goes on to live.

    A child that the service forked a moment before it was killed looks like another program until the child has closed
    the port, or has been ended with the service: so a holder that lives is given a moment too.
    """
    start = time.monotonic()
    while True:
        try:
            return _bind(family, address)
        except OSError as error:
            waited = time.monotonic() - start
            if error.errno != errno.EADDRINUSE or waited > EXIT_WAIT_SECONDS:
                raise
            if waited > _SETTLED_SECONDS and not all(is_ending(pid) for pid in port_holders.holders(address[1])):
                raise
        time.sleep(_RETRY_SECONDS)


def _bind(family: int, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def listen_unix(path: str, *, others: bool) -> socket.socket:
    """Listen on a Unix socket, in place of the socket that an earlier service left; `others` lets other users connect.

    The caller holds the endpoint's lock. Raises ConfigurationError where something else has that name.
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
        listener.listen(_ACCEPT_BACKLOG_CONNECTIONS)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
