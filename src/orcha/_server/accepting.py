"""How the server accepts: connections from the listening sockets, on the loop thread, as far as there is room."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING

from orcha._protocol.frames import frame
from orcha._protocol.handshake import BUSY, NO_PROOF, TLS, UNIX, Credentials, ServerHello
from orcha._protocol.socket_ends import find_owner, name_of, peer_credentials, peer_groups, prepare_tcp
from orcha._server.connection import ClientConnection

if TYPE_CHECKING:
    from orcha._server.connection_table import ConnectionTable
    from orcha._server.listening import ListeningSockets

_ACCEPTS_AT_ONCE = 64
"""Connections that are accepted before the clients that are in get their turn."""
_REST_SECONDS = 0.1
"""How long nobody is accepted where descriptors have run out."""
_NO_DESCRIPTOR = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""Errors of accept(2) that go away once something is closed."""


class Acceptor:
    """Accepts connections and hands each to its ClientConnection."""

    def __init__(
        self, listeners: ListeningSockets, table: ConnectionTable, *, reached_as: frozenset[str], first_reserved: int
    ) -> None:
        """Accept nobody yet.

        Args:
            listeners: the listening sockets.
            table: all connections.
            reached_as: addresses and ports, beside a connection's own, at which clients may have dialled this service.
            first_reserved: descriptors from this one on are left to the rest of the service.

        """
        self.tasks: set[asyncio.Task[None]] = set()
        """Connections that the loop is taking over."""
        self.first_reserved = first_reserved
        self._listeners = listeners
        self._table = table
        self._loop = table.loop
        self._reached_as = reached_as
        self._is_over = False

    def start(self) -> None:
        """Accept connections from now on."""
        for listener, kind in self._listeners.sockets.items():
            self._loop.add_reader(listener.fileno(), self._accept, listener, kind)

    def stop(self) -> None:
        """Accept no more connections."""
        self._is_over = True
        self._pause()

    def _pause(self) -> None:
        for listener in self._listeners.sockets:
            self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket, kind: int) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR:
                    self._table.report("a connection could not be accepted", error)
                self._rest()
                return
            self._welcome(sock, kind)

    def _rest(self) -> None:
        """Accept nobody for a moment, and close an unauthenticated connection: most likely descriptors have run out."""
        self._pause()
        self._table.abort_unauthenticated()
        self._loop.call_later(_REST_SECONDS, self._go_on)

    def _go_on(self) -> None:
        if not self._is_over:
            self.start()

    def _welcome(self, sock: socket.socket, kind: int) -> None:
        table = self._table
        if sock.fileno() >= self.first_reserved:
            table.abort_unauthenticated()
            self._turn_away(sock)
            return
        try:
            connection = self._connection(sock, kind)
        except OSError:  # the client has gone already
            sock.close()
            return
        table.enter(connection, sock.fileno())
        task = self._loop.create_task(self._adopt(connection, sock))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _connection(self, sock: socket.socket, kind: int) -> ClientConnection:
        sock.setblocking(False)
        if kind == UNIX:
            return ClientConnection(
                self._table, UNIX, sock=sock, credentials=Credentials(*peer_credentials(sock), peer_groups(sock))
            )
        prepare_tcp(sock)
        here, there = sock.getsockname(), sock.getpeername()
        return ClientConnection(
            self._table,
            TLS,
            reached_as={name_of(here), *self._reached_as},
            uid=lambda: find_owner(there, here),
        )

    async def _adopt(self, connection: ClientConnection, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:
            connection.connection_lost(None)
            sock.close()

    def _turn_away(self, sock: socket.socket) -> None:
        """Say that there is no room, as far as that can be said at once."""
        with contextlib.closing(sock), contextlib.suppress(OSError):
            sock.setblocking(False)
            sock.send(frame(ServerHello(BUSY, 1, NO_PROOF, self._table.door.instance).pack()))
