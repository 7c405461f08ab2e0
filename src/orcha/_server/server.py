"""The service's end of the wire: a server that turns bytes into messages and back. It knows no petition.

How it works, by file: `listening.py` opens the sockets, `accepting.py` accepts, `connection.py` reads, writes and
closes one connection, `direct_writer.py` and `loop_writer.py` are the two ways of a frame to the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from orcha._protocol.endpoint import Endpoint
from orcha._protocol.handshake import NO_ROLES, Door
from orcha._protocol.keys import Key, check_strength, keyring, parse_key, services_key
from orcha._server.accepting import Acceptor
from orcha._server.client_login import ClientLogin
from orcha._server.connection_table import ConnectionTable
from orcha._server.gone_clients import GoneClients
from orcha._server.limits import ConnectionLimits, descriptor_limit
from orcha._server.listening import ListeningSockets
from orcha._server.loop_writer import LoopWriter
from orcha._server.peer import Peer
from orcha.utils.threads import guarded, ignore_death, start
from orcha.utils.users import described, described_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orcha._protocol.keys import KeyRecord
    from orcha._protocol.messages import ClientMessage
    from orcha._protocol.tls import ServerTls
    from orcha.interfaces.roles import RoleBook
    from orcha.utils.threads import OnDeath

__all__ = ["ConnectionLimits", "Peer", "Server", "ServerSettings", "given_key"]

_ABORT_SECONDS = 0.5
"""How long a stop waits for connections to end that were aborted."""
_LOOP_END_SECONDS = 10.0
"""How long beyond that the loop thread may take to end: a machine can be that busy."""
_SHARED = {
    False: "shared: whoever has the key may do everything here, and all that they ask for runs as {}",
    True: "shared: whoever has the key may use what plugins serve here, which runs as {}; commands are root's alone",
}
"""What a service that is shared says at its start, by whether it is root's."""
_BY_ROLES = "shared with {}, who may ask by the socket: all that they ask for runs as {} ({})"
"""What a service of a user says at its start that lets in other users by their roles."""
_NOT_SHARED = (
    "not shared: only the user of this service, and root, are let in, from this machine; other machines need --share"
)


def _ignore(_: object) -> None:
    """Do nothing."""


_logger = logging.getLogger("orcha.wire")


def _report(what: object, error: BaseException | None) -> None:
    _logger.error("%s", what, exc_info=error)


@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, and which users it lets in."""

    endpoint: Endpoint
    key: str | bytes | Key | None = None
    """The key that clients prove; None for the user's key file, made where there is none."""
    capability: Callable[[int, int], bytes | None] | None = None
    """Gives the key of a living attempt by sequence and attempt number; called on the loop thread."""
    roles: RoleBook = NO_ROLES
    """Roles of other users on the Unix socket, without a key; the folder must let them in."""
    reached_as: frozenset[str] = frozenset()
    """Addresses and ports, beside its own, at which clients dial what passes their connections on to this service."""
    named_keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    """The keys with names that clients may prove instead, by their names."""
    salts: bytes | None = None
    """The secret from which salts are derived; None for a new one."""
    on_key: Callable[[str], None] = _ignore
    """Told on the loop thread which named key a client has proved."""
    on_login: Callable[[ClientLogin], None] = _ignore
    """Told on the loop thread of each client that was let in, processes of attempts aside, or refused."""
    share: bool = False
    """Whether the key lets in other users than the service's own and root, and clients whose user no kernel knows."""
    allow_weak_key: bool = False
    passed: Sequence[socket.socket] = ()
    """Listening Unix sockets that systemd has handed over; they are closed with the server."""
    tls: ServerTls | None = None
    """What it speaks TLS with on TCP; None for a certificate of this start alone."""
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    uvloop: bool | None = None
    """Whether to use uvloop; None for wherever it can be imported."""
    report: Callable[[object, BaseException | None], None] = _report
    """Told what went wrong on the loop thread; `str()` of it is the text, and may take time."""
    on_death: OnDeath = ignore_death
    """Told where that thread dies."""


def given_key(endpoint: Endpoint, key: str | bytes | Key | None) -> Key:
    """Give the key that clients of a service prove: the given key, else that of the key file, made where there is none.

    Raises:
        ConfigurationError: the key, or its file, cannot be used, or the file cannot be made.

    """
    if key is None:
        return services_key(endpoint.key_path if endpoint.is_system else None)
    return parse_key(key) if isinstance(key, (str, bytes)) else key


