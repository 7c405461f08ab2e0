"""The two ways of an attempt's values: to the engine in the same process, or over a connection from another process."""

from __future__ import annotations

import os
import time

from orcha.exceptions import AuthenticationError, OrchaConnectionError, OrchaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from orcha._client.connection import ServiceConnection
    from orcha._protocol.endpoint import Endpoint
    from orcha._protocol.messages import ClientMessage, Reply

    class EnginePort(Protocol):
        """The service's engine, as a channel in the same process sees it."""

        def put(self, seq: int, attempt: int, values: list[bytes]) -> bool:
            """Return when the values are kept; False where the attempt is over."""

        def finish(self, seq: int, attempt: int, value: int | None) -> object:
            """Return when the final value is kept, or ignored where the attempt is over."""

        def access(self, seq: int, attempt: int) -> tuple[Endpoint, bytes, int | None]:
            """Return what another process of the attempt needs: where the service is, the key, and the tag.

            With the key a process may put and finish, and nothing else. The tag marks the attempt's processes; without
            one they are not marked.
            """


UNREACHABLE_SECONDS = 2.0
"""How long a process may be without the service; then it takes its attempt as over."""


class LocalRoute:
    """The way in the service's own process."""

    def __init__(self, port: EnginePort, seq: int, attempt: int) -> None:
        self._port = port
        self._seq = seq
        self._attempt = attempt

    def put(self, number: int, values: list[bytes]) -> bool:  # noqa: ARG002 - nothing is sent twice here
        """Have values kept."""
        return self._port.put(self._seq, self._attempt, values)

    def finish(self, value: int | None) -> None:
        """Give the final value."""
        self._port.finish(self._seq, self._attempt, value)

    def leave(self) -> None:
        """Do nothing, since no connection is open."""


class RemoteRoute:
    """The way from another process: a connection of its own, made when it is needed."""

    def __init__(self, endpoint: Endpoint, capability: bytes, channel: bytes, seq: int, attempt: int) -> None:
        self._endpoint = endpoint
        self._capability = capability
        self._channel = channel
        self._seq = seq
        self._attempt = attempt
        self._writer = os.urandom(8)
        self._request = 0
        self._connection: ServiceConnection | None = None
        self._torn = False  # an exchange was interrupted: its answer would be taken for the next one
        self._instance: object = None

    def put(self, number: int, values: list[bytes]) -> bool:
        """Have values kept."""
        from orcha._protocol.messages import Put

        return self._ask(
            lambda request: Put(request, self._channel, self._seq, self._attempt, self._writer, number, values)
        )

    def finish(self, value: int | None) -> None:
        """Give the final value."""
        from orcha._protocol.messages import Finish

        self._ask(lambda request: Finish(request, self._channel, self._seq, self._attempt, value))
        self._drop()

    def leave(self) -> None:
        """Close this process's copy of the parent's connection, and not the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()

    def _ask(self, build: Callable[[int], ClientMessage]) -> bool:
        """Send a message until it is answered; False where the attempt is over or the service stays away."""
        from orcha._protocol.messages import Verdict

        self._request += 1
        message = build(self._request)
        since: float | None = None
        while True:
            try:
                reply = self._exchange(message, self._request)
            except AuthenticationError as error:
                return self._over(str(error))
            except (OSError, OrchaError) as error:
                self._drop()
                since = time.monotonic() if since is None else since
                if time.monotonic() - since >= UNREACHABLE_SECONDS:
                    return self._over(str(error))
                time.sleep(0.01 + os.urandom(1)[0] / 2550)
            else:
                return reply.verdict == Verdict.OK or self._over(reply.reason or "the attempt is over")

    def _exchange(self, message: ClientMessage, request: int) -> Reply:
        """Send a message and wait for its answer; raises OSError where the connection ends before."""
        from orcha._protocol.frames import FrameError, decode_service_message, encode
        from orcha._protocol.messages import Error, Reply

        if self._torn:
            self._drop()
        connection = self._connection or self._dial()
        self._torn = True
        connection.send(encode(message))
        try:
            while bodies := connection.read_frames():
                for body in bodies:
                    answer = decode_service_message(body)
                    if isinstance(answer, Reply) and answer.request == request:
                        self._torn = False
                        return answer
                    if isinstance(answer, Error):
                        raise OrchaConnectionError(answer.reason)
        except FrameError as error:
            raise OrchaConnectionError(str(error)) from None
        raise OrchaConnectionError("the service closed the connection")

    def _dial(self) -> ServiceConnection:
        """Connect to the service that started the attempt; another start of the service does not know it."""
        self._connection = connection = connect(self._endpoint, self._capability, self._seq, self._attempt)
        if self._instance is None:
            self._instance = connection.instance
        elif self._instance != connection.instance:
            raise AuthenticationError("the service was started anew, and the attempt is over")
        return connection

    def _drop(self) -> None:
        connection, self._connection, self._torn = self._connection, None, False
        if connection is not None:
            connection.close()

    def _over(self, reason: str) -> bool:
        """Log why nothing is sent any more."""
        self._drop()
        note(f"values of petition {self._seq}, attempt {self._attempt}, are dropped: {reason}")
        return False

    def __del__(self) -> None:
        """Close the connection."""
        self._drop()


def connect(endpoint: Endpoint, capability: bytes, seq: int, attempt: int) -> ServiceConnection:
    """Connect as a process of an attempt: by the Unix socket, else with the attempt's key."""
    from orcha._client.dial import dial
    from orcha._protocol.keys import Key, capability_id

    key = Key(capability_id(seq, attempt), capability)
    return dial(endpoint, key, timeout=UNREACHABLE_SECONDS, prove=False)  # a proof costs 5 ms, more than the fork


def note(line: str) -> None:
    """Log a line for the authors of plugins."""
    from orcha.utils.logging_utils import get_logger

    get_logger().debug("%s", line)
