"""What all connections of a server share, on the loop thread: the table of connections, and what each one needs."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from orcha._protocol.handshake import BUSY, OK, STOPPING
from orcha._server.client_login import STRANGER, ClientLogin
from orcha._server.unauthenticated import UnauthenticatedConnections
from orcha.interfaces.roles import ADMIN, ATTEMPT
from orcha.utils.users import described

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from orcha._protocol.handshake import AdmittedClient, Door
    from orcha._protocol.keys import KeyRecord
    from orcha._protocol.messages import ClientMessage
    from orcha._protocol.tls import ServerTls
    from orcha._server.connection import ClientConnection
    from orcha._server.limits import ConnectionLimits
    from orcha._server.loop_writer import LoopWriter
    from orcha._server.peer import Peer
    from orcha.interfaces.roles import RoleBook


class ConnectionTable:
    """All connections of a server."""

    def __init__(  # noqa: PLR0913 - each by its name, in one place
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        door: Door,
        tls: ServerTls | None,
        limits: ConnectionLimits,
        on_message: Callable[[Peer, ClientMessage], None],
        on_close: Callable[[Peer], None],
        report: Callable[[object, BaseException | None], None],
        writer: LoopWriter,
        is_a_users: bool = False,
        on_key: Callable[[str], None],
        on_login: Callable[[ClientLogin], None],
    ) -> None:
        self.loop = loop
        self.door = door
        self.tls = tls
        self.limits = limits
        self.on_message = on_message
        self.on_close = on_close
        self.report = report
        self.writer = writer
        self.unauthenticated = UnauthenticatedConnections()
        self.connections: dict[ClientConnection, int] = {}
        """All connections with their descriptors."""
        self.on_empty: Callable[[], None] | None = None
        """Called when the last connection has gone."""
        self.admits = True
        """Clients are let in; where not, they are told that the service is stopping."""
        self._is_a_users = is_a_users
        """The service is a user's: also what other users ask for runs as that user."""
        self._on_key = on_key
        self._on_login = on_login
        self._told_of: set[str] = set()
        self._of_users: Counter[str] = Counter()
        """How many connections each user has who is no admin, by identity."""
        self._counted: dict[ClientConnection, str] = {}
        """The connections that are counted there; a user may have another role by the end of a connection."""

    def status(self, user: AdmittedClient | None) -> int:
        """Give the answer to a hello, of a user whom the kernel names, or of somebody who has to prove a key."""
        if not self.admits:
            return STOPPING
        if user is not None and self.is_full_of(user.identity):
            return BUSY
        return BUSY if len(self.connections) - len(self.unauthenticated) >= self.limits.peers else OK

    def is_full_of(self, identity: str) -> bool:
        """Tell whether somebody who is no owner has as many connections as one user may have."""
        return self._of_users.get(identity, 0) >= self.limits.peers_of_one_user

    def enter(self, connection: ClientConnection, descriptor: int) -> None:
        """Take in a connection before its authentication; of too many the user with the most loses the oldest."""
        self.connections[connection] = descriptor
        self.unauthenticated.add(connection)
        if len(self.unauthenticated) > self.limits.unauthenticated:
            self.abort_unauthenticated()

    def authenticated(self, connection: ClientConnection, peer: Peer) -> None:
        """Note that a client was let in; tell, once for each other user, as which user its petitions run."""
        self.unauthenticated.discard(connection)
        if _is_counted(peer):
            self._of_users[peer.identity] += 1
            self._counted[connection] = peer.identity
        if peer.key:
            self._on_key(peer.key)
        if peer.until is not None:
            connection.end_at(peer.until)
        if peer.attempt is None:
            self._on_login(ClientLogin(peer.identity, peer.key, peer.door, peer.host))
        how = self._came_in(connection, peer)
        if how is not None and peer.identity not in self._told_of:
            self._told_of.add(peer.identity)
            self.report(_CameIn(peer.identity, how, peer.role), None)

    def note_refused(self, connection: ClientConnection, claimed: str, reason: str, door: str = "") -> None:
        """Note that a client was refused that has said which key it has; of unknown keys none is named.

        Without `door` it is the door of such a client.
        """
        credentials = connection.credentials
        who = STRANGER if credentials is None else f"uid:{credentials.uid}"
        key = claimed if claimed in self.door.named else ""
        door = door or ("key" if credentials is None else "socket")
        self._on_login(ClientLogin(who, key, door, connection.host, reason))

    def _came_in(self, connection: ClientConnection, peer: Peer) -> int | str | None:
        """Tell how another user came in whose petitions run as the user of the service: with the key, or as which uid.

        None where that is not so.
        """
        if peer.is_other:
            return "with the key"
        uid = None if connection.credentials is None else connection.credentials.uid
        by_role = self._is_a_users and peer.attempt is None and uid not in {None, 0, os.geteuid()}
        return uid if by_role else None

    def use_roles(self, roles: RoleBook) -> None:
        """Have other roles hold: each client whom the kernel names gets its role at once, or is cut off without one.

        A message counts with the role that its client has when the engine comes to it.
        """
        self.door.roles = roles
        for connection in list(self.connections):
            peer, credentials = connection.peer, connection.credentials
            if peer is None or credentials is None or peer.attempt is not None or peer.key or peer.is_other:
                continue
            admission = self.door.admit_user(credentials)
            if admission is None:
                peer.is_lost = True
                connection.turn_out("you have no role here any more: an admin of the service gives roles, in [roles]")
            else:
                peer.role = admission.role

    def use_keys(self, records: Mapping[str, KeyRecord], then: Callable[[], None]) -> None:
        """Let in these named keys from now on, cut off the clients of all other ones, and call `then`.

        A key that has another secret than before is another key.
        """
        self.door.named = records
        now = time.time()
        for connection in list(self.connections):
            peer = connection.peer
            if peer is None or peer.proved is None:
                continue
            known = records.get(peer.proved.id)
            if known is None or _proof(known) != _proof(peer.proved) or known.is_over(now):
                peer.is_lost = True
                connection.abort()
        then()

    def look_at_certificates(self) -> None:
        """Cut off clients who came in by their certificate alone, where other authorities, or revocations, count now.

        They may come again, and show it anew.
        """
        for connection in list(self.connections):
            peer = connection.peer
            if peer is not None and peer.until is not None and not connection.authority_counts:
                peer.is_lost = True
                connection.abort()

    def leave(self, connection: ClientConnection) -> None:
        """Forget a connection that is over."""
        self.unauthenticated.discard(connection)
        was_there = self.connections.pop(connection, None) is not None
        identity = self._counted.pop(connection, None)
        if was_there and identity is not None:
            self._of_users[identity] -= 1
            if not self._of_users[identity]:
                del self._of_users[identity]
        if not self.connections and self.on_empty is not None:
            self.on_empty()

    def abort_unauthenticated(self) -> None:
        """Close a connection that is without authentication, to make room: the oldest of the user with the most."""
        connection = self.unauthenticated.first_to_yield()
        if connection is not None:
            connection.abort()


class _CameIn(NamedTuple):
    """What is told of another user, whose name the thread that writes it looks up: the loop waits for no directory."""

    identity: str
    how: int | str
    role: str

    def __str__(self) -> str:
        how = f"by the socket ({described(self.how)}, {self.role})" if isinstance(self.how, int) else self.how
        return f"{self.identity} came in {how}: what it asks for runs as {described(os.geteuid())}"


def _proof(record: KeyRecord) -> tuple[bytes, str]:
    """Give by what a named key is proved."""
    return record.stored_key, record.certificate


def _is_counted(peer: Peer) -> bool:
    """Tell whether a client is one of a user who is no admin; attempts are counted by nobody."""
    return peer.role not in {ADMIN, ATTEMPT}