class Server:
    """Listens on the Unix socket in the endpoint's folder, and with TLS on TCP where the endpoint has a port.

    `on_message(peer, message)` and `on_close(peer)` are called on the loop thread and must not block; the messages of
    one peer come in the order in which it sent them, and `on_close` once after the last. Nothing is opened or started
    before `start`.

    Example::

        server = Server(ServerSettings(endpoint), lambda peer, message: inbox.put((peer, message)), on_close)
        server.start()
        server.send([(peer, encode(Reply(message.request, Verdict.OK)))])
        server.stop(timeout=2)
    """

    def __init__(
        self,
        settings: ServerSettings,
        on_message: Callable[[Peer, ClientMessage], None],
        on_close: Callable[[Peer], None],
    ) -> None:
        self.settings = settings
        self.port = settings.endpoint.port
        """The TCP port; where 0 was asked for, the port that the system gave."""
        self._on_message = on_message
        self._on_close = on_close
        self._is_stopping = False

    # --- from any thread --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bind, and serve on a thread of its own.

        Raises EndpointInUseError, ConfigurationError (an address that this machine does not have, a weak key, an unsafe
        key file), OSError.
        """
        settings = self.settings
        key = given_key(settings.endpoint, settings.key)
        local = settings.endpoint.is_loopback
        if warning := check_strength(key, loopback=local, allow_weak=settings.allow_weak_key):
            settings.report(warning, None)
        if settings.share:
            settings.report(_Shared(), None)
        elif settings.endpoint.has_port and not local:
            settings.report(_NOT_SHARED, None)
        self._lets_in_others = settings.roles.lets_in_others
        shared = settings.endpoint.shared_path if self._lets_in_others and self._is_a_users() else ""
        if shared:
            settings.report(_SharedByRoles(settings.roles, shared), None)
        tls = self._tls()
        if tls is not None and not local:
            settings.report(f"the certificate of its port has the fingerprint {tls.fingerprint}", None)
        with contextlib.ExitStack() as stack:
            self._listeners = ListeningSockets(
                settings.endpoint,
                others=settings.roles.lets_in_others,
                shared=shared,
                report=settings.report,
                passed=settings.passed,
            )
            stack.callback(self._listeners.close)
            self.port = self._listeners.port
            loop = _make_loop(settings.uvloop)
            stack.callback(loop.close)
            self._writer = LoopWriter(loop)
            self._table = self._make_table(loop, key, tls)
            self._acceptor = Acceptor(
                self._listeners,
                self._table,
                reached_as=settings.reached_as,
                first_reserved=descriptor_limit() - settings.limits.reserved_descriptors,
            )
            self._loop = loop
            thread = guarded("orcha-loop", self._run, settings.on_death)
            start(thread)
            self._thread = thread
            stack.pop_all()

    def send(self, batch: Sequence[tuple[Peer, bytes]]) -> None:
        """Send frames to peers: at once where nothing waits before them, else by one wake-up of the loop. Never blocks.

        For one thread: frames of several threads to one peer come in any order.
        """
        if len(batch) == 1:  # as most batches
            [(peer, data)] = batch
            peer.connection.send(data)
            return
        waiting: dict[Peer, list[bytes]] = {}
        for peer, data in batch:
            waiting.setdefault(peer, []).append(data)
        for peer, frames in waiting.items():
            peer.connection.send(frames[0] if len(frames) == 1 else b"".join(frames))

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have something called on the loop thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(call)

    def close_peer(self, peer: Peer) -> None:
        """Close a peer's connection after what was sent to it."""
        peer.connection.close_after_writing()

    def use_keys(self, records: Mapping[str, KeyRecord], then: Callable[[], None]) -> None:
        """Let in these named keys from now on, and cut off the clients of all others; `then` is called on the loop."""
        self.call_soon(partial(self._table.use_keys, records, then))

    def use_roles(self, roles: RoleBook, then: Callable[[], None]) -> None:
        """Have other roles hold from now on, also for clients that are connected; cut off those without a role.

        `then` is called on the loop thread when it is so.
        """
        self.call_soon(partial(self._use_roles, roles, then))

    def _use_roles(self, roles: RoleBook, then: Callable[[], None]) -> None:
        if roles.lets_in_others and not self._lets_in_others and self._is_a_users():
            self.settings.report("other users with roles can come in once the service is started again", None)
        self._listeners.let_in_others(allowed=roles.lets_in_others)
        self._table.use_roles(roles)
        then()

    def use_tls(self, tls: ServerTls) -> None:
        """Show another certificate to the clients that come from now on; from any thread.

        Connected clients stay, unless their certificate alone let them in, and another authority counts now.
        """
        self._table.tls = tls  # each connection looks once
        self.call_soon(self._table.look_at_certificates)

    def pause_accepting(self) -> None:
        """Tell clients that come from now on that the service is stopping; connected clients stay."""
        self._table.admits = False

    def resume_accepting(self) -> None:
        """Let clients in again."""
        self._table.admits = not self._is_stopping

    def filenos(self) -> list[int]:
        """Give all its descriptors: a forked child closes them, and leaves the objects alone."""
        if not hasattr(self, "_loop"):
            return []
        descriptors = [listener.fileno() for listener in self._listeners.sockets]
        descriptors += list(self._table.connections.values())
        descriptors += [connection.direct.descriptor for connection in list(self._table.connections)]
        descriptors += _loop_descriptors(self._loop)
        return [descriptor for descriptor in descriptors if descriptor >= 0]

    def stop(self, timeout: float = 2.0) -> None:
        """Send what is queued, `timeout` seconds at most, then close everything; safe to call again.

        Where the loop thread does not end, that is reported, and the thread is left behind.
        """
        if not hasattr(self, "_thread"):
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped
            self._loop.call_soon_threadsafe(self._begin_stop, timeout)
        bound = timeout + _ABORT_SECONDS + _LOOP_END_SECONDS
        self._thread.join(bound)
        if self._thread.is_alive():
            self.settings.report(
                f"the thread {self._thread.name} has not ended within {bound:g} seconds: it is left behind", None
            )

    # --- starting ---------------------------------------------------------------------------------------------------

    def _is_a_users(self) -> bool:
        """Tell whether the service runs everything as its own user, who is not root."""
        return not self.settings.endpoint.is_system and bool(os.geteuid())

    def _tls(self) -> ServerTls | None:
        if not self.settings.endpoint.has_port:
            return None
        from orcha._protocol.tls import server_tls

        return self.settings.tls or server_tls()

    def _make_table(self, loop: asyncio.AbstractEventLoop, key: Key, tls: ServerTls | None) -> ConnectionTable:
        settings = self.settings
        door = Door(
            keyring([key], salts=settings.salts),
            capability=settings.capability,
            roles=settings.roles,
            share=settings.share,
            salts=settings.salts,
        )
        door.named = settings.named_keys
        return ConnectionTable(
            loop=loop,
            door=door,
            tls=tls,
            limits=settings.limits,
            on_message=self._on_message,
            on_close=self._on_close,
            report=settings.report,
            writer=self._writer,
            is_a_users=self._is_a_users(),
            on_key=settings.on_key,
            on_login=settings.on_login,
        )

    # --- the loop thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(self._on_loop_error)
        self._writer.loop_thread = threading.get_ident()
        self._acceptor.start()
        if self.settings.endpoint.has_port:
            GoneClients(self._table).look()
        try:
            loop.run_forever()
        finally:
            self._listeners.close()
            tasks = self._acceptor.tasks
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.wait(tasks))
            loop.close()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.settings.report(str(context.get("message")), context.get("exception"))

    # --- stopping ---------------------------------------------------------------------------------------------------

    def _begin_stop(self, timeout: float) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        self._table.admits = False
        self._acceptor.stop()
        self._listeners.close()
        self._writer.flush()
        self._table.on_empty = self._loop.stop
        if not self._table.connections:
            self._loop.stop()
            return
        self._loop.call_later(timeout, self._abort_all)
        for connection in list(self._table.connections):
            connection.close(linger=timeout)

    def _abort_all(self) -> None:
        for connection in list(self._table.connections):
            connection.abort()
        self._loop.call_later(_ABORT_SECONDS, self._loop.stop)


