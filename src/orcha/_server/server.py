"""The service's end of the wire: one thread that turns bytes into messages and back. It knows no petition."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orcha._protocol.endpoint import Endpoint, key_path
from orcha._protocol.frames import frame
from orcha._protocol.handshake import BUSY, NO_PROOF, OK, STOPPING, TLS, UNIX, Credentials, Door, ServerHello
from orcha._protocol.keys import Key, check_strength, keyring, load_or_make_key, parse_key
from orcha._protocol.socket_ends import find_owner, name_of, peer_credentials
from orcha._server.connection import Connection, Hall
from orcha._server.limits import Limits, descriptor_limit
from orcha._server.listening import listen_tcp, listen_unix
from orcha._server.peer import Peer
from orcha.utils.threads import guarded, ignore_death, start
from orcha.utils.users import described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orcha._protocol.messages import ClientMessage
    from orcha.utils.threads import OnDeath

__all__ = ["Limits", "Peer", "Server", "ServerSettings"]

_ACCEPTS = 64
"""Connections taken at once before those that are in get their turn."""
_REST = 0.1
"""Seconds without accepting where descriptors have run out."""
_NO_DESCRIPTOR = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""What `accept` says where it will go on by itself once others have closed something."""
_LAST_WORDS = 0.5
_LOOP_MAY_TAKE = 10.0
"""Seconds beyond the others that the loop thread may take to end: a machine can be that busy."""
_SHARED = {
    False: "shared: whoever has the key may do everything here, and all that they ask for runs as {}",
    True: "shared: whoever has the key may use what plugins serve here, which runs as {}; commands are root's alone",
}
"""What a service that is shared says at its start, by whether it is root's."""
_NOT_SHARED = (
    "not shared: only the user of this service, and root, are let in, from this machine; other machines need --share"
)

_logger = logging.getLogger("orcha.wire")


def _report(what: str, error: BaseException | None) -> None:
    _logger.error("%s", what, exc_info=error)


@dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, and whom it lets in."""

    endpoint: Endpoint
    key: str | bytes | Key | None = None
    """The key that clients prove; None for the user's key file, made where there is none."""
    capability: Callable[[int, int], bytes | None] | None = None
    """Gives the key of a living attempt by sequence and attempt number; called on the loop thread."""
    uid_roles: Mapping[int, str] = field(default_factory=dict)
    """Roles of other users on the Unix socket, without a key; the folder must let them in."""
    gid_roles: Mapping[int, str] = field(default_factory=dict)
    """The same by group."""
    reached_as: frozenset[str] = frozenset()
    """Addresses and ports, beside its own, at which clients dial what passes their connections on to this service."""
    share: bool = False
    """Whether the key lets in other users than the service's own and root, and clients whose user no kernel knows."""
    allow_weak_key: bool = False
    limits: Limits = field(default_factory=Limits)
    uvloop: bool | None = None
    """Whether to use uvloop; None for wherever it can be imported."""
    report: Callable[[str, BaseException | None], None] = _report
    """Told what went wrong on the loop thread."""
    on_death: OnDeath = ignore_death
    """Told where that thread dies."""


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
        """The TCP port; the one that was given where 0 was asked for."""
        self._on_message = on_message
        self._on_close = on_close
        self._listeners: dict[socket.socket, int] = {}
        self._outbox: deque[Iterable[tuple[Peer, bytes | None]]] = deque()
        self._woken = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = True
        self._stopping = False
        self._socket_inode: int | None = None
        self._others: set[str] = set()
        self._whose = ""

    # --- from any thread --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bind, and serve on a thread of its own.

        Raises EndpointInUseError, ConfigurationError (an address that this machine does not have, a weak key, an unsafe
        key file), OSError.
        """
        settings = self.settings
        key = self._key()
        local = settings.endpoint.is_loopback
        if warning := check_strength(key, loopback=local, allow_weak=settings.allow_weak_key):
            settings.report(warning, None)
        if settings.share:
            self._whose = described(os.geteuid())
            settings.report(_SHARED[not os.geteuid()].format(self._whose), None)
        elif settings.endpoint.has_port and not local:
            settings.report(_NOT_SHARED, None)
        with contextlib.ExitStack() as stack:
            self._listen(stack)
            loop = _make_loop(settings.uvloop)
            stack.callback(loop.close)
            self._loop = loop
            self._hall = self._make_hall(loop, key)
            self._first_reserved = descriptor_limit() - settings.limits.reserved_descriptors
            thread = guarded("orcha-loop", self._run, settings.on_death)
            start(thread)
            self._thread = thread
            stack.pop_all()

    def send(self, batch: Iterable[tuple[Peer, bytes]]) -> None:
        """Send frames to peers: at once where nothing waits before them, else by one wake-up of the loop. Never blocks.

        For one thread: frames of several threads to one peer come in any order.
        """
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
        peer.connection.shortcut.retire()
        self._enqueue(((peer, None),))

    def pause_accepting(self) -> None:
        """Tell whoever comes from now on that the service is stopping; those who are in stay."""
        self._accepting = False

    def resume_accepting(self) -> None:
        """Let clients in again."""
        self._accepting = True

    def filenos(self) -> list[int]:
        """Give all its descriptors: a forked child closes them, and leaves the objects alone."""
        if not hasattr(self, "_loop"):
            return []
        descriptors = [listener.fileno() for listener in self._listeners]
        descriptors += list(self._hall.connections.values())
        descriptors += [connection.shortcut.descriptor for connection in list(self._hall.connections)]
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
        bound = timeout + _LAST_WORDS + _LOOP_MAY_TAKE
        self._thread.join(bound)
        if self._thread.is_alive():
            self.settings.report(
                f"the thread {self._thread.name} has not ended within {bound:g} seconds: it is left behind", None
            )

    def _enqueue(self, batch: Iterable[tuple[Peer, bytes | None]]) -> None:
        self._outbox.append(batch)
        if self._woken:
            return
        self._woken = True
        if threading.get_ident() == self._thread.ident:
            self._loop.call_soon(self._flush)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to send to
            self._loop.call_soon_threadsafe(self._flush)

    # --- starting ---------------------------------------------------------------------------------------------------

    def _key(self) -> Key:
        key = self.settings.key
        if key is None:
            return load_or_make_key(key_path())
        return parse_key(key) if isinstance(key, (str, bytes)) else key

    def _listen(self, stack: contextlib.ExitStack) -> None:
        endpoint = self.settings.endpoint
        for listener in listen_tcp(endpoint) if endpoint.has_port else ():
            stack.enter_context(contextlib.closing(listener))
            self._listeners[listener] = TLS
            self.port = listener.getsockname()[1]
        endpoint.make_folder()
        others = bool(self.settings.uid_roles or self.settings.gid_roles)
        listener = stack.enter_context(contextlib.closing(listen_unix(endpoint.socket_path, others=others)))
        self._listeners[listener] = UNIX
        self._socket_inode = os.stat(endpoint.socket_path).st_ino  # noqa: PTH116

    def _make_hall(self, loop: asyncio.AbstractEventLoop, key: Key) -> Hall:
        from orcha._protocol.tls import server_tls

        settings = self.settings
        door = Door(
            keyring([key]),
            capability=settings.capability,
            uid_roles=settings.uid_roles,
            gid_roles=settings.gid_roles,
            share=settings.share,
        )
        return Hall(
            loop=loop,
            door=door,
            tls=server_tls() if settings.endpoint.has_port else None,
            limits=settings.limits,
            on_message=self._on_message,
            on_close=self._on_close,
            report=settings.report,
            status=self._status,
            enqueue=self._enqueue,
            on_other=self._on_other,
        )

    # --- the loop thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(self._on_loop_error)
        self._set_readers(on=True)
        try:
            loop.run_forever()
        finally:
            self._close_listeners()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                loop.run_until_complete(asyncio.wait(self._tasks))
            loop.close()

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.settings.report(str(context.get("message")), context.get("exception"))

    def _set_readers(self, *, on: bool) -> None:
        for listener, kind in self._listeners.items():
            if on:
                self._loop.add_reader(listener.fileno(), self._accept, listener, kind)
            else:
                self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket, kind: int) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR:
                    self.settings.report("a connection could not be accepted", error)
                self._rest()
                return
            self._welcome(sock, kind)

    def _rest(self) -> None:
        """Accept nobody for a moment, and let the oldest stranger go: most likely descriptors have run out."""
        self._set_readers(on=False)
        for stranger in list(self._hall.strangers)[:1]:
            stranger.abort()
        self._loop.call_later(_REST, self._wake_up)

    def _wake_up(self) -> None:
        if not self._stopping:
            self._set_readers(on=True)

    def _welcome(self, sock: socket.socket, kind: int) -> None:
        hall = self._hall
        if sock.fileno() >= self._first_reserved:
            for stranger in list(hall.strangers)[:1]:
                stranger.abort()
            _turn_away(sock, hall)
            return
        try:
            connection = self._make_connection(sock, kind)
        except OSError:  # it has gone already
            sock.close()
            return
        hall.enter(connection, sock.fileno())
        task = self._loop.create_task(self._adopt(connection, sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _make_connection(self, sock: socket.socket, kind: int) -> Connection:
        sock.setblocking(False)
        if kind == UNIX:
            return Connection(self._hall, UNIX, sock=sock, credentials=Credentials(*peer_credentials(sock)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        here, there = sock.getsockname(), sock.getpeername()
        return Connection(
            self._hall,
            TLS,
            reached_as={name_of(here), *self.settings.reached_as},
            uid=lambda: find_owner(there, here),
        )

    async def _adopt(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:
            connection.connection_lost(None)
            sock.close()

    def _on_other(self, peer: Peer) -> None:
        """Tell, once for each user, that what somebody else asks for runs as the user of this process."""
        if peer.identity not in self._others:
            self._others.add(peer.identity)
            self.settings.report(f"{peer.identity} came in with the key: what it asks for runs as {self._whose}", None)

    def _status(self) -> int:
        if self._stopping or not self._accepting:
            return STOPPING
        hall = self._hall
        return BUSY if len(hall.connections) - len(hall.strangers) >= self.settings.limits.peers else OK

    def _flush(self) -> None:
        self._woken = False
        waiting: dict[Peer, list[bytes]] = {}
        leaving: set[Peer] = set()
        while self._outbox:
            for peer, data in self._outbox.popleft():
                if data is None:
                    leaving.add(peer)
                elif peer in leaving:
                    continue
                elif peer in waiting:
                    waiting[peer].append(data)
                else:
                    waiting[peer] = [data]
        for peer, frames in waiting.items():
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            peer.connection.write(data)
            peer.connection.shortcut.taken_over(len(frames), len(data))
        for peer in leaving:
            peer.connection.close()

    # --- stopping ---------------------------------------------------------------------------------------------------

    def _begin_stop(self, timeout: float) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._loop.call_later(timeout, self._abort_all)  # first: the loop ends whatever goes wrong below
        self._set_readers(on=False)
        self._close_listeners()
        self._flush()
        self._hall.on_empty = self._loop.stop
        if not self._hall.connections:
            self._loop.stop()
            return
        for connection in list(self._hall.connections):
            connection.close(linger=timeout)

    def _abort_all(self) -> None:
        for connection in list(self._hall.connections):
            connection.abort()
        self._loop.call_later(_LAST_WORDS, self._loop.stop)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = {}
        path = self.settings.endpoint.socket_path
        inode, self._socket_inode = self._socket_inode, None
        try:
            if inode is not None and os.lstat(path).st_ino == inode:
                os.unlink(path)  # noqa: PTH108
        except FileNotFoundError:
            pass
        except OSError as error:  # the disk may be read-only by now; nobody listens there all the same
            self.settings.report(f"the socket {path} stays behind: {error.strerror}", None)


def _turn_away(sock: socket.socket, hall: Hall) -> None:
    """Say that there is no room, as far as that can be said at once."""
    with contextlib.closing(sock), contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.send(frame(ServerHello(BUSY, 1, NO_PROOF, hall.door.instance).pack()))


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
