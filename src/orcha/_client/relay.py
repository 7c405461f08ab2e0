"""The far end of a connection over SSH: it joins two streams with the Unix socket of the service of its machine."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time

from orcha._client.dial import no_service_text, open_unix
from orcha.exceptions import OrchaConnectionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orcha._protocol.endpoint import Endpoint

_PIECE_BYTES = 256 * 1024
_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 0.02
"""Between two looks for a service that is away."""


def connect(endpoint: Endpoint, wait: float) -> tuple[socket.socket, str]:
    """Give a connection to the first service that answers, and the path of its socket, within `wait` seconds.

    Raises OrchaConnectionError where there is none.
    """
    until = time.monotonic() + wait
    while True:
        for path in endpoint.socket_paths():
            sock = open_unix(path, _CONNECT_SECONDS)
            if sock is not None:
                return sock, path
        left = until - time.monotonic()
        if left <= 0:
            raise OrchaConnectionError(no_service_text(endpoint))
        time.sleep(min(_LOOK_SECONDS, left))


def join(sock: socket.socket, given: int, taken: int) -> None:
    """Pass on what comes from `given` to the socket, and what comes from the socket to `taken`, until the latter ends.

    What cannot be passed on is not read: a side that is slow makes the other one wait. Where `given` ends, the service
    hears of that, and what it still says is passed on. Where nobody takes any more, or the service ends, this returns.
    """
    for descriptor in (given, taken, sock.fileno()):
        os.set_blocking(descriptor, False)
    pipes = _Pipes(sock, given, taken)
    poller = select.poll()
    watched: dict[int, int] = {}
    while not pipes.is_over:
        for descriptor, events in pipes.wanted().items():
            if watched.get(descriptor) != events:
                poller.register(descriptor, events)
                watched[descriptor] = events
        if not pipes.is_given and watched.pop(given, None) is not None:
            poller.unregister(given)
        pipes.move(dict(poller.poll()))


class _Pipes:
    """Both directions of a relay, each with the bytes that were read and are not written yet."""

    def __init__(self, sock: socket.socket, given: int, taken: int) -> None:
        self._sock = sock
        self._given = given
        self._taken = taken
        self._inward = memoryview(b"")
        self._outward = memoryview(b"")
        self.is_given = True
        """More may come from `given`."""
        self.is_over = False

    def wanted(self) -> dict[int, int]:
        """Give what has to be waited for, by descriptor; the end of a side is told in any case: poll(2)."""
        service = (0 if self._outward else select.POLLIN) | (select.POLLOUT if self._inward else 0)
        taken = select.POLLOUT if self._outward else 0
        given = {self._given: 0 if self._inward else select.POLLIN} if self.is_given else {}
        return {self._sock.fileno(): service, self._taken: taken} | given

    def move(self, ready: dict[int, int]) -> None:
        """Read and write what can be read and written; where one direction has to wait, the other one goes on."""
        try:
            if ready.get(self._taken, 0) & (select.POLLERR | select.POLLHUP):
                raise BrokenPipeError
            if self._given in ready and self.is_given and not self._inward:
                self._take_in()
            if self._inward:
                with contextlib.suppress(BlockingIOError):
                    self._inward = self._inward[self._sock.send(self._inward) :]
            if self._sock.fileno() in ready and not self._outward:
                with contextlib.suppress(BlockingIOError):
                    self._outward = memoryview(self._sock.recv(_PIECE_BYTES))
                    self.is_over = not self._outward
            if self._outward:
                with contextlib.suppress(BlockingIOError):
                    self._outward = self._outward[os.write(self._taken, self._outward) :]
        except OSError:  # one side has gone: the other one hears of that by the end of this process
            self.is_over = True

    def _take_in(self) -> None:
        try:
            self._inward = memoryview(os.read(self._given, _PIECE_BYTES))
            self.is_given = bool(self._inward)
        except BlockingIOError:
            return
        except OSError:
            self.is_given = False
        if not self.is_given:
            self._sock.shutdown(socket.SHUT_WR)


__all__ = ["connect", "join"]