class _Shared:
    """What is told of a service that is shared; the thread that writes it looks up the name of the user."""

    def __str__(self) -> str:
        return _SHARED[not os.geteuid()].format(described(os.geteuid()))


class _SharedByRoles(NamedTuple):
    """What is told of a service of a user that lets in others; the thread that writes it looks up their names."""

    roles: RoleBook
    shared: str

    def __str__(self) -> str:
        return _BY_ROLES.format(_people(self.roles), described(os.geteuid()), self.shared)


def _people(roles: RoleBook) -> str:
    """Name the users and groups who have roles."""
    users = [described(uid) for uid in roles.uids]
    groups = [described_group(gid) for gid in roles.gids]
    return ", ".join((*users, *groups, *(["every user of this machine"] if roles.others else [])))


def _make_loop(use_uvloop: bool | None) -> asyncio.AbstractEventLoop:
    if use_uvloop is not False:
        try:
            import uvloop
        except ImportError:
            if use_uvloop:
                raise
        else:
            return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


def _loop_descriptors(loop: Any) -> list[int]:
    """Give a loop's own descriptors, as far as it shows them."""
    if hasattr(loop, "_get_backend_id"):
        return [loop._get_backend_id()]  # noqa: SLF001 - uvloop shows its epoll nowhere else
    names = ("_selector", "_ssock", "_csock")
    return [part.fileno() for part in (getattr(loop, name, None) for name in names) if part is not None]
